//! A file that nobody reads any more, or not yet, to look back at its lines: by the same rules, so under the
//! same numbers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Shape;

use super::blocks::Next;
use super::file::{self, BLOCK_BYTES, Identity, Opened, changed};
use super::reading::Content;

/// The lines of a file, one after the other.
#[derive(Debug)]
pub struct Lines {
    content: Content,
    fingerprint: Identity,
    /// The number of the last line that was read.
    line: u64,
    /// Of a line that is too long, its beginning.
    prefix: Vec<u8>,
    /// A line in the manifest's order.
    ordered: Vec<u8>,
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLine<'a> {
    /// Its number in its source, from 1.
    pub number: u64,
    /// The physical line, from 1, at which it starts.
    pub physical_line: u64,
    /// Byte for byte, without its line ending; of a line that is too long, its beginning.
    pub text: &'a [u8],
    /// In bytes.
    pub length: u64,
    /// With its columns in the manifest's order; `None` where they cannot be told.
    pub ordered: Option<&'a [u8]>,
}

impl Lines {
    /// Opens a file that entered, or would enter, under `name`, as one of the dataset with that index; of `shape` if it
    /// entered.
    ///
    /// # Errors
    ///
    /// If it cannot be read, changes meanwhile, or has a header that does not fit.
    pub async fn open(
        path: &Path,
        name: &str,
        manifest: &Manifest,
        dataset: usize,
        shape: Option<Arc<Shape>>,
    ) -> io::Result<Self> {
        let opened = Opened { shape, ..Opened::open(path, name, dataset).await? };
        let fingerprint = opened.fingerprint(manifest);
        let content = Content::start(opened, manifest, BLOCK_BYTES)?;
        Ok(Self { content, fingerprint, line: 0, prefix: Vec::new(), ordered: Vec::new() })
    }

    /// Which of the sources of this name the file is, given all of them with their fingerprints, oldest first.
    /// More than one if it was delivered again.
    pub fn sources<'a>(&self, known: impl IntoIterator<Item = (u64, &'a [u8])>) -> Vec<u64> {
        let mut behind = self.fingerprint;
        let mut sources = Vec::new();
        for (source, known) in known {
            if known == behind {
                behind = file::identity_behind(&behind, source);
                sources.push(source);
            } else if known == self.fingerprint {
                sources.push(source);
            }
        }
        sources
    }

    /// How large the file is, in bytes.
    pub fn size(&self) -> u64 {
        self.content.opened.stamp.size
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or became shorter.
    pub fn next_line(&mut self) -> io::Result<Option<FileLine<'_>>> {
        let Content { opened, blocks, order, .. } = &mut self.content;
        let (record, length) = loop {
            match blocks.next() {
                Next::Record(record) => {
                    let length = record.len() as u64;
                    break (Some(record), length);
                }
                Next::TooLong(record) => {
                    self.prefix = record.prefix;
                    break (None, record.length);
                }
                Next::End => return Ok(None),
                Next::Block => {
                    let bytes = blocks.read(&opened.file)?.ok_or_else(changed)?;
                    blocks.accept(bytes);
                }
            }
        };
        self.line += 1;
        let is_whole = record.is_some();
        let text = record.map_or(&self.prefix[..], |record| blocks.bytes(record));
        let ordered = match order {
            Some(order) => {
                self.ordered.clear();
                (is_whole && order.write(text, None, &mut self.ordered).is_ok()).then_some(&self.ordered[..])
            }
            None => is_whole.then_some(text),
        };
        Ok(Some(FileLine { number: self.line, physical_line: blocks.physical_line(), text, length, ordered }))
    }
}
