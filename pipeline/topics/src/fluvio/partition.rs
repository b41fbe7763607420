//! One partition of a topic: its connections, and what is asked on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::{RawRecords, RecordSet};
use fluvio::{Compression, Isolation};
use fluvio_spu_schema::fetch::{FetchPartition, FetchRequest, FetchableTopic};
use fluvio_spu_schema::produce::{DefaultPartitionRequest, DefaultProduceRequest, DefaultTopicRequest};
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use tidegate_core::record::Batch;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::bell::Bell;
use super::cluster::Cluster;
use super::link::{Failure, Link};
use super::records::{self, Decoded, RECORD_BYTES_MAX};
use crate::{Error, ErrorKind, Fetched, Offset};

/// How long the SPU may wait for its replicas before it acknowledges records.
const REPLICAS_LIMIT: Duration = Duration::from_secs(5);

/// How long appending one request may take.
const APPEND_LIMIT: Duration = Duration::from_secs(8);

/// How long a question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a wait trusts the bell, before it looks at the end itself.
const BELL_LIMIT: Duration = Duration::from_secs(1);

/// A pause after a bell that could not be hung.
const BELL_PAUSE: Duration = Duration::from_millis(100);

/// How much is read at once, unless one stored batch is larger.
const READ_BYTES: usize = 1 << 20;

/// The largest stored batch that is read. Clusters take much smaller ones.
const READ_BYTES_MAX: usize = 256 << 20;

/// Records are taken to be as long, in bytes, before any was seen.
const RECORD_BYTES_GUESS: u64 = 100;

/// A partition that is known to be there.
pub(super) struct Partition {
    cluster: Arc<Cluster>,
    topic: String,
    number: u32,
    compression: Compression,
    /// For appends; locked while one is in flight. Of its own, because the SPU answers one after the other on
    /// a connection, and an append waits for replicas.
    writer: Mutex<Option<Arc<Link>>>,
    /// For everything else.
    reader: Mutex<Option<Arc<Link>>>,
    bell: Arc<Mutex<Option<Bell>>>,
    records_seen: AtomicU64,
    bytes_seen: AtomicU64,
}

/// Where a partition starts and ends.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) start: Offset,
    pub(super) end: Offset,
}

impl Partition {
    pub(super) fn new(cluster: Arc<Cluster>, topic: String, number: u32, compression: Compression) -> Self {
        Self {
            cluster,
            topic,
            number,
            compression,
            writer: Mutex::default(),
            reader: Mutex::default(),
            bell: Arc::default(),
            records_seen: AtomicU64::new(0),
            bytes_seen: AtomicU64::new(0),
        }
    }

