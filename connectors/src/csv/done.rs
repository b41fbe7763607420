//! Where files go when every line of theirs is accounted for.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::file::Stamp;

/// The folder, inside the landing folder.
pub(super) const DONE: &str = "done";

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
    let target = done.join(format!("{source}-{name}"));
    fs::rename(file, &target)?;
    if stamp_of(&target)?.is_some_and(|moved| moved.looks_like(stamp)) {
        return Ok(true);
    }
    // Another file took the name in between. It goes back, unless yet another has come.
    fs::hard_link(&target, file)?;
    fs::remove_file(&target)?;
    Ok(false)
}

fn stamp_of(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
