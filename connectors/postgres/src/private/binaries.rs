//! The places where a Postgres server may be installed.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::fetch;
use super::home::{self, Account};
use super::{PrivateServerError, ServerOptions};

/// The environment variable that names the folder of `postgres` and `initdb`, if they are in no usual place.
pub const VARIABLE: &str = "TIDEGATE_POSTGRES_BIN";

/// Folders of binaries on Debian, Homebrew and Fedora. Of several versions the newest is taken.
const USUAL: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/postgresql/bin",
    "/usr/local/opt/postgresql*/bin",
    "/opt/homebrew/bin",
    "/usr/bin",
    "/usr/pgsql-*/bin",
];

/// Returns the folder of the binaries to use: given, installed, fetched earlier, or fetched now.
pub(super) async fn locate(
    options: &ServerOptions,
    account: Option<&Account>,
) -> Result<PathBuf, PrivateServerError> {
    let named = options.binaries.clone().or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    if let Some(dir) = named {
        return complete(&dir).ok_or(PrivateServerError::NoBinaries(dir));
    }
    if let Some(found) = find(&installed()) {
        return Ok(found);
    }
    let Some(cache) = &options.cache else {
        return Err(PrivateServerError::NotInstalled(String::new()));
    };
    let cache = home::place(&cache.join("postgres"), account).await?;
    if let Some(found) = find(&[cache.join("postgresql-*/bin")]) {
        return Ok(found);
    }
    fetch::server(&cache, fetch::URL)
        .await
        .map_err(|error| PrivateServerError::NotInstalled(format!(", and {}", error.summary())))
}

/// Returns the places where this machine may have a server, in the order of preference.
pub fn installed() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    places.push(USUAL[0].into());
    if let Ok(output) = std::process::Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        places.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    places.extend(USUAL[1..].iter().map(PathBuf::from));
    places
}

/// Returns the first of `places` that holds a server. One component of a place may contain one `*`. Of the folders
/// that match it, the one with the highest version in its name comes first.
pub fn find(places: &[PathBuf]) -> Option<PathBuf> {
    places.iter().flat_map(|place| expand(place)).find_map(|dir| complete(&dir))
}

/// Returns the folder, with symbolic links resolved, if `dir` holds both programs.
fn complete(dir: &Path) -> Option<PathBuf> {
    let program = |name: &str| {
        let path = dir.join(name).canonicalize().ok()?;
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
    };
    let (postgres, initdb) = (program("postgres")?, program("initdb")?);
    // The links of a distribution are followed into the folder that they point to, because that folder holds one
    // version.
    match (postgres.parent(), initdb.parent()) {
        (Some(real), Some(other)) if real == other => Some(real.to_owned()),
        _ => dir.canonicalize().ok(),
    }
}

/// Returns the folders that match a place with a `*`, the newest version first.
fn expand(place: &Path) -> Vec<PathBuf> {
    let starred = |part: &Component| part.as_os_str().to_str().is_some_and(|name| name.contains('*'));
    let Some(at) = place.components().position(|part| starred(&part)) else {
        return vec![place.to_owned()];
    };
    let parent: PathBuf = place.components().take(at).collect();
    let rest: PathBuf = place.components().skip(at + 1).collect();
    let name = place.components().nth(at).map(|part| part.as_os_str().to_string_lossy().into_owned());
    let (before, after) = name.as_deref().and_then(|name| name.split_once('*')).unwrap_or_default();
    let matches = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
    };
    let Ok(entries) = parent.read_dir() else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.retain(|name| matches(name));
    names.sort_by_key(|name| std::cmp::Reverse(version(name)));
    names.into_iter().map(|name| parent.join(name).join(&rest)).collect()
}

/// Returns the numbers in a name: `postgresql-17.5.0` gives 17, 5, 0.
fn version(name: &OsStr) -> Vec<u64> {
    let name = name.to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        for name in ["postgres", "initdb"] {
            std::fs::write(dir.join(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn the_newest_of_several_versions_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for version in ["9", "15", "16"] {
            install(&root.join("lib").join(version).join("bin"));
        }
        std::fs::create_dir_all(root.join("lib/18/bin")).unwrap(); // a client without a server
        assert_eq!(find(&[root.join("lib/*/bin")]), Some(root.join("lib/16/bin")));
    }

    #[test]
    fn the_first_place_wins_and_links_are_followed_to_the_folder_of_one_version() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        install(&root.join("lib/15/bin"));
        install(&root.join("other"));
        std::fs::create_dir(root.join("bin")).unwrap();
        for name in ["postgres", "initdb"] {
            std::os::unix::fs::symlink(root.join("lib/15/bin").join(name), root.join("bin").join(name))
                .unwrap();
        }
        let places = [root.join("missing"), root.join("bin"), root.join("other")];
        assert_eq!(find(&places), Some(root.join("lib/15/bin")));
    }

    #[test]
    fn programs_that_cannot_be_run_are_no_server() {
        let root = tempfile::tempdir().unwrap();
        install(root.path());
        std::fs::set_permissions(root.path().join("initdb"), PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(find(&[root.path().to_owned()]), None);
        assert_eq!(find(&[]), None);
    }
}
