//! The spool: files of requests, uploads and restores, kept until every line is accounted for.
//!
//! A file gets its name, made of its request and its content, once it is whole and on disk. The request is registered
//! only after that. Therefore every registration finds its file, and a file without a registration can be removed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tidegate_core::failpoint::Failpoint;

use crate::data_dir::private_dir;

/// How many bytes of the content's hash are in the name, so that two requests under one identity have different names.
const CONTENT_BYTES: usize = 8;

/// The spool folder in the data directory.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

/// A file that is being written. Dropping it removes the file.
pub struct SpoolWriter {
    file: NamedTempFile,
    hasher: blake3::Hasher,
    bytes: u64,
}

/// A file that is written, but not yet synced and not yet under its name. Dropping it removes the file.
pub struct SpoolFile {
    file: NamedTempFile,
    /// BLAKE3 of the content.
    pub content: [u8; 32],
    /// The size in bytes.
    pub bytes: u64,
}

impl Spool {
    /// Opens the spool of a data directory; creates it if it is missing.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("spool");
        private_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Begins a file.
    pub fn begin(&self) -> io::Result<SpoolWriter> {
        let file = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(&self.folder)?;
        Ok(SpoolWriter { file, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// The path of a source's file.
    pub fn path(&self, identity: &[u8], content: &[u8]) -> PathBuf {
        let content = &content[..CONTENT_BYTES.min(content.len())];
        self.folder.join(format!("{}-{}.csv", hex::encode(identity), hex::encode(content)))
    }

    /// Syncs a file to disk, under the name that its source looks for. Returns its path, and whether it is new there.
    pub async fn keep(&self, spooled: SpoolFile, identity: &[u8]) -> io::Result<(PathBuf, bool)> {
        let (path, folder) = (self.path(identity, &spooled.content), self.folder.clone());
        let is_new = !path.exists();
        let kept = tokio::task::spawn_blocking(move || {
            spooled.file.as_file().sync_all()?;
            spooled.file.persist(&path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()?;
            Failpoint::UploadSpooled.pass()?;
            Ok((path, is_new))
        });
        kept.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }

    /// Removes all files but those `needed`: files that were never registered, and files whose lines are accounted for.
    pub fn retain(&self, needed: &[PathBuf]) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if !needed.contains(&path) {
                tidegate_files::remove_spooled(&path);
            }
        }
        Ok(())
    }
}

impl SpoolFile {
    /// The path of the file until it is kept.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Appends bytes. Blocks, because the disk is assumed to be faster than the client.
impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SpoolWriter {
    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Flushes the file and completes its hash.
    pub fn end(self) -> io::Result<SpoolFile> {
        let Self { mut file, hasher, bytes } = self; // a temporary file is private from the beginning
        file.flush()?;
        Ok(SpoolFile { file, content: *hasher.finalize().as_bytes(), bytes })
    }
}
