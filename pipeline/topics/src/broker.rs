//! The topics that the manifest chose.

use tidegate_core::record::Batch;

use crate::{Durability, Embedded, FetchResult, Fluvio, Memory, Offset, TopicError, Topics};

/// The embedded log, a Fluvio cluster, or memory.
pub enum Broker {
    /// Segment files in the data directory.
    Embedded(Embedded),
    /// Topics of a cluster.
    Fluvio(Fluvio),
    /// Topics in memory, for tests.
    Memory(Memory),
}

/// Defines methods that call the backend which the manifest chose.
macro_rules! forward {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        $(async fn $method(&self, $($argument: $kind),*) -> Result<$answer, TopicError> {
            match self {
                Self::Embedded(topics) => topics.$method($($argument),*).await,
                Self::Fluvio(topics) => topics.$method($($argument),*).await,
                Self::Memory(topics) => topics.$method($($argument),*).await,
            }
        })+
    };
}

impl Topics for Broker {
    forward! {
        create(topic: &str, partition: u32, next: Offset) -> Offset;
        list() -> Vec<String>;
        append(topic: &str, partition: u32, batch: &Batch, durability: Durability) -> Offset;
        read(topic: &str, partition: u32, from: Offset) -> Option<FetchResult>;
        wait(topic: &str, partition: u32, beyond: Offset) -> Offset;
        start(topic: &str, partition: u32) -> Offset;
        end(topic: &str, partition: u32) -> Offset;
        bytes_after(topic: &str, partition: u32, offset: Offset) -> u64;
        trim(topic: &str, partition: u32, before: Offset) -> ();
    }
}
