//! A file that is about to be registered.

use std::io;
use std::path::Path;

use tidegate_core::manifest::Manifest;
use tidegate_core::registry::KeysNeeded;
use tidegate_core::shape::Shape;
use tidegate_core::syntax::Syntax;

use crate::content::{Content, FileFault};
use crate::file::{BLOCK_BYTES, OpenFile};

/// A file of CSV that is not registered yet.
#[derive(Clone, Copy, Debug)]
pub struct UnregisteredFile<'a> {
    /// Where the file is.
    pub path: &'a Path,
    /// The name under which it comes.
    pub name: &'a str,
    /// The index of its dataset.
    pub dataset: usize,
    /// Its syntax, if its sender told one that is not the manifest's.
    pub syntax: Option<&'a Syntax>,
}

impl UnregisteredFile<'_> {
    /// Returns the shape with which the text of the file is to be read, or what is wrong with the file as a whole, in
    /// words.
    pub fn shape(&self, manifest: &Manifest) -> io::Result<Result<Shape, String>> {
        let opened = self.open()?;
        if let Some(nature) = opened.no_text(manifest)? {
            return Ok(Err(nature.to_string()));
        }
        match Content::start(opened, manifest, BLOCK_BYTES) {
            Ok(content) => Ok(Ok((*content.shape).clone())),
            Err(FileFault::Refused(fault)) => Ok(Err(fault)),
            Err(unfit) => Err(unfit.into()),
        }
    }

    /// Returns the keys that the lines of the file need. Fails if the file changes meanwhile.
    pub async fn keys_needed(&self, manifest: &Manifest) -> io::Result<Option<KeysNeeded>> {
        Ok(Content::keys_needed(self.open()?, manifest, BLOCK_BYTES).await?)
    }

    fn open(&self) -> io::Result<OpenFile> {
        let opened = OpenFile::spooled(self.path.to_owned(), self.name.to_owned(), self.dataset, [0; 32])?;
        Ok(OpenFile { told: self.syntax.cloned(), ..opened })
    }
}
