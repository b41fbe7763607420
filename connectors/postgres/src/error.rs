//! What to do about an error of Postgres: retry, set a row aside, or stop.

use deadpool_postgres::PoolError;
use tidegate_core::contract;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::tls;

/// Why an operation with Postgres failed.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// An error of the server or of the connection.
    #[error("{}", advise(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// A copy was refused before it took a row. The connection must not be used again: the server also answers the
    /// end of the copy, and that answer would be taken for the answer to the next statement.
    #[error("{}", advise(.0))]
    CopyRefused(#[source] tokio_postgres::Error),
    /// The pool could not give a connection.
    #[error("{}", describe_pool(.server, .error))]
    Pool {
        /// The server, or the servers, of the connection string: host and port.
        server: String,
        /// Why.
        #[source]
        error: PoolError,
    },
    /// The ledger changed while a batch was applied, so the batch must be applied anew.
    #[error("the ledger changed under the batch")]
    LedgerChanged,
    /// Another process has taken over this one's partitions.
    #[error("{0} has taken this pipeline over; this one can commit nothing any more")]
    LeaseLost(String),
    /// The server does not know a source that it had committed: its state is of an earlier moment.
    #[error(
        "Postgres has lost what it had committed: it does not know source {0} any more (was it restored, or failed \
         over to a replica that lagged?); 'tidegate recover' lists what is missing and brings it back"
    )]
    SourceLost(u64),
    /// Postgres refuses every row of a dataset in the same way, whatever its values.
    #[error(
        "Postgres refuses each of {rows} rows in the same way: {said}; correct the triggers, policies and rights of \
         the table, or the lines"
    )]
    AllRefused {
        /// How many rows were tried.
        rows: usize,
        /// What Postgres says to each of them.
        said: String,
    },
    /// Other processes must end first.
    #[error("{0}")]
    InTheWay(String),
    /// A failpoint of a test.
    #[error(transparent)]
    Failpoint(#[from] tidegate_core::failpoint::FailpointError),
    /// An error that no retry heals: what is wrong and what to do.
    #[error("{0}")]
    Halt(String),
}

/// The kinds of failure, by what the sink does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PgErrorKind {
    /// Another transaction was in the way: retry at once.
    Conflict,
    /// A row of the batch is refused: find the row and set it aside.
    Row,
    /// A timeout of the role ended the statement: the same work in smaller parts may fit.
    TooLong,
    /// The server or the connection failed: wait and retry.
    Passing,
    /// No retry heals it.
    Lasting,
}

impl PgErrorKind {
    /// Returns whether a retry may heal it.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Conflict | Self::TooLong | Self::Passing)
    }
}

impl PgError {
    /// Returns what the sink does about the error.
    pub fn kind(&self) -> PgErrorKind {
        match self {
            Self::Postgres(error) | Self::CopyRefused(error) => postgres_kind(error),
            Self::Pool { error: PoolError::Backend(error), .. } => postgres_kind(error),
            Self::Pool { .. } | Self::Failpoint(_) | Self::InTheWay(_) => PgErrorKind::Passing,
            Self::LedgerChanged => PgErrorKind::Conflict,
            Self::LeaseLost(_) | Self::SourceLost(_) | Self::AllRefused { .. } | Self::Halt(_) => {
                PgErrorKind::Lasting
            }
        }
    }

    /// Returns whether an error that arose while a dataset's rows were written concerns that dataset alone.
    pub fn is_of_dataset(&self) -> bool {
        match self {
            Self::Postgres(error) | Self::CopyRefused(error) => {
                let is_its = |state: &str| may_be_a_rows(state) || state.starts_with("55");
                error.code().is_some_and(|state| is_its(state.code()))
            }
            Self::AllRefused { .. } | Self::Halt(_) => true,
            _ => false,
        }
    }

    /// Returns whether the connection is closed and the server gave no reason.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code().is_none() && error.is_closed())
    }

    /// Returns a lasting error whose message says what to do.
    pub fn halt(message: impl Into<String>) -> Self {
        Self::Halt(message.into())
    }
}

/// The classes of SQLSTATE that never concern a row, whichever row was being written, but the connection, the server
/// or the transaction. **Every other class may concern the row**, once it is shown that the statement works without
/// the row.
const NOT_A_ROWS: [&str; 8] = ["08", "25", "26", "40", "53", "55", "57", "58"];
/// The classes with which the server refuses a login, and ends the session. In a session that goes on, a trigger
/// raised them.
const OF_LOGIN: [&str; 2] = ["28", "3D"];
/// The states of damaged storage. They concern the server, though they belong to the class of any internal error.
const DAMAGED: [&str; 2] = ["XX001", "XX002"];

/// Returns whether an error with this SQLSTATE may concern a row.
pub(super) fn may_be_a_rows(state: &str) -> bool {
    !NOT_A_ROWS.contains(&&state[..2]) && !DAMAGED.contains(&state)
}

/// Returns the test of `may_be_a_rows` as a condition of SQL on the variable `state`.
pub fn may_be_a_rows_sql() -> String {
    let list = |states: &[&str]| format!("'{}'", states.join("', '"));
    format!("left(state, 2) not in ({}) and state not in ({})", list(&NOT_A_ROWS), list(&DAMAGED))
}

/// Returns whether an error with this SQLSTATE concerns values, however many rows cause it: data, a constraint, a
/// limit, or a `raise exception` without a code of its own.
pub fn is_about_values(state: &str) -> bool {
    ["22", "23", "44", "54"].contains(&&state[..2]) || state == "P0001"
}

