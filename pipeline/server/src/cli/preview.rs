//! `tidegate preview`: what would become of a file by the manifest. No database is asked, and nothing is written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, value_parser};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use tidegate_core::manifest::{Dataset, Manifest, nearest};
use tidegate_core::printable::printable_line;
use tidegate_files::{Extent, Preview};
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_postgres::relation::Relation;

use crate::Failure;
use crate::cli::{Format, Global, output, progress, settings};

/// Flags of `preview`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate preview exports/jobs.csv                 the first 8 MiB: columns, rows, rejects by reason
  tidegate preview exports/jobs.csv --all           the whole file, of any size
  tidegate preview /tmp/x.txt --dataset jobs        a file whose name belongs to no dataset
  tidegate preview exports/jobs.csv --format json   the same for machines; csv has the rows alone

It opens no connection and writes nothing. Whether references exist is not checked. A value is shown up to 256
characters, then '…'.
Exits with 1 if a line would be rejected, or the file would be refused.")]
pub struct PreviewArguments {
    /// The file; it may lie anywhere
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The dataset it is read as [default: the one that its name belongs to]
    #[arg(long)]
    pub dataset: Option<String>,
    /// How many of the first accepted rows are shown, at most 10000
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = value_parser!(u16).range(..=ROWS_MAX))]
    pub rows: u16,
    /// Read the whole file, and not its first 8 MiB
    #[arg(long)]
    pub all: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How much of a file is read unless all of it is asked for: 8 MiB.
const BYTES_MAX: u64 = 8 << 20;

/// The most rows that are shown.
const ROWS_MAX: i64 = 10_000;

/// How a value is shown that is missing.
const MISSING: &str = "∅";

/// Runs `tidegate preview`.
pub async fn command(global: &Global, arguments: &PreviewArguments) -> Result<(), Failure> {
    let manifest = settings::load(global)?.manifest;
    let path = arguments.file.clone();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (dataset, _) = dataset(&manifest, &name, arguments.dataset.as_deref())?;
    let (bytes_max, rows_max) = ((!arguments.all).then_some(BYTES_MAX), usize::from(arguments.rows));
    let extent = Extent { bytes_max, rows_max };
    let size = std::fs::metadata(&path).map_err(|error| cannot_read(&path, &error))?.len();
    let bar = progress::of_bytes(if arguments.all { size } else { size.min(BYTES_MAX) });
    let (of_work, watched) = (manifest.clone(), bar.clone());
    let (file, watch) = (path.clone(), move |bytes| watched.set_position(bytes));
    let work = tokio::task::spawn_blocking(move || {
        tidegate_files::preview(&file, &name, &of_work, dataset, extent, watch)
    });
    let preview = work.await;
    bar.finish_and_clear();
    let preview = preview?.map_err(|error| cannot_read(&path, &error))?;
    let dataset = &manifest.datasets[dataset];
    match arguments.format {
        Format::Table => output::print(in_words(&preview, dataset)?)?,
        Format::Csv => output::write(&rows(&preview, None), Format::Csv).await?,
        Format::Json => output::print(output::pretty(&as_json(&preview))?)?,
    }
    verdict(&preview)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read '{}': {error}", path.display()))
}

/// The dataset that was named, or the one that the file's name belongs to.
fn dataset<'a>(
    manifest: &'a Manifest,
    file_name: &str,
    named: Option<&str>,
) -> Result<(usize, &'a Dataset), Failure> {
    let names = || manifest.datasets.iter().map(|dataset| dataset.name.as_str());
    match named {
        Some(name) => manifest.dataset(name).ok_or_else(|| {
            let hint = nearest(name, names()).map(|known| format!(", did you mean '{known}'?"));
            let all = || format!("; there are {}", names().collect::<Vec<_>>().join(", "));
            Failure::usage(format!("there is no dataset '{name}'{}", hint.unwrap_or_else(all)))
        }),
        None => manifest.dataset_of_file(file_name).ok_or_else(|| {
            let all = names().collect::<Vec<_>>().join(", ");
            Failure::usage(format!(
                "'{file_name}' belongs to no dataset by its name: name one with --dataset ({all}), or change 'files' of \
                 one in the manifest"
            ))
        }),
    }
}

/// A failure if a run would not accept all lines.
fn verdict(preview: &Preview) -> Result<(), Failure> {
    let file = &preview.file;
    if let Some(fault) = &preview.refused {
        return Err(Failure::new(format!("'{file}' would be refused: {fault}")));
    }
    match preview.rejected {
        0 => Ok(()),
        1 => Err(Failure::new(format!("1 line of '{file}' would be rejected"))),
        rejected => Err(Failure::new(format!("{rejected} lines of '{file}' would be rejected"))),
    }
}

