//! The writer's side of a partition.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::failpoint::Failpoint;
use tidegate_core::record::Batch;

use super::frame::{HEADER_BYTES, Header};
use super::partition::Partition;
use super::segment;
use crate::{ErrorKind, MAX_BATCH_BYTES, Offset, TopicError};

/// The only writer of a partition. An append locks it.
///
/// An append is [`Writer::write`] and then [`Writer::publish`]. A batch that was written but not published is
/// truncated again, by the next append at the latest.
#[derive(Debug)]
pub(super) struct Writer {
    partition: Arc<Partition>,
    file: Arc<File>,
    segment_bytes: u64,
    /// A batch that is written but not published.
    pending: Option<UnpublishedBatch>,
    /// Nothing more may be added to the active segment: its file may hold data that readers must not see, or its disk
    /// may have dropped data.
    sealed: bool,
    /// Segments that were active since the last sync.
    unsynced: Vec<Offset>,
    /// Whether names of segments may not be on disk yet.
    directory_unsynced: bool,
    /// The log may drop records before this offset.
    trimmable: Offset,
}

#[derive(Clone, Copy, Debug)]
struct UnpublishedBatch {
    /// The size of the frame.
    bytes: u64,
    /// The offset after the batch.
    next: Offset,
}

impl Writer {
    pub(super) fn new(partition: Arc<Partition>, segment_bytes: u64) -> Self {
        Self {
            file: partition.active(),
            partition,
            segment_bytes,
            pending: None,
            sealed: false,
            unsynced: Vec::new(),
            directory_unsynced: true,
            trimmable: 0,
        }
    }

    /// Writes a batch after the end, where no reader sees it, and returns its base offset. If there is no room, first
    /// drops what every reader has passed, even the active segment.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<Offset, TopicError> {
        match self.try_write(batch) {
            Err(error) if error.kind() == ErrorKind::Full && self.make_room() => self.try_write(batch),
            written => written,
        }
    }

    fn try_write(&mut self, batch: &Batch) -> Result<Offset, TopicError> {
        self.cut_pending();
        let mut tail = self.partition.tail();
        let body = batch.as_bytes();
        let header = Header::of_batch(tail.end, batch.len(), body);
        let Some((header, next)) = header
            .filter(|_| body.len() <= MAX_BATCH_BYTES)
            .and_then(|header| Some((header, header.next()?)))
        else {
            let message = format!(
                "{}: a batch of {} bytes is too large; append at most {MAX_BATCH_BYTES} bytes at once",
                self.partition.place(),
                body.len()
            );
            return Err(TopicError::new(ErrorKind::TooLarge, message));
        };
        let full = tail.bytes >= self.segment_bytes && tail.end > tail.base;
        if self.sealed || full {
            self.roll(tail.end, None)?;
            tail = self.partition.tail();
        }
        // From here on the file may hold more than is published, whatever happens.
        self.pending = Some(UnpublishedBatch { bytes: header.frame_bytes(), next });
        let written = self
            .file
            .write_all_at(&header.encode(), tail.bytes)
            .and_then(|()| Ok(Failpoint::BatchHalfWritten.pass()?))
            .and_then(|()| self.file.write_all_at(body, tail.bytes + HEADER_BYTES as u64));
        written.map_err(|error| {
            self.cut_pending();
            let path = self.partition.path_of(tail.base);
            let message = format!(
                "{}, offset {}: cannot append {} bytes to '{}', nothing of them was kept",
                self.partition.place(),
                tail.end,
                header.frame_bytes(),
                path.display()
            );
            TopicError::io(message, error)
        })?;
        Ok(tail.end)
    }

    /// Replaces an active segment that no reader needs any more, and deletes it. Returns `false` if a reader needs
    /// it, or if that fails.
    fn make_room(&mut self) -> bool {
        let tail = self.partition.tail();
        if self.trimmable < tail.end || tail.end == tail.base {
            return false;
        }
        let made = self.roll(tail.end, None).and_then(|()| self.trim(tail.end));
        if let Err(error) = &made {
            tracing::debug!(%error, "cannot make room");
        }
        made.is_ok()
    }

    /// Shows readers the batch that was written.
    pub(super) fn publish(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.partition.publish(pending.bytes, pending.next);
        }
    }

    /// Syncs all that was written to disk. If that fails, a batch that is not published is truncated.
    pub(super) fn sync(&mut self) -> Result<(), TopicError> {
        self.sync_files().map_err(|error| {
            // After a failed fsync the contents of the disk are unknown, and the next fsync may succeed all the same.
            // Nothing that is acknowledged may follow in this segment.
            self.cut_pending();
            self.sealed = true;
            let directory = self.partition.directory().display();
            let message = format!("{}: cannot sync the segments in '{directory}'", self.partition.place());
            TopicError::io(message, error)
        })
    }

    fn sync_files(&mut self) -> io::Result<()> {
        while let Some(&base) = self.unsynced.last() {
            match File::open(self.partition.path_of(base)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // trimmed
                file => file?.sync_data()?,
            }
            self.unsynced.pop();
        }
        self.file.sync_data()?;
        if self.directory_unsynced {
            sync_directory(self.partition.directory())?;
            self.directory_unsynced = false;
        }
        Ok(())
    }

    /// Leaves out the offsets from the end to `next`, if the log ends before `next`.
    pub(super) fn leave_out(&mut self, next: Offset) -> Result<(), TopicError> {
        self.cut_pending();
        let end = self.partition.end();
        if end >= next {
            return Ok(());
        }
        self.roll(next, Some(end))?;
        self.sync()?;
        tracing::info!(
            place = self.partition.place(),
            from = end,
            to = next,
            "the log ended before its readers; the offsets between are left out"
        );
        Ok(())
    }

    /// Deletes old segments; see [`Topics::trim`](crate::Topics::trim).
    pub(super) fn trim(&mut self, before: Offset) -> Result<(), TopicError> {
        self.trimmable = self.trimmable.max(before);
        let trimmed = self.partition.trim(before);
        let start = self.partition.start();
        self.unsynced.retain(|base| *base >= start);
        self.directory_unsynced = true;
        trimmed
    }

    /// Creates a new active segment at `base`, after a gap from `gap` if there is one.
    fn roll(&mut self, base: Offset, gap: Option<Offset>) -> Result<(), TopicError> {
        let path = self.partition.path_of(base);
        let left = self.partition.tail().base;
        // A sealed segment without records is created anew, under the same name and after the same gap.
        let gap = if left == base { segment::gap_before(&self.file).unwrap_or(gap) } else { gap };
        let begun = segment::create(&path).and_then(|file| match gap {
            Some(from) => file.write_all_at(&Header::of_gap(from).encode(), 0).map(|()| file),
            None => Ok(file),
        });
        let begun = begun.and_then(|file| Ok(Failpoint::SegmentBegun.pass().map(|()| file)?));
        let file = match begun {
            Ok(file) => Arc::new(file),
            Err(error) => {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::debug!(%error, file = %path.display(), "nothing to clean up");
                }
                let place = self.partition.place();
                let message = format!("{place}, offset {base}: cannot create '{}'", path.display());
                return Err(TopicError::io(message, error));
            }
        };
        let bytes = if gap.is_some() { HEADER_BYTES as u64 } else { 0 };
        self.partition.push_segment(base, bytes, Arc::clone(&file));
        self.file = file;
        self.sealed = false;
        self.directory_unsynced = true;
        if left != base {
            self.unsynced.push(left);
        }
        Ok(())
    }

    /// Truncates a batch that was written but not published.
    fn cut_pending(&mut self) {
        if self.pending.take().is_none() {
            return;
        }
        let tail = self.partition.tail();
        if let Err(error) = self.file.set_len(tail.bytes) {
            let file = self.partition.path_of(tail.base);
            tracing::warn!(%error, file = %file.display(), position = tail.bytes,
                "cannot cut off an unfinished batch; the next goes to a new segment");
            self.sealed = true;
        }
    }
}

