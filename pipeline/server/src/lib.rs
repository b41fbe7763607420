//! The command `tidegate`: command line and wiring.
//!
//! # Layout
//!
//! * [`cli`]: the commands and their flags. [`settings`]: what they and the manifest come to.
//! * [`run`]: the pipeline itself: data directory, leases, stages, progress, summary.
//! * [`stages`]: the same over a cluster, where instances of a stage share its partitions.
//!   `refresher` refreshes materialized views beside it, `mover` moves dead letters.
//! * [`journal`]: what Postgres has said of sources. [`recover`]: a Postgres that is older than that.
//! * [`demo`]: the same over the example, with a Postgres of its own.
//! * [`check`], [`init`], [`show`]: look at a pipeline, begin one, look into one.
//! * [`letters`]: dead letters, and what is done with them.
//! * [`views`]: the metric views. [`verify`]: audit a pipeline. [`trace`]: the story of a line.
//! * [`arroyo`]: the transform on an Arroyo cluster.
//! * [`output`]: tables, CSV and JSON on stdout, which nothing else writes to.
//! * [`generate`]: example data of any size.

pub mod cli;
pub mod settings;
pub mod data_dir;
pub mod run;
pub mod stages;
pub mod journal;
pub mod recover;
mod spool;
mod intake;
mod errands;
pub mod backups;
pub mod restore;
pub mod reloads;
pub mod http;
pub mod tokens;
mod refresher;
mod mover;
mod watch;
pub mod demo;
pub mod check;
pub mod status;
pub mod verify;
pub mod init;
pub mod show;
pub mod letters;
pub mod views;
pub mod trace;
pub mod arroyo;
pub mod output;
pub mod generate;

/// Why a command did not do what was asked, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// 1: it failed. 2: it was asked wrongly, or the manifest is faulty. 3: too many dead letters. 4: something was left
    /// in the landing folder. 5: every line of a file was rejected.
    pub code: u8,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of the work itself.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// A fault in what the user gave.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Many messages name their cause already.
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self::new(message)
    }
}
