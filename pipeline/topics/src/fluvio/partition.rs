//! One partition of a topic: its connections, and the requests on them.

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

use super::append_notifier::AppendNotifier;
use super::cluster::Cluster;
use super::link::{Link, LinkFailure, SharedLink};
use super::records::{self, Decoding, RECORD_BYTES_MAX};
use crate::place::place;
use crate::{ErrorKind, FetchResult, Offset, TopicError};

/// How long the SPU may wait for its replicas before it acknowledges records.
const REPLICAS_LIMIT: Duration = Duration::from_secs(5);

/// How long appending one request may take.
const APPEND_LIMIT: Duration = Duration::from_secs(8);

/// How long the answer to any other request may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a wait relies on the notifier before it reads the end itself.
const NOTICE_LIMIT: Duration = Duration::from_secs(1);

/// The pause after a notifier that could not be opened or armed.
const NOTICE_PAUSE: Duration = Duration::from_millis(100);

/// How many bytes are read at once, unless one stored batch is larger.
const READ_BYTES: usize = 1 << 20;

/// The largest stored batch that is read. Clusters accept much smaller ones.
const READ_BYTES_MAX: usize = 256 << 20;

/// The assumed length of a record, in bytes, until records were seen.
const RECORD_BYTES_GUESS: u64 = 100;

/// A partition that exists.
pub(super) struct Partition {
    cluster: Arc<Cluster>,
    topic: String,
    number: u32,
    compression: Compression,
    /// The connection for appends, locked while an append is in flight. Appends have their own connection, because
    /// the SPU answers the requests of a connection in order, and an append waits for replicas.
    writer: Mutex<Option<Arc<Link>>>,
    /// The connection for all other requests.
    reader: SharedLink,
    notifier: Arc<Mutex<Option<AppendNotifier>>>,
    records_seen: AtomicU64,
    bytes_seen: AtomicU64,
}

