//! One open file: what tells that it changed, its hash, its identity.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Shape;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::GeneratedKeys;
use super::reading::{Content, Unfit};
use super::sniff::nature::{NATURE_BYTES, Nature};

/// How much is read at once, unless a source is told otherwise.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// What the file system tells of a file: as long as it is the same, so is the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    /// In bytes.
    pub(super) size: u64,
    /// Seconds and nanoseconds since 1970.
    pub(super) modified: (i64, i64),
    /// When anything of it changed, which no program can set.
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

    /// Whether it is of the same file, whatever became of that.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        self.is_of(other.device, other.inode)
    }

    /// Whether it is of the file with these numbers.
    pub(super) fn is_of(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }

    /// Whether at most names, links or permissions changed, as far as size and time of modification tell.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }
}

/// A file of the landing folder that was opened. Its descriptor stays with the content, whatever happens
/// to the name.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// Where it stood.
    pub(super) path: PathBuf,
    /// Its name without the folder.
    pub(super) name: String,
    /// The index of its dataset.
    pub(super) dataset: usize,
    pub(super) file: Arc<File>,
    /// As it was when its content was hashed.
    pub(super) stamp: Stamp,
    /// BLAKE3 of the content.
    pub(super) content: blake3::Hash,
    /// Whether it has an odd number of quotes, so that one is open at its end, perhaps.
    pub(super) has_odd_quotes: bool,
    /// Whether it is a file of the spool, and not one that somebody has put somewhere.
    pub(super) spooled: bool,
    /// What keys are made of for lines that lack one.
    pub(super) keys: Option<GeneratedKeys>,
    /// How its text was read when it was registered; `None` for a file that comes now.
    pub(super) shape: Option<Arc<Shape>>,
}

impl Opened {
    /// Opens and hashes a file that entered, or would enter, under `name`, as one of the dataset with that index.
    pub(super) async fn open(path: &Path, name: &str, dataset: usize) -> io::Result<Self> {
        let opened = Self::hashed(open(path)?, path.to_owned(), name.to_owned(), (dataset, b'"')).await?;
        opened.ok_or_else(changed)
    }

    /// Hashes a file that was opened, as one of the dataset with that index and quote; `None` if it changed meanwhile.
    pub(super) async fn hashed(
        (file, stamp): (File, Stamp),
        path: PathBuf,
        name: String,
        (dataset, quote): (usize, u8),
    ) -> io::Result<Option<Self>> {
        let file = Arc::new(file);
        let Some(Hashed { content, quotes }) = hash(file.clone(), stamp.size, quote).await? else {
            return Ok(None);
        };
        let (has_odd_quotes, spooled, keys, shape) = (quotes % 2 == 1, false, None, None);
        let opened = Self { path, name, dataset, file, stamp, content, has_odd_quotes, spooled, keys, shape };
        Ok((opened.stat()? == stamp).then_some(opened))
    }

    /// Opens a file of the spool, whose content is known.
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

    /// Its fingerprint. What decides which bytes are a line, and so its number, is part of it.
    pub(super) fn fingerprint(&self, manifest: &Manifest) -> Identity {
        let dataset = &manifest.datasets[self.dataset];
        let limit = manifest.max_record_bytes.to_le_bytes();
        let csv = &dataset.csv;
        let (header, delimiter, quote) =
            self.shape.as_ref().map_or((csv.header, csv.delimiter, csv.quote), |shape| {
                (shape.header, shape.delimiter, shape.quote)
            });
        let splitting = [u8::from(header), delimiter, quote];
        let (dataset, name) = (dataset.name.as_bytes(), self.name.as_bytes());
        hash_of(&[dataset, name, self.content.as_bytes(), &splitting, &limit])
    }

    /// What it is by its first bytes, if it is no plain text in UTF-8.
    pub(super) fn nature(&self) -> io::Result<Option<Nature>> {
        let mut head = vec![0; NATURE_BYTES.min(self.stamp.size as usize)];
        let read = read_full(&self.file, &mut head, 0)?;
        Ok(Nature::of(&head[..read]))
    }

    /// What it is, if all of its lines would be dead letters for that: no header says so where there is none.
    pub(super) fn no_text(&self, manifest: &Manifest) -> io::Result<Option<Nature>> {
        match manifest.datasets[self.dataset].csv.header {
            true => Ok(None),
            false => Ok(self.nature()?.filter(|nature| nature.is_no_text())),
        }
    }