    /// Appends the records, and gives the offset of the first; the end, if there is none.
    pub(super) async fn append(&self, batch: &Batch) -> Result<Offset, Error> {
        if let Some(bytes) =
            batch.iter().map(|r| r.key.len() + r.value.len()).find(|bytes| *bytes > RECORD_BYTES_MAX)
        {
            let message =
                format!("{}: a record of {bytes} bytes is larger than {RECORD_BYTES_MAX}", self.name());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let mut writer = self.writer.lock().await;
        let mut rest = batch.iter();
        let mut first = None;
        loop {
            let stored = records::next_request(&mut rest, self.compression)
                .map_err(|error| self.cluster.failed(&self.name(), error))?;
            if stored.is_empty() {
                break;
            }
            let link = match writer.as_ref().filter(|link| !link.is_closed()) {
                Some(link) => Arc::clone(link),
                None => self.cluster.connect(&self.topic, self.number).await?,
            };
            // Only what has just worked is used again: after an error nobody knows what is still under way.
            *writer = None;
            let base = self.produce(&link, stored).await?;
            *writer = Some(link);
            first.get_or_insert(base);
        }
        drop(writer);
        self.saw(batch);
        match first {
            Some(first) => Ok(first),
            None => Ok(self.bounds().await?.end),
        }
    }

    async fn produce(
        &self,
        link: &Arc<Link>,
        batches: Vec<fluvio::dataplane::record::Batch<RawRecords>>,
    ) -> Result<Offset, Error> {
        let partition =
            DefaultPartitionRequest { partition_index: self.number, records: RecordSet { batches } };
        let topic = DefaultTopicRequest {
            name: self.topic.clone(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = DefaultProduceRequest {
            isolation: Isolation::ReadCommitted,
            timeout: REPLICAS_LIMIT,
            topics: vec![topic],
            ..Default::default()
        };
        let what = || format!("appending to {}", self.name());
        let response = link.call(request, APPEND_LIMIT).await;
        let response = response.map_err(|failure| self.cluster.failed(&what(), failure))?;
        let Some(answer) = response.find_partition_response(&self.topic, self.number) else {
            return Err(self.cluster.failed(&what(), "the answer is to another question"));
        };
        match &answer.error_code {
            ErrorCode::None => Ok(offset(answer.base_offset)),
            ErrorCode::PartitionFull { .. } => {
                let message = format!("{}: the SPU has no space left; free some there", what());
                Err(Error::new(ErrorKind::Full, message))
            }
            ErrorCode::PartitionShortCircuited => {
                let why = "the SPU has closed it after an error of its disk: see its log, and restart it";
                Err(self.cluster.failed(&what(), why))
            }
            code => Err(self.cluster.failed(&what(), code)),
        }
    }

    /// The records from `from` on, about [`READ_BYTES`] of them; `None` at the end.
    pub(super) async fn read(&self, from: Offset) -> Result<Option<Fetched>, Error> {
        let mut bytes = READ_BYTES;
        loop {
            match self.fetch(from, bytes).await? {
                Some(Decoded::Records(found)) => {
                    self.saw(&found.batch);
                    return Ok(Some(Fetched { batch: found.batch, base: found.base, next: found.next }));
                }
                Some(Decoded::Malformed { next }) => {
                    let message = format!(
                        "{}: what is stored at {from} is damaged; reading may go on at {next}",
                        self.name()
                    );
                    return Err(Error::new(ErrorKind::Corrupt { resume_at: next }, message));
                }
                Some(Decoded::Cut { needed }) if needed > bytes && needed <= READ_BYTES_MAX => bytes = needed,
                Some(Decoded::Cut { .. }) => {
                    let why = format!("nothing can be read at {from}, before the end");
                    return Err(self.cluster.failed(&self.name(), why));
                }
                None => return Ok(None),
            }
        }
    }

    async fn fetch(&self, from: Offset, bytes: usize) -> Result<Option<Decoded>, Error> {
        let partition = FetchPartition {
            partition_index: self.number,
            fetch_offset: from as i64,
            max_bytes: bytes as i32,
            ..Default::default()
        };
        let topic = FetchableTopic { name: self.topic.clone(), fetch_partitions: vec![partition] };
        let request = FetchRequest::<RecordSet<RawRecords>> {
            max_bytes: bytes as i32,
            isolation_level: Isolation::ReadCommitted,
            topics: vec![topic],
            ..Default::default()
        };
        let what = || format!("reading {} at {from}", self.name());
        let link = self.reader().await?;
        let answer = link.call(request, ANSWER_LIMIT).await;
        let response = self.answered(answer, &what()).await?;
        let Some(answer) = response.find_partition(&self.topic, self.number) else {
            return Err(self.cluster.failed(&what(), "the answer is to another question"));
        };
        let bounds = match answer.error_code {
            ErrorCode::None => {
                Bounds { start: offset(answer.log_start_offset), end: offset(answer.high_watermark) }
            }
            ErrorCode::NotLeaderForPartition => {
                return self.answered(Err(Failure("another SPU leads it now".to_owned())), &what()).await;
            }
            // Most likely the offset is out of bounds, and these say so better.
            code => {
                let bounds = self.bounds().await?;
                self.check(from, bounds)?;
                if from < bounds.end {
                    return Err(self.cluster.failed(&what(), code));
                }
                bounds
            }
        };
        self.check(from, bounds)?;
        if from == bounds.end {
            return Ok(None);
        }
        Ok(Some(records::decode(&answer.records.batches, from)))
    }

    fn check(&self, from: Offset, Bounds { start, end }: Bounds) -> Result<(), Error> {
        let name = self.name();
        if from < start {
            let message =
                format!("{name}: offset {from} is before the start, {start}: its retention is over");
            return Err(Error::new(ErrorKind::BehindStart { start }, message));
        }
        if from > end {
            let message = format!("{name}: offset {from} is beyond the end, {end}");
            return Err(Error::new(ErrorKind::BeyondEnd { end }, message));
        }
        Ok(())
    }

    /// Waits until the end is larger than `beyond`, and gives it; at once, if it is smaller: the topic has lost
    /// records or was made anew.
    pub(super) async fn wait(self: &Arc<Self>, beyond: Offset) -> Result<Offset, Error> {
        loop {
            let end = self.bounds().await?.end;
            if end != beyond {
                return Ok(end);
            }
            let rung = timeout(BELL_LIMIT, self.rung(beyond)).await;
            if let Ok(Err(failure)) = rung {
                debug!(topic = self.topic, partition = self.number, %failure, "a bell is hung anew");
                sleep(BELL_PAUSE).await;
            }
        }
    }

    /// Waits for the bell. Several may wait at once; one of them listens, the others look again in time.
    async fn rung(self: &Arc<Self>, beyond: Offset) -> Result<(), Failure> {
        let bell = Arc::clone(&self.bell).lock_owned().await;
        // In a task of its own, which goes on if the wait is dropped: the bell is then there for the next.
        let arming = tokio::spawn(Arc::clone(self).armed(bell, beyond));
        let mut bell = arming.await.map_err(|error| Failure(error.to_string()))??;
        let Some(listened) = bell.as_mut() else { return Ok(()) };
        let rung = listened.ring().await;
        if rung.is_err() {
            *bell = None;
        }
        rung
    }

    async fn armed(
        self: Arc<Self>,
        mut bell: OwnedMutexGuard<Option<Bell>>,
        at: Offset,
    ) -> Result<OwnedMutexGuard<Option<Bell>>, Failure> {
        match bell.as_mut() {
            Some(hung) => {
                if let Err(failure) = hung.arm(at).await {
                    *bell = None;
                    return Err(failure);
                }
            }
            None => {
                let link = self.reader().await.map_err(|error| Failure(error.to_string()))?;
                *bell = Some(Bell::hang(link, &self.topic, self.number, at).await?);
            }
        }
        Ok(bell)
    }

    /// Where it starts and ends now. What is before the end is on all replicas that must have it.
    pub(super) async fn bounds(&self) -> Result<Bounds, Error> {
        let what = || format!("asking for the offsets of {}", self.name());
        let link = self.reader().await?;
        let answer = link.call(FetchOffsetsRequest::new(self.topic.clone(), self.number), ANSWER_LIMIT).await;
        let response = self.answered(answer, &what()).await?;
        let key = fluvio::dataplane::record::ReplicaKey::new(self.topic.as_str(), self.number);
        let Some(answer) = response.find_partition(&key) else {
            return Err(self.cluster.failed(&what(), "the answer is to another question"));
        };
        match answer.error_code {
            ErrorCode::None => {
                Ok(Bounds { start: offset(answer.start_offset), end: offset(answer.last_stable_offset) })
            }
            code => self.answered(Err(Failure(code.to_string())), &what()).await,
        }
    }

    /// About how many bytes there are between two offsets, by the records that were seen.
    pub(super) fn bytes_between(&self, from: Offset, to: Offset) -> u64 {
        let records = self.records_seen.load(Ordering::Relaxed);
        let bytes = self.bytes_seen.load(Ordering::Relaxed);
        let mean = bytes.checked_div(records).unwrap_or(RECORD_BYTES_GUESS).max(1);
        to.saturating_sub(from) * mean
    }

    fn saw(&self, batch: &Batch) {
        self.records_seen.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.bytes_seen.fetch_add(batch.as_bytes().len() as u64, Ordering::Relaxed);
    }

    async fn reader(&self) -> Result<Arc<Link>, Error> {
        let mut reader = self.reader.lock().await;
        if let Some(link) = reader.as_ref().filter(|link| !link.is_closed()) {
            return Ok(Arc::clone(link));
        }
        let link = self.cluster.connect(&self.topic, self.number).await?;
        *reader = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Takes an answer on the reader's connection; after a failure it is dropped.
    async fn answered<A>(&self, answer: Result<A, Failure>, what: &str) -> Result<A, Error> {
        if answer.is_err() {
            *self.reader.lock().await = None;
        }
        answer.map_err(|failure| self.cluster.failed(what, failure))
    }

    fn name(&self) -> String {
        format!("topic '{}', partition {}", self.topic, self.number)
    }
}

fn offset(offset: i64) -> Offset {
    Offset::try_from(offset).unwrap_or(0)
}
