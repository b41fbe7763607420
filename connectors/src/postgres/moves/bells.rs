//! What rings between those who ask for moves and those who make them, where both are in one process: neither has to
//! look again and again. Across processes there is no bell, and everybody looks now and then.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::super::Postgres;

/// The bells of a process.
#[derive(Default)]
pub(in super::super) struct Bells {
    /// Rings when a move or a job was asked for.
    asked: Notify,
    /// Rings when moves were made.
    made: Notify,
}

impl Bells {
    pub(super) fn ring_asked(&self) {
        self.asked.notify_one();
    }

    pub(super) fn ring_made(&self) {
        self.made.notify_waiters();
    }
}

impl Postgres {
    /// Resolves when somebody of this process has asked for a move since it resolved last. For one who makes them.
    pub async fn moves_asked(&self) {
        self.inner.bells.asked.notified().await;
    }

    /// Resolves when moves are made in this process, after it was called.
    pub fn moves_made(&self) -> Notified<'_> {
        self.inner.bells.made.notified()
    }
}
