//! The beginning of a file, decompressed if it is compressed by gzip.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::nature::{NATURE_BYTES, Nature};

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
    /// Whether the bytes are all that the file holds.
    pub(crate) whole: bool,
    /// The format of the decompressed bytes; `None` for text in UTF-8.
    pub(crate) nature: Option<Nature>,
    pub(crate) gzip: bool,
}

impl Head {
    /// Reads up to `bytes_max` bytes of the file's content.
    pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(NATURE_BYTES as u64).read_to_end(&mut bytes)?;
        let gzip = Nature::of(&bytes) == Some(Nature::Gzip);
        let rest = io::Cursor::new(bytes).chain(file);
        let mut bytes = Vec::new();
        // One more byte tells whether there is more.
        let limit = bytes_max as u64 + 1;
        match gzip {
            true => MultiGzDecoder::new(rest).take(limit).read_to_end(&mut bytes)?,
            false => rest.take(limit).read_to_end(&mut bytes)?,
        };
        let whole = bytes.len() <= bytes_max;
        bytes.truncate(bytes_max);
        let nature = Nature::of(&bytes[..bytes.len().min(NATURE_BYTES)]);
        Ok(Self { bytes, whole, nature, gzip })
    }
}
