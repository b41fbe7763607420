//! One seed, from the first process to the last.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, fs};

use tempfile::TempDir;
use tidegate_core::position::Position;
use tidegate_engine::Until;

use crate::files::File;
use crate::model::{Flaw, Letter};
use crate::process::{DataDir, Pause, Process};
use crate::reference::{self, Outcome};
use crate::world::{Stats, World};

/// How many processes may be alive at once.
const PROCESSES_MAX: usize = 3;
/// How many processes may end with nothing left to do before all is as it must be. If a file arrived while a process
/// ran, that process is not counted: its last scan may have come before the file.
const IDLE_MAX: u32 = 4;

/// Where the files of one seed after another lie.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// In `TMPDIR`, or in memory where there is such a place.
    pub(crate) fn new() -> Self {
        let shared = PathBuf::from("/dev/shm");
        let folder = match std::env::var_os("TMPDIR") {
            None if shared.is_dir() => tempfile::tempdir_in(shared),
            _ => tempfile::tempdir(),
        };
        Self { folder: folder.unwrap() }
    }
}

/// A seed that came to the right end.
pub(crate) struct Course {
    /// Of all that happened.
    pub(crate) hash: u64,
    pub(crate) trace: String,
    pub(crate) stats: Stats,
}

/// A seed that did not.
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) what: String,
    pub(crate) trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, .. } = self;
        write!(
            f,
            "seed {seed}: {what}\nit replays alone: TIDEGATE_SEED={seed} cargo test -p tidegate-engine --test simulation \
             seeds -- --nocapture"
        )
    }
}

/// Runs a seed; with `is_told` its trace can be read afterwards.
pub(crate) fn run(seed: u64, place: &Place, flaw: Option<Flaw>, is_told: bool) -> Result<Course, Failure> {
    fastrand::seed(seed); // of the pauses between tries
    let landing = place.folder.path().join("landing");
    fs::create_dir(&landing).unwrap();
    let world = Arc::new(World::new(seed, landing.clone(), flaw, is_told));
    let mut machines = Machines { world: world.clone(), free: Vec::new(), live: Vec::new(), owners: 0 };
    let result = machines.run();
    drop(machines);
    fs::remove_dir_all(&landing).unwrap();
    let state = world.state();
    let trace = state.trace.text();
    match result {
        Ok(()) => Ok(Course { hash: state.trace.hash, trace, stats: state.stats }),
        Err(what) => Err(Failure { seed, what, trace }),
    }
}

/// The machines on which processes run, one at a time.
struct Machines {
    world: Arc<World>,
    /// Data directories that no process has open.
    free: Vec<DataDir>,
    /// Processes that have begun; all but the one that runs are frozen.
    live: Vec<Process>,
    owners: u64,
}

impl Machines {
    /// Until everything from outside has happened and all is accounted for, and what was sent to the sink was sent
    /// again; then those that were frozen go on.
    fn run(&mut self) -> Result<(), String> {
        while self.world.happen() {
            self.settle()?;
            self.compare()?;
        }
        for _ in 0..self.world.copies() {
            let before = self.kept();
            self.world.state().must_send_again = true;
            self.settle()?;
            if self.kept() != before {
                return Err("what was sent again has changed tables, ledger or dead letters".to_owned());
            }
        }
        while !self.live.is_empty() {
            self.go_on(0)?;
        }
        self.compare()
    }

    /// Runs processes until one ends with nothing left to do, and all is as it must be.
    fn settle(&mut self) -> Result<(), String> {
        let mut idle = 0;
        loop {
            let index = self.choose();
            let arrivals = self.world.state().arrivals;
            let (is_idle, may_commit) = self.go_on(index)?;
            if !is_idle || !may_commit {
                continue;
            }
            if self.is_settled() {
                return Ok(());
            }
            idle += u32::from(self.world.state().arrivals == arrivals);
            if idle > IDLE_MAX {
                return Err(format!("nothing is left to do, but {}", self.unsettled()));
            }
        }
    }

    /// A process to run: one that is frozen, or a new one.
    fn choose(&mut self) -> usize {
        let state = &mut *self.world.state();
        let (rng, live) = (&mut state.rng, self.live.len());
        if live > 0 && (live == PROCESSES_MAX || rng.bool()) {
            return rng.usize(0..live);
        }
        let free = self.free.len();
        let dir = if free > 0 && rng.u8(0..4) > 0 {
            self.free.swap_remove(rng.usize(0..free))
        } else {
            self.owners += 1;
            DataDir { owner: self.owners, log: self.world.topics() }
        };
        state.stats.processes += 1;
        state.stats.takeovers += u64::from(live > 0);
        let number = state.stats.processes;
        state
            .trace
            .note("begins", &[number, dir.owner], || format!("{number:>4} begins, owner {}", dir.owner));
        let block_bytes = [40, 150, 1000][rng.usize(0..3)];
        let until = if rng.u8(0..24) == 0 { Until::Stopped } else { Until::Idle };
        let manifest = state.manifest.clone();
        self.live.push(Process::new(self.world.clone(), manifest, number, dir, (block_bytes, until)));
        live
    }

