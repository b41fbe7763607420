//! One moment of the database, for a backup: which tables there are, and their rows as Postgres sends them.

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::CopyOutStream;

use super::{Error, Postgres, table};

/// Tables of Tidegate's that are of this database alone: who runs the pipeline, where readers stand on the topics, and
/// what is derived from other tables.
const NOT_KEPT: [&str; 8] =
    ["migrations", "pipeline", "leases", "members", "offsets", "views", "view_stores", "view_resets"];

/// A moment of the database.
pub(crate) struct Snapshot<'a> {
    tx: Transaction<'a>,
}

/// What is known of the moment.
pub(crate) struct Moment {
    /// The pipeline's identity in this database.
    pub(crate) identity: uuid::Uuid,
    /// As `2026-11-21T20:30:00.123456Z`.
    pub(crate) taken_at: String,
    /// As `20261121T203000Z`.
    pub(crate) id: String,
    pub(crate) largest_source: u64,
    /// The version of Tidegate's own schema.
    pub(crate) schema: i32,
}

/// One of Tidegate's own tables: its name, and of each column name, type, and whether a value may be missing.
pub(crate) type OwnTable = (String, Vec<(String, String, bool)>);

impl Postgres {
    /// A connection for a snapshot.
    pub(crate) async fn connection_for_snapshot(&self) -> Result<ClientWrapper, Error> {
        drop(self.prepared_connection().await?);
        self.own_connection().await
    }
}

impl<'a> Snapshot<'a> {
    /// Takes a snapshot: from now on nothing changes for it. The tables must fit the manifest.
    pub(crate) async fn take(postgres: &Postgres, connection: &'a mut ClientWrapper) -> Result<Self, Error> {
        let manifest = postgres.manifest();
        let tx = postgres.snapshot(connection).await?;
        let snapshot = Self { tx };
        let found: String = snapshot.tx.query_one("select name from tidegate.pipeline", &[]).await?.get(0);
        if found != manifest.pipeline {
            return Err(Error::halt(format!(
                "the database holds the pipeline '{found}', the manifest is of '{}'",
                manifest.pipeline
            )));
        }
        for dataset in &manifest.datasets {
            let fault = match table::differences(&snapshot.tx, manifest, dataset).await? {
                Some(found) if found.is_empty() => continue,
                Some(found) => format!("does not fit the manifest: {}", found.join("; ")),
                None => "is missing".to_owned(),
            };
            return Err(Error::halt(format!("the table of dataset '{}' {fault}", dataset.name)));
        }
        Ok(snapshot)
    }

    pub(crate) async fn moment(&self) -> Result<Moment, Error> {
        let row = self.tx.query_one(include_str!("../../../sql/queries/snapshot_moment.sql"), &[]).await?;
        Ok(Moment {
            identity: row.get("identity"),
            taken_at: row.get("taken_at"),
            id: row.get("id"),
            largest_source: row.get::<_, i64>("largest_source") as u64,
            schema: row.get("schema"),
        })
    }

    /// Tidegate's own tables that a backup keeps.
    pub(crate) async fn own_tables(&self) -> Result<Vec<OwnTable>, Error> {
        own_tables(&self.tx).await
    }

    /// Tidegate's own sequences, and the last number that each has given, if it has.
    pub(crate) async fn sequences(&self) -> Result<Vec<(String, i64)>, Error> {
        let sql = "select sequencename::text, last_value from pg_sequences \
                   where schemaname = 'tidegate' and sequencename <> 'view_changes' and last_value is not null";
        let rows = self.tx.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The rows of a table in binary: `expressions` of each.
    pub(crate) async fn copy(&self, table: &str, expressions: &str) -> Result<CopyOutStream, Error> {
        Ok(self
            .tx
            .copy_out(&format!("copy (select {expressions} from {table}) to stdout (format binary)"))
            .await?)
    }

    /// Gives the moment up.
    pub(crate) async fn end(self) -> Result<(), Error> {
        Ok(self.tx.commit().await?)
    }
}

/// Tidegate's own tables that a backup keeps, as they are here.
pub(super) async fn own_tables(tx: &Transaction<'_>) -> Result<Vec<OwnTable>, Error> {
    let not_kept: Vec<&str> = NOT_KEPT.to_vec();
    let mut tables: Vec<OwnTable> = Vec::new();
    for row in tx.query(include_str!("../../../sql/queries/own_tables.sql"), &[&not_kept]).await? {
        let table: String = row.get("table");
        if tables.last().is_none_or(|(last, _)| *last != table) {
            tables.push((table, Vec::new()));
        }
        if let Some((_, columns)) = tables.last_mut() {
            columns.push((row.get("name"), row.get("type"), row.get("optional")));
        }
    }
    Ok(tables)
}
