//! Where files go when every line of theirs is accounted for, and how they are found there again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tidegate_core::manifest::Manifest;

use super::file::{self, Opened, Stamp};

/// The folder, inside the landing folder.
pub(super) const DONE: &str = "done";

/// Where the file of a source is when every line of it is accounted for.
pub fn done_path(landing: &Path, source: u64, name: &str) -> PathBuf {
    landing.join(DONE).join(format!("{source}-{name}"))
}

/// Whether a file is in `done/` of that landing folder.
pub(super) fn is_done(landing: &Path, file: &Path) -> bool {
    file.parent().is_some_and(|folder| folder == landing.join(DONE))
}

/// Moves a file to `done/<source>-<name>`, if it is still the one that was read: nobody has read what
/// came in its place. `false` if it is not.
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
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ if fs::symlink_metadata(&done)?.is_dir() => {}
        _ => return Err(io::Error::new(io::ErrorKind::NotADirectory, "'done' is no folder")),
    }
    let target = done_path(landing, source, name);
    if file == target {
        return Ok(true); // a reload reads it there
    }
    fs::rename(file, &target)?;
    if stamp_of(file)?.is_some_and(|left| left.is_same_file(stamp)) {
        // Both names were of one file already, as after a reload: then the system leaves both.
        fs::remove_file(file)?;
    }
    if stamp_of(&target)?.is_some_and(|moved| moved.looks_like(stamp)) {
        return Ok(true);
    }
    // Another file took the name in between. It goes back, unless yet another has come.
    fs::hard_link(&target, file)?;
    fs::remove_file(&target)?;
    Ok(false)
}

/// A file that was moved to `done/`, as it was read.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    /// How large it was.
    pub(super) bytes: u64,
}

impl Moved {
    /// How it stands now, if it is not as long as it was.
    pub(super) fn rewritten(&self) -> Option<Stamp> {
        stamp_of(&self.path).ok().flatten().filter(|now| now.size != self.bytes)
    }
}

/// A file in `done/`.
#[derive(Clone, Debug)]
pub struct DoneFile {
    /// Where it is.
    pub path: PathBuf,
    /// The source whose file it was, by its name.
    pub source: u64,
    /// The name it was dropped under.
    pub name: String,
}

/// The source and the name of a file, as its name in `done/` says them.
pub fn parse_done_name(file_name: &str) -> Option<(u64, &str)> {
    let (source, name) = file_name.split_once('-')?;
    Some((source.parse().ok()?, name))
}

/// The files of `done/` in `landing`, by their sources. What is not named as Tidegate names files is left out. Something
/// else in the place of the folder holds none.
///
/// # Errors
///
/// If the folder is there and cannot be read.
pub fn done_files(landing: &Path) -> io::Result<Vec<DoneFile>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    let entries = match fs::read_dir(landing.join(DONE)) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
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

/// What a file is as a source.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    /// What its source has in common with other deliveries of the same.
    pub fingerprint: [u8; 32],
    /// BLAKE3 of its content.
    pub content: [u8; 32],
    /// Its size.
    pub bytes: u64,
}

impl Fingerprint {
    /// Reads a file that was, or will be, dropped as `name` for the dataset of that index.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or shrinks meanwhile.
    pub async fn of(path: &Path, name: &str, dataset: usize, manifest: &Manifest) -> io::Result<Self> {
        let opened = Opened::open(path, name, dataset).await?;
        let (content, bytes) = (*opened.content.as_bytes(), opened.stamp.size);
        Ok(Self { fingerprint: opened.fingerprint(manifest), content, bytes })
    }

    /// The identity of the source of this number whose file it is, which may have come before.
    pub fn identity(&self, source: u64, came_before: bool) -> [u8; 32] {
        file::identity_of(&self.fingerprint, source, came_before)
    }

    /// Whether the file is that of a source with this fingerprint. `owner` tells which source has an identity: before
    /// version 8 of the schema, what came again after it was closed early was registered by that.
    pub fn is(&self, fingerprint: &[u8], owner: impl Fn(&[u8]) -> Option<u64>) -> bool {
        let mut own = self.fingerprint;
        loop {
            match owner(&own) {
                _ if own == fingerprint => return true,
                Some(source) => own = file::identity_behind(&own, source),
                None => return false,
            }
        }
    }
}

/// Lets another source have the file of one as well: under a second name of the same file, or, where a file system has no
/// such thing, as a copy. Gives where it is.
pub(super) async fn share_done(landing: &Path, file: &Path, name: &str, source: u64) -> io::Result<PathBuf> {
    let target = done_path(landing, source, name);
    if stamp_of(&target)?.is_some() {
        return Ok(target);
    }
    let (from, to) = (file.to_owned(), target.clone());
    file::aside(move || match fs::hard_link(&from, &to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => {
            let unfinished = to.with_file_name(format!(".{source}.new"));
            fs::copy(&from, &unfinished)?;
            fs::rename(&unfinished, &to)
        }
        Ok(()) => Ok(()),
    })
    .await?;
    Ok(target)
}

fn stamp_of(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
