//! `backup` and `restore`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tidegate_core::manifest::Codec;

use super::Format;

/// Flags of `backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate backup                              all tables and Tidegate's own, at one moment
  tidegate backup jobs --to /mnt/backups       the rows of one dataset
  tidegate backup --codec zstandard            smaller files, for readers that know it

Each backup is a folder, named by its time, with an Avro file for each table. It is there when all of it
is on disk. A running pipeline does not mind.")]
pub struct BackupArguments {
    /// The datasets [default: all, and what 'restore --exact' needs besides]
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// The folder of backups [default: the manifest's]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// How blocks are compressed [default: the manifest's]
    #[arg(long, value_enum)]
    pub codec: Option<CodecName>,
    /// How to write what was backed up
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodecName {
    /// What every reader of Avro knows
    Deflate,
    /// Fast
    Snappy,
    /// Small and fast
    Zstandard,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::Deflate => Self::Deflate,
            CodecName::Snappy => Self::Snappy,
            CodecName::Zstandard => Self::Zstandard,
        }
    }
}

/// Flags of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate restore backups/20261121T203000Z          the rows of all datasets, as new lines
  tidegate restore backups/20261121T203000Z jobs     those of one dataset
  tidegate restore people.avro hired_employees       a file that another tool wrote
  tidegate restore --exact backups/20261121T203000Z  an empty database, as it was

Every file is read to its end before anything is applied. Rows enter as a source of their own, under the
rules of any line, and are newer than all that is there. A running pipeline takes them in; if none runs,
this command runs it until it is idle.")]
pub struct RestoreArguments {
    /// A backup's folder, or an Avro file
    #[arg(value_name = "BACKUP|FILE")]
    pub path: PathBuf,
    /// Which datasets of a backup [default: all]; or whose rows a file has
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// Bring an empty database back as it was: positions, registry, ledger, dead letters, views
    #[arg(long, conflicts_with = "datasets")]
    pub exact: bool,
    /// Who asks: it is kept [default: the user of the machine]
    #[arg(long, value_name = "NAME", conflicts_with = "exact")]
    pub by: Option<String>,
    /// How to write what became of it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
