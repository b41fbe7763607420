//! Reads a file of rows for a dataset to its end, before anything is applied. Then converts it to CSV.

use std::io::Write;
use std::path::{Path, PathBuf};

use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_files::write_row;

use crate::AvroError;
use crate::backup::chosen;
use crate::blocks::{ContainerReader, Damage, FileTotals};
use crate::file::TableFile;
use crate::fit::{self, FieldMap};
use crate::folder::{Backup, DESCRIPTION, describe, file_in_backup};

/// A file that was read to its end, and whose rows are rows of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFile {
    /// The index of the dataset.
    pub dataset: usize,
    /// The file's path.
    pub path: PathBuf,
    /// The number of rows.
    pub rows: u64,
    /// BLAKE3 of the file, in hexadecimal digits.
    pub blake3: String,
}

/// Checks `path`, which is a backup's folder or one file. `datasets` are the datasets of the backup to check, or the
/// dataset whose rows the file has. Returns the files in the order of the datasets' references. If any of the files is
/// damaged or does not fit, the error holds all faults.
pub fn check(manifest: &Manifest, path: &Path, datasets: &[String]) -> Result<Vec<CheckedFile>, AvroError> {
    if !path.is_dir() {
        return Ok(vec![check_file(manifest, path, datasets)?]);
    }
    match describe(path)? {
        Some(backup) => check_backup(manifest, path, &backup, datasets),
        None => Err(AvroError::refused(format!(
            "'{}' is no backup: it has no {DESCRIPTION}; name one of its files, or a backup of the folder",
            path.display()
        ))),
    }
}

/// Checks the files of a backup, as [`check`] does: those of `datasets`, or of all its datasets if `datasets` is empty.
pub fn check_backup(
    manifest: &Manifest,
    folder: &Path,
    backup: &Backup,
    datasets: &[String],
) -> Result<Vec<CheckedFile>, AvroError> {
    let mut faults = Vec::new();
    let mut checked = Vec::new();
    let is_there = |name: &String| backup.datasets.iter().any(|written| written.name == *name);
    for name in datasets.iter().filter(|name| !is_there(name)) {
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
            Err(AvroError::Refused(fault)) => faults.push(fault),
            Err(error) => return Err(error),
        }
    }
    if !faults.is_empty() {
        return Err(AvroError::Refused(faults.join("\n")));
    }
    checked.sort_by_key(|file| file.dataset);
    Ok(checked)
}

/// Checks one file, for the dataset in `datasets`, or for the dataset that the file names.
fn check_file(manifest: &Manifest, path: &Path, datasets: &[String]) -> Result<CheckedFile, AvroError> {
    let expected = described(path)?;
    let index = match datasets {
        [] => whose(manifest, path)?,
        [_] => chosen(manifest, datasets)?[0],
        _ => {
            return Err(AvroError::refused(format!(
                "'{}' is one file, and has rows of one dataset: name that",
                path.display()
            )));
        }
    };
    check_rows(path, index, &manifest.datasets[index], expected)
}

/// Returns the description of a file, if it belongs to a backup.
fn described(path: &Path) -> Result<Option<TableFile>, AvroError> {
    let Some(folder) = path.parent() else { return Ok(None) };
    let Some(backup) = describe(folder)? else { return Ok(None) };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(backup.datasets.into_iter().find(|written| Some(&written.file) == name.as_ref()))
}

/// Returns the dataset whose rows a file has, by its record's name, or by the file's own.
fn whose(manifest: &Manifest, path: &Path) -> Result<usize, AvroError> {
    let blocks = ContainerReader::open(path, None)?;
    let datasets = || manifest.datasets.iter();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let found = datasets()
        .position(|dataset| fit::is_of(&blocks.schema, dataset))
        .or_else(|| datasets().position(|dataset| dataset.name == stem));
    found.ok_or_else(|| {
        let names: Vec<&str> = datasets().map(|dataset| dataset.name.as_str()).collect();
        AvroError::refused(format!(
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
    expected: Option<TableFile>,
) -> Result<CheckedFile, AvroError> {
    let (blocks, fit) = open(path, dataset, expected)?;
    let texts = |fields| fit.texts(fields).map(drop).map_err(Damage::What);
    let FileTotals { rows, blake3 } = blocks.read(texts)?;
    Ok(CheckedFile { dataset: index, path: path.to_owned(), rows, blake3 })
}

/// Opens a file. Fails if its rows are not rows of the dataset.
fn open(
    path: &Path,
    dataset: &Dataset,
    expected: Option<TableFile>,
) -> Result<(ContainerReader, FieldMap), AvroError> {
    let mut blocks = ContainerReader::open(path, expected)?;
    blocks.schema = fit::lenient(blocks.schema);
    let fit = FieldMap::of(&blocks.schema, dataset).map_err(|differences| {
        AvroError::refused(format!(
            "the rows of '{}' are none of '{}':\n  {}",
            path.display(),
            dataset.name,
            differences.join("\n  ")
        ))
    })?;
    Ok((blocks, fit))
}

impl CheckedFile {
    /// Writes the rows as lines of RFC 4180 with canonical values, without a header. The file is checked again
    /// meanwhile: the output is valid only if this succeeds. Fails if the file has changed since it was checked, or a
    /// row is longer than a line may be.
    pub fn convert(&self, manifest: &Manifest, out: &mut impl Write) -> Result<(), AvroError> {
        let dataset = &manifest.datasets[self.dataset];
        let (blocks, fit) = open(&self.path, dataset, None)?;
        let unwritten = |error| AvroError::Io("write a line".to_owned(), error);
        let mut line = Vec::new();
        let mut number = 0;
        let whole = blocks.read(|fields| {
            let texts = fit.texts(fields).map_err(Damage::What)?;
            number += 1;
            line.clear();
            write_row(texts.iter().map(Option::as_deref), |_, _| false, &mut line);
            if line.len() > manifest.max_record_bytes {
                return Err(Damage::Failed(AvroError::refused(format!(
                    "row {number} of '{}' is a line of {} bytes, a line has at most {}: raise max_record_bytes",
                    self.path.display(),
                    line.len(),
                    manifest.max_record_bytes
                ))));
            }
            out.write_all(&line).map_err(|error| Damage::Failed(unwritten(error)))
        })?;
        if whole.blake3 != self.blake3 {
            return Err(AvroError::refused(format!(
                "'{}' is not what it was when it was checked; ask for the restore again",
                self.path.display()
            )));
        }
        Ok(Failpoint::RestoreConverted.pass()?)
    }
}
