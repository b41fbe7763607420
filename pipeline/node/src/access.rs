//! The parts of a node that other tasks of its process use: its topics and its ingest queue.

use std::sync::{Arc, PoisonError, RwLock};

use tidegate_topics::Broker;

use crate::ingest_queue::IngestQueue;

/// The parts of a running node that other tasks of its process use, such as an HTTP server.
#[derive(Default)]
pub struct Access {
    topics: RwLock<Option<Arc<Broker>>>,
    ingest_queue: RwLock<Option<IngestQueue>>,
}

impl Access {
    /// The topics; `None` until they are open.
    pub fn topics(&self) -> Option<Arc<Broker>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The queue for requests and uploads; `None` while the node starts or stops.
    pub fn ingest_queue(&self) -> Option<IngestQueue> {
        self.ingest_queue.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the ingest queue, so that no more requests enter.
    pub fn close(&self) {
        self.admit(None);
    }

    pub(crate) fn show(&self, topics: Arc<Broker>) {
        *self.topics.write().unwrap_or_else(PoisonError::into_inner) = Some(topics);
    }

    pub(crate) fn admit(&self, ingest_queue: Option<IngestQueue>) {
        *self.ingest_queue.write().unwrap_or_else(PoisonError::into_inner) = ingest_queue;
    }
}
