//! The world around a pipeline: at every call it decides, by its dice, what goes wrong.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File as Handle};
use std::future::{Future, pending};
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Batch;
use tidegate_engine::Until;
use tidegate_topics::Memory;
use tidegate_topics::memory::Style;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dialect::Dialects;
use crate::files::{self, File};
use crate::invariants;
use crate::model::{Database, Flaw};

/// How many calls a seed may take before it counts as one that never ends.
const CALLS_MAX: u64 = 400_000;
/// How often a process that runs until it is stopped looks how far it is, before it is: for more than 30 s, in
/// which it must have looked for rows of other applications.
const LOOKS_MAX: u64 = 8_000;

/// What clocks that are behind say, since 1970.
const PAST: Duration = Duration::from_secs(1_000_000_000);

/// What all processes of a seed have in common.
pub(crate) struct World {
    /// What files and lines mean.
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) database: Database,
    pub(crate) landing: PathBuf,
    pub(crate) files: Vec<File>,
    pub(crate) flaw: Option<Flaw>,
    /// The topics of all machines, where these are on Fluvio.
    cluster: Option<Memory>,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) rng: Rng,
    climate: Climate,
    /// How many faults are still to come.
    faults: u32,
    events: VecDeque<Event>,
    /// What processes that begin run by.
    pub(crate) manifest: Arc<Manifest>,
    /// Rows written by another application.
    pub(crate) outside: Vec<(usize, Vec<String>)>,
    /// Whether waiting lines were looked at since the last of them.
    pub(crate) outside_is_seen: bool,
    /// How many files have arrived in the landing folder.
    pub(crate) arrivals: u64,
    /// By name, the files that were put there, but for those whose content was there last.
    pub(crate) deliveries: BTreeMap<String, Vec<usize>>,
    /// Files that are being written in the landing folder.
    writing: Vec<Writing>,
    /// What was sent to the sink, in order: it may be sent again.
    pub(crate) sent: Vec<Sent>,
    /// Whether the process that begins next sends all of it again.
    pub(crate) must_send_again: bool,
    /// What must never be, and was.
    violation: Option<String>,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
}

impl State {
    /// Notes that a file lies in the landing folder as a whole.
    fn delivered(&mut self, name: &str, file: usize) {
        self.arrivals += 1;
        let deliveries = self.deliveries.entry(name.to_owned()).or_default();
        if deliveries.last() != Some(&file) {
            deliveries.push(file);
        }
    }

    /// Whether somebody has a file of the landing folder open for writing.
    fn is_being_written(&self, files: &[File], name: &str) -> bool {
        self.writing.iter().any(|writing| files[writing.file].name == name)
    }

    /// Some place among what was sent, half of the time the first.
    pub(crate) fn some_sent(&mut self) -> usize {
        if self.rng.bool() { 0 } else { self.rng.usize(0..=self.sent.len()) }
    }
}

/// A file that somebody writes in the landing folder, piece by piece, and keeps open.
struct Writing {
    file: usize,
    handle: Handle,
    /// How many bytes are there.
    written: usize,
}

/// How rough it is in a seed.
struct Climate {
    /// Of 256 calls, so many take their time.
    slow: u8,
    /// Of 1024 calls that change something, so many meet a fault.
    faulty: u16,
    /// Which faults there are.
    faults: Vec<Fault>,
    /// The only calls that meet them; `None` where all do.
    aim: Option<Call>,
    /// Whether processes stand still again and again when they are about to write rows, so that several are about to
    /// write the same.
    are_rivals: bool,
    /// How often the transform sends everything again that it has sent, after all else has happened. Where it does so
    /// at all, processes that begin may go on from an earlier moment too.
    copies: u32,
}

