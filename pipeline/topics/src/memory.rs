//! Topics in memory, for simulations and tests.
//!
//! They keep the contract of [`Topics`] and outlive the processes that use them: clones share one log, so that one
//! process can end and another can continue. A [`Style`] decides what the contract leaves open.
//!
//! Outside influences have methods of their own: [`Memory::lose_tail`] stands for a power failure, [`Memory::expire`]
//! for retention, and [`Memory::make_anew`] for a user who recreates a topic.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::record::Batch;
use tokio::sync::Notify;

use crate::contract::check_size;
use crate::place::place;
use crate::{Durability, ErrorKind, FetchResult, Offset, TopicError, Topics, check_name};

/// Topics in memory. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    style: Style,
    partitions: Arc<Mutex<BTreeMap<(String, u32), PartitionLog>>>,
}

/// The behaviors that the contract leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A log of the pipeline's own, like the embedded one: it leaves out offsets that readers have passed, and drops
    /// what it may drop.
    #[default]
    Log,
    /// A topic of a Fluvio cluster. A new one begins at 0 wherever its readers stand. One that lost its tail gives
    /// offsets out again. Only the cluster's retention drops records.
    Fluvio,
}

/// One partition.
#[derive(Debug)]
struct PartitionLog {
    start: Offset,
    /// Batches with the offset of their first record. Offsets may be left out between two batches.
    batches: VecDeque<(Offset, Batch)>,
    /// The offset that the next record gets.
    end: Offset,
    /// Wakes tasks that wait for the end to change, in the order in which they came.
    grown: Arc<Notify>,
}

impl Memory {
    /// Empty topics of a style.
    pub fn new(style: Style) -> Self {
        Self { style, ..Self::default() }
    }

    /// The style of these topics.
    pub fn style(&self) -> Style {
        self.style
    }

    /// The partitions that were created, by topic, in order.
    pub fn partitions(&self) -> Vec<(String, u32)> {
        self.locked().keys().cloned().collect()
    }

    /// Drops the last `batches` batches of a partition, as if they had never been synced to disk.
    pub fn lose_tail(&self, topic: &str, partition: u32, batches: usize) -> Result<(), TopicError> {
        self.with(topic, partition, |log| {
            for _ in 0..batches {
                let Some((base, _)) = log.batches.pop_back() else { break };
                log.end = base;
            }
            log.grown.notify_waiters();
        })
    }

    /// Drops the records before `before`, read or not, as retention does.
    pub fn expire(&self, topic: &str, partition: u32, before: Offset) -> Result<(), TopicError> {
        self.with(topic, partition, |log| {
            log.trim(before);
            let before = before.min(log.end);
            if let Some((base, batch)) = log.batches.front_mut()
                && *base < before
            {
                batch.skip_front((before - *base) as usize);
                *base = before;
            }
            log.start = before.max(log.start);
        })
    }

    /// Deletes a partition and creates it again: it is empty, and its next record gets offset 0.
    pub fn make_anew(&self, topic: &str, partition: u32) -> Result<(), TopicError> {
        self.with(topic, partition, |log| {
            log.batches.clear();
            (log.start, log.end) = (0, 0);
            log.grown.notify_waiters();
        })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<(String, u32), PartitionLog>> {
        // Every change is made as a whole, so a panic elsewhere leaves none half-done.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        topic: &str,
        partition: u32,
        work: impl FnOnce(&mut PartitionLog) -> T,
    ) -> Result<T, TopicError> {
        let mut partitions = self.locked();
        let log = partitions.get_mut(&(topic.to_owned(), partition));
        log.map(work).ok_or_else(|| TopicError::unknown(topic, partition))
    }
}

impl PartitionLog {
    fn extend(&mut self, end: Offset) {
        self.end = end;
        self.grown.notify_waiters();
    }

    fn append(&mut self, batch: &Batch) -> Offset {
        let base = self.end;
        if !batch.is_empty() {
            self.batches.push_back((base, batch.clone()));
            self.extend(base + batch.len() as u64);
        }
        base
    }

    fn read(&self, from: Offset) -> Result<Option<FetchResult>, (ErrorKind, &'static str)> {
        let (start, end) = (self.start, self.end);
        if from < start {
            return Err((ErrorKind::BehindStart { start }, "is before the start"));
        }
        if from > end {
            return Err((ErrorKind::BeyondEnd { end }, "is beyond the end"));
        }
        if from == end {
            return Ok(None);
        }
        let first = self.batches.partition_point(|(base, batch)| base + batch.len() as u64 <= from);
        let Some((base, batch)) = self.batches.get(first) else {
            return Ok(Some(FetchResult { batch: Batch::default(), base: end, next: end }));
        };
        let mut batch = batch.clone();
        let next = base + batch.len() as u64;
        batch.skip_front(from.saturating_sub(*base) as usize);
        Ok(Some(FetchResult { batch, base: from.max(*base), next }))
    }

    fn trim(&mut self, before: Offset) {
        while let Some((base, batch)) = self.batches.front() {
            let next = base + batch.len() as u64;
            if next > before {
                break;
            }
            self.start = next;
            self.batches.pop_front();
        }
    }

    /// The bytes stored from an offset on. A batch that the offset divides counts by the share of its records.
    fn bytes_after(&self, offset: Offset) -> u64 {
        let after = |(base, batch): &(Offset, Batch)| {
            let (records, bytes) = (batch.len() as u64, batch.as_bytes().len() as u64);
            let left = (base + records).saturating_sub(offset).min(records);
            (bytes * left).div_ceil(records)
        };
        self.batches.iter().map(after).sum()
    }
}

impl Topics for Memory {
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, TopicError> {
        check_name(topic)?;
        let mut partitions = self.locked();
        let first = if self.style == Style::Log { next } else { 0 };
        let log = partitions.entry((topic.to_owned(), partition)).or_insert_with(|| PartitionLog {
            start: first,
            batches: VecDeque::new(),
            end: first,
            grown: Arc::default(),
        });
        if log.end < first {
            log.extend(first);
        }
        Ok(next.clamp(log.start, log.end))
    }

    async fn list(&self) -> Result<Vec<String>, TopicError> {
        let mut names: Vec<_> = self.locked().keys().map(|(topic, _)| topic.clone()).collect();
        names.dedup();
        Ok(names)
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        _durability: Durability,
    ) -> Result<Offset, TopicError> {
        check_size(topic, batch)?;
        self.with(topic, partition, |log| log.append(batch))
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> Result<Option<FetchResult>, TopicError> {
        self.with(topic, partition, |log| log.read(from))?.map_err(|(kind, what)| {
            TopicError::new(kind, format!("{}: offset {from} {what}", place(topic, partition)))
        })
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, TopicError> {
        let grown = self.with(topic, partition, |log| log.grown.clone())?;
        loop {
            let notified = grown.notified();
            let end = self.end(topic, partition).await?;
            // If the end is before `beyond`, records were lost. Waiting until as many have come again would be of no
            // use.
            if end != beyond {
                return Ok(end);
            }
            notified.await;
        }
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, TopicError> {
        self.with(topic, partition, |log| log.start)
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, TopicError> {
        self.with(topic, partition, |log| log.end)
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, TopicError> {
        self.with(topic, partition, |log| log.bytes_after(offset))
    }

    async fn trim(&self, topic: &str, partition: u32, before: Offset) -> Result<(), TopicError> {
        self.with(topic, partition, |log| {
            if self.style == Style::Log {
                log.trim(before)
            }
        })
    }
}
