//! `tidegate backup`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tidegate_avro::{BackupOptions, Folder};
use tidegate_core::manifest::Codec;
use tidegate_postgres::relation::ColumnKind::{Number, Text};

use crate::Failure;
use crate::cli::{Format, Global, one_of, output, progress, settings};

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
    #[arg(long, value_parser = one_of([
        (Codec::Deflate, "deflate", "What every reader of Avro knows"),
        (Codec::Snappy, "snappy", "Fast"),
        (Codec::Zstandard, "zstandard", "Small and fast"),
    ]))]
    pub codec: Option<Codec>,
    /// How to write what was backed up
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How long the command waits for another backup to the same folder.
const BUSY_MAX: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Runs `tidegate backup`.
pub async fn command(global: &Global, arguments: &BackupArguments) -> Result<(), Failure> {
    let (settings, store) = settings::load_with_store(global)?;
    let folder = arguments.to.as_ref().map_or_else(|| tidegate_node::backups::folder(&settings), Folder::new);
    let codec = arguments.codec.unwrap_or_else(|| tidegate_node::backups::codec(&settings));
    let options = BackupOptions { datasets: arguments.datasets.clone(), codec, idempotency_key: None };
    let begun = Instant::now();
    let taking = async {
        loop {
            match tidegate_avro::backup(&store, &folder, &options).await {
                Err(tidegate_avro::AvroError::Busy(_)) if begun.elapsed() < BUSY_MAX => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                taken => return taken,
            }
        }
    };
    let backup = progress::during("backing up", taking).await?.summary();
    let path = folder.path().join(&backup.id);
    if arguments.format == Format::Json {
        let mut json = serde_json::to_value(&backup)?;
        json["path"] = path.display().to_string().into();
        return output::print(output::pretty(&json)?);
    }
    let columns = [("dataset", Text), ("rows", Number), ("bytes", Number), ("file", Text), ("blake3", Text)];
    let rows = backup.datasets.iter().map(|of| json!([of.name, of.rows, of.bytes, of.file, of.blake3]));
    output::write(&output::relation(&columns, rows), arguments.format).await?;
    match arguments.format {
        Format::Table => output::print(format!("backed up to {}\n", path.display())),
        _ => Ok(()),
    }
}
