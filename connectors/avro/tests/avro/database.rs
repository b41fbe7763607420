//! A pipeline's database to back up, and an empty one beside it.

use std::path::Path;

use futures_util::SinkExt;
use tidegate_avro::{Backup, BackupOptions, CheckedFile, Folder, exact};
use tidegate_core::manifest::{Codec, Manifest};
use tidegate_postgres::schema;
use tidegate_store::{Store, prepare};
use tidegate_testing::postgres;
use tidegate_testing::store::{open, take_leases};

pub(crate) struct Database {
    pub(crate) postgres: Store,
    client: tokio_postgres::Client,
}

impl Database {
    /// A database that is prepared for a manifest, under leases.
    pub(crate) async fn new(manifest: &str) -> Self {
        let url = postgres::database().await;
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set timezone = 'UTC'").await.unwrap();
        let postgres = open(&url, manifest);
        schema::migrate(&postgres).await.unwrap();
        take_leases(&postgres).await;
        prepare::prepare(&postgres, &[]).await.unwrap();
        Self { postgres, client }
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The first column of a query, as text.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let rows = self.client.query(&format!("select (r)::text from ({sql}) as q (r)"), &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "null".into())).collect()
    }

    /// The rows of a table as texts, sorted.
    pub(crate) async fn rows(&self, table: &str) -> Vec<String> {
        self.query(&format!("select t::text from {table} as t order by t::text collate \"C\"")).await
    }

    /// Copies lines of CSV into a table.
    pub(crate) async fn copy(&self, table: &str, columns: &str, lines: String) {
        let sql = format!("copy {table} ({columns}) from stdin (format csv)");
        let mut sink = std::pin::pin!(self.client.copy_in(&sql).await.unwrap());
        sink.send(bytes::Bytes::from(lines)).await.unwrap();
        sink.finish().await.unwrap();
    }

    pub(crate) async fn back_up(&self, folder: &Path, codec: Codec) -> Backup {
        let options = BackupOptions { codec, ..BackupOptions::default() };
        tidegate_avro::backup(&self.postgres, &Folder::new(folder), &options).await.unwrap()
    }

    pub(crate) async fn fill(&self, backup: &Path) -> Result<(), tidegate_avro::AvroError> {
        let exact = exact::check(self.postgres.manifest(), backup)?;
        exact.fill(&self.postgres, &[], &|_, _| {}).await
    }
}

pub(crate) fn parsed(manifest: &str) -> Manifest {
    Manifest::parse(manifest, &|_| None).unwrap()
}

/// The rows of a checked file as lines.
pub(crate) fn lines(manifest: &Manifest, checked: &CheckedFile) -> String {
    let mut lines = Vec::new();
    checked.convert(manifest, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}
