//! Topics on a Fluvio cluster.
//!
//! This module uses the connections, requests and batches of the client library, not its producer and consumer. Those
//! handle records one by one and keep failed records in queues of their own, and a consumer's stream may stall for
//! ever before the end. Here an append is a request that is answered when the records are in the topic, and a read is
//! a request for the records from an offset on. No work is in flight without a caller that waits for it, and a
//! request that is not answered in time fails.
//!
//! After a failure the connection is dropped, and the next call opens a new one. A failure that a running cluster
//! would not cause is retryable: see [`TopicError::retryable`].
//!
//! # Layout
//!
//! - `cluster`: the controller, which topics there are, and which SPU serves a partition.
//! - `partition`: append, read and wait.
//! - `append_notifier`: the notification that wakes a reader at the end.
//! - `records`: batches to and from Fluvio's storage format.
//! - `link`: one connection; `connector`: how connections are made, encrypted or not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fluvio::metadata::topic::TopicSpec;
use tidegate_core::manifest;
use tidegate_core::record::Batch;

use crate::contract::check_size;
use crate::place::place;
use crate::{Durability, ErrorKind, FetchResult, Offset, TopicError, Topics, check_name};
use cluster::Cluster;
use partition::{Bounds, Partition};

mod cluster;
mod partition;
mod append_notifier;
mod records;
mod link;
mod connector;

/// How long a new partition may take until an SPU serves it.
const SERVED_LIMIT: Duration = Duration::from_secs(10);

/// The pause before a new partition is asked for again.
const SERVED_PAUSE: Duration = Duration::from_millis(50);

/// Topics on a Fluvio cluster.
///
/// # Weaker than the embedded log
///
/// - Offsets are never left out: [`Topics::create`] cannot move the end, so it returns the end for a reader that
///   would be beyond it.
/// - A batch of more than 4 MiB is appended in several requests, and another process may append between them.
/// - An append that timed out may still be applied later, after other appends.
/// - [`Topics::trim`] does nothing: the topic's retention drops old records.
/// - [`Durability`] makes no difference. An append is acknowledged when the SPU and the required replicas have handed
///   it to their operating systems. None of them syncs its disk.
pub struct Fluvio {
    cluster: Arc<Cluster>,
    partitions: Mutex<HashMap<(String, u32), Arc<Partition>>>,
}

impl Fluvio {
    /// Topics on the cluster that the manifest names. `base` is the manifest's folder. Does not connect yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unfit`] if the profile does not exist, or if certificates cannot be read.
    pub fn open(options: &manifest::FluvioOptions, base: &Path) -> Result<Self, TopicError> {
        Ok(Self { cluster: Arc::new(Cluster::open(options, base)?), partitions: Mutex::default() })
    }

    /// The partition, if it exists.
    async fn partition(&self, topic: &str, number: u32) -> Result<Arc<Partition>, TopicError> {
        let key = (topic.to_owned(), number);
        let known = self.partitions.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let unknown = |what: String| Err(TopicError::new(ErrorKind::UnknownTopic, what));
        let place = format!("fluvio at {}: {}", self.cluster, place(topic, number));
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

    /// The bounds of a partition. The partition may be so new that no SPU serves it yet: the request is then retried
    /// for up to [`SERVED_LIMIT`].
    async fn served(&self, partition: &Partition) -> Result<Bounds, TopicError> {
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
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, TopicError> {
        check_name(topic)?;
        let spec = self.cluster.ensure(topic).await?;
        if partition >= spec.partitions() {
            let message = format!("topic '{topic}' has {} partitions, not {partition}", spec.partitions());
            return Err(TopicError::new(ErrorKind::UnknownTopic, message));
        }
        let partition = self.remember((topic.to_owned(), partition), &spec);
        let Bounds { start, end } = self.served(&partition).await?;
        Ok(next.min(end).max(start))
    }

    async fn list(&self) -> Result<Vec<String>, TopicError> {
        self.cluster.names().await
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        _durability: Durability,
    ) -> Result<Offset, TopicError> {
        check_size(topic, batch)?;
        self.partition(topic, partition).await?.append(batch).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> Result<Option<FetchResult>, TopicError> {
        self.partition(topic, partition).await?.read(from).await
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, TopicError> {
        self.partition(topic, partition).await?.wait(beyond).await
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, TopicError> {
        Ok(self.partition(topic, partition).await?.bounds().await?.start)
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, TopicError> {
        Ok(self.partition(topic, partition).await?.bounds().await?.end)
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, TopicError> {
        let partition = self.partition(topic, partition).await?;
        let Bounds { start, end } = partition.bounds().await?;
        Ok(partition.bytes_between(offset.max(start), end))
    }

    async fn trim(&self, topic: &str, partition: u32, _before: Offset) -> Result<(), TopicError> {
        self.partition(topic, partition).await.map(drop)
    }
}
