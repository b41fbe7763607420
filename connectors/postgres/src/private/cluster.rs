//! The cluster of a private server: created once, and found again.

use std::path::{Path, PathBuf};

use super::PrivateServerError;
use super::home::Home;

/// The file of the superuser's password, readable by its owner alone.
const PASSWORD: &str = "password";

/// Creates the cluster if there is none, and returns the superuser's password.
pub(super) async fn ensure(
    home: &Home,
    binaries: &Path,
    settings: &[(String, String)],
) -> Result<String, PrivateServerError> {
    let password = home.place.join(PASSWORD);
    if home.data().join("PG_VERSION").exists() {
        let text = std::fs::read_to_string(&password).map_err(PrivateServerError::file("read", &password))?;
        return Ok(text.trim().to_owned());
    }
    create(home, binaries, settings).await
}

/// Runs `initdb` beside the final place and renames, so that a cluster is either complete or absent.
async fn create(
    home: &Home,
    binaries: &Path,
    settings: &[(String, String)],
) -> Result<String, PrivateServerError> {
    let unfinished = home.place.join("data.new");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(PrivateServerError::file("remove", &unfinished))?;
    }
    let password = uuid::Uuid::new_v4().simple().to_string();
    let handed = home.write_private("password.new", &format!("{password}\n"), true)?;
    let durable = !settings.iter().any(|(name, value)| name == "fsync" && value == "off");
    let ran = run_initdb(home, binaries, &unfinished, &handed, durable).await;
    std::fs::remove_file(&handed).map_err(PrivateServerError::file("remove", &handed))?;
    ran?;
    home.write_private(PASSWORD, &format!("{password}\n"), false)?;
    std::fs::rename(&unfinished, home.data()).map_err(PrivateServerError::file("rename", &unfinished))?;
    Ok(password)
}

async fn run_initdb(
    home: &Home,
    binaries: &Path,
    data: &Path,
    password: &PathBuf,
    durable: bool,
) -> Result<(), PrivateServerError> {
    let initdb = binaries.join("initdb");
    let mut command = home.command(&initdb);
    command.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
    command.arg("--pwfile").arg(password).arg("-D").arg(data);
    if !durable {
        command.arg("--no-sync");
    }
    let output = command.output().await.map_err(PrivateServerError::file("run", &initdb))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(PrivateServerError::Initdb { dir: data.to_owned(), output })
}
