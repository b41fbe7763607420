//! Topics, sink and registry as a process sees them: through its link to the world.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_connectors::csv::{Arrival, Registry};
use tidegate_connectors::memory::{self, Batch as SinkBatch};
use tidegate_connectors::postgres::Registration;
use tidegate_core::contract::{Applied, Consumed, Delivery, Error, Offsets, Sink};
use tidegate_core::ledger::Chunk;
use tidegate_core::record::Batch;
use tidegate_topics::{self as topics, Durability, ErrorKind, Fetched, Offset};
use tokio::time::Instant;

use crate::world::{Call, Fault, Link};

/// The topics of a data directory.
pub(crate) struct Topics {
    pub(crate) link: Arc<Link>,
    pub(crate) log: topics::Memory,
    /// Until when what stands on a topic does not show.
    pub(crate) stalled: Mutex<HashMap<String, Instant>>,
}

impl Topics {
    fn stalled_until(&self, topic: &str) -> Option<Instant> {
        let stalled = self.stalled.lock().expect("a seed ends with its first panic");
        stalled.get(topic).copied().filter(|until| *until > Instant::now())
    }

    fn stall(&self, topic: &str) {
        let millis = self.link.world.state().rng.u64(1..20_000);
        let until = Instant::now() + Duration::from_millis(millis);
        let mut stalled = self.stalled.lock().expect("a seed ends with its first panic");
        stalled.insert(topic.to_owned(), until);
    }

    /// A batch that stands on the topic.
    async fn earlier(&self, topic: &str, partition: u32) -> Result<Option<Batch>, topics::Error> {
        let (start, end) = (self.log.start(topic, partition).await?, self.log.end(topic, partition).await?);
        if start == end {
            return Ok(None);
        }
        let from = self.link.world.state().rng.u64(start..end);
        let fetched = topics::Topics::read(&self.log, topic, partition, from).await?;
        Ok(fetched.map(|fetched| fetched.batch))
    }
}

use topics::Topics as _;

impl topics::Topics for Topics {
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<(), topics::Error> {
        self.link.call(Call::Ask, "create", self.log.create(topic, partition, next)).await
    }

    async fn list(&self) -> Result<Vec<String>, topics::Error> {
        self.log.list().await
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> Result<Offset, topics::Error> {
        let name = format!("append {} to {topic}", batch.len());
        let append = async |batch: &Batch| self.log.append(topic, partition, batch, durability).await;
        match self.link.meet(Call::Append, &name).await {
            Some(Fault::Fails) => return Err(crate::world::Injected::injected()),
            Some(Fault::FailsLate) => {
                append(batch).await?;
                return Err(crate::world::Injected::injected());
            }
            Some(Fault::Drops) => return self.log.end(topic, partition).await,
            Some(Fault::Doubles) => drop(append(batch).await?),
            Some(Fault::Repeats) => {
                if let Some(earlier) = self.earlier(topic, partition).await? {
                    append(&earlier).await?;
                }
            }
            Some(Fault::CrashesWithin | Fault::CrashesLate) => {
                append(batch).await?;
                self.link.end().await;
            }
            _ => {}
        }
        append(batch).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> Result<Option<Fetched>, topics::Error> {
        if self.stalled_until(topic).is_some() {
            return Ok(None);
        }
        let Some(fetched) = self.log.read(topic, partition, from).await? else { return Ok(None) };
        let name = format!("read {} at {from} of {topic}", fetched.batch.len());
        match self.link.meet(Call::Read, &name).await {
            Some(Fault::Fails) => return Err(crate::world::Injected::injected()),
            Some(Fault::Stalls) => {
                self.stall(topic);
                return Ok(None);
            }
            Some(Fault::Damages) => {
                let kind = ErrorKind::Corrupt { resume_at: fetched.next };
                return Err(topics::Error::new(kind, "injected"));
            }
            _ => {}
        }
        Ok(Some(fetched))
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, topics::Error> {
        if let Some(until) = self.stalled_until(topic) {
            tokio::time::sleep_until(until).await;
        }
        self.log.wait(topic, partition, beyond).await
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, topics::Error> {
        self.log.start(topic, partition).await
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, topics::Error> {
        self.link.count().await;
        self.log.end(topic, partition).await
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, topics::Error> {
        self.log.bytes_after(topic, partition, offset).await
    }

    async fn trim(&self, topic: &str, partition: u32, before: Offset) -> Result<(), topics::Error> {
        self.log.trim(topic, partition, before).await
    }
}

/// The database.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) link: Arc<Link>,
    pub(crate) memory: memory::Memory,
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

    async fn apply(&self, batch: &SinkBatch) -> Result<Applied, Error> {
        self.link.call(Call::Commit, "apply", self.memory.apply(batch)).await
    }

    /// Dataset by dataset, so that something can go wrong between two of its transactions.
    async fn heal(&self) -> Result<u64, Error> {
        self.link.world.state().outside_is_seen = true;
        let mut total = 0;
        loop {
            let mut healed = 0;
            for dataset in 0..self.link.world.manifest.datasets.len() {
                let heal = self.memory.heal_dataset(dataset);
                healed += self.link.call(Call::Commit, "heal", heal).await?;
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
    async fn offsets(&self, reader: &str) -> Result<Vec<Consumed>, Error> {
        self.link.call(Call::Ask, "ask for offsets", self.memory.offsets(reader)).await
    }

    async fn store(&self, reader: &str, consumed: &[Consumed]) -> Result<(), Error> {
        self.link.call(Call::Commit, "store offsets", self.memory.store(reader, consumed)).await
    }
}

impl Registry for Database {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let register = self.memory.register(file);
        self.link.call(Call::Commit, &format!("register {}", file.name), register).await
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        let name = format!("finish {source} with {lines}");
        self.link.call(Call::Commit, &name, self.memory.finish(source, lines)).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let name = format!("which of {sources:?} are complete");
        self.link.call(Call::Commit, &name, self.memory.complete(sources)).await
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        let name = format!("ask the ledger about {source}:{line}");
        self.link.call(Call::Ask, &name, self.memory.ledger_chunk(source, line)).await
    }
}
