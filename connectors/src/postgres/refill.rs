//! Filling an empty database with what a backup has: all of it in one transaction, under the pipeline's leases.

use bytes::Bytes;
use deadpool_postgres::{ClientWrapper, Transaction};
use tidegate_core::failpoint::Failpoint;
use tokio_postgres::CopyInSink;
use uuid::Uuid;

use super::cheap::begin_copy;
use super::snapshot::{OwnTable, own_tables};
use super::table::{self, quoted, table_name};
use super::views::{self, View};
use super::{Error, Postgres};

/// A database that is being filled. Nothing of it stays unless it is ended.
pub(crate) struct Refill<'a> {
    postgres: &'a Postgres,
    tx: Transaction<'a>,
}

impl Postgres {
    /// A connection to fill the database through.
    pub(crate) async fn connection_for_refill(&self) -> Result<ClientWrapper, Error> {
        self.own_connection().await
    }
}

impl<'a> Refill<'a> {
    /// Begins. The datasets' tables are there from now on.
    pub(crate) async fn begin(
        postgres: &'a Postgres,
        connection: &'a mut ClientWrapper,
    ) -> Result<Self, Error> {
        let tx = postgres.fenced(connection).await?;
        views::end_with_us(&tx).await?;
        table::ensure(&tx, postgres.manifest()).await?;
        Ok(Self { postgres, tx })
    }

    /// Tidegate's own tables that can be filled, those behind that reference others.
    pub(crate) async fn own_tables(&self) -> Result<Vec<OwnTable>, Error> {
        own_tables(&self.tx).await
    }

    /// What keeps the database from being filled: tables that are not empty.
    pub(crate) async fn obstacles(&self) -> Result<Vec<String>, Error> {
        let datasets = self.postgres.manifest().datasets.iter().map(table_name);
        let own = self.own_tables().await?.into_iter().map(|(name, _)| format!("tidegate.{}", quoted(&name)));
        let mut obstacles = Vec::new();
        for table in datasets.chain(own) {
            let sql = format!("select count(*) from (select from {table} limit 1001) as few");
            match self.tx.query_one(&sql, &[]).await?.get::<_, i64>(0) {
                0 => {}
                1001 => obstacles.push(format!("{table} has more than 1000 rows")),
                1 => obstacles.push(format!("{table} has 1 row")),
                rows => obstacles.push(format!("{table} has {rows} rows")),
            }
        }
        Ok(obstacles)
    }

    /// A way to fill a table, with rows of CSV: quoted values, and nothing where there is none.
    pub(crate) async fn copy(&self, table: &str, columns: &[String]) -> Result<CopyInSink<Bytes>, Error> {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let sql = format!("copy {table} ({}) from stdin (format csv)", columns.join(", "));
        begin_copy(&self.tx, &sql).await
    }

    /// Lets a sequence of Tidegate's go on behind the last number that it has given.
    pub(crate) async fn sequence(&self, name: &str, last: i64) -> Result<(), Error> {
        let sql = "select setval(format('tidegate.%I', $1::text)::regclass, $2)";
        self.tx.query_one(sql, &[&name, &last]).await?;
        Ok(())
    }

    /// Makes the views afresh, gives the database the identity that it had, and ends.
    pub(crate) async fn end(self, identity: Uuid, views: &[View]) -> Result<(), Error> {
        self.tx.execute("update tidegate.pipeline set identity = $1", &[&identity]).await?;
        // The backup may be of a version that did not count.
        self.tx.execute(include_str!("../../../sql/queries/count_restored.sql"), &[]).await?;
        Failpoint::RestoreFilled.pass()?;
        self.postgres.apply_in(self.tx, views, false).await?;
        Ok(Failpoint::RestoreCommitted.pass()?)
    }
}
