//! Topics: ordered, durable logs of records, which the stages of a pipeline read and write.
//!
//! ```text
//!   source ──append──▶ raw-<dataset> ──read──▶ transform ──append──▶ accepted-<dataset> ──read──▶ sink
//! ```
//!
//! A topic has partitions, and a partition is a log: every record gets the next [`Offset`]. Records move in
//! batches. A reader reads the batch at its offset and continues at [`FetchResult::next`]; at the end it
//! [`wait`](Topics::wait)s. The log knows nothing of its readers. A reader's offset is stored in Postgres, in the
//! transaction that applies what was read, and is passed to [`Topics::create`] at the next start.
//!
//! There is **one semantics: at-least-once, ordered within a partition, durable when acknowledged**. The ledger drops
//! duplicates, so topics need no stronger one.
//!
//! # Layout
//!
//! - [`Topics`] is the contract that every implementation keeps.
//! - [`embedded`] is the default: segment files in a directory, in this process.
//! - [`fluvio`] is a cluster, if the manifest names one.
//! - [`Broker`] is the one of these two that the manifest chose.
//! - [`memory`] is for simulations and tests.
//! - The suite that every implementation passes is in the crate `tidegate-testing`.

mod place;
mod error;
mod contract;
pub mod embedded;
pub mod fluvio;
mod broker;
pub mod memory;

pub use self::fluvio::Fluvio;
pub use broker::Broker;
pub use contract::{Durability, FetchResult, MAX_BATCH_BYTES, MAX_NAME_LEN, Topics, check_name};
pub use embedded::Embedded;
pub use error::{ErrorKind, TopicError};
pub use memory::Memory;
pub use place::Offset;
