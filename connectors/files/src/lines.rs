//! The lines of a file that is not being read as a source, for inspection. They are split by the same rules, so they
//! have the same numbers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::manifest::Manifest;
use tidegate_core::registry::{Identity, identity_behind};
use tidegate_core::shape::{Form, Shape};

use crate::blocks::Next;
use crate::content::Content;
use crate::file::{BLOCK_BYTES, OpenFile, changed};

/// Reads the lines of a file, one after the other.
#[derive(Debug)]
pub struct Lines {
    content: Content,
    fingerprint: Identity,
    /// The number of the last line that was read.
    line: u64,
    /// The beginning of a line that is too long.
    prefix: Vec<u8>,
    /// A line in the manifest's columns.
    ordered: Vec<u8>,
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLine<'a> {
    /// The line's number in its source, from 1.
    pub number: u64,
    /// The physical line, from 1, at which the line starts.
    pub physical_line: u64,
    /// The line's bytes, without the line end; in UTF-8 if the file is in another encoding. If the line is too long,
    /// its beginning.
    pub text: &'a [u8],
    /// The length of that line in bytes.
    pub length: u64,
    /// The form of `ordered`.
    pub form: Form,
    /// The line with its columns in the manifest's order; `None` if they cannot be determined.
    pub ordered: Option<&'a [u8]>,
}

impl Lines {
    /// Opens a file that entered, or would enter, under `name`, for the dataset with that index. If it entered,
    /// `shape` is the shape of its source, and `first_key` the first of its generated keys, if it has some. Fails if the
    /// file changes meanwhile, or has a header that does not fit.
    pub async fn open(
        path: &Path,
        name: &str,
        manifest: &Manifest,
        dataset: usize,
        shape: Option<Arc<Shape>>,
        first_key: Option<i64>,
    ) -> io::Result<Self> {
        let opened = OpenFile { shape, ..OpenFile::open(path, name, dataset).await? };
        let opened = opened.with_keys(manifest, first_key);
        let fingerprint = opened.fingerprint(manifest);
        let content = Content::start(opened, manifest, BLOCK_BYTES)?;
        Ok(Self { content, fingerprint, line: 0, prefix: Vec::new(), ordered: Vec::new() })
    }

    /// Returns the sources that the file is, given all sources of its name with their fingerprints, oldest first.
    /// There is more than one if the file was delivered again.
    pub fn sources<'a>(&self, known: impl IntoIterator<Item = (u64, &'a [u8])>) -> Vec<u64> {
        let mut behind = self.fingerprint;
        let mut sources = Vec::new();
        for (source, known) in known {
            if known == behind {
                behind = identity_behind(&behind, source);
                sources.push(source);
            } else if known == self.fingerprint {
                sources.push(source);
            }
        }
        sources
    }

    /// Returns the size of the file, in bytes.
    pub fn size(&self) -> u64 {
        self.content.opened.stamp.size
    }

    /// Returns the next line; `None` at the end. Fails if the file has become shorter.
    pub fn next_line(&mut self) -> io::Result<Option<FileLine<'_>>> {
        let Content { opened, blocks, form, mapping, .. } = &mut self.content;
        let (record, length) = match blocks.next_of(&opened.file)?.ok_or_else(changed)? {
            Next::Record(record) => (Some(record.clone()), record.len() as u64),
            Next::TooLong(record) => {
                self.prefix = record.prefix;
                (None, record.length)
            }
            Next::Block | Next::End => return Ok(None),
        };
        self.line += 1;
        let is_whole = record.is_some();
        let text = record.map_or(&self.prefix[..], |record| blocks.bytes(record));
        let ordered = match mapping {
            Some(mapping) => {
                self.ordered.clear();
                let key = opened.key_of(self.line);
                let is_written = is_whole && mapping.write(text, key.as_deref(), &mut self.ordered).is_ok();
                is_written.then_some(&self.ordered[..])
            }
            None => is_whole.then_some(text),
        };
        let physical_line = blocks.physical_line();
        Ok(Some(FileLine { number: self.line, physical_line, text, length, form: *form, ordered }))
    }
}
