//! What Postgres's errors mean: try again, set a row aside, or stop.

use deadpool_postgres::PoolError;
use tidegate_core::contract;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why something with Postgres did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres, or the way there.
    #[error("{}", advise(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// Postgres refused a copy before it took a row. The server answers the end of that copy too, and the client would take
    /// this second answer for the one to its next statement: the connection must be closed.
    #[error("{}", advise(.0))]
    CopyRefused(#[source] tokio_postgres::Error),
    /// No connection was to be had.
    #[error("{}", describe_pool(.0))]
    Pool(#[from] PoolError),
    /// The ledger changed while a batch was applied, so the batch must be applied anew.
    #[error("the ledger changed under the batch")]
    LedgerChanged,
    /// Another process has taken over this one's partitions.
    #[error("{0} has taken this pipeline over; this one can commit nothing any more")]
    LeaseLost(String),
    /// The server does not know a source any more: it is of an earlier moment.
    #[error(
        "Postgres has lost what it had committed: it does not know source {0} any more (was it restored, or failed \
         over to a replica that lagged?); 'tidegate recover' lists what is missing and brings it back"
    )]
    SourceLost(u64),
    /// No row of a dataset gets into its table, whatever is in it.
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
    /// Others must end first.
    #[error("{0}")]
    InTheWay(String),
    /// A test wanted it.
    #[error(transparent)]
    Failpoint(#[from] tidegate_core::failpoint::Failed),
    /// Anything that no retry heals: what is wrong and what to do.
    #[error("{0}")]
    Halt(String),
}

/// The kinds of failure that the sink reacts to in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another transaction was in the way: do the same again at once.
    Conflict,
    /// A row of the batch: find it and set it aside.
    Row,
    /// A setting of the role ended it: the same in smaller parts may fit.
    TooLong,
    /// The server or the way there: wait and try again.
    Passing,
    /// No retry heals it.
    Lasting,
}

impl Error {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Postgres(error) | Self::CopyRefused(error) => postgres_kind(error),
            Self::Pool(PoolError::Backend(error)) => postgres_kind(error),
            Self::Pool(_) | Self::Failpoint(_) | Self::InTheWay(_) => Kind::Passing,
            Self::LedgerChanged => Kind::Conflict,
            Self::LeaseLost(_) | Self::SourceLost(_) | Self::AllRefused { .. } | Self::Halt(_) => {
                Kind::Lasting
            }
        }
    }

    /// Whether an error that came of writing a dataset's rows concerns that dataset alone.
    pub(super) fn is_of_dataset(&self) -> bool {
        match self {
            Self::Postgres(error) | Self::CopyRefused(error) => {
                let is_its = |state: &str| may_be_a_rows(state) || state.starts_with("55");
                error.code().is_some_and(|state| is_its(state.code()))
            }
            Self::AllRefused { .. } | Self::Halt(_) => true,
            _ => false,
        }
    }

    /// Whether a connection is gone, and nothing says why.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code().is_none() && error.is_closed())
    }

    /// A lasting error with what to do.
    pub(super) fn halt(message: impl Into<String>) -> Self {
        Self::Halt(message.into())
    }
}

/// The classes of SQLSTATE that are not a row's, whatever row was being written: the connection's, the server's, the
/// transaction's. **All else is the row's**, once it is shown that the statement works without it.
const NOT_A_ROWS: [&str; 8] = ["08", "25", "26", "40", "53", "55", "57", "58"];
/// The classes with which the server refuses a login, and ends the session. In a session that goes on they are a
/// trigger's.
const OF_LOGIN: [&str; 2] = ["28", "3D"];
/// Damaged storage: the server's, though their class is that of any internal error.
const DAMAGED: [&str; 2] = ["XX001", "XX002"];

/// Whether an error with this SQLSTATE may be a row's.
pub(super) fn may_be_a_rows(state: &str) -> bool {
    !NOT_A_ROWS.contains(&&state[..2]) && !DAMAGED.contains(&state)
}

/// The same as a condition of SQL on the variable `state`.
pub(super) fn may_be_a_rows_sql() -> String {
    let list = |states: &[&str]| format!("'{}'", states.join("', '"));
    format!("left(state, 2) not in ({}) and state not in ({})", list(&NOT_A_ROWS), list(&DAMAGED))
}