impl Climate {
    /// Each kind of fault is on or off, for one kind may hide what another does. In most of the seeds all of them meet
    /// one kind of call.
    fn some(rng: &mut Rng, on_fluvio: bool) -> Self {
        const CALLS: [Call; 6] =
            [Call::Append, Call::Commit, Call::Apply, Call::Apply, Call::Apply, Call::Apply];
        let aim = CALLS.get(rng.usize(0..8)).copied();
        let are_rivals = aim == Some(Call::Apply);
        let is_there = |fault: &Fault| on_fluvio || !fault.is_of_cluster();
        let meets = |fault: &Fault| is_there(fault) && aim.is_none_or(|call| fault.can_meet(call));
        let mut faults: Vec<Fault> = FAULTS.into_iter().filter(meets).collect();
        let certain = if are_rivals { Fault::Freezes } else { faults[rng.usize(0..faults.len())] };
        faults.retain(|fault| *fault == certain || (rng.bool() && !(are_rivals && *fault == Fault::Stops)));
        Self {
            slow: [0, 20, 120][rng.usize(0..3)],
            faulty: if are_rivals { 400 } else { [0, 30, 100, 300][rng.usize(0..4)] },
            faults,
            aim,
            are_rivals,
            copies: [0, 0, 1, 2][rng.usize(0..4)],
        }
    }

    /// Of 1024 calls of a kind, so many meet a fault. What only asks meets fewer.
    fn faulty(&self, call: Call) -> u16 {
        match self.aim {
            Some(aim) if aim == call => self.faulty,
            Some(_) => 0,
            None if call == Call::Ask => self.faulty / 4,
            None => self.faulty,
        }
    }
}

/// A batch that stands, or stood, on a topic that the sink reads.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) batch: Batch,
}

/// What can happen at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing was done.
    Fails,
    /// It was done, but the answer is an error.
    FailsLate,
    /// The first records of a batch are appended, or none, or all, and the answer is an error.
    FailsWithin,
    /// The process ends before it is done, in the midst of it, or right after it.
    Crashes,
    CrashesWithin,
    CrashesLate,
    /// The process stands still; another one may run meanwhile.
    Freezes,
    /// The process is told to stop.
    Stops,
    /// What stands on a topic does not show for a while.
    Stalls,
    /// A batch is appended twice.
    Doubles,
    /// An older batch of the topic is appended once more.
    Repeats,
    /// All that was sent to the sink since some moment is sent again, whole: so does Arroyo when a worker dies.
    Resends,
    /// A batch is not appended, though the answer says so.
    Drops,
    /// A batch cannot be read: it is damaged.
    Damages,
    /// Of some topic of the cluster the start is gone, be it read or not, as retention has it.
    Expires,
    /// Some topic of the cluster loses its last batches, though they were acknowledged.
    LosesTail,
    /// Some topic of the cluster is deleted, and made anew.
    MadeAnew,
}

const FAULTS: [Fault; 17] = [
    Fault::Fails,
    Fault::FailsLate,
    Fault::FailsWithin,
    Fault::Crashes,
    Fault::CrashesWithin,
    Fault::CrashesLate,
    Fault::Freezes,
    Fault::Stops,
    Fault::Stalls,
    Fault::Doubles,
    Fault::Repeats,
    Fault::Resends,
    Fault::Drops,
    Fault::Damages,
    Fault::Expires,
    Fault::LosesTail,
    Fault::MadeAnew,
];

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Changes a topic.
    Append,
    /// Reads a topic.
    Read,
    /// Commits rows.
    Apply,
    /// Changes the database otherwise.
    Commit,
    /// Asks the database.
    Ask,
}

impl Fault {
    fn can_meet(self, call: Call) -> bool {
        match self {
            Self::Fails | Self::Crashes | Self::Freezes | Self::Stops => true,
            Self::FailsLate | Self::CrashesWithin | Self::CrashesLate => {
                matches!(call, Call::Append | Call::Apply | Call::Commit)
            }
            Self::FailsWithin | Self::Doubles | Self::Repeats | Self::Resends | Self::Drops => {
                call == Call::Append
            }
            Self::Stalls | Self::Damages => call == Call::Read,
            Self::Expires | Self::LosesTail | Self::MadeAnew => matches!(call, Call::Append | Call::Read),
        }
    }

