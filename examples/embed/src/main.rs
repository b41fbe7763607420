//! Runs a pipeline inside this process: loads one CSV file into Postgres, and prints what became of its lines.
//!
//! ```sh
//! DATABASE_URL=postgres://user@localhost:5432/name \
//!     cargo run -p tidegate-example-embed -- examples/embed/towns.csv /tmp/towns
//! ```

#![allow(clippy::print_stdout)] // it shows its result

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tidegate_core::manifest::Manifest;
use tidegate_engine::Until;
use tidegate_node::{Failure, Node, Settings};
use tidegate_store::filter::{self, LetterFilter};
use tokio_util::sync::CancellationToken;

const MANIFEST: &str = include_str!("../tidegate.yaml");

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [file, folder] = arguments.as_slice() else {
        eprintln!("usage: tidegate-example-embed FILE FOLDER, with the database in DATABASE_URL");
        return ExitCode::from(2);
    };
    match load(file, folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Loads a file by a pipeline that keeps its files in `folder`.
async fn load(file: &Path, folder: &Path) -> Result<(), Failure> {
    let settings = settings(folder)?;
    let name = file.file_name().ok_or_else(|| Failure::usage("the file has no name"))?;
    std::fs::create_dir_all(&settings.landing)?;
    std::fs::copy(file, settings.landing.join(name))?;

    // A program that runs for longer cancels the token to end the run after the batch in hand.
    let mut node = Node::open(&settings, CancellationToken::new(), false)?;
    let result = node.run(Until::Idle).await?;
    let summary = node.summary(result).await?;

    let column = |name: &str| summary.datasets.columns.iter().position(|column| column.name == name);
    for row in &summary.datasets.rows {
        let value = |name: &str| column(name).and_then(|place| row[place].as_deref()).unwrap_or("0");
        let (accepted, rejected, waiting) = (value("accepted"), value("rejected"), value("waiting"));
        println!("{}: {accepted} accepted, {rejected} rejected, {waiting} waiting", value("dataset"));
    }
    for reason in filter::count(node.store(), &LetterFilter::default()).await?.reasons {
        let column = reason.column.as_deref().unwrap_or("the line");
        println!("  {} in {column}: {} line(s)", reason.code, reason.lines);
    }
    Ok(())
}

/// The manifest, and where the pipeline finds what it names.
fn settings(folder: &Path) -> Result<Settings, Failure> {
    let manifest = Manifest::parse(MANIFEST, &|name| std::env::var(name).ok())?;
    Ok(Settings {
        landing: folder.join(&manifest.landing),
        views: folder.join(&manifest.views),
        data_dir: folder.join(".tidegate"),
        folder: folder.to_owned(),
        database_url: std::env::var("DATABASE_URL").ok(),
        manifest: Arc::new(manifest),
    })
}
