//! A pipeline's state in Postgres: its sources, the fate of their lines, and the one transaction that decides it.
//!
//! # Layout
//!
//! * [`Store`]: a pipeline's database. `state`: what one process keeps about it between transactions, with the `pace` of
//!   commits. [`prepare`] creates the tables, shapes and views that a pipeline needs.
//! * [`leases`]: which process may commit. [`group`]: how the instances of a stage share its partitions.
//! * [`registry`]: sources and their numbers, readers' offsets. [`requests`]: sources that are registered with their
//!   lines. [`generated_keys`]: keys for lines that lack one. [`shapes`]: the names of the fields of lines. [`ledger`]: the fate of each line.
//! * [`sink`]: a delivery in transactions, the healing of waiting lines, and the moves of dead letters. [`upkeep`]: the
//!   upkeep of views after the commits. `obstacles`: what closes the direct copy. [`awaited`]: what
//!   waiting lines lack.
//! * [`filter`]: the filter on dead letters. [`export`]: dead letters as a stream. [`moves`]: requests to replay or
//!   discard dead letters.
//! * [`restores`], [`reloads`]: requests to restore a backup or to read a source again, with the states of [`tasks`] and
//!   `idempotency` keys. [`tokens`]: the tokens that may use the HTTP API.
//! * [`inspect`]: the findings of `tidegate check`. [`totals`], [`receipts`]: the fates of lines, in all and by source.
//!   [`trace`]: what Postgres knows of one line.

mod statement;
mod pace;
mod state;
mod store;
pub mod leases;
pub mod group;
pub mod shapes;
pub mod prepare;
pub mod ledger;
mod source_kind;
pub mod registry;
pub mod requests;
pub mod generated_keys;
pub mod receipts;
pub mod sink;
pub mod upkeep;
mod obstacles;
pub mod awaited;
pub mod filter;
pub mod export;
pub mod moves;
pub mod tasks;
mod idempotency;
pub mod restores;
pub mod reloads;
pub mod tokens;
pub mod totals;
pub mod trace;
pub mod inspect;

pub use group::{Member, Membership, Share};
pub use idempotency::{IdempotencyKey, KeyUse};
pub use leases::Holder;
pub use receipts::{LineFate, Receipt};
pub use registry::RegisteredSource;
pub use requests::{Answer, IncompleteSource, NewSource, Request, source_identity};
pub use sink::{RowBatch, begin_copy};
pub use source_kind::SourceKind;
pub use store::Store;
pub use tasks::TaskState;
pub use tokens::{Token, TokenRole};
pub use totals::LedgerTotal;
