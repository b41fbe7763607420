//! Topics, sink and registry as a process sees them: through its link to the world.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_core::contract::{CommitReport, ConsumerOffset, Delivery, Error, Offsets, Sink};
use tidegate_core::ledger::Chunk;
use tidegate_core::record::Batch;
use tidegate_core::registry::{Arrival, Registration, Registry};
use tidegate_core::shape::Shape;
use tidegate_core::split::SkippedLines;
use tidegate_topics as topics;
use tidegate_topics::memory::Style;
use tidegate_topics::{Durability, ErrorKind, FetchResult, Offset};
use tokio::time::Instant;
use topics::Topics as _;

use crate::model::{Batch as SinkBatch, Memory};
use crate::world::{Call, Fault, Injected, Link, Sent};

/// The topics of a data directory, or of a cluster.
///
/// Those of a cluster are as Fluvio's: all processes share them, also the ones that were taken over; an answer to
/// an append may be lost, or some of its records; batches come back cut otherwise than they were appended; streams
/// stall, and go on when they are opened anew; retention takes what nobody has read; and a topic that has lost its
/// end gives the same offsets out again.
pub(crate) struct Topics {
    link: Arc<Link>,
    log: topics::Memory,
    /// The topics that the sink reads.
    outputs: Vec<String>,
    /// Until when what stands on a partition does not show.
    stalled: Mutex<HashMap<(String, u32), Instant>>,
}

impl Topics {
    pub(crate) fn new(link: Arc<Link>, log: topics::Memory) -> Self {
        let manifest = &link.world.manifest;
        let outputs = manifest.topics().split_off(manifest.datasets.len());
        Self { link, log, outputs, stalled: Mutex::default() }
    }

    fn stalled_until(&self, topic: &str, partition: u32) -> Option<Instant> {
        let stalled = self.stalled.lock().expect("a seed ends with its first panic");
        let until = stalled.get(&(topic.to_owned(), partition)).copied();
        until.filter(|until| *until > Instant::now())
    }

    fn stall(&self, topic: &str, partition: u32) {
        let millis = self.link.world.state().rng.u64(1..20_000);
        let until = Instant::now() + Duration::from_millis(millis);
        let mut stalled = self.stalled.lock().expect("a seed ends with its first panic");
        stalled.insert((topic.to_owned(), partition), until);
    }

    /// Appends a batch. What the sink will read is noted, so that it can be sent again.
    async fn put(&self, topic: &str, partition: u32, batch: &Batch) -> Result<Offset, topics::TopicError> {
        let base = self.log.append(topic, partition, batch, Durability::Buffered).await?;
        if self.outputs.iter().any(|output| output == topic) {
            let sent = Sent { topic: topic.to_owned(), partition, batch: batch.clone() };
            self.link.world.state().sent.push(sent);
        }
        Ok(base)
    }

    /// Appends the first records of a batch.
    async fn put_front(&self, topic: &str, partition: u32, batch: &Batch) -> Result<(), topics::TopicError> {
        let count = self.link.world.state().rng.usize(0..=batch.len());
        let mut front = Batch::default();
        batch.iter().take(count).for_each(|record| front.push(record.key, record.value));
        self.put(topic, partition, &front).await.map(drop)
    }

    /// Does once more what a transform did, from one of its batches on: as one whose worker has died, and which goes
    /// on where it stood when it last noted that.
    pub(crate) async fn send_again(&self, from: usize) {
        let sent = self.link.world.state().sent[from..].to_vec();
        let mut records = 0;
        for Sent { topic, partition, batch } in &sent {
            // Where a topic was not made yet nobody has read it either.
            if self.log.append(topic, *partition, batch, Durability::Buffered).await.is_ok() {
                records += batch.len() as u64;
            }
        }
        let state = &mut *self.link.world.state();
        state.stats.sent_again += records;
        state.stats.all_sent_again += u64::from(from == 0 && records > 0);
        let process = self.link.process;
        state.trace.note("again", &[process, records], || {
            format!("{process:>4} sends {records} records again, from batch {from} on")
        });
    }

    /// Does to a partition of the cluster what befalls it, whoever uses it: to this one, or to any.
    async fn befall(&self, fault: Fault, topic: &str, partition: u32) -> Result<(), topics::TopicError> {
        let mut chosen = (topic.to_owned(), partition);
        {
            let rng = &mut self.link.world.state().rng;
            if rng.bool() {
                chosen = rng.choice(self.log.partitions()).expect("this one is there");
            }
        }
        let (topic, partition) = chosen;
        let (start, end) = (self.log.start(&topic, partition).await?, self.log.end(&topic, partition).await?);
        let state = &mut *self.link.world.state();
        match fault {
            Fault::Expires => {
                let before = if state.rng.bool() { end } else { state.rng.u64(start..=end) };
                self.log.expire(&topic, partition, before)?;
            }
            Fault::LosesTail => self.log.lose_tail(&topic, partition, state.rng.usize(1..4))?,
            _ => self.log.make_anew(&topic, partition)?,
        }
        state.trace.note(&topic, &[start, end], || {
            format!("     {fault:?}: {topic}, partition {partition}, which went from {start} to {end}")
        });
        Ok(())
    }

