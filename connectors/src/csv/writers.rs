//! What the system tells of a file besides its stamp: who has it open for writing, and for how long it has rested.
//!
//! Neither is certain. Who writes may be on another machine, or a process of another user; so a file is watched as
//! well.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::file::Stamp;

/// Who tells in place of the system who has a file open for writing.
pub(super) type Told = Arc<dyn Fn(&Path) -> Option<String> + Send + Sync>;

/// What is asked about writers.
#[derive(Clone, Default)]
pub(super) enum Writers {
    #[default]
    System,
    /// This, and nothing is known of clocks.
    Told(Told),
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::System) { "System" } else { "Told" })
    }
}

impl Writers {
    /// Of these files those that somebody has open for writing, as far as that can be told, and who, in words.
    pub(super) fn of(&self, files: &[(&Path, Stamp)]) -> HashMap<PathBuf, String> {
        match self {
            _ if files.is_empty() => HashMap::new(),
            Self::System => open_for_writing(files),
            Self::Told(told) => {
                let told = files.iter().filter_map(|(path, _)| Some((path.to_path_buf(), told(path)?)));
                told.collect()
            }
        }
    }

    /// For how long files below `folder` have not been changed, going by when they were: only where the clock of their
    /// file system is this machine's. What a program says of a file's time is not believed.
    pub(super) fn clock(&self, folder: &Path) -> Clock {
        Clock { is_ours: matches!(self, Self::System) && is_local(folder), now: SystemTime::now() }
    }
}

/// The clock of a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    is_ours: bool,
    now: SystemTime,
}

impl Clock {
    /// For how long a file has rested at least.
    pub(super) fn rested(&self, stamp: &Stamp) -> Duration {
        let (seconds, nanoseconds) = stamp.changed;
        let changed = u64::try_from(seconds)
            .ok()
            .filter(|_| self.is_ours)
            .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds as u32)));
        // A time in the future tells nothing.
        changed.and_then(|changed| self.now.duration_since(changed).ok()).unwrap_or_default()
    }
}

/// Whether a folder is on a file system that this machine alone writes to.
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

/// Looks through the descriptors of all processes that may be looked at.
#[cfg(target_os = "linux")]
fn open_for_writing(files: &[(&Path, Stamp)]) -> HashMap<PathBuf, String> {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

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
            // The path is that of the process, which may have another root; its last part is the same.
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

/// Whether a descriptor was opened for writing, by what the system tells of it.
#[cfg(target_os = "linux")]
fn is_writable(info: &Path) -> bool {
    let info = std::fs::read_to_string(info).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & nix::libc::O_ACCMODE != nix::libc::O_RDONLY)
}

#[cfg(not(target_os = "linux"))]
fn open_for_writing(_: &[(&Path, Stamp)]) -> HashMap<PathBuf, String> {
    HashMap::new()
}