/// The preview as an object, with the values of rows under the names of their columns.
fn as_json(preview: &Preview) -> Value {
    let mut object = serde_json::to_value(preview).unwrap_or_default();
    let names = || preview.columns.iter().map(|column| column.column.clone());
    let rows = preview.rows.iter().map(|row| {
        let values = names().zip(row.values.iter().map(|value| json!(value)));
        json!({"line": row.line, "values": values.collect::<serde_json::Map<_, _>>()})
    });
    object["rows"] = rows.collect();
    object["references_checked"] = json!(false);
    object
}

/// The preview for people.
fn in_words(preview: &Preview, dataset: &Dataset) -> Result<String, Failure> {
    let Preview { encoding, syntax, skipped, .. } = preview;
    let mut text = format!("{} as '{}'\n", printable_line(&preview.file), preview.dataset);
    // Writing to a text cannot fail.
    let _ = writeln!(text, "encoding: {encoding}");
    let _ = writeln!(text, "csv: {}", in_a_line(syntax, ": ", "RFC 4180 without a header"));
    for warning in &preview.warnings {
        let _ = writeln!(text, "warning: {}", printable_line(warning));
    }
    if preview.refused.is_some() {
        return Ok(text);
    }
    text.push_str(&output::table_here(&columns(preview)));
    if !preview.ignored.is_empty() {
        let _ = writeln!(text, "ignored: {}", printable_line(&preview.ignored.join(", ")));
    }
    if !preview.rows.is_empty() {
        text.push_str(&output::table_here(&rows(preview, Some(MISSING))));
    }
    if !preview.reasons.is_empty() {
        text.push_str(&output::table_here(&reasons(preview)));
    }
    let skipped = serde_json::to_value(skipped)?;
    let _ =
        writeln!(text, "skipped: {}", in_a_line(skipped.as_object().into_iter().flatten(), " ", "no line"));
    text.push_str(&counts(preview));
    if !dataset.references.is_empty() {
        text.push_str("whether the rows that it references exist is not checked\n");
    }
    Ok(text)
}

/// The members of an object, in a line.
fn in_a_line<'a>(
    object: impl IntoIterator<Item = (&'a String, &'a Value)>,
    between: &str,
    if_empty: &str,
) -> String {
    let members: Vec<String> =
        object.into_iter().map(|(key, value)| format!("{key}{between}{value}")).collect();
    if members.is_empty() { if_empty.to_owned() } else { printable_line(&members.join(", ")).into_owned() }
}

fn counts(preview: &Preview) -> String {
    let [lines, accepted, rejected] =
        [preview.lines, preview.accepted, preview.rejected].map(|count| HumanCount(count).to_string());
    let (read, all) = (HumanBytes(preview.bytes_read), HumanBytes(preview.bytes));
    let extent = match preview.whole {
        true => format!("the whole file, {all}"),
        false => format!("the first {read} of {all}; --all reads the rest"),
    };
    format!("{lines} lines: {accepted} would be accepted, {rejected} rejected ({extent})\n")
}

fn columns(preview: &Preview) -> Relation {
    let columns = [("column", Text), ("type", Text), ("from", Text)];
    let rows = preview.columns.iter().map(|found| {
        let optional = if found.optional { ", optional" } else { "" };
        json!([found.column, format!("{}{optional}", found.kind), found.from])
    });
    output::relation(&columns, rows)
}

/// The first rows. A missing value is shown as `missing`.
fn rows(preview: &Preview, missing: Option<&str>) -> Relation {
    let names = preview.columns.iter().map(|column| (column.column.as_str(), Text));
    let columns: Vec<_> = [("line", Number)].into_iter().chain(names).collect();
    let rows = preview.rows.iter().map(|row| {
        let values = row.values.iter().map(|value| json!(value.as_deref().or(missing)));
        [json!(row.line)].into_iter().chain(values).collect()
    });
    output::relation(&columns, rows)
}

fn reasons(preview: &Preview) -> Relation {
    let columns = [
        ("column", Text),
        ("code", Text),
        ("lines", Number),
        ("line", Number),
        ("physical_line", Number),
        ("value", Text),
        ("message", Text),
    ];
    let rows = preview.reasons.iter().map(|count| {
        let example = &count.example;
        json!([
            count.column,
            count.code.as_str(),
            count.lines,
            example.line,
            example.physical_line,
            example.value,
            example.message
        ])
    });
    output::relation(&columns, rows)
}