    fn is_of_topics(self) -> bool {
        let appends =
            matches!(self, Self::FailsWithin | Self::Doubles | Self::Repeats | Self::Resends | Self::Drops);
        appends || matches!(self, Self::Stalls | Self::Damages) || self.is_of_cluster()
    }

    fn is_of_cluster(self) -> bool {
        matches!(self, Self::Expires | Self::LosesTail | Self::MadeAnew)
    }
}

/// What happens to the pipeline from outside.
#[derive(Clone, Debug)]
enum Event {
    /// A file is put into the landing folder.
    File(usize),
    /// Somebody begins to write a file in the landing folder.
    Begins(usize),
    /// And goes on.
    GoesOn(usize),
    /// Another application writes a row.
    Outside(usize, Vec<String>),
    /// The manifest is changed; whoever begins from now on runs by it.
    Manifest(String),
}

/// What happened, call by call.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Takes in what happened, by its name and numbers; `words` are kept if somebody wants to read them.
    pub(crate) fn note(&mut self, name: &str, numbers: &[u64], words: impl FnOnce() -> String) {
        for number in name.bytes().map(u64::from).chain(numbers.iter().copied()) {
            self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(words());
        }
    }

    pub(crate) fn text(&self) -> String {
        self.lines.as_deref().unwrap_or_default().join("\n")
    }
}

/// What a seed came to see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) calls: u64,
    pub(crate) processes: u64,
    pub(crate) takeovers: u64,
    pub(crate) lines: u64,
    /// By the number of the fault.
    pub(crate) faults: [u64; FAULTS.len()],
    /// How many seeds are on Fluvio.
    pub(crate) on_fluvio: u64,
    /// Of reads there: how many gave batches that were cut otherwise than they were appended.
    pub(crate) cut_otherwise: u64,
    /// How many readers found that what they wanted is gone, and that the log ends before where they stood.
    pub(crate) behind_start: u64,
    pub(crate) beyond_end: u64,
    /// Records that were sent to the sink again, and how often all of them were.
    pub(crate) sent_again: u64,
    pub(crate) all_sent_again: u64,
}

impl Stats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.processes += other.processes;
        self.takeovers += other.takeovers;
        self.lines += other.lines;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, count)| *sum += count);
        self.on_fluvio += other.on_fluvio;
        self.cut_otherwise += other.cut_otherwise;
        self.behind_start += other.behind_start;
        self.beyond_end += other.beyond_end;
        self.sent_again += other.sent_again;
        self.all_sent_again += other.all_sent_again;
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calls, processes, takeovers, lines, faults, .. } = self;
        write!(f, "{lines} lines, {calls} calls, {processes} processes, {takeovers} takeovers")?;
        FAULTS.iter().zip(faults).try_for_each(|(fault, count)| write!(f, ", {fault:?} {count}"))?;
        write!(
            f,
            "; {} on Fluvio: {} reads cut otherwise, {} behind the start, {} beyond the end; {} records sent again, \
             {} times all of them",
            self.on_fluvio,
            self.cut_otherwise,
            self.behind_start,
            self.beyond_end,
            self.sent_again,
            self.all_sent_again
        )
    }
}

