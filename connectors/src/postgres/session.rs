//! What a session is told, so that texts mean the same in it whatever the role, the url or a pooler say.
//!
//! A session of the server's own is told once, as it starts, behind what the url's `options` say: what comes last, and
//! what a start says, wins over the settings of role and database. A pooler hands its own sessions out to many, and drops
//! what a start says, or refuses it. Nothing may be set there for a session, for the next transaction may run in another one,
//! and the next one in this may be a stranger's: [`Sessions::begin`] tells each transaction.
//!
//! Which of both it is, a token tells: a setting of ours that only the session that we started has.

use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::{Client, Config, IsolationLevel};
use uuid::Uuid;

use super::Error;

/// What the same text and value mean everywhere: how times, numbers, bytes and names are read and written.
pub(super) const MEANING: [&str; 7] = [
    "timezone = 'UTC'",
    "datestyle = 'ISO, MDY'",
    "intervalstyle = postgres",
    "extra_float_digits = 1",
    "bytea_output = hex",
    "standard_conforming_strings = on",
    "quote_all_identifiers = off",
];
/// The same as a start says it, with how statements are run.
const AT_START: &str = "-c timezone=UTC -c datestyle=ISO,MDY -c intervalstyle=postgres -c extra_float_digits=1 \
                        -c bytea_output=hex -c standard_conforming_strings=on -c quote_all_identifiers=off \
                        -c client_min_messages=warning -c jit=off -c default_transaction_isolation=read\\ committed";
const TOKEN: &str = "tidegate.session";

/// How the sessions of a pool are begun.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// What they are told besides.
    more: &'static str,
    /// Set when one of them turns out to be a pooler's.
    pooled: AtomicBool,
}

/// A process of the server and when it started, since numbers come back.
pub(super) type Process = (i32, String);

impl Sessions {
    /// Sessions that are told `more` than others when they start.
    pub(super) fn told(more: &'static str) -> Self {
        Self { more, pooled: AtomicBool::default() }
    }

    /// Whether a pooler stands between us and the server.
    pub(super) fn are_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// How to start a session of the server's own, and its token.
    pub(super) fn at_start(&self, config: &Config) -> (Config, String) {
        let token = Uuid::new_v4().simple().to_string();
        let given = config.get_options().unwrap_or_default();
        let options = [given, AT_START, self.more, &format!("-c {TOKEN}={token}")];
        let options: Vec<&str> =
            options.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
        let mut config = config.clone();
        config.options(options.join(" "));
        (config, token)
    }

    /// Notes that a start was refused for what it said, which is a pooler's way: whether it may be tried without.
    pub(super) fn may_be_refused(error: &tokio_postgres::Error) -> bool {
        // A wrong password, no such database, no room: it would be no other without.
        error.code().is_some_and(|state| !["28", "3D", "53", "57"].contains(&&state.code()[..2]))
    }

    /// Finds out whether a session is the one that was started with `token`. Gives its process; `None` behind a pooler,
    /// where the process that answers is now ours and now another's, and for a role that may not see its own sessions.
    pub(super) async fn recognise(
        &self,
        client: &Client,
        token: Option<&str>,
    ) -> Result<Option<Process>, tokio_postgres::Error> {
        let Some(token) = token else {
            self.pooled.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        let row =
            client.query_one(include_str!("../../../sql/queries/session.sql"), &[&TOKEN, &token]).await?;
        let (is_ours, pid, started): (bool, i32, Option<String>) = (row.get(0), row.get(1), row.get(2));
        if !is_ours {
            self.pooled.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        if !row.get::<_, bool>(3) {
            // Somebody has his way with it after the start, with a trigger on login for example.
            client.batch_execute(&MEANING.map(|setting| format!("set {setting}")).join("; ")).await?;
        }
        if !row.get::<_, bool>(4) {
            // Else views would not follow, and foreign keys not be checked. Who may not set it is refused by Postgres.
            client.batch_execute("set session_replication_role = origin").await?;
        }
        Ok(started.map(|started| (pid, started)))
    }

    /// Begins a transaction in which texts mean what they mean everywhere.
    pub(super) async fn begin<'a>(
        &self,
        connection: &'a mut ClientWrapper,
        how: How,
    ) -> Result<Transaction<'a>, Error> {
        let begin = connection.build_transaction();
        let begin = match how {
            How::Write => begin.isolation_level(IsolationLevel::ReadCommitted),
            How::Read => begin.isolation_level(IsolationLevel::ReadCommitted).read_only(true),
            How::OneMoment => begin.isolation_level(IsolationLevel::RepeatableRead).read_only(true),
        };
        let tx = begin.start().await?;
        if self.are_pooled() {
            tx.batch_execute(&Self::of_transaction()).await?;
        }
        Ok(tx)
    }

    /// What a transaction is told behind a pooler.
    fn of_transaction() -> String {
        let settings = MEANING.iter().chain(&["client_min_messages = warning", "jit = off"]);
        settings.map(|setting| format!("set local {setting}")).collect::<Vec<_>>().join("; ")
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It may write, and each statement sees what is committed.
    Write,
    /// The same, but it writes nothing.
    Read,
    /// It writes nothing, and sees one moment.
    OneMoment,
}
