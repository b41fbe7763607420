//! The reader's side of a partition: what is published, and how it is found.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::failpoint::Failpoint;
use tokio::sync::watch;

use super::lock::Lock;
use super::segment::{self, Extent, Mark, SearchResult, Segment, Segments};
use crate::place::place;
use crate::{ErrorKind, FetchResult, Offset, TopicError};

/// For how many readers of a partition the position is remembered. Other readers search at each read.
const POSITIONS_MAX: usize = 16;

/// A partition as its readers see it: nothing is visible until it is published.
#[derive(Debug)]
pub(super) struct Partition {
    topic: String,
    number: u32,
    directory: PathBuf,
    state: Mutex<PartitionState>,
    /// A copy of [`Segments::end`] to wait on.
    end: watch::Sender<Offset>,
    /// Held as long as a writer may exist, even if all handles are gone.
    _lock: Arc<Lock>,
}

#[derive(Debug)]
struct PartitionState {
    segments: Segments,
    /// The positions of readers, the least recently used first.
    positions: VecDeque<ReaderPosition>,
}

/// The position of a reader. It keeps the file open, so that sealed segments are open only while they are read.
#[derive(Debug)]
struct ReaderPosition {
    segment: Offset,
    mark: Mark,
    file: Arc<File>,
}

/// The state of the active segment, and the end of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) base: Offset,
    pub(super) bytes: u64,
    pub(super) end: Offset,
}

/// The data of a search, copied under the lock. The search itself runs without the lock.
struct Search {
    extent: Extent,
    mark: Mark,
    file: Option<Arc<File>>,
    active: bool,
}

impl Partition {
    pub(super) fn new(
        topic: String,
        number: u32,
        directory: PathBuf,
        segments: Segments,
        lock: Arc<Lock>,
    ) -> Self {
        let end = watch::Sender::new(segments.end);
        let state = PartitionState { segments, positions: VecDeque::new() };
        Self { topic, number, directory, state: Mutex::new(state), end, _lock: lock }
    }

