//! A pipeline's database to back up, and an empty one beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use tidegate_connectors::avro::{self, Backup, Checked, Folder, Options, exact};
use tidegate_connectors::postgres::{Holder, Postgres, testing};
use tidegate_core::manifest::{Codec, Manifest};
use uuid::Uuid;

pub(crate) struct Database {
    pub(crate) postgres: Postgres,
    client: tokio_postgres::Client,
}

impl Database {
    /// A database that is prepared for a manifest, under leases.
    pub(crate) async fn new(manifest: &str) -> Self {
        let url = testing::database().await.url;
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set timezone = 'UTC'").await.unwrap();
        let postgres = Postgres::new(&url, Arc::new(parsed(manifest)), Uuid::new_v4()).unwrap();
        postgres.migrate().await.unwrap();
        let me = Holder { host: "test".into(), pid: 1, started: 0.0 };
        postgres.lease(&me, Duration::from_secs(600), true).await.unwrap();
        postgres.prepare(&[]).await.unwrap();
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
        let options = Options { codec, ..Options::default() };
        avro::backup(&self.postgres, &Folder::new(folder), &options).await.unwrap()
    }

    pub(crate) async fn fill(&self, backup: &Path) -> Result<(), avro::Error> {
        let exact = exact::check(self.postgres.manifest(), backup)?;
        exact.fill(&self.postgres, &[], &|_, _| {}).await
    }
}

pub(crate) fn parsed(manifest: &str) -> Manifest {
    Manifest::parse(manifest, &|_| None).unwrap()
}

/// The rows of a checked file as lines.
pub(crate) fn lines(manifest: &Manifest, checked: &Checked) -> String {
    let mut lines = Vec::new();
    checked.convert(manifest, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}
