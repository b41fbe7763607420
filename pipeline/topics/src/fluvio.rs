//! Topics on a Fluvio cluster.
//!
//! Of the client library this uses the connections, the requests and the batches, not its producer and its
//! consumer. Those handle records one by one, keep what failed in queues of their own, and a consumer's
//! stream may stall for ever before the end. Here an append is a request that is answered when the records
//! are in the topic, and a read is a request for what follows an offset. So nothing is under way that
//! nobody waits for, and a request that is not answered in time fails.
//!
//! After a failure the connection is dropped, and the next call makes a new one. Every failure that a running
//! cluster would not give may pass: see [`Error::retryable`].
//!
//! # Layout
//!
//! - `cluster`: the controller, which topics there are, and which SPU serves a partition.
//! - `partition`: appending, reading and waiting.
//! - `bell`: what wakes a reader at the end.
//! - `records`: batches to and from the form in which Fluvio stores them.
//! - `link`: one connection; `connector`: how it is made, encrypted or not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fluvio::metadata::topic::TopicSpec;
use tidegate_core::manifest;
use tidegate_core::record::Batch;

use crate::{Durability, Error, ErrorKind, Fetched, MAX_BATCH_BYTES, Offset, Topics, check_name};
use cluster::Cluster;
use partition::{Bounds, Partition};

mod cluster;
mod partition;
mod bell;
mod records;
mod link;
mod connector;

/// How long a new partition may take until an SPU serves it.
const SERVED_LIMIT: Duration = Duration::from_secs(10);

/// A pause before a new partition is asked for again.
const SERVED_PAUSE: Duration = Duration::from_millis(50);

/// Topics on a Fluvio cluster.
///
/// # What is weaker than in the embedded log
///
/// - Offsets are never left out: [`Topics::create`] cannot move the end, so it gives the end to readers that
///   would stand beyond it.
/// - A batch of more than 4 MiB is appended in several requests, and another process may append between them.
/// - An append that was given up for want of an answer may still take effect later, behind others.
/// - [`Topics::trim`] does nothing: the retention of the topic drops what is old.
/// - Whatever [`Durability`] is asked for: acknowledged is what the SPU, and those of its replicas that must,
///   have handed to their operating systems. None of them syncs its disk.
pub struct Fluvio {
    cluster: Arc<Cluster>,
    partitions: Mutex<HashMap<(String, u32), Arc<Partition>>>,
}

impl Fluvio {
    /// Topics on the cluster that the manifest names; `base` is the manifest's folder. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unfit`] where the profile is not there, or certificates cannot be read.
    pub fn open(options: &manifest::Fluvio, base: &Path) -> Result<Self, Error> {
        Ok(Self { cluster: Arc::new(Cluster::open(options, base)?), partitions: Mutex::default() })
    }

    /// The partition, if it is there.
    async fn partition(&self, topic: &str, number: u32) -> Result<Arc<Partition>, Error> {
        let key = (topic.to_owned(), number);
        let known = self.partitions.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let unknown = |what: String| Err(Error::new(ErrorKind::UnknownTopic, what));
        let place = format!("fluvio at {}: topic '{topic}', partition {number}", self.cluster);
        match self.cluster.topic(topic).await? {
            None => unknown(format!("{place}, does not exist; create it first")),
            Some(spec) if number >= spec.partitions() => {
                unknown(format!("{place}, does not exist: there are {}", spec.partitions()))
            }
            Some(spec) => Ok(self.remember(key, &spec)),
        }
    }

    fn remember(&self, key: (String, u32), spec: &TopicSpec) -> Arc<Partition> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let (topic, number) = key.clone();
        let make = || {
            let compression = self.cluster.compression(spec);
            Arc::new(Partition::new(Arc::clone(&self.cluster), topic, number, compression))
        };
        Arc::clone(partitions.entry(key).or_insert_with(make))
    }

    /// The bounds of a partition that may be so new that no SPU serves it yet.
    async fn served(&self, partition: &Partition) -> Result<Bounds, Error> {
        let until = Instant::now() + SERVED_LIMIT;
        loop {
            match partition.bounds().await {
                Err(error) if error.retryable() && Instant::now() < until => {
                    tokio::time::sleep(SERVED_PAUSE).await;
                }
                bounds => return bounds,
            }
        }
    }
}

impl Topics for Fluvio {
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, Error> {
        check_name(topic)?;
        let spec = self.cluster.ensure(topic).await?;
        if partition >= spec.partitions() {
            let message = format!("topic '{topic}' has {} partitions, not {partition}", spec.partitions());
            return Err(Error::new(ErrorKind::UnknownTopic, message));
        }
        let partition = self.remember((topic.to_owned(), partition), &spec);
        let Bounds { start, end } = self.served(&partition).await?;
        Ok(next.min(end).max(start))
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        self.cluster.names().await
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        _durability: Durability,
    ) -> Result<Offset, Error> {
        if batch.as_bytes().len() > MAX_BATCH_BYTES {
            let message = format!("topic '{topic}': the batch is larger than {MAX_BATCH_BYTES} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.partition(topic, partition).await?.append(batch).await
    }

    async fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Option<Fetched>, Error> {
        self.partition(topic, partition).await?.read(from).await
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, Error> {
        self.partition(topic, partition).await?.wait(beyond).await
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, Error> {
        Ok(self.partition(topic, partition).await?.bounds().await?.start)
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, Error> {
        Ok(self.partition(topic, partition).await?.bounds().await?.end)
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, Error> {
        let partition = self.partition(topic, partition).await?;
        let Bounds { start, end } = partition.bounds().await?;
        Ok(partition.bytes_between(offset.max(start), end))
    }

    async fn trim(&self, topic: &str, partition: u32, _before: Offset) -> Result<(), Error> {
        self.partition(topic, partition).await.map(drop)
    }
}
