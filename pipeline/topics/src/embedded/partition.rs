//! The readers' side of a partition: what is published, and how it is found.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::failpoint::Failpoint;
use tokio::sync::watch;

use super::lock::Lock;
use super::segment::{self, Extent, Found, Mark, Segment};
use crate::{Error, ErrorKind, Fetched, Offset};

/// How many readers of a partition have their place kept. The rest search for it at each read.
const CURSORS_MAX: usize = 16;

/// A partition as its readers see it: nothing is visible before it is published.
#[derive(Debug)]
pub(super) struct Partition {
    topic: String,
    number: u32,
    directory: PathBuf,
    state: Mutex<State>,
    /// A copy of [`State::end`] to wait on.
    end: watch::Sender<Offset>,
    /// Held as long as anybody may write, even if all handles are gone.
    _lock: Arc<Lock>,
}

#[derive(Debug)]
struct State {
    /// Ascending, never empty; the last is the active one.
    segments: Vec<Segment>,
    /// The file of the active segment.
    active: Arc<File>,
    end: Offset,
    /// Where readers are, the least recently used first.
    cursors: VecDeque<Cursor>,
}

/// Where a reader is. It keeps the file open, so that sealed segments are open only while they are read.
#[derive(Debug)]
struct Cursor {
    segment: Offset,
    mark: Mark,
    file: Arc<File>,
}

/// The active segment and the end of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) base: Offset,
    pub(super) bytes: u64,
    pub(super) end: Offset,
}

/// All that a search needs, taken under the lock; the search itself does without.
struct Search {
    extent: Extent,
    mark: Mark,
    file: Option<Arc<File>>,
    active: bool,
}