/// Returns what the sink does about an error of Postgres, by its SQLSTATE.
pub fn postgres_kind(error: &tokio_postgres::Error) -> PgErrorKind {
    let Some(state) = error.code() else {
        // The server gave no answer: the connection failed, or the statement could not be encoded.
        let source = std::error::Error::source(error);
        if source.and_then(tls::refusal).is_some() {
            return PgErrorKind::Lasting;
        }
        let is_connection =
            error.is_closed() || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        return if is_connection { PgErrorKind::Passing } else { PgErrorKind::Lasting };
    };
    let is_fatal = error.as_db_error().and_then(DbError::parsed_severity) == Some(Severity::Fatal);
    match &state.code()[..2] {
        // Of the transaction: an error that a trigger raises with this class is retried too.
        "40" => PgErrorKind::Conflict,
        _ if *state == SqlState::LOCK_NOT_AVAILABLE => PgErrorKind::Conflict,
        _ if timeout(state).is_some() => PgErrorKind::TooLong,
        _ if *state == SqlState::DUPLICATE_PSTATEMENT => PgErrorKind::Lasting, // a pooler causes it
        class if OF_LOGIN.contains(&class) && is_fatal => PgErrorKind::Lasting,
        _ if may_be_a_rows(state.code()) => PgErrorKind::Row,
        // Connection, resources, shutdown, start-up, a standby that is being promoted.
        "08" | "53" | "57" | "58" => PgErrorKind::Passing,
        "25" if *state == SqlState::READ_ONLY_SQL_TRANSACTION => PgErrorKind::Passing,
        _ => PgErrorKind::Lasting,
    }
}

/// Returns the setting of a role, database or server whose timeout raises this SQLSTATE.
fn timeout(state: &SqlState) -> Option<&'static str> {
    match state.code() {
        "57014" => Some("statement_timeout"),
        "25P03" => Some("idle_in_transaction_session_timeout"),
        "25P04" => Some("transaction_timeout"),
        _ => None,
    }
}

/// Returns the setting that ended a session or a statement, and what to do about it; `None` if no setting did.
pub(super) fn setting_behind(error: &tokio_postgres::Error) -> Option<String> {
    let setting = match error.code()? {
        state if *state == SqlState::LOCK_NOT_AVAILABLE => "lock_timeout",
        state => timeout(state)?,
    };
    Some(format!(
        "the setting {setting} ended it; where it is the role's, 'alter role ... set {setting}' gives it a longer time"
    ))
}

/// Returns Postgres's message and hint, but never the row that its `detail` or `where` may repeat.
pub fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let source = std::error::Error::source(error);
        if let Some(refusal) = source.and_then(tls::refusal) {
            return format!("the server ended the connection: {refusal}");
        }
        return match source {
            // Whether the text names the cause depends on the version of the library.
            Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
            _ => error.to_string(),
        };
    };
    let hint = db.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("Postgres says: {} (SQLSTATE {}){hint}", db.message(), db.code().code())
}

/// Returns whether a login was refused by `pg_hba.conf`: no line of it fits, or one that rejects. Of the message, which
/// the server may translate, the file's name stays.
pub(super) fn is_of_pg_hba(error: &tokio_postgres::Error) -> bool {
    let is_login = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    is_login && error.as_db_error().is_some_and(|db| db.message().contains("pg_hba.conf"))
}

/// Returns [`describe`]'s text, with advice where no retry helps.
fn advise(error: &tokio_postgres::Error) -> String {
    let message = error.as_db_error().map_or("", DbError::message);
    let advice = match error.code().map(SqlState::code) {
        // The message of an encrypted connection says "SSL encryption", in any language.
        Some("28000") if is_of_pg_hba(error) && !message.contains("SSL") && !message.contains("GSS") => {
            "; the server may take encrypted connections only: write sslmode=require in the database's url, or let \
             pg_hba.conf take this one"
        }
        Some("28000") if is_of_pg_hba(error) => "; let pg_hba.conf of the server take this connection",
        Some("28000") if message.contains("client certificate") => {
            "; name this user's certificate and its key in the database's url, with sslcert and sslkey"
        }
        None if describe(error).ends_with(NO_TLS) => {
            "; let the server offer it (ssl = on), or write sslmode=prefer, which goes on without"
        }
        Some("28000" | "28P01") => "; check the user and the password in the database's url",
        Some("3D000") => "; create the database, or correct its url",
        // The role may not write, or the server is read-only.
        Some("25006") => {
            "; the server, or the role by default_transaction_read_only, only reads: is it a standby? name the primary in \
             the database's url, or all of them with target_session_attrs=read-write"
        }
        Some("26000" | "42P05") => {
            "; a pooler in transaction mode does not keep prepared statements: let it (pgbouncer 1.21 or newer, \
             max_prepared_statements), or use its session mode"
        }
        Some("42501") => "; grant it to the role in the database's url ('tidegate check' says what it needs)",
        // Undefined or changed types, columns, tables or schemas, which fitted the manifest at the start.
        Some("42703" | "42804" | "42P01" | "3F000") => {
            "; the database differs from the manifest: 'tidegate check' says where"
        }
        _ => "",
    };
    match setting_behind(error) {
        Some(setting) => format!("{}; {setting}", describe(error)),
        None => describe(error) + advice,
    }
}

/// How `tokio_postgres` says that a server answers no to TLS.
const NO_TLS: &str = "server does not support TLS";

fn describe_pool(server: &str, error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => format!("cannot connect to Postgres at {server}: {}", advise(error)),
        PoolError::Timeout(_) => format!("cannot connect to Postgres in time, at {server}"),
        other => format!("cannot connect to Postgres at {server}: {other}"),
    }
}

impl From<PgError> for contract::Error {
    fn from(error: PgError) -> Self {
        Self { retry: error.kind().may_pass(), message: error.to_string() }
    }
}
