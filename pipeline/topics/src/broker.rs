//! The topics that the manifest chose.

use tidegate_core::record::Batch;

use crate::{Durability, Embedded, Error, Fetched, Fluvio, Offset, Topics};

/// The embedded log, or a Fluvio cluster.
pub enum Broker {
    /// Segment files in the data directory.
    Embedded(Embedded),
    /// Topics of a cluster.
    Fluvio(Fluvio),
}

/// Asks whichever it is.
macro_rules! ask {
    ($broker:expr, $topics:ident => $question:expr) => {
        match $broker {
            Broker::Embedded($topics) => $question.await,
            Broker::Fluvio($topics) => $question.await,
        }
    };
}

impl Topics for Broker {
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, Error> {
        ask!(self, topics => topics.create(topic, partition, next))
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        ask!(self, topics => topics.list())
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> Result<Offset, Error> {
        ask!(self, topics => topics.append(topic, partition, batch, durability))
    }

    async fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Option<Fetched>, Error> {
        ask!(self, topics => topics.read(topic, partition, from))
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, Error> {
        ask!(self, topics => topics.wait(topic, partition, beyond))
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, Error> {
        ask!(self, topics => topics.start(topic, partition))
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, Error> {
        ask!(self, topics => topics.end(topic, partition))
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, Error> {
        ask!(self, topics => topics.bytes_after(topic, partition, offset))
    }

    async fn trim(&self, topic: &str, partition: u32, before: Offset) -> Result<(), Error> {
        ask!(self, topics => topics.trim(topic, partition, before))
    }
}