/// Syncs the names in a directory to disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::lock::Lock;
    use super::*;

    fn batch(value: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.push(b"key", value);
        batch
    }

    /// A writer with one batch in its segment.
    fn writer(directory: &Path) -> Writer {
        let path = segment::path(directory, 0);
        let file = Arc::new(segment::create(&path).unwrap());
        let lock = Arc::new(Lock::take(directory).unwrap());
        let segments = segment::Segments { all: vec![segment::Segment::new(0, 0)], active: file, end: 0 };
        let partition = Partition::new("topic".to_owned(), 0, directory.to_owned(), segments, lock);
        let mut writer = Writer::new(Arc::new(partition), 1 << 20);
        assert_eq!(writer.write(&batch(b"first")).unwrap(), 0);
        writer.publish();
        writer
    }

    fn values(partition: &Partition) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        let mut from = partition.start();
        while let Some(fetched) = partition.read(from).unwrap() {
            values.extend(fetched.batch.iter().map(|record| record.value.to_vec()));
            from = fetched.next;
        }
        values
    }

    #[test]
    fn what_is_not_published_is_never_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        assert_eq!(writer.write(&batch(&[b'x'; 1000])).unwrap(), 1);
        assert_eq!(writer.partition.end(), 1);
        // The caller ended without publishing. A shorter batch takes the place.
        assert_eq!(writer.write(&batch(b"second")).unwrap(), 1);
        writer.publish();
        assert_eq!(values(&writer.partition), [b"first".to_vec(), b"second".to_vec()]);
        let path = segment::path(directory.path(), 0);
        assert_eq!(std::fs::metadata(path).unwrap().len(), writer.partition.tail().bytes);
    }

    #[test]
    fn a_segment_that_cannot_be_cut_off_is_left_for_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        // On a file that is open for reading only, neither writing nor truncating works.
        writer.file = Arc::new(File::open(segment::path(directory.path(), 0)).unwrap());
        assert_eq!(writer.write(&batch(b"lost")).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(writer.write(&batch(b"second")).unwrap(), 1);
        writer.publish();
        assert_eq!(segment::list(directory.path()).unwrap(), [0, 1]);
        assert_eq!(values(&writer.partition), [b"first".to_vec(), b"second".to_vec()]);
        writer.sync().unwrap();
    }

    #[test]
    fn a_gap_outlives_a_segment_that_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        writer.leave_out(10).unwrap();
        writer.sealed = true;
        assert_eq!(writer.write(&batch(b"second")).unwrap(), 10);
        writer.publish();
        assert_eq!(writer.partition.read(5).unwrap().map(|fetched| fetched.base), Some(10));
    }
}
