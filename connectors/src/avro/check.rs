//! Reading a file of rows for a dataset: wholly, before anything is applied; and then as CSV.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::{Dataset, Manifest};

use super::Error;
use super::backup::chosen;
use super::blocks::{Blocks, RowError, Whole};
use super::file::Written;
use super::fit::{self, Fit};
use super::folder::{Backup, DESCRIPTION, describe, file_in_backup};
use crate::csv::Rows;

/// A file that was read to its end, and whose rows are rows of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The index of the dataset.
    pub dataset: usize,
    /// The file.
    pub path: PathBuf,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 of it, in hexadecimal digits.
    pub blake3: String,
}

/// The rows of a file as lines of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    /// How many there are.
    pub rows: u64,
}

/// Checks what `path` names: a backup's folder, or one file. `datasets`: which of the backup, or whose rows the file
/// has. In the order of their references.
///
/// # Errors
///
/// If anything about any of the files is not as it should be: all of it.
pub fn check(manifest: &Manifest, path: &Path, datasets: &[String]) -> Result<Vec<Checked>, Error> {
    if !path.is_dir() {
        return Ok(vec![check_file(manifest, path, datasets)?]);
    }
    match describe(path)? {
        Some(backup) => check_backup(manifest, path, &backup, datasets),
        None => Err(Error::refused(format!(
            "'{}' is no backup: it has no {DESCRIPTION}; name one of its files, or a backup of the folder",
            path.display()
        ))),
    }
}

/// Checks the files of a backup, those of `datasets` or of all that it has.
///
/// # Errors
///
/// As [`check`].
pub fn check_backup(
    manifest: &Manifest,
    folder: &Path,
    backup: &Backup,
    datasets: &[String],
) -> Result<Vec<Checked>, Error> {
    let mut faults = Vec::new();
    let mut checked = Vec::new();
    let there: HashSet<&str> = backup.datasets.iter().map(|written| written.name.as_str()).collect();
    for name in datasets.iter().filter(|name| !there.contains(name.as_str())) {
        faults.push(format!("the backup '{}' has no dataset '{}'", backup.id, name.escape_debug()));
    }
    for written in &backup.datasets {
        if !datasets.is_empty() && !datasets.contains(&written.name) {
            continue;
        }
        let Some((index, dataset)) = manifest.dataset(&written.name) else {
            faults.push(format!(
                "the backup '{}' has the dataset '{}', the manifest has not: name those to restore",
                backup.id, written.name
            ));
            continue;
        };
        let path = folder.join(file_in_backup(written)?);
        match check_rows(&path, index, dataset, Some(written.clone())) {
            Ok(file) => checked.push(file),
            Err(Error::Refused(fault)) => faults.push(fault),
            Err(error) => return Err(error),
        }
    }
    if !faults.is_empty() {
        return Err(Error::Refused(faults.join("\n")));
    }
    checked.sort_by_key(|file| file.dataset);
    Ok(checked)
}

/// Checks one file: of the dataset that is named, or else of the one that the file names.
fn check_file(manifest: &Manifest, path: &Path, datasets: &[String]) -> Result<Checked, Error> {
    let expected = described(path)?;
    let index = match datasets {
        [] => whose(manifest, path)?,
        [_] => chosen(manifest, datasets)?[0],
        _ => {
            return Err(Error::refused(format!(
                "'{}' is one file, and has rows of one dataset: name that",
                path.display()
            )));
        }
    };
    check_rows(path, index, &manifest.datasets[index], expected)
}

/// What a backup says of one of its files.
fn described(path: &Path) -> Result<Option<Written>, Error> {
    let Some(folder) = path.parent() else { return Ok(None) };
    let Some(backup) = describe(folder)? else { return Ok(None) };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(backup.datasets.into_iter().find(|written| Some(&written.file) == name.as_ref()))
}

/// The dataset that a file has rows of: by its record's name, or else by its own.
fn whose(manifest: &Manifest, path: &Path) -> Result<usize, Error> {
    let blocks = Blocks::open(path, None)?;
    let datasets = || manifest.datasets.iter();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let found = datasets()
        .position(|dataset| fit::is_of(&blocks.schema, dataset))
        .or_else(|| datasets().position(|dataset| dataset.name == stem));
    found.ok_or_else(|| {
        let names: Vec<&str> = datasets().map(|dataset| dataset.name.as_str()).collect();
        Error::refused(format!(
            "'{}' does not say of which dataset its rows are (its record is '{}'); name it behind the file, one of: {}",
            path.display(),
            fit::dataset_name(&blocks.schema).unwrap_or_default().escape_debug(),
            names.join(", ")
        ))
    })
}

/// Reads a file to its end.
fn check_rows(
    path: &Path,
    index: usize,
    dataset: &Dataset,
    expected: Option<Written>,
) -> Result<Checked, Error> {
    let (blocks, fit) = open(path, dataset, expected)?;
    let texts = |fields| fit.texts(fields).map(drop).map_err(RowError::Damaged);
    let Whole { rows, blake3 } = blocks.read(texts)?;
    Ok(Checked { dataset: index, path: path.to_owned(), rows, blake3 })
}

/// Opens a file whose rows are to be rows of a dataset.
fn open(path: &Path, dataset: &Dataset, expected: Option<Written>) -> Result<(Blocks, Fit), Error> {
    let mut blocks = Blocks::open(path, expected)?;
    blocks.schema = fit::lenient(blocks.schema);
    let fit = Fit::of(&blocks.schema, dataset).map_err(|differences| {
        Error::refused(format!(
            "the rows of '{}' are none of '{}':\n  {}",
            path.display(),
            dataset.name,
            differences.join("\n  ")
        ))
    })?;
    Ok((blocks, fit))
}

impl Checked {
    /// Writes the rows as lines of the dataset, in its own dialect, with a header where its files have one. The file
    /// is checked once more meanwhile: what was written is of use only if this succeeds.
    ///
    /// # Errors
    ///
    /// If the file is not what it was when it was checked, a row is longer than a line may be, or `out` fails.
    pub fn convert(&self, manifest: &Manifest, out: &mut impl Write) -> Result<Converted, Error> {
        let dataset = &manifest.datasets[self.dataset];
        let (blocks, fit) = open(&self.path, dataset, None)?;
        let rows = Rows::new(dataset);
        let write = |out: &mut dyn Write, line: &[u8]| {
            out.write_all(line).map_err(|error| RowError::Failed(Error::Io("write a line".to_owned(), error)))
        };
        let mut line = Vec::new();
        rows.header(&mut line);
        out.write_all(&line).map_err(|error| Error::Io("write a line".to_owned(), error))?;
        let mut number = 0;
        let whole = blocks.read(|fields| {
            let texts = fit.texts(fields).map_err(RowError::Damaged)?;
            number += 1;
            line.clear();
            rows.row(texts.iter().map(Option::as_deref), &mut line);
            if line.len() > manifest.max_record_bytes {
                return Err(RowError::Failed(Error::refused(format!(
                    "row {number} of '{}' is a line of {} bytes, a line has at most {}: raise max_record_bytes",
                    self.path.display(),
                    line.len(),
                    manifest.max_record_bytes
                ))));
            }
            write(out, &line)
        })?;
        if whole.blake3 != self.blake3 {
            return Err(Error::refused(format!(
                "'{}' is not what it was when it was checked; ask for the restore again",
                self.path.display()
            )));
        }
        Failpoint::RestoreConverted.pass()?;
        Ok(Converted { rows: whole.rows })
    }
}
