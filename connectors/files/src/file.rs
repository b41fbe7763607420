//! One open file: its stamp, which tells that it changed, its hash, its identity.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use nix::libc;
use tidegate_core::manifest::Manifest;
use tidegate_core::registry::{Identity, hash_of};
use tidegate_core::shape::Shape;
use tidegate_core::split::SepLine;
use tidegate_core::syntax::{Dialect, Syntax};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::GeneratedKeys;
use crate::decoding;
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

    /// Returns the time of the last modification. A time before 1970 is given as 1970.
    pub(super) fn modified(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.modified;
        let since_1970 = Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
        UNIX_EPOCH.checked_add(since_1970).unwrap_or(UNIX_EPOCH)
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
    /// What its first bytes decide by themselves.
    pub(super) opening: Opening,
    /// Whether it has an odd number of quotes, so that a quote may be open at its end. In UTF-16 the byte of a quote may
    /// be part of another letter, so that a file is waited for in vain, or too briefly.
    pub(super) has_odd_quotes: bool,
    /// Whether it is a file of the spool, and not one that a user has put into a folder.
    pub(super) spooled: bool,
    pub(super) keys: Option<GeneratedKeys>,
    /// The shape with which its text was registered; `None` for a file that is new.
    pub(super) shape: Option<Arc<Shape>>,
    /// The syntax that the sender of a new file has told, in place of the manifest's.
    pub(super) told: Option<Syntax>,
}

impl OpenFile {
    /// Opens and hashes a file that entered, or would enter, under `name`, for the dataset with that index.
    pub(super) async fn open(path: &Path, name: &str, dataset: usize) -> io::Result<Self> {
        let opened = Self::hashed(path.to_owned(), name.to_owned(), dataset, None, None).await?;
        opened.ok_or_else(changed)
    }

    /// Opens and hashes a file, for the dataset with that index, and counts its quotes. Returns `None` if the file
    /// changes meanwhile, or does not have the `expected` stamp.
    pub(super) async fn hashed(
        path: PathBuf,
        name: String,
        dataset: usize,
        quote: Option<u8>,
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
        let opened = Self::new(path, name, dataset, file, stamp, content)?;
        let opened = Self { has_odd_quotes: quotes % 2 == 1, ..opened };
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
        let opened = Self::new(path, name, dataset, Arc::new(file), stamp, content.into())?;
        Ok(Self { spooled: true, ..opened })
    }

    /// A new file of a user, without open quotes, which was opened and has that content.
    pub(super) fn new(
        path: PathBuf,
        name: String,
        dataset: usize,
        file: Arc<File>,
        stamp: Stamp,
        content: blake3::Hash,
    ) -> io::Result<Self> {
        let opening = Opening::of(&file, stamp.size)?;
        let (has_odd_quotes, spooled, keys, shape, told) = (false, false, None, None, None);
        Ok(Self {
            path,
            name,
            dataset,
            file,
            stamp,
            content,
            opening,
            has_odd_quotes,
            spooled,
            keys,
            shape,
            told,
        })
    }

    /// Returns the file's fingerprint. It includes all that decides how the bytes are divided into lines, and so the
    /// numbers of the lines.
    pub fn fingerprint(&self, manifest: &Manifest) -> Identity {
        let dataset = &manifest.datasets[self.dataset];
        let limit = manifest.max_record_bytes.to_le_bytes();
        let mut syntax = self.syntax(manifest).clone();
        // What the first bytes decide is part of the content.
        if self.opening.mark.is_some() {
            syntax.encoding = UTF_8;
        }
        if self.opening.delimiter.is_some() {
            syntax.dialect.delimiter = Dialect::STANDARD.delimiter;
        }
        let (dataset, name) = (dataset.name.as_bytes(), self.name.as_bytes());
        hash_of(&[dataset, name, self.content.as_bytes(), &syntax.identity(), &limit])
    }

    /// Returns the file with the keys of a source that begin with `first`, for lines that lack their own. Without a first
    /// key there are none.
    pub fn with_keys(self, manifest: &Manifest, first: Option<i64>) -> Self {
        let dataset = &manifest.datasets[self.dataset];
        // Without the syntax: the file keeps its keys if it is reloaded because the syntax was wrong.
        let identity = hash_of(&[dataset.name.as_bytes(), self.name.as_bytes(), self.content.as_bytes()]);
        let keys = first.and_then(|first| GeneratedKeys::of_source(dataset, identity, first));
        Self { keys, ..self }
    }

