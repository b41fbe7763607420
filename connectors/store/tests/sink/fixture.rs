//! A pipeline's database, ready to deliver to.

use tidegate_core::contract::{CommitReport, Delivery, Error, Sink};
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_postgres::schema;
use tidegate_store::{Store, prepare, receipts};
use tidegate_testing::store::{open, take_leases};
use tidegate_testing::{company, postgres};
use tidegate_views::View;

pub(crate) struct Fixture {
    pub(crate) sink: Store,
    pub(crate) url: String,
    manifest: String,
    client: tokio_postgres::Client,
}

impl Fixture {
    /// A fresh database, prepared for a manifest and the views of the repository, with sources 1 to 100.
    pub(crate) async fn new(manifest: &str) -> Self {
        let fixture = Self::without_sources(manifest).await;
        fixture.add_sources().await;
        fixture
    }

    pub(crate) async fn without_sources(manifest: &str) -> Self {
        let fixture = Self::unprepared(&postgres::database().await, manifest).await;
        let views = if manifest == company::MANIFEST { views() } else { Vec::new() };
        fixture.prepare(&views).await;
        fixture
    }

    /// Prepares the database for the manifest and the views.
    pub(crate) async fn prepare(&self, views: &[View]) {
        schema::migrate(&self.sink).await.unwrap();
        take_leases(&self.sink).await;
        prepare::prepare(&self.sink, views).await.unwrap();
    }

    /// Registers sources 1 to 100.
    pub(crate) async fn add_sources(&self) {
        self.execute(
            "insert into tidegate.sources (source, dataset, kind, name, identity) \
             select i, 'any', 'file', 'test', i::text::bytea from generate_series(1, 100) as i",
        )
        .await;
    }

    pub(crate) async fn unprepared(url: &str, manifest: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set timezone = 'UTC'").await.unwrap();
        let (url, sink, manifest) = (url.to_owned(), open(url, manifest), manifest.to_owned());
        Self { sink, url, manifest, client }
    }

    /// The same database, for another process.
    pub(crate) fn another_owner(&self) -> Store {
        open(&self.url, &self.manifest)
    }

    pub(crate) fn of_manifest(&self, manifest: &str) -> Store {
        open(&self.url, manifest)
    }

    /// For a process whose sessions are of another role.
    pub(crate) fn of_role(&self, role: &str) -> Store {
        let first = if self.url.contains('?') { '&' } else { '?' };
        open(&format!("{}{first}options=-c%20role%3D{role}", self.url), &self.manifest)
    }

    pub(crate) async fn apply(&self, delivery: &Delivery) -> Result<CommitReport, Error> {
        self.sink.apply(&self.sink.read(delivery)).await
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// The first column of a query, as text.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let rows = self.client.query(&format!("select (r)::text from ({sql}) as q (r)"), &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "null".into())).collect()
    }

    /// The rows of a table, in the order of its key, as comma-separated texts.
    pub(crate) async fn rows(&self, table: &str) -> Vec<String> {
        let sql = format!("select trim(both '()' from (t)::text) from {table} as t order by id");
        self.query(&sql).await
    }

    /// The dead letters: position, status and codes.
    pub(crate) async fn letters(&self) -> Vec<String> {
        self.query(
            "select source || ':' || line || ' ' || status || ' ' || (select string_agg(r ->> 'code', '+') \
             from jsonb_array_elements(reasons) as r) from tidegate.dead_letters order by source, line",
        )
        .await
    }
}

/// The views of the repository.
pub(crate) fn views() -> Vec<View> {
    company::VIEWS.iter().map(|(name, text)| View::parse(name, text).unwrap()).collect()
}

/// Accepted records: dataset, source, line, text.
pub(crate) fn delivery(lines: &[(usize, u64, u64, &str)]) -> Delivery {
    let mut delivery = Delivery::default();
    for (dataset, source, line, text) in lines {
        let mut batch = Batch::default();
        let line = Line { fingerprint: 0, position: Position::new(*source, *line), text: text.as_bytes() };
        batch.push_with(b"", |out| line.write(out));
        delivery.rows.push((*dataset, batch));
    }
    delivery
}

/// The numbers of lines of each fate that a source has.
pub(crate) async fn fates(store: &Store, source: u64) -> [u64; 4] {
    let receipt = receipts::of_sources(store, &[source]).await.unwrap().pop();
    receipt.map_or([0; 4], |receipt| receipt.fates)
}
