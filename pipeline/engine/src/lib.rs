//! The stages of Tidegate. Reading order: [`ingest`] → [`process`] → [`deliver`].
//!
//! ```text
//! Source ─▶ ingest ─▶ raw-<dataset> ─▶ process ─▶ accepted-<dataset> ─┐
//!                │                        └─────▶ dead-letters ───────┼─▶ deliver ─▶ Sink
//!                └──────────────────────────────▶ dead-letters ───────┘
//! ```
//!
//! Each stage is a short loop. The stages share the topics and a [`Progress`], nothing else. Everything outside
//! is behind the contracts of `tidegate_core::contract`. Each stage flushes its outputs before it stores how
//! far it has read. After a crash a stage may therefore repeat work, and the ledger drops the duplicates.

mod counts;
mod offsets;
mod partition;
pub mod deliver;
pub mod ingest;
mod retry;
pub mod process;
mod progress;
mod other_stages;
mod pipeline;

pub use counts::{Counts, Flow, Lag, SecondsByStage};
pub use deliver::HEAL_EVERY;
pub use ingest::Until;
pub use partition::read_on;
pub use pipeline::{Pipeline, already_sent, create_all, lag_records};
pub use retry::patiently;
