//! The spool: files that entered another way than by the landing folder, until every line is accounted for.
//!
//! A file gets its name, which its request and its content make, when it is whole and on disk; and only then the
//! request is registered. So whoever finds the registration finds the file, and what nobody has registered can go.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tidegate_connectors::csv;
use tidegate_core::failpoint::Failpoint;

use crate::data_dir::private_dir;
use crate::journal::hex;

/// How many bytes of the hash of the content are in the name: two requests of one name differ in it.
const CONTENT_BYTES: usize = 8;

/// The folder, in the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// A file that is being written. It goes with this, unless it is kept.
pub(crate) struct Spooling {
    file: NamedTempFile,
    hasher: blake3::Hasher,
    bytes: u64,
}

/// A file that is written, and not on disk under its name yet.
pub(crate) struct Spooled {
    file: NamedTempFile,
    /// BLAKE3 of its content.
    pub(crate) content: [u8; 32],
    /// Its size.
    pub(crate) bytes: u64,
}

impl Spool {
    /// The spool of a data directory, which is made if it is missing.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("spool");
        private_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Begins a file.
    pub(crate) fn begin(&self) -> io::Result<Spooling> {
        let file = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(&self.folder)?;
        Ok(Spooling { file, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// Where the file of a source is.
    pub(crate) fn path(&self, identity: &[u8], content: &[u8]) -> PathBuf {
        let content = &content[..CONTENT_BYTES.min(content.len())];
        self.folder.join(format!("{}-{}.csv", hex::encode(identity), hex::encode(content)))
    }

    /// Brings a file onto the disk, under the name that its source will look for.
    pub(crate) async fn keep(
        &self,
        spooled: Spooled,
        identity: &[u8],
        content: &[u8],
    ) -> io::Result<PathBuf> {
        let (path, folder) = (self.path(identity, content), self.folder.clone());
        let kept = tokio::task::spawn_blocking(move || {
            spooled.file.as_file().sync_all()?;
            spooled.file.persist(&path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()?;
            Failpoint::UploadSpooled.pass()?;
            Ok(path)
        });
        kept.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }

    /// Removes all files but these: what was spooled and never registered, and what is accounted for.
    pub(crate) fn retain(&self, needed: &[PathBuf]) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if !needed.contains(&path) {
                csv::remove_spooled(&path);
            }
        }
        Ok(())
    }
}

impl Spooled {
    /// Where it is until it is kept.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Spooling {
    /// Appends bytes. Blocks, for a disk is meant to be faster than what is sent.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// How much was written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file.
    pub(crate) fn end(self) -> io::Result<Spooled> {
        let Self { mut file, hasher, bytes } = self; // private from the beginning
        file.flush()?;
        Ok(Spooled { file, content: *hasher.finalize().as_bytes(), bytes })
    }
}
