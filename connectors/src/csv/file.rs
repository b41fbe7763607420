//! One open file: what tells that it changed, its hash, its identity.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;

/// How much is read at once.
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
    changed: (i64, i64),
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
}

impl Opened {
    /// Its stamp now.
    pub(super) fn stat(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&self.file.metadata()?))
    }
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

/// BLAKE3 of the first `size` bytes, or `None` if the file is shorter.
pub(super) async fn hash(file: Arc<File>, size: u64) -> io::Result<Option<blake3::Hash>> {
    let hashed = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BLOCK_BYTES.min(size as usize)];
        let mut offset = 0;
        while offset < size {
            let wanted = buffer.len().min((size - offset) as usize);
            let read = read_full(&file, &mut buffer[..wanted], offset)?;
            hasher.update(&buffer[..read]);
            offset += read as u64;
            if read < wanted {
                return Ok(None);
            }
        }
        Ok(Some(hasher.finalize()))
    });
    hashed.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

/// What makes a source one and the same: BLAKE3 over the parts, each behind its length.
pub(super) fn identity(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