    /// The file of the active segment.
    pub(super) fn active(&self) -> Arc<File> {
        Arc::clone(&self.state().segments.active)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the partition in messages.
    pub(super) fn place(&self) -> String {
        place(&self.topic, self.number)
    }

    pub(super) fn path_of(&self, segment: Offset) -> PathBuf {
        segment::path(&self.directory, segment)
    }

    fn state(&self) -> MutexGuard<'_, PartitionState> {
        // No code that can panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records at `from`; see [`Topics::read`](crate::Topics::read).
    pub(super) fn read(&self, from: Offset) -> Result<Option<FetchResult>, TopicError> {
        loop {
            let Some(search) = self.search(from)? else { return Ok(None) };
            let path = self.path_of(search.extent.base);
            let failed = |error| self.unreadable(from, &path, error);
            let file = match search.file {
                Some(file) => file,
                None => match File::open(&path) {
                    // Trimmed after the search.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && self.start() > from => continue,
                    result => Arc::new(result.map_err(failed)?),
                },
            };
            return match segment::find(&file, search.extent, search.mark, from).map_err(failed)? {
                SearchResult::Batch { base, position, next, batch } => {
                    let found = Mark { offset: base, position };
                    self.remember(
                        from,
                        found,
                        ReaderPosition { segment: search.extent.base, mark: next, file },
                    );
                    let mut fetched = FetchResult { batch, base: from, next: next.offset };
                    if from > base {
                        // Less than the count of the batch, which is a u32.
                        fetched.batch.skip_front((from - base) as usize);
                    }
                    Ok(Some(fetched))
                }
                SearchResult::Damaged { position, resume_at } => {
                    Err(self.damaged(from, &path, Some(position), resume_at))
                }
                SearchResult::Exhausted => {
                    self.read_after_gap(from, &path, search.extent.limit, search.active)
                }
            };
        }
    }

    /// Continues after the segment at `path`, which ends before `from` although the next one begins at `to`.
    fn read_after_gap(
        &self,
        from: Offset,
        path: &Path,
        to: Offset,
        active: bool,
    ) -> Result<Option<FetchResult>, TopicError> {
        let mut left_out = None;
        if !active {
            let next = self.path_of(to);
            left_out = File::open(&next)
                .and_then(|file| segment::gap_before(&file))
                .map_err(|error| self.unreadable(from, &next, error))?;
        }
        if left_out.is_none_or(|gap| gap > from) {
            return Err(self.damaged(from, path, None, to));
        }
        let nothing = FetchResult { batch: Default::default(), base: to, next: to };
        Ok(Some(self.read(to)?.unwrap_or(nothing)))
    }

    /// Decides where to search. `None` at the end.
    fn search(&self, from: Offset) -> Result<Option<Search>, TopicError> {
        let state = self.state();
        let start = state.segments.all[0].base;
        if from < start {
            let message = format!(
                "{}, offset {from}: the log starts at {start}; what was before it was trimmed or lost: send it \
                 again from its sources, or go on at {start}",
                self.place()
            );
            return Err(TopicError::new(ErrorKind::BehindStart { start }, message));
        }
        let end = state.segments.end;
        if from > end {
            let message = format!(
                "{}, offset {from}: the log ends at {end}; it has lost its tail: create the topic with the \
                 offset of its readers, so that none is given out twice",
                self.place()
            );
            return Err(TopicError::new(ErrorKind::BeyondEnd { end }, message));
        }
        if from == end {
            return Ok(None);
        }
        let index = state.segment_of(from);
        let segment = &state.segments.all[index];
        let active = index + 1 == state.segments.all.len();
        let extent = Extent { base: segment.base, bytes: segment.bytes, limit: state.limit(index) };
        let mut search = Search { extent, mark: segment.mark_before(from), file: None, active };
        if let Some(position) = state.positions.iter().find(|position| position.is_at(segment.base, from)) {
            search.mark = position.mark;
            search.file = Some(Arc::clone(&position.file));
        } else if active {
            search.file = Some(Arc::clone(&state.segments.active));
        }
        Ok(Some(search))
    }

    /// Remembers the position that a read from `from` has found.
    fn remember(&self, from: Offset, found: Mark, position: ReaderPosition) {
        let mut state = self.state();
        let index = state.segment_of(found.offset);
        if state.segments.all[index].base != position.segment {
            return; // trimmed meanwhile
        }
        state.segments.all[index].mark(found);
        let (segment, next) = (position.segment, position.mark.offset);
        state.positions.retain(|other| !other.is_at(segment, from) && !other.is_at(segment, next));
        if state.positions.len() == POSITIONS_MAX {
            state.positions.pop_front();
        }
        state.positions.push_back(position);
    }

    fn unreadable(&self, from: Offset, path: &Path, error: io::Error) -> TopicError {
        TopicError::io(format!("{}, offset {from}: cannot read '{}'", self.place(), path.display()), error)
    }

    fn damaged(&self, from: Offset, path: &Path, position: Option<u64>, resume_at: Offset) -> TopicError {
        let what = match position {
            Some(position) => format!("is damaged at byte {position}"),
            None => "ends too early, or the segment after it is missing".to_owned(),
        };
        let message = format!(
            "{}, offset {from}: '{}' {what}; go on at {resume_at}, and send what lies between again from its \
             sources",
            self.place(),
            path.display()
        );
        TopicError::new(ErrorKind::Corrupt { resume_at }, message)
    }

    /// Waits until the end is larger than `beyond`.
    pub(super) async fn wait(&self, beyond: Offset) -> Offset {
        let mut receiver = self.end.subscribe();
        let end = receiver.wait_for(|end| *end > beyond).await;
        *end.expect("the sender lives as long as the partition")
    }

    pub(super) fn start(&self) -> Offset {
        self.state().segments.all[0].base
    }

    pub(super) fn end(&self) -> Offset {
        self.state().segments.end
    }

    pub(super) fn bytes_after(&self, offset: Offset) -> u64 {
        let state = self.state();
        if offset >= state.segments.end {
            return 0;
        }
        let index = state.segment_of(offset);
        let segment = &state.segments.all[index];
        let known = state.positions.iter().find(|position| position.is_at(segment.base, offset));
        let position = match known {
            Some(position) => position.mark.position,
            None => segment.estimate_position(offset, state.limit(index)),
        };
        let later: u64 = state.segments.all[index + 1..].iter().map(|segment| segment.bytes).sum();
        segment.bytes.saturating_sub(position) + later
    }

    pub(super) fn tail(&self) -> Tail {
        let state = self.state();
        let active = &state.segments.all[state.segments.all.len() - 1];
        Tail { base: active.base, bytes: active.bytes, end: state.segments.end }
    }

    /// Publishes a frame of `bytes` at the end of the active segment. The end moves to `next`.
    pub(super) fn publish(&self, bytes: u64, next: Offset) {
        let mut state = self.state();
        let end = state.segments.end;
        if let Some(active) = state.segments.all.last_mut() {
            active.mark(Mark { offset: end, position: active.bytes });
            active.bytes += bytes;
        }
        state.segments.end = next;
        self.end.send_replace(next);
    }

    /// Makes a new segment with `bytes` bytes the active one. The log continues at its base.
    pub(super) fn push_segment(&self, base: Offset, bytes: u64, file: Arc<File>) {
        let mut state = self.state();
        state.segments.all.retain(|segment| segment.base != base);
        state.segments.all.push(Segment::new(base, bytes));
        state.segments.active = file;
        state.segments.end = base;
        self.end.send_replace(base);
    }

    /// Deletes the segments whose records are all before the offset, oldest first, but never the active one.
    ///
    /// The caller must keep writers away.
    pub(super) fn trim(&self, before: Offset) -> Result<(), TopicError> {
        loop {
            let dropped = {
                let mut state = self.state();
                if state.segments.all.get(1).is_none_or(|second| second.base > before) {
                    return Ok(());
                }
                let dropped = state.segments.all.remove(0);
                state.positions.retain(|position| position.segment != dropped.base);
                dropped
            };
            let path = self.path_of(dropped.base);
            let removed = std::fs::remove_file(&path);
            match removed.and_then(|()| Ok(Failpoint::SegmentTrimmed.pass()?)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.state().segments.all.insert(0, dropped);
                    let message = format!("{}: cannot delete '{}'", self.place(), path.display());
                    return Err(TopicError::io(message, error));
                }
                _ => tracing::debug!(file = %path.display(), "trimmed a segment"),
            }
        }
    }
}

impl PartitionState {
    /// The index of the segment that holds the offset, if any segment does.
    fn segment_of(&self, offset: Offset) -> usize {
        self.segments.all.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    /// The offset that all records of the segment are before.
    fn limit(&self, index: usize) -> Offset {
        self.segments.all.get(index + 1).map_or(self.segments.end, |next| next.base)
    }
}

impl ReaderPosition {
    fn is_at(&self, segment: Offset, offset: Offset) -> bool {
        self.segment == segment && self.mark.offset == offset
    }
}
