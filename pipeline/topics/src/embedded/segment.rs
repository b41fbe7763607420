//! One file of a partition: consecutive frames, from the offset in its name on.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::record::Batch;

use super::frame::{HEADER_BYTES, Header};
use crate::{Offset, TopicError};

/// The least distance between marks.
const MARK_EVERY_BYTES: u64 = 64 << 10;
/// How many bytes are read at once while headers are searched.
const WINDOW_BYTES: u64 = 16 << 10;
const EXTENSION: &str = "log";

/// The place of a frame in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: Offset,
    pub(super) position: u64,
}

/// What is known of a segment without reading it.
#[derive(Debug)]
pub(super) struct Segment {
    /// The offset in the file's name.
    pub(super) base: Offset,
    /// How many bytes of the file readers may see.
    pub(super) bytes: u64,
    /// The places of frames that were whole, ascending and at least [`MARK_EVERY_BYTES`] apart.
    marks: Vec<Mark>,
}

impl Segment {
    /// A segment without marks.
    pub(super) fn new(base: Offset, bytes: u64) -> Self {
        Self { base, bytes, marks: Vec::new() }
    }

    /// Keeps the place of a frame if it is far enough from the last mark.
    pub(super) fn mark(&mut self, mark: Mark) {
        let last = self.marks.last().map_or(0, |last| last.position);
        if mark.position >= last + MARK_EVERY_BYTES {
            self.marks.push(mark);
        }
    }

    /// The last mark at or before the offset; the beginning of the segment if there is none.
    pub(super) fn mark_before(&self, offset: Offset) -> Mark {
        match self.marks.partition_point(|mark| mark.offset <= offset) {
            0 => Mark { offset: self.base, position: 0 },
            after => self.marks[after - 1],
        }
    }

    /// About where in the file the offset is, estimated from the marks around it. The segment ends at `limit`.
    pub(super) fn estimate_position(&self, offset: Offset, limit: Offset) -> u64 {
        if offset >= limit {
            return self.bytes;
        }
        let low = self.mark_before(offset);
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        let high = self.marks.get(after).copied().unwrap_or(Mark { offset: limit, position: self.bytes });
        let (part, whole) = (offset.saturating_sub(low.offset), high.offset - low.offset);
        let bytes = u128::from(high.position.saturating_sub(low.position));
        // The quotient is at most `bytes`, because `part` is less than `whole`.
        low.position + (bytes * u128::from(part) / u128::from(whole)) as u64
    }
}

/// The file of the segment that begins at `base`.
pub(super) fn path(directory: &Path, base: Offset) -> PathBuf {
    directory.join(format!("{base:020}.{EXTENSION}"))
}

/// The base offsets of the segments in the directory, ascending.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Offset>> {
    let mut bases = Vec::new();
    for entry in directory.read_dir()? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.'));
        match stem.filter(|stem| stem.len() == 20).and_then(|stem| stem.parse().ok()) {
            Some(base) => bases.push(base),
            None => tracing::debug!(directory = %directory.display(), ?name, "no segment, left alone"),
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Creates an empty segment, and overwrites what a failed attempt has left under its name.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The segments of a partition, the last of which can be appended to.
#[derive(Debug)]
pub(super) struct Segments {
    /// Ascending, never empty. The last segment is the active one.
    pub(super) all: Vec<Segment>,
    /// The file of the active segment.
    pub(super) active: Arc<File>,
    /// The offset after the last record.
    pub(super) end: Offset,
}

/// Opens the last segment of a partition, after its sealed ones: checks every frame, and truncates the file at the
/// first invalid one.
pub(super) fn recover(sealed: Vec<Segment>, path: &Path, base: Offset) -> Result<Segments, TopicError> {
    let failed = |error| TopicError::io(format!("cannot open the segment '{}'", path.display()), error);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let mut segment = Segment::new(base, 0);
    let mut end = base;
    let mut body = Vec::new();
    while let Some(header) = whole_frame(&file, len, segment.bytes, &mut body).map_err(failed)? {
        let fits = if header.is_gap() {
            segment.bytes == 0 && header.base < base && header.len == 0
        } else {
            header.base == end
        };
        let (true, Some(next)) = (fits, header.next()) else { break };
        segment.mark(Mark { offset: header.base, position: segment.bytes });
        segment.bytes += header.frame_bytes();
        end = if header.is_gap() { base } else { next };
    }
    if segment.bytes < len {
        let bytes_cut = len - segment.bytes;
        tracing::warn!(file = %path.display(), position = segment.bytes, bytes_cut, end,
            "the segment ended in an unfinished or damaged batch, which was cut off");
        file.set_len(segment.bytes).map_err(failed)?;
    }
    let mut all = sealed;
    all.push(segment);
    Ok(Segments { all, active: Arc::new(file), end })
}

/// The header of the frame at the position. `None` if the frame is not whole or does not match its checksum.
fn whole_frame(file: &File, len: u64, position: u64, body: &mut Vec<u8>) -> io::Result<Option<Header>> {
    if len - position < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, position)?;
    let Some(header) = Header::decode(&bytes) else { return Ok(None) };
    if header.frame_bytes() > len - position {
        return Ok(None);
    }
    body.resize(header.len as usize, 0);
    file.read_exact_at(body, position + HEADER_BYTES as u64)?;
    Ok(header.verifies(body).then_some(header))
}