impl Partition {
    /// A partition with these segments, of which `active` is the file of the last.
    pub(super) fn new(
        (topic, number): (String, u32),
        directory: PathBuf,
        segments: Vec<Segment>,
        active: Arc<File>,
        end: Offset,
        lock: Arc<Lock>,
    ) -> Self {
        let state = State { segments, active, end, cursors: VecDeque::new() };
        let end = watch::Sender::new(end);
        Self { topic, number, directory, state: Mutex::new(state), end, _lock: lock }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// For messages.
    pub(super) fn place(&self) -> String {
        place(&self.topic, self.number)
    }

    pub(super) fn path_of(&self, segment: Offset) -> PathBuf {
        segment::path(&self.directory, segment)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records at `from`; see [`Topics::read`](crate::Topics::read).
    pub(super) fn read(&self, from: Offset) -> Result<Option<Fetched>, Error> {
        loop {
            let Some(search) = self.search(from)? else { return Ok(None) };
            let path = self.path_of(search.extent.base);
            let failed = |error| {
                Error::io(format!("{}, offset {from}: cannot read '{}'", self.place(), path.display()), error)
            };
            let file = match search.file {
                Some(file) => file,
                None => match File::open(&path) {
                    // Trimmed between the search and now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && self.start() > from => continue,
                    result => Arc::new(result.map_err(failed)?),
                },
            };
            return match segment::find(&file, search.extent, search.mark, from).map_err(failed)? {
                Found::Batch { base, position, next, batch } => {
                    let found = Mark { offset: base, position };
                    self.remember(from, found, Cursor { segment: search.extent.base, mark: next, file });
                    let mut fetched = Fetched { batch, base: from, next: next.offset };
                    if from > base {
                        // Less than the count of the batch, which is a u32.
                        fetched.batch.skip_front((from - base) as usize);
                    }
                    Ok(Some(fetched))
                }
                Found::Damaged { position, resume_at } => {
                    Err(self.damaged(from, &path, Some(position), resume_at))
                }
                Found::Exhausted => self.read_after_gap(from, &path, search.extent.limit, search.active),
            };
        }
    }

    /// Goes on behind the segment at `path`, which ends before `from` though the next begins at `to`.
    fn read_after_gap(
        &self,
        from: Offset,
        path: &Path,
        to: Offset,
        active: bool,
    ) -> Result<Option<Fetched>, Error> {
        let mut left_out = None;
        if !active {
            let next = self.path_of(to);
            left_out = File::open(&next).and_then(|file| segment::gap_before(&file)).map_err(|error| {
                Error::io(format!("{}, offset {from}: cannot read '{}'", self.place(), next.display()), error)
            })?;
        }
        if left_out.is_none_or(|gap| gap > from) {
            return Err(self.damaged(from, path, None, to));
        }
        let nothing = Fetched { batch: Default::default(), base: to, next: to };
        Ok(Some(self.read(to)?.unwrap_or(nothing)))
    }

    /// Decides where to look. `None` at the end.
    fn search(&self, from: Offset) -> Result<Option<Search>, Error> {
        let state = self.state();
        let start = state.segments[0].base;
        if from < start {
            let message = format!(
                "{}, offset {from}: the log starts at {start}; what was before it was trimmed or lost: send it \
                 again from its sources, or go on at {start}",
                self.place()
            );
            return Err(Error::new(ErrorKind::BehindStart { start }, message));
        }
        let end = state.end;
        if from > end {
            let message = format!(
                "{}, offset {from}: the log ends at {end}; it has lost its tail: create the topic with the \
                 offset of its readers, so that none is given out twice",
                self.place()
            );
            return Err(Error::new(ErrorKind::BeyondEnd { end }, message));
        }
        if from == end {
            return Ok(None);
        }
        let index = state.segment_of(from);
        let segment = &state.segments[index];
        let active = index + 1 == state.segments.len();
        let extent = Extent { base: segment.base, bytes: segment.bytes, limit: state.limit(index) };
        let mut search = Search { extent, mark: segment.mark_before(from), file: None, active };
        if let Some(cursor) = state.cursors.iter().find(|cursor| cursor.is_at(segment.base, from)) {
            search.mark = cursor.mark;
            search.file = Some(Arc::clone(&cursor.file));
        } else if active {
            search.file = Some(Arc::clone(&state.active));
        }
        Ok(Some(search))
    }

    /// Keeps what a read from `from` has found out.
    fn remember(&self, from: Offset, found: Mark, cursor: Cursor) {
        let mut state = self.state();
        let index = state.segment_of(found.offset);
        if state.segments[index].base != cursor.segment {
            return; // trimmed meanwhile
        }
        state.segments[index].mark(found);
        let (segment, next) = (cursor.segment, cursor.mark.offset);
        state.cursors.retain(|other| !other.is_at(segment, from) && !other.is_at(segment, next));
        if state.cursors.len() == CURSORS_MAX {
            state.cursors.pop_front();
        }
        state.cursors.push_back(cursor);
    }

    fn damaged(&self, from: Offset, path: &Path, position: Option<u64>, resume_at: Offset) -> Error {
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
        Error::new(ErrorKind::Corrupt { resume_at }, message)
    }

    /// Waits until the end is beyond the offset.
    pub(super) async fn wait(&self, beyond: Offset) -> Offset {
        let mut receiver = self.end.subscribe();
        let end = receiver.wait_for(|end| *end > beyond).await;
        *end.expect("the sender lives as long as the partition")
    }

    pub(super) fn start(&self) -> Offset {
        self.state().segments[0].base
    }

    pub(super) fn end(&self) -> Offset {
        self.state().end
    }

    pub(super) fn bytes_after(&self, offset: Offset) -> u64 {
        let state = self.state();
        if offset >= state.end {
            return 0;
        }
        let index = state.segment_of(offset);
        let segment = &state.segments[index];
        let known = state.cursors.iter().find(|cursor| cursor.is_at(segment.base, offset));
        let position = match known {
            Some(cursor) => cursor.mark.position,
            None => segment.estimate_position(offset, state.limit(index)),
        };
        let later: u64 = state.segments[index + 1..].iter().map(|segment| segment.bytes).sum();
        segment.bytes.saturating_sub(position) + later
    }

    pub(super) fn tail(&self) -> Tail {
        let state = self.state();
        let active = &state.segments[state.segments.len() - 1];
        Tail { base: active.base, bytes: active.bytes, end: state.end }
    }

    /// Shows readers a frame of `bytes` at the end of the active segment, which moves the end to `next`.
    pub(super) fn publish(&self, bytes: u64, next: Offset) {
        let mut state = self.state();
        let end = state.end;
        if let Some(active) = state.segments.last_mut() {
            active.mark(Mark { offset: end, position: active.bytes });
            active.bytes += bytes;
        }
        state.end = next;
        self.end.send_replace(next);
    }

    /// Makes a new segment, of `bytes` so far, the active one. The log goes on at its base.
    pub(super) fn push_segment(&self, base: Offset, bytes: u64, file: Arc<File>) {
        let mut state = self.state();
        state.segments.retain(|segment| segment.base != base);
        state.segments.push(Segment::new(base, bytes));
        state.active = file;
        state.end = base;
        self.end.send_replace(base);
    }

    /// Deletes the segments all of whose records are before the offset, oldest first; never the active one.
    ///
    /// The caller keeps writers away.
    pub(super) fn trim(&self, before: Offset) -> Result<(), Error> {
        loop {
            let dropped = {
                let mut state = self.state();
                if state.segments.get(1).is_none_or(|second| second.base > before) {
                    return Ok(());
                }
                let dropped = state.segments.remove(0);
                state.cursors.retain(|cursor| cursor.segment != dropped.base);
                dropped
            };
            let path = self.path_of(dropped.base);
            let removed = std::fs::remove_file(&path);
            match removed.and_then(|()| Ok(Failpoint::SegmentTrimmed.pass()?)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.state().segments.insert(0, dropped);
                    let message = format!("{}: cannot delete '{}'", self.place(), path.display());
                    return Err(Error::io(message, error));
                }
                _ => tracing::debug!(file = %path.display(), "trimmed a segment"),
            }
        }
    }
}

impl State {
    /// The index of the segment in which the offset is, if it is anywhere.
    fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    /// All records of the segment are before this offset.
    fn limit(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.end, |next| next.base)
    }
}

impl Cursor {
    fn is_at(&self, segment: Offset, offset: Offset) -> bool {
        self.segment == segment && self.mark.offset == offset
    }
}

/// How messages name a partition.
pub(super) fn place(topic: &str, number: u32) -> String {
    format!("topic '{topic}', partition {number}")
}