    /// Returns the key that is generated for a line, counted from 1; `None` if none are generated for the file.
    pub(super) fn key_of(&self, line: u64) -> Option<String> {
        self.keys.as_ref().map(|keys| keys.of(line))
    }

    /// Returns the encoding of the text: the one that the byte order mark decides, otherwise the one that was told.
    pub(super) fn encoding(&self, manifest: &Manifest) -> &'static Encoding {
        self.opening.mark.unwrap_or(self.syntax(manifest).encoding)
    }

    /// Returns the syntax of the file: the one of its registration, otherwise the one that was told, otherwise the
    /// manifest's.
    pub(super) fn syntax<'a>(&'a self, manifest: &'a Manifest) -> &'a Syntax {
        match (&self.shape, &self.told) {
            (Some(shape), _) => &shape.syntax,
            (None, Some(told)) => told,
            (None, None) => &manifest.datasets[self.dataset].csv.syntax,
        }
    }

    /// Returns the first bytes of the file, `bytes_max` if there are as many; none if the file has become shorter.
    pub(super) fn head(&self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; bytes_max.min(self.stamp.size as usize)];
        if !read_full(&self.file, &mut head, 0)? {
            head.clear();
        }
        Ok(head)
    }

    /// Returns the file's format by its first bytes, if it is not plain text in `encoding`.
    pub(super) fn nature(&self, encoding: &'static Encoding) -> io::Result<Option<Nature>> {
        let nature = Nature::of(&self.head(NATURE_BYTES)?);
        Ok(nature.filter(|nature| nature.encoding() != Some(encoding)))
    }

    /// Returns the file's format if it would make every line a dead letter. Returns `None` if the file has a header,
    /// since reading the header reports the format.
    pub(super) fn no_text(&self, manifest: &Manifest) -> io::Result<Option<Nature>> {
        match self.syntax(manifest).header {
            true => Ok(None),
            false => Ok(self.nature(self.encoding(manifest))?.filter(|nature| nature.is_no_text())),
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

/// What the first bytes of a file decide by themselves, whatever the manifest says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    /// The encoding that the byte order mark decides.
    pub(super) mark: Option<&'static Encoding>,
    /// The delimiter that a first line for Excel names: `sep=;`.
    pub(super) delimiter: Option<u8>,
}

impl Opening {
    /// How many bytes it may have: a byte order mark, and the line that names the delimiter, in UTF-16.
    const BYTES_MAX: u64 = 32;

    pub(super) fn of(file: &File, size: u64) -> io::Result<Self> {
        let mut head = vec![0; size.min(Self::BYTES_MAX) as usize];
        if !read_full(file, &mut head, 0)? {
            return Ok(Self::default());
        }
        let mark = decoding::marked(&head);
        // Without a mark, a zero beside the first letter tells UTF-16. Any other encoding has these letters in ASCII.
        let encoding = mark.unwrap_or(match head[..] {
            [_, 0, ..] => UTF_16LE,
            [0, _, ..] => UTF_16BE,
            _ => UTF_8,
        });
        let (text, _) = encoding.decode_with_bom_removal(&head);
        let sep_line = SepLine::find(text.as_bytes(), &Dialect::STANDARD, size <= Self::BYTES_MAX);
        let delimiter = match sep_line {
            SepLine::Found { delimiter, .. } => Some(delimiter),
            SepLine::Absent | SepLine::Unknown => None,
        };
        Ok(Self { mark, delimiter })
    }
}

/// The result of reading a file once.
pub(super) struct ContentHash {
    pub(super) content: blake3::Hash,
    quotes: usize,
}

/// Hashes the first `size` bytes. Returns `None` if the file is shorter.
pub(super) async fn hash(file: Arc<File>, size: u64, quote: Option<u8>) -> io::Result<Option<ContentHash>> {
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
            quotes += quote.map_or(0, |quote| memchr::memchr_iter(quote, block).count());
            offset += wanted as u64;
        }
        Ok(Some(ContentHash { content: hasher.finalize(), quotes }))
    })
    .await
}

/// Returns whether a file ends with a line end, or is empty.
pub(super) fn ends_a_line(path: &Path) -> io::Result<bool> {
    let (file, stamp) = open(path)?;
    let mut last = [b'\n', b'\n'];
    if stamp.size > 0 {
        let bytes = stamp.size.min(2);
        read_full(&file, &mut last[2 - bytes as usize..], stamp.size - bytes)?;
    }
    // In UTF-16 a zero may follow.
    Ok(matches!(last, [_, b'\n' | b'\r'] | [b'\n' | b'\r', 0]))
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
