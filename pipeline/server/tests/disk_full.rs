//! A full disk under the data directory: it is said, waited for, and nothing is lost or doubled.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tidegate::generate::Company;

use crate::company::{self, TABLES};
use crate::home::{Home, Running, skipped};

const EMPLOYEES: usize = 20_000;
/// Less than the employees take on a topic, in bytes, and more than departments and jobs.
const SMALL: u64 = 512 << 10;
/// In how many files the employees come where each of these is to fit.
const FILES: usize = 10;

/// A company whose employees come in so many files.
async fn loaded(files: usize) -> Home {
    let home = company::embedded(company::MANIFEST).await;
    let folder = tempfile::tempdir().unwrap();
    let generated =
        Company { employees: EMPLOYEES as u64, rejects_percent: 3.0, seed: 9, ..Company::default() };
    generated.write(folder.path()).unwrap();
    let read = |table: &str| std::fs::read_to_string(folder.path().join(format!("{table}.csv"))).unwrap();
    for table in &TABLES[..2] {
        home.drop(&format!("{table}.csv"), read(table));
    }
    let employees = read(TABLES[2]);
    let lines: Vec<&str> = employees.split_inclusive('\n').collect();
    for (i, lines) in lines.chunks(EMPLOYEES.div_ceil(files)).enumerate() {
        home.drop(&format!("hired_employees-{i:02}.csv"), lines.concat());
    }
    home
}

/// Fails unless all is as it is on a disk with room.
async fn assert_whole(home: &Home) {
    company::assert_accounted(home).await;
    let undisturbed = loaded(1).await;
    undisturbed.ingest().await;
    let (left, right) = (company::state(home).await, company::state(&undisturbed).await);
    company::assert_same("on a full disk and elsewhere", &left, &right);
    assert_eq!(home.names_in("landing"), ["done"]);
}

/// Starts a run that may write no file larger than [`SMALL`].
fn spawn_limited(home: &Home) -> Running {
    let plain = home.command(["run", "--until-idle"]);
    let plain = plain.as_std();
    let mut limited = tokio::process::Command::new("prlimit");
    limited.arg(format!("--fsize={SMALL}:")).arg(plain.get_program()).args(plain.get_args());
    limited.current_dir(plain.get_current_dir().unwrap());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    Running::start(limited)
}

#[tokio::test]
async fn a_file_size_limit_is_said_and_waited_for_until_it_is_raised() {
    let home = loaded(1).await;
    let mut running = spawn_limited(&home);
    running.says("appending to a topic failed").await;
    running.says("raise the file size limit").await;
    assert!(running.said().contains("topic 'company-raw-hired-employees'"), "{}", running.said());
    assert!(!running.has_ended(), "{}", running.said());
    assert_eq!(home.count("select count(*) from hired_employees").await, 0, "half a batch entered");
    let pid = running.pid().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap();
    assert!(raised.success());
    running.ended().await.succeeded().saying(&["appending to a topic works again"]);
    assert_whole(&home).await;
}

#[tokio::test]
async fn a_run_that_waits_for_room_can_be_stopped_and_the_next_goes_on() {
    let home = loaded(1).await;
    let mut running = spawn_limited(&home);
    running.says("raise the file size limit").await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded().saying(&["stopping"]);
    home.ingest().await;
    assert_whole(&home).await;
}

#[tokio::test]
async fn what_is_committed_makes_room_for_what_comes() {
    let home = loaded(FILES).await;
    spawn_limited(&home).ended().await.succeeded();
    let size = "select sum(bytes) from tidegate.sources where dataset = 'hired_employees'";
    assert!(home.count(size).await > SMALL, "they were to need more than the limit");
    assert_whole(&home).await;
}

/// A file system of a few MiB, for a data directory; unmounted when this is dropped.
struct Disk {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    /// `None`, which is said loudly, where this may not be done.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tidegate-test"])
            .arg(&path)
            .output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Self { path, _folder: folder }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        skipped(&name, &format!("no file system can be mounted here: {why}"));
        None
    }

    fn data_dir(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Fills it up, but for so many bytes.
    fn fill(&self, room: u64) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        let size = ballast.metadata().unwrap().len();
        ballast.set_len(size.saturating_sub(room)).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    fn run_until_idle(&self, home: &Home) -> Running {
        home.spawn(&format!("run --until-idle --data-dir {}", self.data_dir().display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a process that is being killed may have files open there.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !unmounted.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("'{}' is still mounted", self.path.display());
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_waited_for_until_there_is_room() {
    let Some(disk) = Disk::mount() else { return };
    let home = loaded(1).await;
    disk.fill(SMALL);
    let mut running = disk.run_until_idle(&home);
    running.says("no space is left: free some").await;
    let said = running.said();
    assert!(said.contains("topic 'company-raw-hired-employees'"), "{said}");
    assert!(said.contains(&disk.data_dir().display().to_string()), "it is to say where: {said}");
    assert!(!running.has_ended(), "{said}");
    disk.make_room();
    running.ended().await.succeeded().saying(&["appending to a topic works again"]);
    assert_whole(&home).await;
}

#[tokio::test]
async fn a_run_that_is_killed_on_a_full_disk_is_completed_by_the_next() {
    let Some(disk) = Disk::mount() else { return };
    let home = loaded(1).await;
    disk.fill(SMALL);
    for _ in 0..2 {
        let mut running = disk.run_until_idle(&home);
        running.says("no space is left: free some").await;
        running.kill().await;
    }
    // Not one byte is left now, and still it starts and waits.
    disk.fill(0);
    let mut running = disk.run_until_idle(&home);
    running.says("no space is left: free some").await;
    disk.make_room();
    running.ended().await.succeeded();
    assert_whole(&home).await;
}

#[tokio::test]
async fn an_identity_that_cannot_be_written_leaves_the_old_one_whole() {
    let Some(disk) = Disk::mount() else { return };
    let home = company::embedded(company::MANIFEST).await;
    home.drop("departments.csv", "1,One\n");
    disk.fill(0);
    let full = ["cannot write '", "identity'", "no space is left: free some"];
    disk.run_until_idle(&home).ended().await.failed_with(1).saying(&full);
    disk.make_room();
    disk.run_until_idle(&home).ended().await.succeeded();
    let identity = || std::fs::read_to_string(disk.data_dir().join("identity")).unwrap();
    let before = identity();

    // Another column changes the form in which lines are on the topics, which the identity names.
    let manifest =
        company::MANIFEST.replace("job: text}", "job: text, grade: {type: integer, optional: true}}");
    std::fs::write(home.path("tidegate.yaml"), manifest).unwrap();
    home.query("alter table jobs add column grade integer").await;
    home.drop("jobs.csv", "1,Clerk,3\n");
    // Topics of another form are dropped, which would make room.
    std::fs::remove_dir_all(disk.data_dir().join("topics")).unwrap();
    disk.fill(0);
    let outcome = disk.run_until_idle(&home).ended().await;
    assert_eq!(identity(), before);
    outcome.failed_with(1).saying(&full);
    assert!(!disk.data_dir().join("identity.new").exists());
    disk.make_room();
    disk.run_until_idle(&home).ended().await.succeeded();
    assert_ne!(identity(), before);
    assert_eq!(home.query("select id, grade from jobs").await, ["1|3"]);
    assert_eq!(home.query("select id from departments").await, ["1"]);
}