/// Whether an error with this SQLSTATE is about values, however many rows meet it: of data, a constraint, a limit,
/// or `raise exception` without a code of its own.
pub(super) fn is_about_values(state: &str) -> bool {
    ["22", "23", "44", "54"].contains(&&state[..2]) || state == "P0001"
}

pub(super) fn postgres_kind(error: &tokio_postgres::Error) -> Kind {
    let Some(state) = error.code() else {
        // No answer of the server: the connection failed, or what we sent could not be encoded.
        let is_connection = error.is_closed() || std::error::Error::source(error).is_some_and(is_io);
        return if is_connection { Kind::Passing } else { Kind::Lasting };
    };
    let conflicts =
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE];
    if conflicts.contains(state) {
        return Kind::Conflict;
    }
    if timeout(state).is_some() {
        return Kind::TooLong;
    }
    if *state == SqlState::DUPLICATE_PSTATEMENT {
        return Kind::Lasting; // a pooler's doing
    }
    match &state.code()[..2] {
        // The transaction's: one that a trigger raises is tried again too.
        "40" => Kind::Conflict,
        class if OF_LOGIN.contains(&class) && is_fatal(error) => Kind::Lasting,
        _ if may_be_a_rows(state.code()) => Kind::Row,
        // Connection, resources, shutdown, start-up, a standby that is being promoted.
        "08" | "53" | "57" | "58" => Kind::Passing,
        "25" if *state == SqlState::READ_ONLY_SQL_TRANSACTION => Kind::Passing,
        _ => Kind::Lasting,
    }
}

/// The setting of a role, database or server that ends what takes longer, by the SQLSTATE with which it does.
fn timeout(state: &SqlState) -> Option<&'static str> {
    match state.code() {
        "57014" => Some("statement_timeout"),
        "25P03" => Some("idle_in_transaction_session_timeout"),
        "25P04" => Some("transaction_timeout"),
        _ => None,
    }
}

/// The setting that ended a session or a statement, and what to do about it; `None` if none did.
pub(super) fn setting_behind(error: &tokio_postgres::Error) -> Option<String> {
    let setting = match error.code()? {
        state if *state == SqlState::LOCK_NOT_AVAILABLE => "lock_timeout",
        state => timeout(state)?,
    };
    Some(format!(
        "the setting {setting} ended it; where it is the role's, 'alter role ... set {setting}' gives it a longer time"
    ))
}

fn is_fatal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().and_then(DbError::parsed_severity) == Some(Severity::Fatal)
}

fn is_io(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<std::io::Error>()
}

/// Postgres's message and hint, but never the row that `context` or `where` may repeat.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            // Its text says the cause by itself, or not, as versions go.
            Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
            Some(_) => error.to_string(),
            None => error.to_string(),
        };
    };
    let mut text = format!("Postgres says: {} (SQLSTATE {})", db.message(), db.code().code());
    if let Some(hint) = db.hint() {
        text.push_str("; ");
        text.push_str(hint);
    }
    text
}

/// The same, with what to do where no retry heals it.
fn advise(error: &tokio_postgres::Error) -> String {
    let advice = match error.code().map(SqlState::code) {
        Some("28000" | "28P01") => "; check the user and the password in the database's url",
        Some("3D000") => "; create the database, or correct its url",
        // Of a role that may not, or a server that does not.
        Some("25006") => {
            "; the server, or the role by default_transaction_read_only, only reads: is it a standby? name the primary in \
             the database's url, or all of them with target_session_attrs=read-write"
        }
        Some("26000" | "42P05") => {
            "; a pooler in transaction mode does not keep prepared statements: let it (pgbouncer 1.21 or newer, \
             max_prepared_statements), or use its session mode"
        }
        Some("42501") => "; grant it to the role in the database's url ('tidegate check' says what it needs)",
        // Undefined or other types, columns, tables, schemas: at the start they were as they should be.
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

fn describe_pool(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => format!("cannot connect to Postgres: {}", advise(error)),
        PoolError::Timeout(_) => "cannot connect to Postgres in time".to_owned(),
        other => format!("cannot connect to Postgres: {other}"),
    }
}

impl From<Error> for contract::Error {
    fn from(error: Error) -> Self {
        let retry = matches!(error.kind(), Kind::Passing | Kind::TooLong | Kind::Conflict);
        Self { retry, message: error.to_string() }
    }
}
