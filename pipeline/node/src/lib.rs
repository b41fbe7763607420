//! A node of Tidegate: a process that runs some stages of a pipeline for some of its partitions.
//!
//! # Layout
//!
//! * [`Node`]: the parts of a node. `run`: how it gets its partitions. `members`: nodes that share a pipeline over a
//!   cluster. `work`: the stages as one node runs them for its partitions. [`alone`]: work that needs every lease of the
//!   pipeline.
//! * [`data_dir`]: data directory and identity. [`journal`]: the registered sources, noted beside the topics.
//!   [`recover`]: a Postgres that is older than the journal.
//! * [`ingest_queue`]: registers requests, uploads and restores. [`spool`]: keeps their files until every line is
//!   accounted for.
//! * [`workers`] carry out requests that reach a running pipeline through Postgres: [`restores`], [`reloads`], moves of
//!   dead letters. `refresher` refreshes views on time. [`backups`] takes backups on time.
//! * [`Access`]: the parts of a node that an HTTP server in the same process uses.
//! * [`RunSummary`]: the outcome of a run. [`Failure`]: why a command failed, with its exit code.

mod node;
mod work;
mod members;
mod run;
pub mod alone;
mod access;
pub mod data_dir;
pub mod journal;
pub mod recover;
pub mod ingest_queue;
pub mod spool;
pub mod workers;
pub mod restores;
pub mod reloads;
mod refresher;
pub mod backups;
mod settings;
mod files;
mod summary;
mod failure;

pub use access::Access;
pub use failure::Failure;
pub use files::Files;
pub use node::Node;
pub use run::RunResult;
pub use settings::Settings;
pub use summary::{RunSummary, Usage};
