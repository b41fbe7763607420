//! What the system knows of a file besides its stamp: the process that has it open for writing, and how long it has
//! been unchanged.
//!
//! Neither is certain. The writer may run on another machine, or as another user. Therefore the file's stamp is
//! watched as well.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, fs};

use crate::file::Stamp;

/// A function that returns the writer of a file, in words, in place of the system.
pub(super) type WriterLookup = Arc<dyn Fn(&Path) -> Option<String> + Send + Sync>;

/// Where writers are looked up.
#[derive(Clone, Default)]
pub(super) enum Writers {
    #[default]
    System,
    /// Asks this function, and ignores the times at which files were changed.
    Told(WriterLookup),
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::System) { "System" } else { "Told" })
    }
}

impl Writers {
    /// Returns those of the files that a process has open for writing, as far as known, with the process in words.
    pub(super) fn of(&self, files: &[(&Path, Stamp)]) -> HashMap<PathBuf, String> {
        match self {
            _ if files.is_empty() => HashMap::new(),
            Self::System => open_for_writing(files),
            Self::Told(told) => {
                files.iter().filter_map(|(path, _)| Some((path.to_path_buf(), told(path)?))).collect()
            }
        }
    }

    /// Returns the time by the clock of the file system of `folder`, if that is this machine's clock.
    pub(super) fn clock(&self, folder: &Path) -> Option<SystemTime> {
        (matches!(self, Self::System) && is_local(folder)).then(SystemTime::now)
    }
}

/// Returns for how long at least a file has been unchanged, by the clock of its file system. A time that a program has
/// set is not used.
pub(super) fn rested(stamp: &Stamp, now: Option<SystemTime>) -> Duration {
    let (seconds, nanoseconds) = stamp.changed;
    let changed = u64::try_from(seconds).ok();
    let changed = changed.and_then(|s| UNIX_EPOCH.checked_add(Duration::new(s, nanoseconds as u32)));
    // A time in the future says nothing.
    now.zip(changed).and_then(|(now, changed)| now.duration_since(changed).ok()).unwrap_or_default()
}

/// Returns whether a folder is on a file system that this machine alone writes to.
#[cfg(target_os = "linux")]
fn is_local(folder: &Path) -> bool {
    use nix::sys::statfs::{self, FsType};
    const LOCAL: [FsType; 5] = [
        statfs::EXT4_SUPER_MAGIC,
        statfs::XFS_SUPER_MAGIC,
        statfs::BTRFS_SUPER_MAGIC,
        statfs::TMPFS_MAGIC,
        statfs::OVERLAYFS_SUPER_MAGIC,
    ];
    statfs::statfs(folder).is_ok_and(|found| LOCAL.contains(&found.filesystem_type()))
}

#[cfg(not(target_os = "linux"))]
fn is_local(_: &Path) -> bool {
    false
}

/// Searches the descriptors of all processes that this process may inspect, where the system has `/proc`.
fn open_for_writing(files: &[(&Path, Stamp)]) -> HashMap<PathBuf, String> {
    let mut names: HashMap<&OsStr, Vec<usize>> = HashMap::new();
    for (index, (path, _)) in files.iter().enumerate() {
        names.entry(path.file_name().unwrap_or_default()).or_default().push(index);
    }
    let mut found = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let (process, pid) = (process.path(), process.file_name());
        if !pid.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            // The path is in the view of that process, which may have another root. Its last part is the same.
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let Some(named) = target.file_name().and_then(|name| names.get(name)) else { continue };
            let Ok(metadata) = fs::metadata(descriptor.path()) else { continue };
            let is_it = |index: &&usize| files[**index].1.is_of(metadata.dev(), metadata.ino());
            let Some(index) = named.iter().find(is_it) else { continue };
            if is_writable(&process.join("fdinfo").join(descriptor.file_name())) {
                let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
                let who = format!("process {} ({})", pid.to_string_lossy(), name.trim().escape_debug());
                found.insert(files[*index].0.to_path_buf(), who);
            }
        }
    }
    found
}

/// Returns whether a descriptor was opened for writing, by its flags in `/proc`.
fn is_writable(info: &Path) -> bool {
    let info = fs::read_to_string(info).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & nix::libc::O_ACCMODE != nix::libc::O_RDONLY)
}
