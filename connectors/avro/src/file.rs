//! Writes an object container file: the header, then blocks of rows, each compressed and followed by the sync marker.
//!
//! The `apache-avro` crate writes the header and compresses. Rows go from Postgres's binary form into a block without
//! becoming values in between. The checksum of each block is kept, so that a damaged block can be named later.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use apache_avro::rabin::Rabin;
use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};
use serde::{Deserialize, Serialize};
use tidegate_core::manifest::Codec as Compression;

use crate::AvroError;
use crate::encode::{self, long};
use crate::layout::RecordLayout;

/// How many bytes of rows make a block.
const BLOCK_BYTES: usize = 256 * 1024;
/// How many bytes of the checksum of a block are kept.
const BLOCK_CHECKSUM_BYTES: usize = 8;

/// A file, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// The dataset, or Tidegate's table.
    pub name: String,
    /// The file, within the backup's folder.
    pub file: String,
    /// The number of rows.
    pub rows: u64,
    /// The size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file, in hexadecimal digits.
    pub blake3: String,
    /// The fingerprint of its schema in parsing canonical form: CRC-64-AVRO, in hexadecimal digits.
    pub schema: String,
    /// The beginnings of BLAKE3 of the header and of each block, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
}

/// Returns the beginning of a checksum, as a backup keeps it for each block.
pub(super) fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..2 * BLOCK_CHECKSUM_BYTES].to_owned()
}

/// A file that is being written.
pub(super) struct FileWriter {
    path: PathBuf,
    file: BufWriter<File>,
    layout: RecordLayout,
    codec: Codec,
    marker: [u8; 16],
    rows_in_block: i64,
    block: Vec<u8>,
    hasher: blake3::Hasher,
    written: TableFile,
    /// The columns that have a value without a form in Avro.
    unfit: BTreeSet<usize>,
}

impl FileWriter {
    /// Creates a file in a backup's folder, readable by its owner alone. The file must not exist yet.
    pub(super) fn create(
        folder: &Path,
        file: String,
        layout: RecordLayout,
        compression: Compression,
    ) -> Result<Self, AvroError> {
        let path = folder.join(&file);
        let schema = layout.schema();
        let schema = Schema::parse(&schema).map_err(|error| {
            AvroError::refused(format!("'{}' has no schema in Avro: {error}", layout.table))
        })?;
        let codec = codec(compression);
        let marker = uuid::Uuid::new_v4().into_bytes();
        let header = header(&schema, codec, marker).map_err(|error| {
            AvroError::refused(format!("'{}' has no header in Avro: {error}", layout.table))
        })?;
        let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut writer = Self {
            file: BufWriter::with_capacity(BLOCK_BYTES, out.map_err(AvroError::io("create", &path))?),
            codec,
            marker,
            rows_in_block: 0,
            block: Vec::with_capacity(BLOCK_BYTES + 4096),
            hasher: blake3::Hasher::new(),
            written: TableFile {
                name: layout.table.clone(),
                file,
                rows: 0,
                bytes: 0,
                blake3: String::new(),
                schema: schema.fingerprint::<Rabin>().to_string(),
                blocks: Vec::new(),
            },
            unfit: BTreeSet::new(),
            layout,
            path,
        };
        writer.put(&[&header])?;
        Ok(writer)
    }

    /// Adds a row: a value for each column, in Postgres's binary form. If the form of a column cannot hold its value,
    /// the file is unusable, as [`FileWriter::finish`] tells.
    pub(super) fn row<'v>(
        &mut self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
    ) -> Result<(), AvroError> {
        for (i, (field, value)) in self.layout.fields.iter().zip(values).enumerate() {
            if encode::value(field.form, field.optional, value, &mut self.block).is_err() {
                self.unfit.insert(i);
            }
        }
        self.rows_in_block += 1;
        self.written.rows += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), AvroError> {
        let mut block = std::mem::take(&mut self.block);
        let compressed = self.codec.compress(&mut block);
        compressed.map_err(|error| AvroError::refused(format!("cannot compress a block: {error}")))?;
        let mut head = Vec::with_capacity(20);
        long(self.rows_in_block, &mut head);
        long(block.len() as i64, &mut head);
        self.put(&[&head, &block, &self.marker.clone()])?;
        block.clear();
        self.block = block;
        self.rows_in_block = 0;
        Ok(())
    }

    /// Writes the header or a block.
    fn put(&mut self, parts: &[&[u8]]) -> Result<(), AvroError> {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            self.file.write_all(part).map_err(AvroError::io("write", &self.path))?;
            self.hasher.update(part);
            hasher.update(part);
            self.written.bytes += part.len() as u64;
        }
        self.written.blocks.push(short(&hasher.finalize()));
        Ok(())
    }

    /// Finishes the file, which may not be on disk yet. If columns have values without a form in Avro, removes the file
    /// and returns the indexes of these columns.
    pub(super) fn finish(mut self) -> Result<Result<TableFile, BTreeSet<usize>>, AvroError> {
        if !self.unfit.is_empty() {
            std::fs::remove_file(&self.path).map_err(AvroError::io("remove", &self.path))?;
            return Ok(Err(self.unfit));
        }
        if self.rows_in_block > 0 {
            self.end_block()?;
        }
        self.file.flush().map_err(AvroError::io("write", &self.path))?;
        self.written.blake3 = self.hasher.finalize().to_hex().to_string();
        Ok(Ok(self.written))
    }
}

/// Returns the header of a file: what the crate's own writer writes before any rows.
fn header(schema: &Schema, codec: Codec, marker: [u8; 16]) -> Result<Vec<u8>, apache_avro::Error> {
    let writer = Writer::builder().schema(schema).codec(codec).marker(marker).writer(Vec::new()).build()?;
    writer.into_inner()
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::Deflate => Codec::Deflate(DeflateSettings::default()),
        Compression::Snappy => Codec::Snappy,
        Compression::Zstandard => Codec::Zstandard(ZstandardSettings::default()),
    }
}

/// Syncs a file or folder to disk.
pub(super) fn sync(path: &Path) -> Result<(), AvroError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(AvroError::io("write to disk", path))
}
