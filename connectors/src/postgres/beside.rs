//! The change of the views by a batch, computed beside the `copy` of its rows.
//!
//! That happens in a second session, over a temporary table that takes the same text: the transaction itself
//! is left with inserting what comes out. Here nothing is read but the rows of the batch, and nothing locked
//! but tables of this session. So nobody can stand between the two sessions, of which one waits for the other.

use bytes::{Bytes, BytesMut};
use deadpool_postgres::{ClientWrapper, GenericClient, Object};
use futures_util::TryStreamExt;
use tidegate_core::manifest::{Dataset, Manifest};

use super::batch::Rows;
use super::cheap::copy;
use super::table::{self, TableSql, quoted};
use super::views::{Maintained, settings};
use super::{Connection, Error, How, Postgres};

/// Sorting is what grouping by hash is to avoid: of a table without statistics the planner guesses too many
/// groups to see that.
const SORTING: &str = "enable_sort = off";

const UNUSED: &str = "\"char\"";

/// The second session. Whoever fails in it drops it, and that ends it, whatever it was about to do.
pub(super) struct Session {
    client: ClientWrapper,
    /// What each transaction is told: behind a pooler each may run in another session.
    settings: String,
}

/// A temporary table that takes the text of a batch.
pub(super) struct Staging {
    name: String,
    columns: String,
}

impl Staging {
    /// For rows of a table: where a view uses a column, it is of the same type. Any other is of a type that
    /// takes any text and keeps one byte of it. Who asks holds a lock of the table.
    pub(super) async fn new(
        client: &impl GenericClient,
        dataset: &Dataset,
        table: &TableSql,
        views: &[&Maintained],
    ) -> Result<Self, Error> {
        let declared = table::declarations(client, table).await?;
        let column = |name: &str| {
            let used = views.iter().any(|view| view.uses(name));
            let kind = declared.get(name).filter(|_| used).map_or(UNUSED, String::as_str);
            format!("{} {kind}", quoted(name))
        };
        let names = ["_source", "_line"].into_iter().chain(dataset.columns.iter().map(|c| c.name.as_str()));
        let columns = names.map(column).collect::<Vec<_>>().join(", ");
        // Whoever finds a table of that name has one with these columns, also in a session that another left.
        let columns_hash = blake3::hash(columns.as_bytes()).to_hex();
        Ok(Self { name: quoted(&format!("tidegate_{}", &columns_hash[..32])), columns })
    }
}

impl Session {
    /// Takes a connection out of its pool: nobody else is to find the temporary tables.
    pub(super) async fn new(connection: Connection, manifest: &Manifest) -> Result<Self, Error> {
        let settings = settings(&connection, manifest).await?;
        let settings = settings.iter().map(String::as_str).chain([SORTING]);
        let settings = settings.map(|setting| format!("set local {setting}; ")).collect();
        Ok(Self { client: Object::take(connection), settings })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What the rows add to the store of each view, as `copy` writes and reads it.
    pub(super) async fn changes(
        &mut self,
        postgres: &Postgres,
        staging: &Staging,
        columns: &str,
        (rows, accepted): (&Rows, &[u32]),
        views: &[&Maintained],
    ) -> Result<Vec<Bytes>, Error> {
        let Staging { name, columns: declared } = staging;
        let tx = postgres.begin(&mut self.client, How::Write).await?;
        tx.batch_execute(&format!(
            "{}create temporary table if not exists {name} ({declared}) on commit delete rows",
            self.settings
        ))
        .await?;
        let name = format!("pg_temp.{name}");
        copy(&tx, &name, columns, rows, accepted).await?;
        let mut changes = Vec::with_capacity(views.len());
        for view in views {
            let out = tx.copy_out(&format!("copy ({}) to stdout", view.change(&name))).await?;
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
