//! The folder of a private server, and the user that the server runs as.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};
use tokio::process::Command;
use tokio::time::Instant;

use super::PrivateServerError;

/// How long to wait for the server of an owner that was killed a moment ago.
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);
/// The file that names the server's place, if that is not the folder that was asked for.
const LOCATION: &str = "location";

/// The unprivileged user that the server runs as if this process is root, because Postgres refuses root.
#[derive(Clone, Debug)]
pub(super) struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Returns the user to run as; `None` if this process is not root.
    pub(super) fn of_the_server() -> Result<Option<Account>, PrivateServerError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
        let User { uid, gid, .. } = user.ok_or(PrivateServerError::NoAccount)?;
        Ok(Some(Account { uid, gid }))
    }

    /// Gives `path` itself, but not its contents, to this user.
    fn own(&self, path: &Path) -> Result<(), PrivateServerError> {
        std::os::unix::fs::lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(PrivateServerError::file("change the owner of", path))
    }

    /// Returns whether this user can enter `dir`. A process of that user tries it, since access lists and mounts
    /// decide too.
    async fn enters(&self, dir: &Path) -> bool {
        let mut command = command_as(Some(self), Path::new("sh"));
        command.args(["-c", "cd -- \"$1\"", "sh"]).arg(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }
}

/// A folder that is locked for one owner, and how to run programs in it.
#[derive(Debug)]
pub(super) struct Home {
    /// The folder of the cluster, which may differ from the folder that was asked for.
    pub(super) place: PathBuf,
    /// The user that the server runs as; `None` if it is the user of this process.
    pub(super) account: Option<Account>,
    /// The owner's lock, held as long as this process lives. No child inherits it.
    _owner: File,
}

impl Home {
    /// Finds the place for `dir`, locks it, and waits until the server of an earlier owner is gone.
    pub(super) async fn open(dir: &Path) -> Result<Home, PrivateServerError> {
        let account = Account::of_the_server()?;
        let place = place(dir, account.as_ref()).await?;
        let owner =
            lock(&place.join("owner.lock"))?.ok_or_else(|| PrivateServerError::InUse(place.clone()))?;
        let home = Home { place, account, _owner: owner };
        let deadline = Instant::now() + HANDOVER_LIMIT;
        while lock(&home.place.join("server.lock"))?.is_none() {
            if Instant::now() > deadline {
                return Err(PrivateServerError::InUse(home.place));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        home.forget_a_stale_server()?;
        Ok(home)
    }

    /// Takes the lock that the shell and the server hold while they live, and that outlasts this process.
    pub(super) fn server_lock(&self) -> Result<File, PrivateServerError> {
        lock(&self.place.join("server.lock"))?.ok_or_else(|| PrivateServerError::InUse(self.place.clone()))
    }

    /// The folder of the cluster.
    pub(super) fn data(&self) -> PathBuf {
        self.place.join("data")
    }

    /// The path of the server's log.
    pub(super) fn log_path(&self) -> PathBuf {
        self.place.join("server.log")
    }

    /// Opens a new log. The log of the last start is kept as `server.log.1`.
    pub(super) fn log(&self) -> Result<File, PrivateServerError> {
        let path = self.log_path();
        if path.exists() {
            std::fs::rename(&path, self.place.join("server.log.1"))
                .map_err(PrivateServerError::file("set aside", &path))?;
        }
        private_file().append(true).open(&path).map_err(PrivateServerError::file("open", &path))
    }

    /// A command that runs as the server's user, in a folder that it can enter.
    pub(super) fn command(&self, program: &Path) -> Command {
        command_as(self.account.as_ref(), program)
    }

    /// Writes a file that only its owner can read. If it is `for_server`, the server's user owns the file.
    pub(super) fn write_private(
        &self,
        name: &str,
        text: &str,
        for_server: bool,
    ) -> Result<PathBuf, PrivateServerError> {
        let path = self.place.join(name);
        let written = private_file().write(true).truncate(true).open(&path);
        written
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()).and(file.sync_all()))
            .map_err(PrivateServerError::file("write", &path))?;
        match &self.account {
            Some(account) if for_server => account.own(&path)?,
            _ => {}
        }
        Ok(path)
    }

