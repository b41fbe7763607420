//! What other processes ask of a running pipeline by way of Postgres: commands write it there, and whoever holds the
//! leases does it. Restores and reloads are here, moves of dead letters in [`mover`].

use std::time::Duration;

use tidegate_connectors::postgres::Postgres;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::intake::Intake;
use crate::settings::Settings;
use crate::{mover, reloads, restore};

/// How often it is looked whether a restore or a reload is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What errands need.
#[derive(Clone)]
pub(crate) struct Errands {
    /// The pipeline.
    pub(crate) settings: Settings,
    /// Its database, with its leases.
    pub(crate) postgres: Postgres,
    /// The way in.
    pub(crate) intake: Intake,
}

/// Errands that are being run; they end with this.
pub(crate) struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Errands {
    /// Does what is asked for until now, as far as that can be done at once.
    pub(crate) async fn round(&self) {
        self.take_up().await;
        mover::look(&self.postgres).await;
    }

    /// The same for restores and reloads alone: what a source can do that shares the pipeline with others.
    pub(crate) async fn take_up(&self) {
        let _ = self.restores_and_reloads().await; // said when it is tried again
    }

    /// Takes up the restores and reloads that were asked for until now. Gives why one waits.
    async fn restores_and_reloads(&self) -> Option<String> {
        let reloads = reloads::take_up(&self.settings, &self.postgres, &self.intake).await;
        let restores = restore::take_up(&self.settings, &self.postgres, &self.intake).await;
        reloads.and(restores).err().map(|error| error.to_string())
    }

    /// Looks for both again and again. Moves have a task of their own, for a restore may be long.
    pub(crate) fn run(self) -> Running {
        Running(tokio::spawn(async move {
            let mut told = None;
            loop {
                let waits = self.restores_and_reloads().await;
                if let Some(why) = waits.as_ref().filter(|_| waits != told) {
                    warn!("a restore or reload that was asked for waits: {why}");
                }
                told = waits;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }))
    }
}
