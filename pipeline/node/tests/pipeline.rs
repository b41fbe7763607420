//! A pipeline whose nodes are threads of the test, each with a runtime of its own, so that one can be killed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Manifest;
use tidegate_engine::Until;
use tidegate_node::{Failure, Node, Settings};
use tidegate_store::{Store, group};
use tidegate_testing::postgres;
use tidegate_topics::memory::Style;
use tidegate_topics::{Broker, Memory};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many lines a file has.
pub(crate) const LINES: u64 = 250;

const MANIFEST: &str = "
pipeline: shared
lease: 2s
topics: {fluvio: {endpoint: 'nowhere:1', partitions: 4}}
datasets:
  notes: {key: id, files: 'notes*.csv', csv: {header: false}, columns: {id: integer, note: text}}
";

/// A database, a landing folder and topics.
pub(crate) struct Pipeline {
    manifest: String,
    folder: Arc<TempDir>,
    url: String,
    topics: Memory,
    runtime: Arc<Runtime>,
}

/// A node that runs in a thread of its own.
pub(crate) struct Running {
    stop: CancellationToken,
    kill: oneshot::Sender<()>,
    thread: JoinHandle<Option<Result<(), Failure>>>,
}

impl Running {
    /// Runs `work` until it ends, or is killed: then whatever it does stops where it stands.
    fn start(work: impl AsyncFnOnce(CancellationToken) -> Result<(), Failure> + Send + 'static) -> Self {
        let (stop, (kill, killed)) = (CancellationToken::new(), oneshot::channel());
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            let ended = runtime.block_on(async {
                tokio::select! {
                    ended = work(token) => Some(ended),
                    Ok(()) = killed => None,
                }
            });
            runtime.shutdown_background();
            ended
        });
        Self { stop, kill, thread }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> Result<(), Failure> {
        let _kill = self.kill;
        self.thread.join().unwrap().unwrap()
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.ended()
    }

    pub(crate) fn kill(self) {
        self.kill.send(()).unwrap();
        assert!(self.thread.join().unwrap().is_none(), "it had ended before");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits for something.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Pipeline {
    pub(crate) fn new() -> Self {
        let runtime = Arc::new(runtime());
        let url = runtime.block_on(postgres::database());
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path().join("landing")).unwrap();
        Self { manifest: MANIFEST.to_owned(), folder, url, topics: Memory::new(Style::Fluvio), runtime }
    }

    /// The same pipeline by a manifest in which `from` stands as `to`.
    pub(crate) fn with_manifest(&self, from: &str, to: &str) -> Self {
        Self {
            manifest: self.manifest.replace(from, to),
            folder: self.folder.clone(),
            url: self.url.clone(),
            topics: self.topics.clone(),
            runtime: self.runtime.clone(),
        }
    }

    fn settings(&self) -> Settings {
        let folder = self.folder.path();
        Settings {
            manifest: Arc::new(Manifest::parse(&self.manifest, &|_| None).unwrap()),
            folder: folder.to_owned(),
            landing: folder.join("landing"),
            views: folder.join("views"),
            data_dir: folder.join(format!("node-{}", Uuid::new_v4())),
            database_url: Some(self.url.clone()),
        }
    }

    fn topics(&self) -> Broker {
        Broker::Memory(self.topics.clone())
    }

    /// A node that runs all stages.
    pub(crate) fn run(&self, until: Until) -> Running {
        let (settings, topics) = (self.settings(), self.topics());
        Running::start(async move |stop| {
            let mut node = Node::open(&settings, stop, false)?.with_topics(topics);
            node.run(until).await.map(drop)
        })
    }

    /// A node that runs the source.
    pub(crate) fn source(&self, until: Until) -> Running {
        let (settings, topics) = (self.settings(), self.topics());
        Running::start(async move |stop| {
            let mut node = Node::open(&settings, stop, false)?.with_topics(topics);
            node.stage(Stage::Source, None, until).await.map(drop)
        })
    }

    /// A node that runs another stage, for these partitions alone if there are any.
    pub(crate) fn stage(&self, stage: Stage, pinned: Option<&[u32]>) -> Running {
        let (settings, topics) = (self.settings(), self.topics());
        let pinned: Option<BTreeSet<u32>> = pinned.map(|pinned| pinned.iter().copied().collect());
        Running::start(async move |stop| {
            let mut node = Node::without_data_dir(&settings, stop)?.with_topics(topics);
            node.stage(stage, pinned, Until::Stopped).await.map(drop)
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("landing").join(name)
    }

    /// Drops a file into the landing folder, as one that stands still.
    pub(crate) fn drop_text(&self, name: &str, text: &str) {
        let aside = self.folder.path().join(name);
        std::fs::write(&aside, text).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&aside).unwrap().set_modified(long_ago).unwrap();
        std::fs::rename(aside, self.path(name)).unwrap();
    }

    /// Drops files, each with rows of its own.
    pub(crate) fn drop_files(&self, files: Range<u64>) {
        for file in files {
            let text: String = (0..LINES).map(|line| format!("{},note\n", file * LINES + line)).collect();
            self.drop_text(&format!("notes-{file}.csv"), &text);
        }
    }

    /// Does something with the store of a pipeline that no node of the test is.
    pub(crate) fn in_store<T>(&self, work: impl AsyncFnOnce(Store) -> T) -> T {
        let settings = self.settings();
        self.runtime.block_on(async { work(settings.database(Uuid::nil()).unwrap()).await })
    }

    /// How many rows a table has; 0 if there is none yet.
    pub(crate) fn count(&self, table: &str) -> u64 {
        self.in_store(async |store| {
            let connection = store.connection().await.unwrap();
            let rows = connection.query_one(&format!("select count(*) from {table}"), &[]).await;
            rows.map_or(0, |row| row.get::<_, i64>(0) as u64)
        })
    }

    /// Each member, as its stage and its partitions.
    pub(crate) fn members(&self) -> Vec<String> {
        let members = self.in_store(async |store| group::members(&store).await.unwrap());
        let text = |partitions: &[u32]| partitions.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let mut members: Vec<String> = members
            .iter()
            .map(|member| format!("{} {}", member.stage.as_str(), text(&member.partitions)))
            .collect();
        members.sort();
        members
    }

    /// The partitions of each member of a stage.
    pub(crate) fn shares(&self, stage: Stage) -> Vec<String> {
        let prefix = format!("{} ", stage.as_str());
        self.members().iter().filter_map(|member| Some(member.strip_prefix(&prefix)?.to_owned())).collect()
    }

    /// Every line of so many files is accepted once, and its source is complete.
    pub(crate) fn assert_all_is_in(&self, files: u64) {
        assert_eq!(self.count("notes"), files * LINES);
        assert_eq!(self.count("tidegate.sources where completed_at is not null"), files);
        assert_eq!(self.count("tidegate.sources"), files);
        assert_eq!(self.count("tidegate.dead_letters"), 0);
        let accepted = "(select sum(accepted_count) as n from tidegate.ledger) as l where n";
        assert_eq!(self.count(&format!("{accepted} = {}", files * LINES)), 1);
    }
}
