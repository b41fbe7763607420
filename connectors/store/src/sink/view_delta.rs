//! The view delta: the change of the views by a batch, computed beside the `copy` of its rows.
//!
//! A second session computes the view delta over a temporary table that takes the same text, and the transaction
//! itself only inserts the result. The second session reads nothing but the rows of the batch and locks nothing but
//! its own tables. So no other session can block one of the two sessions while the other waits for it.

use bytes::{Bytes, BytesMut};
use deadpool_postgres::{GenericClient, Object};
use futures_util::TryStreamExt;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_postgres::table::{self, TableSql, quoted};
use tidegate_postgres::{Connection, PgError, TransactionMode};
use tidegate_views::{MaintainedStore, settings};

use super::batch::DatasetRows;
use super::copy::copy;
use crate::state::DeltaSession;
use crate::store::Store;

/// Turns sorting off, so that the planner groups by hash: for a table without statistics its estimate of the number
/// of groups is too high for that.
const SORTING: &str = "enable_sort = off";

const UNUSED: &str = "\"char\"";

/// A temporary table that takes the text of a batch.
pub(super) struct Staging {
    name: String,
    columns: String,
}

impl Staging {
    /// The staging table for rows of a dataset's table. A column that a view uses has the type that it has there. Any
    /// other column has the type `"char"`, which takes any text and keeps one byte of it. The caller holds a lock on
    /// the table.
    pub(super) async fn new(
        client: &impl GenericClient,
        dataset: &Dataset,
        table: &TableSql,
        views: &[&MaintainedStore],
    ) -> Result<Self, PgError> {
        let declared = table::declarations(client, table).await?;
        let column = |name: &str| {
            let used = views.iter().any(|view| view.store.spec.uses(name));
            let kind = declared.get(name).filter(|_| used).map_or(UNUSED, String::as_str);
            format!("{} {kind}", quoted(name))
        };
        let names = ["_source", "_line"].into_iter().chain(dataset.columns.iter().map(|c| c.name.as_str()));
        let columns = names.map(column).collect::<Vec<_>>().join(", ");
        // The name contains a hash of the columns. So a table of this name has these columns, even one that an
        // earlier transaction left in the session.
        let columns_hash = blake3::hash(columns.as_bytes()).to_hex();
        Ok(Self { name: quoted(&format!("tidegate_{}", &columns_hash[..32])), columns })
    }
}

impl DeltaSession {
    /// Takes a connection out of its pool, so that no other part of the process finds its temporary tables.
    pub(super) async fn new(connection: Connection, manifest: &Manifest) -> Result<Self, PgError> {
        let settings = settings(&connection, manifest).await?;
        let settings = settings.iter().map(String::as_str).chain([SORTING]);
        let settings = settings.map(|setting| format!("set local {setting}; ")).collect();
        Ok(Self { client: Object::take(connection), settings })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Returns what the rows add to the store of each view, in the order of `views`, as text for `copy`.
    pub(super) async fn changes(
        &mut self,
        store: &Store,
        staging: &Staging,
        columns: &str,
        (rows, accepted): (&DatasetRows, &[u32]),
        views: &[&MaintainedStore],
    ) -> Result<Vec<Bytes>, PgError> {
        let Staging { name, columns: declared } = staging;
        let tx = store.begin(&mut self.client, TransactionMode::Write).await?;
        tx.batch_execute(&format!(
            "{}create temporary table if not exists {name} ({declared}) on commit delete rows",
            self.settings
        ))
        .await?;
        let name = format!("pg_temp.{name}");
        copy(&tx, &name, columns, rows, accepted).await?;
        let mut changes = Vec::with_capacity(views.len());
        for view in views {
            let out = tx.copy_out(&format!("copy ({}) to stdout", view.store.spec.change(&name))).await?;
            let gather = async |mut text: BytesMut, row: Bytes| {
                text.extend_from_slice(&row);
                Ok(text)
            };
            changes.push(out.try_fold(BytesMut::new(), gather).await?.freeze());
        }
        tx.commit().await?;
        Ok(changes)
    }
}