    /// Lets a process run. Tells whether it ended with nothing left to do, and whether it could have committed.
    fn go_on(&mut self, index: usize) -> Result<(bool, bool), String> {
        let pause = self.live[index].go_on();
        let may_commit = self.live[index].database.memory.may_commit();
        let number = self.live[index].number;
        self.world.state().trace.note("pauses", &[number], || format!("{number:>4} {pause:?}"));
        if let Some(violation) = self.world.violation() {
            return Err(violation);
        }
        let is_idle = match pause {
            Pause::Frozen => return Ok((false, may_commit)),
            Pause::Crashed => false,
            Pause::Ended { result: Ok(()), is_idle } => is_idle,
            Pause::Ended { result: Err(error), .. } => {
                let was_taken_over = !may_commit && error.message.contains("taken this pipeline over");
                if !error.message.contains("injected") && !was_taken_over {
                    return Err(format!("a process stopped: {error}"));
                }
                false
            }
        };
        let dir = self.live.swap_remove(index).dir;
        if is_idle || !self.loses(&dir) {
            self.free.push(dir);
        }
        Ok((is_idle, may_commit))
    }

    /// What a machine may lose with its process: with the power what was not brought to disk, or, and then this
    /// is `true`, the whole data directory.
    fn loses(&self, dir: &DataDir) -> bool {
        let world = &self.world;
        let state = &mut *world.state();
        match state.rng.u8(0..8) {
            0 => {
                for (topic, partition) in dir.log.partitions() {
                    let lost = dir.log.lose_tail(&topic, partition, state.rng.usize(0..4));
                    lost.expect("the topic was made");
                }
                state.trace.note("power", &[], || "     the power fails".to_owned());
            }
            1 => {
                state.trace.note("lost", &[], || "     the data directory is lost".to_owned());
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether all that came from outside was seen, and all sent again that must be.
    fn is_settled(&self) -> bool {
        let state = self.world.state();
        let is_seen = state.outside_is_seen && !state.must_send_again;
        drop(state);
        is_seen && self.waiting_files().is_empty()
    }

    /// All that the lines came to, no matter in which order a table has its columns. The view is checked at every commit.
    fn kept(&self) -> impl PartialEq + use<> {
        self.world.database.look(|state| {
            let letter = |(position, letter): (&Position, &Letter)| {
                (*position, letter.status, reference::codes(&letter.reasons))
            };
            let letters: Vec<_> = state.letters.iter().map(letter).collect();
            let rows = reference::rows(&self.world.manifest, state);
            (rows, state.ledger.clone(), letters, state.effects.clone())
        })
    }

    fn unsettled(&self) -> String {
        let sources = self.world.database.look(|state| format!("{:?}", state.sources));
        format!("in the landing folder are {:?}; the sources: {sources}", self.waiting_files())
    }

    fn waiting_files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.world.landing).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // What is being written is not to be taken.
        names.filter(|name| name != "done" && !self.world.is_being_written(name)).collect()
    }

    /// Compares what the database holds with what must have come of it.
    fn compare(&self) -> Result<(), String> {
        let world = &self.world;
        world.database.look(|database| {
            let mut files: Vec<&File> = Vec::new();
            for source in &database.sources {
                files.push(source.file(&world.files).ok_or_else(|| format!("nobody dropped {source:?}"))?);
                let lines = files[files.len() - 1].lines.len() as u64;
                if source.lines != Some(lines) || !source.complete {
                    return Err(format!("{source:?} has {lines} lines and is not complete"));
                }
                if source.skipped.is_none() {
                    return Err(format!("{source:?} does not know how many lines are no records"));
                }
            }
            let state = world.state();
            for (name, deliveries) in &state.deliveries {
                let of_name = files.iter().filter(|file| file.name == *name);
                let wanted = deliveries.iter().map(|file| &world.files[*file]);
                if !of_name.map(|file| &file.bytes).eq(wanted.map(|file| &file.bytes)) {
                    return Err(format!("'{name}' was delivered as {deliveries:?}: {:?}", database.sources));
                }
            }
            let expected = Outcome::expected(&world.manifest, &files, &state.outside);
            let found = Outcome::found(&world.manifest, database, &files);
            drop(state);
            world.state().trace.note(&format!("{found:?}"), &[], || "     as it must be".to_owned());
            match found.differs_from(&expected) {
                None => Ok(()),
                Some(difference) => Err(difference),
            }
        })
    }
}
