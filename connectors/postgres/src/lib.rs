//! The database layer that all connectors share: a pool of sessions with fixed settings, the kinds of Postgres's
//! errors, the tables of the datasets, Tidegate's own schema, and a private server for a pipeline without a database
//! url.
//!
//! # Layout
//!
//! * [`Database`]: a pool, and the manifest of its pipeline. `address` reads the connection string, `tls` its
//!   certificates, and `connector` opens every session, encrypted or not. `session` fixes the settings of sessions,
//!   whatever the role, the url or a pooler sets. `watchdog` closes sessions that have fallen silent.
//! * [`error`]: what to do about an error of Postgres: retry, set a row aside, or stop.
//! * [`schema`]: Tidegate's own schema. [`table`]: the tables of the datasets. [`key`]: the columns by which their rows
//!   are found.
//! * [`relation`]: query results as texts, for display.
//! * [`private`]: a private Postgres server, from binaries that are installed or fetched.

pub mod error;
mod tls;
mod address;
mod connector;
pub mod session;
mod watchdog;
pub mod listener;
mod database;
pub mod schema;
mod identifier;
pub mod key;
pub mod table;
pub mod relation;
pub mod stored;
pub mod private;

pub use database::{Connection, Database};
pub use error::PgError;
pub use schema::SERVER_VERSION_MIN;
pub use session::TransactionMode;
