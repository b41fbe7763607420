//! The tokens that may use the HTTP API. Only their hashes are stored.

use std::time::SystemTime;

use tidegate_postgres::listener::notify;
use tidegate_postgres::{Database, PgError, TransactionMode, stored_enum};
use tokio_postgres::types::ToSql;

stored_enum! {
    /// The role of a token: the requests that it may make.
    pub enum TokenRole {
        /// Sends rows, and reads their receipts.
        Ingest = "ingest",
        /// Reads everything.
        Read = "read",
        /// Does everything: moves dead letters, backs up, restores.
        Operate = "operate",
    }
}

impl TokenRole {
    /// Returns whether this role includes the rights of `asked`.
    pub fn may(self, asked: Self) -> bool {
        self == asked || self == Self::Operate
    }
}

/// A token as Postgres stores it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The name that users see.
    pub name: String,
    /// Its role.
    pub role: TokenRole,
    /// BLAKE3 of the token. The token is long and random, so it cannot be guessed from its hash.
    pub hash: Vec<u8>,
    /// When it expires; `None` if it never does.
    pub expires_at: Option<SystemTime>,
}

impl Token {
    /// Returns the hash under which a token is stored.
    pub fn hash_of(token: &str) -> [u8; 32] {
        *blake3::hash(token.as_bytes()).as_bytes()
    }
}

/// Returns all tokens, ordered by name.
pub async fn list(database: &Database) -> Result<Vec<Token>, PgError> {
    let sql = "select name, role, hash, expires_at from tidegate.tokens order by name";
    let rows = database.connection().await?.query(sql, &[]).await?;
    let token = |row: &tokio_postgres::Row| {
        let role = row.try_get(1).ok()?; // a newer version may know more roles
        Some(Token { name: row.get(0), role, hash: row.get(2), expires_at: row.get(3) })
    };
    Ok(rows.iter().filter_map(token).collect())
}

/// Stores a token. `false` if there is one of that name.
pub async fn create(database: &Database, token: &Token) -> Result<bool, PgError> {
    let sql = "insert into tidegate.tokens (name, role, hash, expires_at) values ($1, $2, $3, $4) \
               on conflict (name) do nothing";
    let Token { name, role, hash, expires_at } = token;
    change(database, sql, &[name, &role.as_str(), hash, expires_at]).await
}

/// Deletes a token. `false` if there is none of that name.
pub async fn delete(database: &Database, name: &str) -> Result<bool, PgError> {
    let sql = "delete from tidegate.tokens where name = $1";
    change(database, sql, &[&name]).await
}

/// Runs a statement, and notifies running pipelines when its transaction commits. Returns whether a row was changed.
async fn change(database: &Database, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<bool, PgError> {
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    let is_changed = tx.execute(sql, parameters).await? > 0;
    notify(&tx).await?;
    tx.commit().await?;
    Ok(is_changed)
}