    /// Removes the pid file of a server that was killed, if its process id now belongs to another process. No server
    /// runs in this cluster, since this process holds its lock, but Postgres would look at the process id alone.
    fn forget_a_stale_server(&self) -> Result<(), PrivateServerError> {
        let path = self.data().join("postmaster.pid");
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
        let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else {
            return Ok(());
        };
        match std::fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(dir) if dir == self.data() => Err(PrivateServerError::InUse(self.place.clone())),
            Ok(_) => std::fs::remove_file(&path).map_err(PrivateServerError::file("remove", &path)),
            Err(_) => Ok(()), // the process is gone, or this is not Linux: Postgres decides
        }
    }
}

/// Returns the place for what belongs in `dir`. It is `dir` itself, created private. If the server's user cannot
/// enter `dir`, it is a private folder among the temporary files, whose name is derived from `dir`.
pub(super) async fn place(dir: &Path, account: Option<&Account>) -> Result<PathBuf, PrivateServerError> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(PrivateServerError::file("create", parent))?;
    }
    create_private(dir)?;
    let dir = dir.canonicalize().map_err(PrivateServerError::file("find", dir))?;
    let Some(account) = account else { return Ok(dir) };
    if let Ok(location) = std::fs::read_to_string(dir.join(LOCATION)) {
        let place = PathBuf::from(location.trim());
        if belongs_to(&place, account) && account.enters(&place).await {
            return Ok(place);
        }
    }
    let parent = dir.parent().unwrap_or(&dir);
    if account.enters(parent).await {
        account.own(&dir)?;
        return Ok(dir);
    }
    let place = elsewhere(&dir, account).await?;
    std::fs::write(dir.join(LOCATION), format!("{}\n", place.display()))
        .map_err(PrivateServerError::file("write", &dir))?;
    tracing::debug!(asked = %dir.display(), place = %place.display(), "the private server lives elsewhere");
    Ok(place)
}

/// Returns the temporary folder that stands in for `dir`. Other users can write beside it, so an existing folder must
/// belong to the server's user.
async fn elsewhere(dir: &Path, account: &Account) -> Result<PathBuf, PrivateServerError> {
    let hash = blake3::hash(dir.as_os_str().as_bytes()).to_hex();
    let name = format!("tidegate-postgres-{}", &hash[..16]);
    for root in [std::env::temp_dir(), "/var/tmp".into(), "/tmp".into()] {
        if !account.enters(&root).await {
            continue;
        }
        let place = root.join(&name);
        match DirBuilder::new().mode(0o700).create(&place) {
            Ok(()) => account.own(&place)?,
            Err(_) if belongs_to(&place, account) => {}
            Err(source) => return Err(PrivateServerError::File { action: "create", path: place, source }),
        }
        return place.canonicalize().map_err(PrivateServerError::file("find", &place));
    }
    let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    Err(PrivateServerError::File { action: "let the server's user enter", path: dir.to_owned(), source })
}

/// Returns whether `place` is a folder, not a link to one, and belongs to this user.
fn belongs_to(place: &Path, account: &Account) -> bool {
    place.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == account.uid.as_raw())
}

/// Creates a folder that only its owner can enter, if it is missing.
fn create_private(dir: &Path) -> Result<(), PrivateServerError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        created => created.map_err(PrivateServerError::file("create", dir)),
    }
}

/// Takes the exclusive lock on a file; `None` if another process holds it.
fn lock(path: &Path) -> Result<Option<File>, PrivateServerError> {
    let file = private_file().write(true).open(path).map_err(PrivateServerError::file("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(PrivateServerError::file("lock", path)(error)),
    }
}

/// Options that open a file, or create it for its owner alone.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

/// Returns a command that runs as `account`, in a folder that every user can enter, with messages in English.
fn command_as(account: Option<&Account>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    if let Some(account) = account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}