impl World {
    /// The world of a seed, whose files go to the folder.
    pub(crate) fn new(seed: u64, landing: PathBuf, flaw: Option<Flaw>, is_told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let dialects = Dialects::some(&mut rng);
        let parse = |text: &str| Arc::new(Manifest::parse(text, &|_| None).expect("a manifest"));
        let manifest = parse(&dialects.apply(files::MANIFEST, None));
        let files = files::some(&mut rng, &dialects);
        let database = Database::default();
        for (index, dataset) in manifest.datasets.iter().enumerate() {
            database.refuse(index, &dataset.columns[1].name, files::REFUSED);
            database.leave_out(index, &dataset.columns[1].name, files::LEFT_OUT);
        }
        let mut how = |file| if rng.u8(0..6) == 0 { Event::Begins(file) } else { Event::File(file) };
        let mut events: Vec<Event> = (0..files.len()).map(&mut how).collect();
        for _ in 0..rng.usize(0..6) {
            events.push(Event::File(rng.usize(0..files.len()))); // the same file again
        }
        for _ in 0..rng.usize(0..3) {
            let (dataset, values) = files::outside(&mut rng, &dialects);
            events.push(Event::Outside(dataset, values));
        }
        if rng.bool() {
            for _ in 0..rng.usize(1..=3) {
                events.push(Event::Manifest(files::changed(&mut rng, &dialects, flaw)));
            }
        }
        rng.shuffle(&mut events);
        let cluster = rng.bool().then(|| Memory::new(Style::Fluvio));
        let on_fluvio = u64::from(cluster.is_some());
        let climate = Climate::some(&mut rng, cluster.is_some());
        let faults = rng.u32(if climate.are_rivals { 30 } else { 0 }..60);
        let state = State {
            climate,
            faults,
            events: events.into(),
            manifest: parse(&dialects.apply(files::MANIFEST, flaw)),
            outside: Vec::new(),
            outside_is_seen: true,
            arrivals: 0,
            deliveries: BTreeMap::new(),
            writing: Vec::new(),
            sent: Vec::new(),
            must_send_again: false,
            violation: None,
            trace: Trace { hash: seed, lines: is_told.then(Vec::new) },
            stats: Stats { on_fluvio, ..Stats::default() },
            rng,
        };
        let world = Self { manifest, database, landing, files, flaw, cluster, state: Mutex::new(state) };
        world.state().stats.lines = world.files.iter().map(|file| file.lines.len() as u64).sum();
        world
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a seed ends with its first panic")
    }

    /// The topics of a new machine: its own, or those of the cluster, which all share.
    pub(crate) fn topics(&self) -> Memory {
        self.cluster.clone().unwrap_or_default()
    }

    /// How often everything is sent again at the end.
    pub(crate) fn copies(&self) -> u32 {
        self.state().climate.copies
    }

    /// Where a process that begins goes on sending what was sent before; `None` if it sends nothing again.
    pub(crate) fn sends_again_from(&self) -> Option<usize> {
        let state = &mut *self.state();
        if state.must_send_again {
            return Some(0);
        }
        let does = state.climate.copies > 0 && state.rng.u8(0..8) == 0;
        does.then(|| state.some_sent())
    }

    /// Lets some of what is to come from outside happen, and tells whether there was anything left.
    pub(crate) fn happen(&self) -> bool {
        let state = &mut *self.state();
        let mut happened = false;
        for _ in 0..=state.rng.usize(0..3) {
            happened |= self.happens(state);
        }
        happened
    }

    fn happens(&self, state: &mut State) -> bool {
        let Some(event) = state.events.pop_front() else { return false };
        state.trace.note("outside", &[], || format!("     from outside: {event:?}"));
        match event {
            Event::File(file) => {
                // Its name may belong to one with another content, which is still being read, or written.
                let name = &self.files[file].name;
                if !state.is_being_written(&self.files, name) && self.put(&self.files[file], &mut state.rng) {
                    state.delivered(name, file);
                } else {
                    state.events.push_back(Event::File(file));
                }
            }
            Event::Begins(file) => self.begin(file, state),
            Event::GoesOn(file) => self.go_on(file, state),
            Event::Manifest(text) => {
                state.manifest = Arc::new(Manifest::parse(&text, &|_| None).expect("a manifest"));
            }
            Event::Outside(dataset, values) => {
                let columns: Vec<&str> = values.iter().map(String::as_str).collect();
                self.database.insert(dataset, &self.manifest.datasets[dataset], &columns);
                state.outside.push((dataset, values));
                state.outside_is_seen = false;
            }
        }
        true
    }

    /// Puts a file into the landing folder, as a whole. `false` if one of its name with another content is there.
    fn put(&self, file: &File, rng: &mut Rng) -> bool {
        let path = self.landing.join(&file.name);
        if fs::read(&path).is_ok_and(|there| there != file.bytes) {
            return false;
        }
        let aside = self.landing.with_extension("new");
        fs::write(&aside, &file.bytes).expect("a file can be written");
        // One of the future is taken when it has stood still for long enough.
        let seconds = if rng.u8(0..8) == 0 { 10_000_000_000 } else { 1_600_000_000 + rng.u64(0..5) };
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let handle = Handle::options().append(true).open(&aside).expect("a file can be opened");
        handle.set_modified(modified).expect("a file's time can be set");
        fs::rename(&aside, &path).expect("a file can be renamed");
        true
    }