    /// Its stamp now.
    pub(super) fn stat(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&self.file.metadata()?))
    }
}

/// What a file says that cannot be looked at in peace.
pub(super) fn changed() -> io::Error {
    io::Error::other("it changed while it was read")
}

/// How the text of a file of CSV is to be read that comes now; or what is wrong with it as a whole: its header.
///
/// # Errors
///
/// If it cannot be read.
pub fn shape(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<Result<Shape, String>> {
    let opened = Opened::spooled(path.to_owned(), String::new(), dataset, [0; 32])?;
    if let Some(nature) = opened.no_text(manifest)? {
        return Ok(Err(nature.to_string()));
    }
    match Content::start(opened, manifest, BLOCK_BYTES) {
        Ok(content) => Ok(Ok((*content.shape).clone())),
        Err(Unfit::Refused(fault)) => Ok(Err(fault)),
        Err(unfit) => Err(unfit.into()),
    }
}

/// What is wrong with a file of CSV as a whole, before it becomes a source: its header, if anything is.
///
/// # Errors
///
/// If it cannot be read.
pub fn unfit(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<Option<String>> {
    Ok(shape(path, dataset, manifest)?.err())
}

/// How many lines a file of CSV has.
///
/// # Errors
///
/// If it cannot be read, or changes meanwhile.
pub async fn count_lines(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<u64> {
    let opened = Opened::spooled(path.to_owned(), String::new(), dataset, [0; 32])?;
    Content::count(opened, manifest, BLOCK_BYTES).await?.ok_or_else(changed)
}

/// Opens a file to read, if it is a regular one and no link.
pub(super) fn open(path: &Path) -> io::Result<(File, Stamp)> {
    // A pipe put in the place of the file must not block.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is no regular file any more"));
    }
    Ok((file, Stamp::of(&metadata)))
}

/// Reads at `offset` until `buffer` is full or the file ends; gives how much was read.
pub(super) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A file, read once.
pub(super) struct Hashed {
    /// BLAKE3 of its content.
    pub(super) content: blake3::Hash,
    /// How many quotes it has.
    quotes: usize,
}

/// Reads the first `size` bytes; `None` if the file is shorter.
pub(super) async fn hash(file: Arc<File>, size: u64, quote: u8) -> io::Result<Option<Hashed>> {
    aside(move || {
        let (mut hasher, mut quotes) = (blake3::Hasher::new(), 0);
        let mut buffer = vec![0; BLOCK_BYTES.min(size as usize)];
        let mut offset = 0;
        while offset < size {
            let wanted = buffer.len().min((size - offset) as usize);
            let read = read_full(&file, &mut buffer[..wanted], offset)?;
            hasher.update(&buffer[..read]);
            quotes += memchr::memchr_iter(quote, &buffer[..read]).count();
            offset += read as u64;
            if read < wanted {
                return Ok(None);
            }
        }
        Ok(Some(Hashed { content: hasher.finalize(), quotes }))
    })
    .await
}

/// Whether a file ends with a line end, or is empty.
pub(super) fn ends_a_line(path: &Path) -> io::Result<bool> {
    let (file, stamp) = open(path)?;
    let mut last = [b'\n'];
    if stamp.size > 0 {
        read_full(&file, &mut last, stamp.size - 1)?;
    }
    Ok(matches!(last, [b'\n' | b'\r']))
}

/// Runs what reads for long on a thread of its own. In a runtime of one thread it runs here: who chose that
/// wants one thing to happen after another, always in the same order.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

/// What makes a source one and the same.
pub(crate) type Identity = [u8; 32];

/// The identity of a file that becomes the source of this number: its fingerprint, unless that is another's because
/// it came before.
pub(crate) fn identity_of(fingerprint: &Identity, source: u64, came_before: bool) -> Identity {
    if came_before { hash_of(&[fingerprint, b"again", &source.to_le_bytes()]) } else { *fingerprint }
}

/// What stands for the fingerprint of a file whose content is that of `source`, which was closed before its end, and
/// which was registered before version 8 of the schema.
pub(crate) fn identity_behind(of: &Identity, source: u64) -> Identity {
    hash_of(&[of, &source.to_le_bytes()])
}

/// BLAKE3 over the parts, each behind its length.
fn hash_of(parts: &[&[u8]]) -> Identity {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