/// The start and the end of a partition.
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
            reader: SharedLink::default(),
            notifier: Arc::default(),
            records_seen: AtomicU64::new(0),
            bytes_seen: AtomicU64::new(0),
        }
    }

    /// Appends the records, and returns the offset of the first. Returns the end if there are no records.
    pub(super) async fn append(&self, batch: &Batch) -> Result<Offset, TopicError> {
        if let Some(bytes) =
            batch.iter().map(|r| r.key.len() + r.value.len()).find(|bytes| *bytes > RECORD_BYTES_MAX)
        {
            let message =
                format!("{}: a record of {bytes} bytes is larger than {RECORD_BYTES_MAX}", self.name());
            return Err(TopicError::new(ErrorKind::TooLarge, message));
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
            // Only a connection that has just worked is used again. After an error, a request may still be in flight
            // on it.
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
    ) -> Result<Offset, TopicError> {
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
        let answer = response.find_partition_response(&self.topic, self.number);
        let answer =
            answer.ok_or_else(|| self.cluster.failed(&what(), "the answer is to another question"))?;
        match &answer.error_code {
            ErrorCode::None => Ok(offset(answer.base_offset)),
            ErrorCode::PartitionFull { .. } => {
                let message = format!("{}: the SPU has no space left; free some there", what());
                Err(TopicError::new(ErrorKind::Full, message))
            }
            ErrorCode::PartitionShortCircuited => {
                let why = "the SPU has closed it after an error of its disk: see its log, and restart it";
                Err(self.cluster.failed(&what(), why))
            }
            code => Err(self.cluster.failed(&what(), code)),
        }
    }

    /// The records from `from` on, about [`READ_BYTES`] of them. `None` at the end.
    pub(super) async fn read(&self, from: Offset) -> Result<Option<FetchResult>, TopicError> {
        let mut bytes = READ_BYTES;
        loop {
            match self.fetch(from, bytes).await? {
                Some(Decoding::Records(found)) => {
                    self.saw(&found.batch);
                    return Ok(Some(found));
                }
                Some(Decoding::Malformed { next }) => {
                    let message = format!(
                        "{}: what is stored at {from} is damaged; reading may go on at {next}",
                        self.name()
                    );
                    return Err(TopicError::new(ErrorKind::Corrupt { resume_at: next }, message));
                }
                Some(Decoding::Cut { needed }) if needed > bytes && needed <= READ_BYTES_MAX => {
                    bytes = needed
                }
                Some(Decoding::Cut { .. }) => {
                    let why = format!("nothing can be read at {from}, before the end");
                    return Err(self.cluster.failed(&self.name(), why));
                }
                None => return Ok(None),
            }
        }
    }

    async fn fetch(&self, from: Offset, bytes: usize) -> Result<Option<Decoding>, TopicError> {
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
        let answer = response.find_partition(&self.topic, self.number);
        let answer =
            answer.ok_or_else(|| self.cluster.failed(&what(), "the answer is to another question"))?;
        let bounds = match answer.error_code {
            ErrorCode::None => {
                Bounds { start: offset(answer.log_start_offset), end: offset(answer.high_watermark) }
            }
            ErrorCode::NotLeaderForPartition => {
                return self.answered(Err(LinkFailure("another SPU leads it now".to_owned())), &what()).await;
            }
            // The offset is most likely out of bounds. An error about the bounds is more helpful.
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

    fn check(&self, from: Offset, Bounds { start, end }: Bounds) -> Result<(), TopicError> {
        let name = self.name();
        if from < start {
            let message =
                format!("{name}: offset {from} is before the start, {start}: its retention is over");
            return Err(TopicError::new(ErrorKind::BehindStart { start }, message));
        }
        if from > end {
            let message = format!("{name}: offset {from} is beyond the end, {end}");
            return Err(TopicError::new(ErrorKind::BeyondEnd { end }, message));
        }
        Ok(())
    }

    /// Waits until the end is larger than `beyond`, and returns it. If the end is smaller, returns it at once: the
    /// topic has lost records, or was deleted and created again.
    pub(super) async fn wait(self: &Arc<Self>, beyond: Offset) -> Result<Offset, TopicError> {
        loop {
            let end = self.bounds().await?.end;
            if end != beyond {
                return Ok(end);
            }
            let rung = timeout(NOTICE_LIMIT, self.rung(beyond)).await;
            if let Ok(Err(failure)) = rung {
                debug!(topic = self.topic, partition = self.number, %failure, "the append notifier is opened anew");
                sleep(NOTICE_PAUSE).await;
            }
        }
    }

    /// Waits for the notification. Several tasks may wait at the same time: one listens, the others read the end
    /// again when [`NOTICE_LIMIT`] is over.
    async fn rung(self: &Arc<Self>, beyond: Offset) -> Result<(), LinkFailure> {
        let notifier = Arc::clone(&self.notifier).lock_owned().await;
        // A task of its own continues if the wait is dropped. The notifier is then ready for the next wait.
        let arming = tokio::spawn(Arc::clone(self).armed(notifier, beyond));
        let mut notifier = arming.await??;
        let Some(listened) = notifier.as_mut() else { return Ok(()) };
        let rung = listened.ring().await;
        if rung.is_err() {
            *notifier = None;
        }
        rung
    }

    async fn armed(
        self: Arc<Self>,
        mut notifier: OwnedMutexGuard<Option<AppendNotifier>>,
        at: Offset,
    ) -> Result<OwnedMutexGuard<Option<AppendNotifier>>, LinkFailure> {
        match notifier.as_mut() {
            Some(hung) => {
                if let Err(failure) = hung.arm(at).await {
                    *notifier = None;
                    return Err(failure);
                }
            }
            None => {
                let link = self.reader().await?;
                *notifier = Some(AppendNotifier::hang(link, &self.topic, self.number, at).await?);
            }
        }
        Ok(notifier)
    }

    /// The current start and end of the partition. Records before the end are on all required replicas.
    pub(super) async fn bounds(&self) -> Result<Bounds, TopicError> {
        let what = || format!("asking for the offsets of {}", self.name());
        let link = self.reader().await?;
        let answer = link.call(FetchOffsetsRequest::new(self.topic.clone(), self.number), ANSWER_LIMIT).await;
        let response = self.answered(answer, &what()).await?;
        let key = fluvio::dataplane::record::ReplicaKey::new(self.topic.as_str(), self.number);
        let answer = response.find_partition(&key);
        let answer =
            answer.ok_or_else(|| self.cluster.failed(&what(), "the answer is to another question"))?;
        match answer.error_code {
            ErrorCode::None => {
                Ok(Bounds { start: offset(answer.start_offset), end: offset(answer.last_stable_offset) })
            }
            code => self.answered(Err(code.into()), &what()).await,
        }
    }

    /// About how many bytes there are between two offsets, by the mean length of the records that were seen.
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

    async fn reader(&self) -> Result<Arc<Link>, TopicError> {
        self.reader.get(self.cluster.connect(&self.topic, self.number)).await
    }

    /// Unwraps an answer on the reader's connection.
    async fn answered<A>(&self, answer: Result<A, LinkFailure>, what: &str) -> Result<A, TopicError> {
        self.reader.answered(answer).await.map_err(|failure| self.cluster.failed(what, failure))
    }

    fn name(&self) -> String {
        place(&self.topic, self.number)
    }
}

fn offset(offset: i64) -> Offset {
    Offset::try_from(offset).unwrap_or(0)
}