    /// Begins to write a file where it is to be read, unless one of its name is there.
    fn begin(&self, file: usize, state: &mut State) {
        let path = self.landing.join(&self.files[file].name);
        match Handle::options().write(true).create_new(true).open(path) {
            Ok(handle) => {
                state.writing.push(Writing { file, handle, written: 0 });
                self.go_on(file, state);
            }
            Err(_) => state.events.push_back(Event::Begins(file)),
        }
    }

    /// Writes some more of a file; at its end it is closed. Its time is that of a clock which is years behind.
    fn go_on(&self, file: usize, state: &mut State) {
        let bytes = &self.files[file].bytes;
        let index = state.writing.iter().position(|writing| writing.file == file);
        let index = index.expect("it goes on only where it has begun");
        let Writing { handle, written, .. } = &mut state.writing[index];
        let end = if state.rng.u8(0..3) == 0 { bytes.len() } else { state.rng.usize(*written..=bytes.len()) };
        handle.write_all(&bytes[*written..end]).expect("a file can be written");
        handle.set_modified(SystemTime::UNIX_EPOCH + PAST).expect("a file's time can be set");
        *written = end;
        if end == bytes.len() {
            state.writing.swap_remove(index);
            state.delivered(&self.files[file].name, file);
        } else {
            let at = state.rng.usize(0..=state.events.len());
            state.events.insert(at, Event::GoesOn(file));
        }
    }

    /// Whether somebody has a file of the landing folder open for writing.
    pub(crate) fn is_being_written(&self, name: &str) -> bool {
        self.state().is_being_written(&self.files, name)
    }

    /// Looks for what must never be, after a commit.
    pub(crate) fn check(&self) {
        if let Some(violation) =
            self.database.look(|state| invariants::violated(&self.manifest, &self.files, state))
        {
            self.state().violation.get_or_insert(violation);
        }
    }

    pub(crate) fn violation(&self) -> Option<String> {
        let state = self.state();
        let endless = || format!("there is no end to it: {CALLS_MAX} calls");
        state.violation.clone().or_else(|| (state.stats.calls > CALLS_MAX).then(endless))
    }
}

/// Why a process gave the hand back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Crashed,
    Frozen,
}

/// A process's way to the world.
pub(crate) struct Link {
    pub(crate) world: Arc<World>,
    pub(crate) process: u64,
    pub(crate) stop: CancellationToken,
    /// How often the process has looked how far it is, and after how often it is told to stop.
    counted: AtomicU64,
    stop_after: u64,
    is_dead: AtomicBool,
    interrupt: Notify,
}

/// An error that the world made up, in the type that a call gives.
pub(crate) trait Injected {
    fn injected() -> Self;
}

impl Injected for tidegate_core::contract::Error {
    fn injected() -> Self {
        Self::retry("injected")
    }
}

impl Injected for tidegate_topics::TopicError {
    fn injected() -> Self {
        Self::io("injected", std::io::Error::other("injected"))
    }
}

impl Link {
    pub(crate) fn new(world: Arc<World>, process: u64, until: Until) -> Self {
        let stop_after = if until == Until::Idle { u64::MAX } else { LOOKS_MAX };
        let (stop, counted) = (CancellationToken::new(), AtomicU64::new(0));
        let (is_dead, interrupt) = (AtomicBool::new(false), Notify::new());
        Self { world, process, stop, counted, stop_after, is_dead, interrupt }
    }

    /// Whether nothing can have been left to do when the process ended as it should.
    pub(crate) fn was_idle(&self) -> bool {
        self.counted.load(Ordering::Relaxed) > self.stop_after || !self.stop.is_cancelled()
    }