    /// What stands at the offset.
    async fn found(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> Result<Option<FetchResult>, topics::TopicError> {
        let found = self.log.read(topic, partition, from).await;
        match found {
            Ok(Some(fetched)) if self.log.style() == Style::Fluvio => {
                self.cut_otherwise(topic, partition, fetched).await.map(Some)
            }
            Err(error) => {
                let stats = &mut self.link.world.state().stats;
                match error.kind() {
                    ErrorKind::BehindStart { .. } => stats.behind_start += 1,
                    ErrorKind::BeyondEnd { .. } => stats.beyond_end += 1,
                    _ => {}
                }
                Err(error)
            }
            found => found,
        }
    }

    /// The same, cut as a fetch of the cluster happens to cut it: one record, some, or all that are there.
    async fn cut_otherwise(
        &self,
        topic: &str,
        partition: u32,
        fetched: FetchResult,
    ) -> Result<FetchResult, topics::TopicError> {
        let base = fetched.base;
        let all = self.log.end(topic, partition).await? - base;
        let count = {
            let state = &mut *self.link.world.state();
            let count = [1, state.rng.u64(1..=all), all][state.rng.usize(0..3)];
            state.stats.cut_otherwise += u64::from(count != fetched.batch.len() as u64);
            count
        };
        let (mut batch, mut next) = (Batch::default(), base);
        while let Some(more) = self.log.read(topic, partition, next).await?.filter(|_| next < base + count) {
            let records = more.batch.iter().take((base + count - next) as usize);
            records.for_each(|record| batch.push(record.key, record.value));
            next = more.next.min(base + count);
        }
        Ok(FetchResult { batch, base, next })
    }

    /// A batch that stands on the topic.
    async fn earlier(&self, topic: &str, partition: u32) -> Result<Option<Batch>, topics::TopicError> {
        let (start, end) = (self.log.start(topic, partition).await?, self.log.end(topic, partition).await?);
        if start == end {
            return Ok(None);
        }
        let from = self.link.world.state().rng.u64(start..end);
        let fetched = topics::Topics::read(&self.log, topic, partition, from).await?;
        Ok(fetched.map(|fetched| fetched.batch))
    }
}

impl topics::Topics for Topics {
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, topics::TopicError> {
        self.link.call(Call::Ask, "create", self.log.create(topic, partition, next)).await
    }

