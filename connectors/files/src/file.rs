//! One open file: its stamp, which tells that it changed, its hash, its identity.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use tidegate_core::manifest::Manifest;
use tidegate_core::registry::{Identity, hash_of};
use tidegate_core::shape::Shape;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::GeneratedKeys;
use crate::sniff::nature::{NATURE_BYTES, Nature};

/// How many bytes are read at once, unless a source is told otherwise.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// The metadata of a file. As long as the stamp is the same, the content is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    /// The time of the last modification, in seconds and nanoseconds since 1970.
    pub(super) modified: (i64, i64),
    /// The time of the last change of content or metadata, in seconds and nanoseconds since 1970. No program can set
    /// it.
    pub(super) changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns whether both stamps belong to the same file, whatever has changed in it.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        self.is_of(other.device, other.inode)
    }

    /// Returns whether the stamp belongs to the file with this device and inode.
    pub(super) fn is_of(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }

    /// Returns whether only names, links or permissions may differ: the size and the time of modification are equal.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }
}

/// A file that was opened. Its descriptor keeps the content accessible, whatever happens to the name.
#[derive(Clone, Debug)]
pub struct OpenFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    pub(super) file: Arc<File>,
    /// The stamp when the content was hashed.
    pub(super) stamp: Stamp,
    pub(super) content: blake3::Hash,
    /// Whether it has an odd number of quotes, so that a quote may be open at its end.
    pub(super) has_odd_quotes: bool,
    /// Whether it is a file of the spool, and not one that a user has put into a folder.
    pub(super) spooled: bool,
    pub(super) keys: Option<GeneratedKeys>,
    /// The shape with which its text was registered; `None` for a file that is new.
    pub(super) shape: Option<Arc<Shape>>,
}

impl OpenFile {
    /// Opens and hashes a file that entered, or would enter, under `name`, for the dataset with that index.
    pub(super) async fn open(path: &Path, name: &str, dataset: usize) -> io::Result<Self> {
        let opened = Self::hashed(path.to_owned(), name.to_owned(), dataset, b'"', None).await?;
        opened.ok_or_else(changed)
    }

    /// Opens and hashes a file, for the dataset with that index and quote. Returns `None` if the file changes meanwhile,
    /// or does not have the `expected` stamp.
    pub(super) async fn hashed(
        path: PathBuf,
        name: String,
        dataset: usize,
        quote: u8,
        expected: Option<Stamp>,
    ) -> io::Result<Option<Self>> {
        let (file, stamp) = open(&path)?;
        let file = Arc::new(file);
        if expected.is_some_and(|expected| expected != stamp) {
            return Ok(None);
        }
        let Some(ContentHash { content, quotes }) = hash(file.clone(), stamp.size, quote).await? else {
            return Ok(None);
        };
        let (has_odd_quotes, spooled, keys, shape) = (quotes % 2 == 1, false, None, None);
        let opened = Self { path, name, dataset, file, stamp, content, has_odd_quotes, spooled, keys, shape };
        Ok((opened.stat()? == stamp).then_some(opened))
    }

    /// Opens a file of the spool, whose hash is known.
    pub(super) fn spooled(
        path: PathBuf,
        name: String,
        dataset: usize,
        content: [u8; 32],
    ) -> io::Result<Self> {
        let (file, stamp) = open(&path)?;
        let (file, content) = (Arc::new(file), blake3::Hash::from(content));
        let (has_odd_quotes, spooled, keys, shape) = (false, true, None, None);
        Ok(Self { path, name, dataset, file, stamp, content, has_odd_quotes, spooled, keys, shape })
    }

    /// Returns the file's fingerprint. It includes all that decides how the bytes are divided into lines, and so the
    /// numbers of the lines.
    pub fn fingerprint(&self, manifest: &Manifest) -> Identity {
        let dataset = &manifest.datasets[self.dataset];
        let limit = manifest.max_record_bytes.to_le_bytes();
        let csv = &dataset.csv;
        let splitting = match &self.shape {
            Some(shape) => [u8::from(shape.header), shape.delimiter, shape.quote],
            None => [u8::from(csv.header), csv.delimiter, csv.quote],
        };
        let (dataset, name) = (dataset.name.as_bytes(), self.name.as_bytes());
        hash_of(&[dataset, name, self.content.as_bytes(), &splitting, &limit])
    }

    /// Returns the file's format by its first bytes, if it is not plain text in UTF-8.
    pub(super) fn nature(&self) -> io::Result<Option<Nature>> {
        let mut head = vec![0; NATURE_BYTES.min(self.stamp.size as usize)];
        let is_read = read_full(&self.file, &mut head, 0)?;
        Ok(Nature::of(&head).filter(|_| is_read))
    }

    /// Returns the file's format if it would make every line a dead letter. Returns `None` if the dataset's files
    /// have a header, since reading the header reports the format.
    pub(super) fn no_text(&self, manifest: &Manifest) -> io::Result<Option<Nature>> {
        match manifest.datasets[self.dataset].csv.header {
            true => Ok(None),
            false => Ok(self.nature()?.filter(|nature| nature.is_no_text())),
        }
    }

    pub(super) fn stat(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&self.file.metadata()?))
    }
}

/// The error for a file that changes while it is read.
pub(super) fn changed() -> io::Error {
    io::Error::other("it changed while it was read")
}

/// Opens a file for reading. Fails if it is a link or no regular file.
pub(super) fn open(path: &Path) -> io::Result<(File, Stamp)> {
    // If a pipe has taken the file's place, opening must not block.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is no regular file any more"));
    }
    Ok((file, Stamp::of(&metadata)))
}

/// Fills `buffer` from `offset` on. Returns `false` if the file ends before.
pub(super) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// The result of reading a file once.
pub(super) struct ContentHash {
    pub(super) content: blake3::Hash,
    quotes: usize,
}

/// Hashes the first `size` bytes. Returns `None` if the file is shorter.
pub(super) async fn hash(file: Arc<File>, size: u64, quote: u8) -> io::Result<Option<ContentHash>> {
    aside(move || {
        let (mut hasher, mut quotes) = (blake3::Hasher::new(), 0);
        let mut buffer = vec![0; BLOCK_BYTES.min(size as usize)];
        let mut offset = 0;
        while offset < size {
            let wanted = buffer.len().min((size - offset) as usize);
            let block = &mut buffer[..wanted];
            if !read_full(&file, block, offset)? {
                return Ok(None);
            }
            hasher.update(block);
            quotes += memchr::memchr_iter(quote, block).count();
            offset += wanted as u64;
        }
        Ok(Some(ContentHash { content: hasher.finalize(), quotes }))
    })
    .await
}

/// Returns whether a file ends with a line end, or is empty.
pub(super) fn ends_a_line(path: &Path) -> io::Result<bool> {
    let (file, stamp) = open(path)?;
    let mut last = [b'\n'];
    if stamp.size > 0 {
        read_full(&file, &mut last, stamp.size - 1)?;
    }
    Ok(matches!(last, [b'\n' | b'\r']))
}

/// Runs long reads on a thread of their own. In a runtime of one thread they run inline: a caller that has chosen
/// such a runtime wants everything in one order, always the same.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}
