//! The settings of a session, which fix how texts and values are read and written, whatever the role, the url or a
//! pooler sets.
//!
//! A session of the server itself gets its settings once, in its startup options, after the `options` of the url.
//! Startup options take precedence over the settings of role and database, and the last of several options wins. A
//! pooler shares the server's sessions among many clients, and drops startup options, or refuses them. Behind a
//! pooler nothing may be set for a session: the next transaction may run in another session, and the next transaction
//! of this session may belong to another application. There [`Sessions::begin`] sets the settings in each
//! transaction.
//!
//! A token tells the two cases apart: a setting that only the session that this process started has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::{Client, Config, IsolationLevel};
use uuid::Uuid;

use crate::error::{PgError, postgres_kind};

/// A setting of Postgres, by name, and its value.
pub type Setting = (&'static str, &'static str);

/// The settings that fix how times, numbers, bytes and names are read and written.
pub const SESSION_SETTINGS: [Setting; 7] = [
    ("timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
];
/// The settings that govern how statements run.
const STATEMENT_SETTINGS: [Setting; 2] = [("client_min_messages", "warning"), ("jit", "off")];
const ISOLATION: Setting = ("default_transaction_isolation", "read committed");
/// How often a session that waits for another sends an empty statement, so that the watchdog does not take the
/// session for lost. More often than the watchdog looks.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
const TOKEN: &str = "tidegate.session";

/// Returns the statements that set settings until the end of the transaction, each with a semicolon behind it.
pub fn set_local<'a>(settings: impl IntoIterator<Item = &'a Setting>) -> String {
    settings.into_iter().map(|(name, value)| format!("set local {name} = '{value}'; ")).collect()
}

/// How the sessions of a pool are begun.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Settings beyond those of all sessions.
    more: &'static [Setting],
    /// Set when a session turns out to be a pooler's.
    pooled: AtomicBool,
}

/// A process id of the server, and the start time of its process, since ids are reused.
pub(super) type ServerProcess = (i32, String);

impl Sessions {
    /// Returns sessions with `more` settings.
    pub(super) fn told(more: &'static [Setting]) -> Self {
        Self { more, pooled: AtomicBool::default() }
    }

    /// Returns whether a pooler is known to stand between this process and the server.
    pub(super) fn are_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// Returns the configuration that starts a session of the server itself, and the session's token.
    pub(super) fn at_start(&self, config: &Config) -> (Config, String) {
        let token = Uuid::new_v4().simple().to_string();
        let ours = SESSION_SETTINGS.iter().chain(&STATEMENT_SETTINGS).chain([&ISOLATION]).chain(self.more);
        let mut options = config.get_options().unwrap_or_default().to_owned();
        for (name, value) in ours.chain([&(TOKEN, token.as_str())]) {
            // A backslash keeps a space within the value.
            options += &format!(" -c {name}={}", value.replace(' ', "\\ "));
        }
        let mut config = config.clone();
        config.options(options.trim());
        (config, token)
    }

    /// Returns whether the startup options may have caused the error, as behind a pooler, so that a start without
    /// options is worth trying.
    pub(super) fn may_be_refused(error: &tokio_postgres::Error) -> bool {
        // A wrong password, a missing database, a lack of resources and a shutdown do not depend on the options.
        error.code().is_some_and(|state| !["28", "3D", "53", "57"].contains(&&state.code()[..2]))
    }

    /// Checks whether a session is the one that was started with `token`, and returns its process. Returns `None`
    /// behind a pooler, where successive statements may run in different processes of the server, and for a role that
    /// may not see its own sessions.
    pub(super) async fn recognise(
        &self,
        client: &Client,
        token: Option<&str>,
    ) -> Result<Option<ServerProcess>, tokio_postgres::Error> {
        let Some(token) = token else {
            self.pooled.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        let (names, values): (Vec<&str>, Vec<&str>) = SESSION_SETTINGS.into_iter().unzip();
        let sql = include_str!("../../../sql/queries/session.sql");
        let row = client.query_one(sql, &[&TOKEN, &token, &names, &values]).await?;
        let (is_ours, pid, started): (bool, i32, Option<String>) = (row.get(0), row.get(1), row.get(2));
        if !is_ours {
            self.pooled.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        if !row.get::<_, bool>(3) {
            // Something has changed the settings since the start, for example a trigger on login.
            let set = SESSION_SETTINGS.map(|(name, value)| format!("set {name} = '{value}'"));
            client.batch_execute(&set.join("; ")).await?;
        }
        if !row.get::<_, bool>(4) {
            // In another role triggers would not update the views, and foreign keys would not be checked. If the role
            // may not set it, Postgres returns an error.
            client.batch_execute("set session_replication_role = origin").await?;
        }
        Ok(started.map(|started| (pid, started)))
    }

    /// Begins a transaction. Behind a pooler, sets [`SESSION_SETTINGS`] in it.
    pub(super) async fn begin<'a>(
        &self,
        connection: &'a mut ClientWrapper,
        how: TransactionMode,
    ) -> Result<Transaction<'a>, PgError> {
        let begin = connection.build_transaction();
        let begin = match how {
            TransactionMode::Write => begin.isolation_level(IsolationLevel::ReadCommitted),
            TransactionMode::Read => begin.isolation_level(IsolationLevel::ReadCommitted).read_only(true),
            TransactionMode::Snapshot => {
                begin.isolation_level(IsolationLevel::RepeatableRead).read_only(true)
            }
        };
        let tx = begin.start().await?;
        if self.are_pooled() {
            tx.batch_execute(&set_local(SESSION_SETTINGS.iter().chain(&STATEMENT_SETTINGS))).await?;
        }
        Ok(tx)
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionMode {
    /// Writes. Each statement sees what is committed when it starts.
    Write,
    /// Read-only. Each statement sees what is committed when it starts.
    Read,
    /// Read-only. All statements see one snapshot.
    Snapshot,
}

/// Lifts the timeouts of the role for a transaction and its statements. If this process is gone, Postgres ends the
/// transaction within about a second; without that check Postgres would go on and keep the locks until it has
/// something to send.
pub async fn end_with_us(tx: &Transaction<'_>) -> Result<(), PgError> {
    tx.query(include_str!("../../../sql/queries/take_time.sql"), &[]).await?;
    // Some platforms of the server do not support this setting.
    savepoint(tx, "set local client_connection_check_interval = '1s'").await?;
    Ok(())
}

/// Executes a statement that may fail, behind a savepoint. If the statement fails, rolls back to the savepoint and
/// returns the error of the statement.
///
/// # Errors
///
/// If the error may pass on a retry, and so says nothing about the statement.
pub async fn savepoint(tx: &Transaction<'_>, sql: &str) -> Result<Option<tokio_postgres::Error>, PgError> {
    tx.batch_execute("savepoint tidegate_attempt").await?;
    let result = tx.batch_execute(sql).await;
    if let Err(error) = result {
        if postgres_kind(&error).may_pass() {
            return Err(error.into());
        }
        tx.batch_execute("rollback to savepoint tidegate_attempt; release savepoint tidegate_attempt")
            .await?;
        return Ok(Some(error));
    }
    tx.batch_execute("release savepoint tidegate_attempt").await?;
    Ok(None)
}