    async fn list(&self) -> Result<Vec<String>, topics::TopicError> {
        self.log.list().await
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> Result<Offset, topics::TopicError> {
        let name = format!("append {} to {topic}", batch.len());
        let add = async |batch: &Batch| self.log.append(topic, partition, batch, durability).await;
        match self.link.meet(Call::Append, &name).await {
            Some(Fault::Fails) => return Err(Injected::injected()),
            Some(Fault::FailsLate) => {
                self.put(topic, partition, batch).await?;
                return Err(Injected::injected());
            }
            Some(Fault::FailsWithin) => {
                self.put_front(topic, partition, batch).await?;
                return Err(Injected::injected());
            }
            Some(Fault::Drops) => return self.log.end(topic, partition).await,
            Some(Fault::Doubles) => drop(add(batch).await?),
            Some(Fault::Repeats) => {
                if let Some(earlier) = self.earlier(topic, partition).await? {
                    add(&earlier).await?;
                }
            }
            Some(Fault::Resends) => {
                let from = self.link.world.state().some_sent();
                self.send_again(from).await;
            }
            Some(Fault::CrashesWithin) => {
                self.put_front(topic, partition, batch).await?;
                self.link.end().await;
            }
            Some(Fault::CrashesLate) => {
                self.put(topic, partition, batch).await?;
                self.link.end().await;
            }
            Some(fault @ (Fault::Expires | Fault::LosesTail | Fault::MadeAnew)) => {
                self.befall(fault, topic, partition).await?;
            }
            _ => {}
        }
        self.put(topic, partition, batch).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> Result<Option<FetchResult>, topics::TopicError> {
        if self.stalled_until(topic, partition).is_some() {
            return Ok(None);
        }
        let Some(fetched) = self.found(topic, partition, from).await? else { return Ok(None) };
        let name = format!("read {} at {from} of {topic}", fetched.batch.len());
        match self.link.meet(Call::Read, &name).await {
            Some(Fault::Fails) => return Err(Injected::injected()),
            Some(Fault::Stalls) => {
                self.stall(topic, partition);
                return Ok(None);
            }
            Some(Fault::Damages) => {
                let kind = ErrorKind::Corrupt { resume_at: fetched.next };
                return Err(topics::TopicError::new(kind, "injected"));
            }
            Some(fault @ (Fault::Expires | Fault::LosesTail | Fault::MadeAnew)) => {
                self.befall(fault, topic, partition).await?;
                return self.found(topic, partition, from).await;
            }
            _ => {}
        }
        Ok(Some(fetched))
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, topics::TopicError> {
        if let Some(until) = self.stalled_until(topic, partition) {
            tokio::time::sleep_until(until).await;
        }
        self.log.wait(topic, partition, beyond).await
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, topics::TopicError> {
        self.log.start(topic, partition).await
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, topics::TopicError> {
        self.link.count().await;
        self.log.end(topic, partition).await
    }

    async fn bytes_after(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
    ) -> Result<u64, topics::TopicError> {
        self.log.bytes_after(topic, partition, offset).await
    }

    async fn trim(&self, topic: &str, partition: u32, before: Offset) -> Result<(), topics::TopicError> {
        self.log.trim(topic, partition, before).await
    }
}

/// The database.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) link: Arc<Link>,
    pub(crate) memory: Memory,
}

impl Database {
    /// As a process begins: it takes the leases over, and makes the view its own.
    pub(crate) async fn begin(&self) -> Result<(), Error> {
        let take_over = async {
            self.memory.take_over();
            Ok::<_, Error>(())
        };
        self.link.call(Call::Commit, "take over", take_over).await?;
        self.link.call(Call::Commit, "prepare", async { self.memory.prepare() }).await
    }
}

impl Sink for Database {
    type Batch = SinkBatch;

    fn read(&self, delivery: &Delivery) -> SinkBatch {
        self.memory.read(delivery)
    }

    async fn apply(&self, batch: &SinkBatch) -> Result<CommitReport, Error> {
        self.link.call(Call::Apply, "apply", self.memory.apply(batch)).await
    }

    /// Dataset by dataset, so that something can go wrong between two of its transactions.
    async fn heal(&self) -> Result<u64, Error> {
        self.link.world.state().outside_is_seen = true;
        let mut total = 0;
        loop {
            let mut healed = 0;
            for dataset in 0..self.link.world.manifest.datasets.len() {
                let heal = self.memory.heal_dataset(dataset);
                healed += self.link.call(Call::Apply, "heal", heal).await?;
            }
            total += healed;
            if healed == 0 {
                return Ok(total);
            }
        }
    }

    async fn tidy(&self) -> Result<(), Error> {
        self.memory.tidy().await
    }

    async fn keys(
        &self,
        dataset: usize,
        limit: usize,
        learn: impl FnMut(&[u8]) + Send,
    ) -> Result<bool, Error> {
        self.link.call(Call::Ask, "ask for keys", self.memory.keys(dataset, limit, learn)).await
    }
}

impl Offsets for Database {
    async fn offsets(&self, reader: &str) -> Result<Vec<ConsumerOffset>, Error> {
        self.link.call(Call::Ask, "ask for offsets", self.memory.offsets(reader)).await
    }

    async fn store(&self, reader: &str, consumed: &[ConsumerOffset]) -> Result<(), Error> {
        self.link.call(Call::Commit, "store offsets", self.memory.store(reader, consumed)).await
    }
}

impl Registry for Database {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let register = self.memory.register(file);
        self.link.call(Call::Commit, &format!("register {}", file.name), register).await
    }

    async fn shape(&self, identity: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        self.link.call(Call::Ask, "ask for a shape", self.memory.shape(identity)).await
    }

    async fn finish(&self, source: u64, lines: u64, skipped: Option<&SkippedLines>) -> Result<(), Error> {
        let name = format!("finish {source} with {lines}");
        self.link.call(Call::Commit, &name, self.memory.finish(source, lines, skipped)).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let name = format!("which of {sources:?} are complete");
        self.link.call(Call::Commit, &name, self.memory.complete(sources)).await
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        let name = format!("how long the files of {sources:?} were");
        self.link.call(Call::Ask, &name, self.memory.files_read(sources)).await
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        let name = format!("await the file of {source}");
        self.link.call(Call::Commit, &name, self.memory.await_file(source)).await
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), Error> {
        self.memory.refuse_reload(reload, why).await
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        let name = format!("ask the ledger about {source}:{line}");
        self.link.call(Call::Ask, &name, self.memory.ledger_chunk(source, line)).await
    }
}