    /// Resolves when the process crashes or freezes.
    pub(crate) async fn interrupted(&self) -> Interrupt {
        self.interrupt.notified().await;
        if self.is_dead.load(Ordering::Relaxed) { Interrupt::Crashed } else { Interrupt::Frozen }
    }

    /// Counts a call at which nothing goes wrong. One who runs until it is stopped is stopped after so many.
    pub(crate) async fn count(&self) {
        self.world.state().stats.calls += 1;
        if self.counted.fetch_add(1, Ordering::Relaxed) == self.stop_after {
            self.stop.cancel();
        }
        if self.is_dead.load(Ordering::Relaxed) || self.world.violation().is_some() {
            self.end().await;
        }
    }

    /// Decides what happens at a call, and lets time pass before it. `None` if nothing happens.
    pub(crate) async fn meet(&self, call: Call, name: &str) -> Option<Fault> {
        let (fault, delay) = self.decide(call, name);
        match delay {
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(delay) => tokio::time::sleep(delay).await,
            None => {}
        }
        if self.is_dead.load(Ordering::Relaxed) || self.world.violation().is_some() {
            self.end().await;
        }
        match fault {
            Some(Fault::Freezes) => {
                self.interrupt.notify_one();
                tokio::task::yield_now().await;
            }
            Some(Fault::Stops) => self.stop.cancel(),
            Some(Fault::Crashes) => self.end().await,
            other => return other,
        }
        None
    }

    fn decide(&self, call: Call, name: &str) -> (Option<Fault>, Option<Duration>) {
        let state = &mut *self.world.state();
        state.stats.calls += 1;
        if state.rng.u8(0..64) == 0 {
            self.world.happens(state);
        }
        let Climate { slow, faults, .. } = &state.climate;
        let faulty = state.climate.faulty(call);
        let rng = &mut state.rng;
        let delay = (rng.u8(..) < *slow).then(|| match rng.u8(0..16) {
            0 => Duration::from_millis(rng.u64(100..3000)),
            1..=5 => Duration::from_millis(rng.u64(1..60)),
            _ => Duration::ZERO,
        });
        let is_faulty = state.faults > 0 && rng.u16(0..1024) < faulty;
        let fault = is_faulty.then(|| {
            let mut possible: Vec<_> = faults.iter().filter(|fault| fault.can_meet(call)).collect();
            // Those that topics alone have are rarer than the others.
            if rng.bool() && possible.iter().any(|fault| fault.is_of_topics()) {
                possible.retain(|fault| fault.is_of_topics());
            }
            rng.choice(possible).copied()
        });
        let fault = fault.flatten();
        if let Some(fault) = fault {
            state.faults -= 1;
            state.stats.faults[fault as usize] += 1;
        }
        let millis = delay.map_or(u64::MAX, |delay| delay.as_millis() as u64);
        let numbers = [self.process, call as u64, fault.map_or(99, |fault| fault as u64), millis];
        state.trace.note(name, &numbers, || {
            let fault = fault.map_or(String::new(), |fault| format!(" {fault:?}"));
            let delay = delay.map_or(String::new(), |delay| format!(" after {} ms", delay.as_millis()));
            format!("{:>4} {name}{delay}{fault}", self.process)
        });
        (fault, delay)
    }

    /// The process ends here: it never comes to what follows.
    pub(crate) async fn end(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.interrupt.notify_one();
        pending().await
    }

    /// Makes a call that takes effect as a whole, or asks only.
    pub(crate) async fn call<T, E: Injected>(
        &self,
        call: Call,
        name: &str,
        effect: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let fault = self.meet(call, name).await;
        if fault == Some(Fault::Fails) {
            return Err(E::injected());
        }
        let mut effect = pin!(effect);
        if fault == Some(Fault::CrashesWithin) {
            let _ = effect.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.end().await;
        }
        let result = effect.await;
        if matches!(call, Call::Apply | Call::Commit) {
            self.world.check();
        }
        match fault {
            Some(Fault::CrashesLate) => self.end().await,
            Some(Fault::FailsLate) => return Err(E::injected()),
            _ => {}
        }
        result
    }
}
