//! Idempotency keys: a request with a key can be sent again until it is answered, and what it asks for is done once.
//! Requests that bring lines are registered with their lines: see [`requests`](super::requests).

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_postgres::PgError;
use tokio_postgres::types::{FromSqlOwned, ToSql};

/// The idempotency key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The identity of the request: its sender, its target and its key.
    pub identity: [u8; 32],
    /// BLAKE3 of the content that was sent.
    pub content: [u8; 32],
}

/// Whether a key was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse<T> {
    /// The key is new.
    New,
    /// The same request used the key before, and has made this resource.
    Known(T),
    /// Another request used the key before.
    Reused,
}

/// The kinds of resources that a request can make: the columns of `tidegate.requests`.
#[derive(Clone, Copy)]
pub(super) enum Resource {
    Move,
    Job,
    Restore,
    Reload,
}

impl Resource {
    fn column(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Job => "job",
            Self::Restore => "restore",
            Self::Reload => "reload",
        }
    }
}

impl IdempotencyKey {
    /// Returns the resource that the request has made before.
    pub(super) async fn find<T: FromSqlOwned>(
        &self,
        client: &impl GenericClient,
        this: Resource,
    ) -> Result<KeyUse<T>, PgError> {
        let sql = format!("select content, {} from tidegate.requests where identity = $1", this.column());
        Ok(match client.query_opt(&sql, &[&&self.identity[..]]).await? {
            None => KeyUse::New,
            Some(row) if row.get::<_, &[u8]>(0) != self.content => KeyUse::Reused,
            Some(row) => row.get::<_, Option<T>>(1).map_or(KeyUse::Reused, KeyUse::Known),
        })
    }
}

/// Returns the resource that the request has made before. If the key is new, it is claimed in `tx`. The caller then
/// does what the request asks for in `tx`, and notes the resource with [`record`]. A request without a key is new.
pub(super) async fn claim<T: FromSqlOwned>(
    key: Option<&IdempotencyKey>,
    tx: &Transaction<'_>,
    this: Resource,
) -> Result<KeyUse<T>, PgError> {
    let Some(key) = key else { return Ok(KeyUse::New) };
    let sql = include_str!("../../../sql/queries/name_request.sql");
    match tx.query_opt(sql, &[&&key.identity[..], &&key.content[..]]).await? {
        Some(_) => Ok(KeyUse::New),
        // A second statement sees the rows for which the first one has waited.
        None => key.find(tx, this).await,
    }
}

/// Notes the resource that a request has made, if the request has a key.
pub(super) async fn record(
    key: Option<&IdempotencyKey>,
    tx: &Transaction<'_>,
    this: Resource,
    it: &(dyn ToSql + Sync),
) -> Result<(), PgError> {
    let Some(key) = key else { return Ok(()) };
    let sql = format!("update tidegate.requests set {} = $2 where identity = $1", this.column());
    tx.execute(&sql, &[&&key.identity[..], it]).await?;
    Ok(())
}
