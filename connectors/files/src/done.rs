//! The folder `done/`, for files whose every line is accounted for, and how files are found there again.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::manifest::Manifest;
use tidegate_core::registry::{identity_behind, identity_of};
use tidegate_core::shape::Shape;

use crate::file::{self, OpenFile, Stamp};

/// The name of the folder, inside the landing folder, for the files whose every line is accounted for.
pub const DONE: &str = "done";

/// Returns the path of a source's file once every line of it is accounted for.
pub fn done_path(landing: &Path, source: u64, name: &str) -> PathBuf {
    landing.join(DONE).join(format!("{source}-{name}"))
}

/// Returns whether a file is in `done/` of that landing folder.
pub(super) fn is_done(landing: &Path, file: &Path) -> bool {
    file.parent().is_some_and(|folder| folder == landing.join(DONE))
}

/// Moves a file to `done/<source>-<name>`, if it is still the one that was read. Returns `false` if it is not: a file
/// that has taken its place was not read yet.
pub(super) fn move_to_done(
    landing: &Path,
    file: &Path,
    name: &str,
    source: u64,
    stamp: &Stamp,
) -> io::Result<bool> {
    if stamp_of(file)? != Some(*stamp) {
        return Ok(false);
    }
    let done = landing.join(DONE);
    match DirBuilder::new().mode(0o700).create(&done) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ if fs::symlink_metadata(&done)?.is_dir() => {}
        _ => return Err(io::Error::new(ErrorKind::NotADirectory, "'done' is no folder")),
    }
    let target = done_path(landing, source, name);
    if file == target {
        return Ok(true); // a reload reads the file there
    }
    fs::rename(file, &target)?;
    if stamp_of(file)?.is_some_and(|left| left.is_same_file(stamp)) {
        // Both names belonged to one file already, as after a reload: then `rename` leaves both.
        fs::remove_file(file)?;
    }
    if stamp_of(&target)?.is_some_and(|moved| moved.looks_like(stamp)) {
        return Ok(true);
    }
    // Another file took the name in between. It is moved back, unless a third file has taken its place.
    fs::hard_link(&target, file)?;
    fs::remove_file(&target)?;
    Ok(false)
}

#[derive(Clone, Debug)]
pub(super) struct MovedFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    /// Its size when it was read, in bytes.
    pub(super) bytes: u64,
}

impl MovedFile {
    /// Returns the file's stamp now, if its size has changed.
    pub(super) fn rewritten(&self) -> Option<Stamp> {
        stamp_of(&self.path).ok().flatten().filter(|now| now.size != self.bytes)
    }
}

/// A file in `done/`.
#[derive(Clone, Debug)]
pub struct DoneFile {
    /// The file's path.
    pub path: PathBuf,
    /// The source whose file it is, by its name in `done/`.
    pub source: u64,
    /// The name that it was delivered under.
    pub name: String,
}

/// Parses a file name in `done/` into the source and the name that the file was delivered under.
pub fn parse_done_name(file_name: &str) -> Option<(u64, &str)> {
    let (source, name) = file_name.split_once('-')?;
    Some((source.parse().ok()?, name))
}

/// Lists the files of `done/` in `landing`, ordered by source. Files that are not named as Tidegate names them are
/// left out. If `done/` is missing or is not a folder, the list is empty.
pub fn done_files(landing: &Path) -> io::Result<Vec<DoneFile>> {
    let entries = match fs::read_dir(landing.join(DONE)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        if let Some((source, name)) = file_name.to_str().and_then(parse_done_name)
            && entry.file_type()?.is_file()
        {
            files.push(DoneFile { path: entry.path(), source, name: name.to_owned() });
        }
    }
    files.sort_by(|a, b| (a.source, &a.name).cmp(&(b.source, &b.name)));
    Ok(files)
}

/// The fingerprint of a file, from which its source's identity is derived.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    /// The fingerprint, which other deliveries of the same file share.
    pub fingerprint: [u8; 32],
    /// BLAKE3 of the content.
    pub content: [u8; 32],
    /// The size in bytes.
    pub bytes: u64,
}

impl Fingerprint {
    /// Reads a file that is or will be delivered as `name` for the dataset of that index. Fails if the file changes
    /// meanwhile.
    pub async fn of(path: &Path, name: &str, dataset: usize, manifest: &Manifest) -> io::Result<Self> {
        let opened = OpenFile::open(path, name, dataset).await?;
        let (content, bytes) = (*opened.content.as_bytes(), opened.stamp.size);
        Ok(Self { fingerprint: opened.fingerprint(manifest), content, bytes })
    }

    /// Returns the identity of the source with this number, given whether the same fingerprint came before.
    pub fn identity(&self, source: u64, came_before: bool) -> [u8; 32] {
        identity_of(&self.fingerprint, source, came_before)
    }

    /// Returns whether the file is the one of a source with this fingerprint. `owner` returns the source that has an
    /// identity: before version 8 of the schema, content that came again after its source was closed early was
    /// registered under a fingerprint derived from that source.
    pub fn is(&self, fingerprint: &[u8], owner: impl Fn(&[u8]) -> Option<u64>) -> bool {
        let mut own = self.fingerprint;
        loop {
            match owner(&own) {
                _ if own == fingerprint => return true,
                Some(source) => own = identity_behind(&own, source),
                None => return false,
            }
        }
    }
}

/// Opens and hashes the file of a source in `done/`, by its name, with the shape that it was read with; `None` if the
/// file is missing.
pub async fn open_done(
    landing: &Path,
    source: u64,
    name: &str,
    dataset: usize,
    shape: Option<Arc<Shape>>,
) -> io::Result<Option<OpenFile>> {
    match OpenFile::open(&done_path(landing, source, name), name, dataset).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => Ok(Some(OpenFile { shape, ..opened? })),
    }
}

/// Shares a file with another source: by a second name of the same file, or by a copy if the file system has no hard
/// links. Returns the new path.
pub(super) async fn share_done(landing: &Path, file: &Path, name: &str, source: u64) -> io::Result<PathBuf> {
    let target = done_path(landing, source, name);
    if stamp_of(&target)?.is_some() {
        return Ok(target);
    }
    let (from, to) = (file.to_owned(), target.clone());
    file::aside(move || match fs::hard_link(&from, &to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(_) => {
            let unfinished = to.with_file_name(format!(".{source}.new"));
            fs::copy(&from, &unfinished)?;
            fs::rename(&unfinished, &to)
        }
    })
    .await?;
    Ok(target)
}

fn stamp_of(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