/// The part of a segment that a reader may see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The offset in the file's name.
    pub(super) base: Offset,
    /// The length of the part.
    pub(super) bytes: u64,
    /// The offset that all records are before: the base of the next segment, or the end of the log.
    pub(super) limit: Offset,
}

/// The result of a search for an offset.
pub(super) enum SearchResult {
    /// The whole batch that holds the offset.
    Batch {
        /// The offset of the first record.
        base: Offset,
        /// The position of the frame.
        position: u64,
        /// The position and the offset of the next frame.
        next: Mark,
        batch: Batch,
    },
    /// The record is damaged or missing.
    Damaged {
        /// The position of the damage.
        position: u64,
        /// The next offset that may be readable.
        resume_at: Offset,
    },
    /// All records of the segment are before the offset.
    Exhausted,
}

/// Searches for `from` in a segment, beginning at a frame at or before it.
///
/// Headers are trusted without a check: only the frame that seems to hold the offset is verified. If that frame is
/// damaged, the length in its header is trusted once more, to find the frame after it.
pub(super) fn find(file: &File, extent: Extent, mark: Mark, from: Offset) -> io::Result<SearchResult> {
    let mut position = mark.position;
    let mut damage = None;
    let mut window = Window::default();
    while position < extent.bytes {
        let header = window.header_at(file, extent, position)?;
        let Some(header) = header.filter(|header| position + header.frame_bytes() <= extent.bytes) else {
            let position = damage.unwrap_or(position);
            return Ok(SearchResult::Damaged { position, resume_at: extent.limit });
        };
        let after = position + header.frame_bytes();
        let within = header.base >= extent.base && header.next().is_some_and(|next| next <= extent.limit);
        if header.is_gap() && position == 0 {
            // The offset is after the gap.
        } else if header.is_gap() || !within {
            damage = damage.or(Some(position));
        } else if header.base > from {
            let position = damage.unwrap_or(position);
            return Ok(SearchResult::Damaged { position, resume_at: header.base });
        } else if header.next().is_some_and(|next| next > from) {
            if let Some(batch) = read_batch(file, position, &header)? {
                let next = Mark { offset: header.base + u64::from(header.count), position: after };
                return Ok(SearchResult::Batch { base: header.base, position, next, batch });
            }
            damage = damage.or(Some(position));
        } else {
            damage = None;
        }
        position = after;
    }
    Ok(match damage {
        Some(position) => SearchResult::Damaged { position, resume_at: extent.limit },
        None => SearchResult::Exhausted,
    })
}

fn read_batch(file: &File, position: u64, header: &Header) -> io::Result<Option<Batch>> {
    let mut body = vec![0; header.len as usize];
    let is_whole = fill(file, &mut body, position + HEADER_BYTES as u64)? && header.verifies(&body);
    Ok(if is_whole { Batch::from_bytes(body, header.count).ok() } else { None })
}

/// The offset at which the gap before a segment begins, if offsets were left out on purpose.
pub(super) fn gap_before(file: &File) -> io::Result<Option<Offset>> {
    let mut bytes = [0; HEADER_BYTES];
    if !fill(file, &mut bytes, 0)? {
        return Ok(None);
    }
    let header = Header::decode(&bytes).filter(|header| header.is_gap() && header.verifies(&[]));
    Ok(header.map(|header| header.base))
}

/// Reads a part of a file. `false` if the file ends before it does.
fn fill(file: &File, bytes: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, position) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    }
}

/// A part of a file, so that walking over small frames does not take a system call each.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    position: u64,
}

impl Window {
    /// The header at the position. `None` if there is none, or if the file has become shorter.
    fn header_at(&mut self, file: &File, extent: Extent, position: u64) -> io::Result<Option<Header>> {
        let header_end = position + HEADER_BYTES as u64;
        if header_end > extent.bytes {
            return Ok(None);
        }
        if position < self.position || header_end > self.position + self.bytes.len() as u64 {
            // The first header is most often the one that is searched for.
            let wanted = if self.bytes.is_empty() { HEADER_BYTES as u64 } else { WINDOW_BYTES };
            self.bytes.resize(wanted.min(extent.bytes - position) as usize, 0);
            self.position = position;
            if !fill(file, &mut self.bytes, position)? {
                self.bytes.clear();
                return Ok(None);
            }
        }
        Ok(Header::decode(&self.bytes[(position - self.position) as usize..]))
    }
}
