//! Files of `done/`, read once more, by the very code that read them first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::contract::{Error, Intake};
use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Shape;
use tidegate_core::validate::Validator;

use super::Registry;
use super::done::{DONE, done_path};
use super::file::{self, BLOCK_BYTES, Opened};
use super::passed::Passed;
use super::reading::{Content, Progress, Reading};
pub(crate) use file::{Identity, identity_behind, identity_of};

/// The folder, inside the landing folder, of the files whose every line is accounted for.
pub(crate) fn folder(landing: &Path) -> PathBuf {
    landing.join(DONE)
}

/// A file of `done/`, hashed.
pub(crate) struct Done {
    opened: Opened,
}

impl Done {
    /// The file of a source, by the name that it had, read as it was then; `None` if it is not there.
    pub(crate) async fn open(
        landing: &Path,
        source: u64,
        name: &str,
        dataset: usize,
        shape: Option<Arc<Shape>>,
    ) -> io::Result<Option<Self>> {
        let path = done_path(landing, source, name);
        match Opened::open(&path, name, dataset).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Ok(Some(Self { opened: Opened { shape, ..opened? } })),
        }
    }

    /// Its fingerprint, as its source has it.
    pub(crate) fn fingerprint(&self, manifest: &Manifest) -> Identity {
        self.opened.fingerprint(manifest)
    }

    /// Reads up to the first line.
    pub(crate) fn read(self, source: u64, manifest: &Manifest) -> io::Result<Again> {
        let content = Content::start(self.opened, manifest, BLOCK_BYTES)?;
        Ok(Again { reading: Reading::new(source, content, Passed::none(), 0) })
    }
}

/// A file that is read once more.
pub(crate) struct Again {
    reading: Reading,
}

/// What comes next in it.
pub(crate) enum Next {
    /// Lines, as a source gives them out.
    Lines(Intake),
    /// No more.
    End {
        /// How many lines there were.
        lines: u64,
        /// Whether it changed before its end.
        changed: bool,
    },
}

impl Again {
    /// How its text is read.
    pub(crate) fn shape(&self) -> &Shape {
        self.reading.shape()
    }

    /// The next lines. The registry is not asked about any: all are given out.
    pub(crate) async fn next(
        &mut self,
        manifest: &Manifest,
        validator: &Validator,
        registry: &impl Registry,
    ) -> Result<Next, Error> {
        Ok(match self.reading.next(manifest, validator, registry).await? {
            Progress::Lines(intake) => Next::Lines(intake),
            Progress::Ended { lines, whole } => Next::End { lines, changed: !whole },
        })
    }
}
