//! The landing folder, poll by poll: with a registry in memory, and with Postgres.

mod registry;
mod content;
pub(crate) mod encodings;
mod header;
mod names;
mod origins;
mod changes;
mod deliveries;
mod stillness;
mod folder;
mod generated;
mod resuming;
mod database;
mod dialects;
mod infer;
mod nature;
mod preview;
mod agreement;
mod lines;
mod speed;
mod starting;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tidegate_core::contract::{Error, PollAnswer, Source, SourceBatch};
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Line;
use tidegate_files::{Inbox, Landing};

use registry::Memory;

/// Two datasets, the second of which references the first.
const MANIFEST: &str = "
pipeline: test
stable_for: 0s
datasets:
  hired:
    key: id
    columns: {id: integer, name: {type: text, optional: true}, job_id: {type: integer, references: jobs}}
  jobs:
    key: id
    columns: {id: integer, job: text}
";

/// A landing folder, its registry, and what came out of it.
pub(crate) struct Bench {
    dir: TempDir,
    manifest: Arc<Manifest>,
    memory: Memory,
    /// What is on the topics since the last start.
    already_sent: HashMap<u64, u64>,
    landing: Landing<Memory>,
    /// Source, line, text of each line given out for a raw topic.
    pub(crate) lines: Vec<(u64, u64, String)>,
    keys: Vec<String>,
    /// The fingerprint of each line.
    fingerprints: Vec<u32>,
    pub(crate) letters: Vec<serde_json::Value>,
}

impl Bench {
    fn new() -> Self {
        Self::with(MANIFEST)
    }

    pub(crate) fn with(manifest: &str) -> Self {
        let manifest = Arc::new(Manifest::parse(manifest, &|_| None).unwrap());
        let (dir, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let path = dir.path().join("landing");
        fs::create_dir(&path).unwrap();
        let already_sent = HashMap::new();
        let landing = Landing::new(path, manifest.clone(), memory.clone(), already_sent.clone());
        let (lines, keys, fingerprints, letters) = (vec![], vec![], vec![], vec![]);
        Self { dir, manifest, memory, already_sent, landing, lines, keys, fingerprints, letters }
    }

    /// As after a start of the process, with what is on the topics.
    fn restart(&mut self, already_sent: &[(u64, u64)]) {
        self.already_sent = already_sent.iter().copied().collect();
        self.change_landing(|landing| landing);
        (self.lines, self.keys, self.letters) = (vec![], vec![], vec![]);
        self.fingerprints.clear();
    }

    /// As after a start with what was on the topics at the last one, with what `change` does to the landing folder's
    /// source.
    fn change_landing(&mut self, change: impl FnOnce(Landing<Memory>) -> Landing<Memory>) {
        let path = self.dir.path().join("landing");
        let already_sent = self.already_sent.clone();
        let landing = Landing::new(path, self.manifest.clone(), self.memory.clone(), already_sent);
        self.landing = change(landing);
    }

    /// Lets files be read in blocks of so many bytes.
    pub(crate) fn cut_into(&mut self, block_bytes: usize) {
        self.change_landing(|landing| landing.with_block_bytes(block_bytes));
    }

    /// Lets what comes into an inbox be given out as well.
    fn hand_over(&mut self, inbox: Arc<Inbox>) {
        self.change_landing(|landing| landing.with_inbox(inbox));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("landing").join(name)
    }

    /// Puts a file there that was last modified an hour ago.
    pub(crate) fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        age(&path, 3600);
        path
    }

    async fn try_poll(&mut self, drained: bool) -> Result<PollAnswer, Error> {
        let polled = self.landing.poll(drained).await?;
        if let PollAnswer::SourceBatch(batch) = &polled {
            self.take_in(batch);
        }
        Ok(polled)
    }

    fn take_in(&mut self, batch: &SourceBatch) {
        for record in batch.records.iter() {
            let line = Line::parse(record.value).unwrap();
            assert_ne!(line.fingerprint, 0);
            let text = String::from_utf8(line.text.to_vec()).unwrap();
            self.lines.push((line.position.source, line.position.line, text));
            self.fingerprints.push(line.fingerprint);
            self.keys.push(String::from_utf8(record.key.to_vec()).unwrap());
        }
        for record in batch.dead_letters.iter() {
            assert!(record.key.is_empty());
            self.letters.push(serde_json::from_slice(record.value).unwrap());
        }
    }

    /// Polls until there is nothing to give out at the moment.
    async fn poll_out(&mut self, drained: bool) -> PollAnswer {
        loop {
            match self.try_poll(drained).await.unwrap() {
                PollAnswer::SourceBatch(_) => {}
                other => return other,
            }
        }
    }

    /// Polls until `done` says so.
    async fn poll_until(&mut self, drained: bool, done: impl Fn(&Self, &PollAnswer) -> bool) {
        let start = Instant::now();
        loop {
            let polled = self.try_poll(drained).await.unwrap();
            if done(self, &polled) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "still {polled:?}: {:?}", self.memory);
            tokio::task::yield_now().await;
        }
    }

    /// Polls until so many sources were read to their end.
    pub(crate) async fn read(&mut self, sources: usize) {
        self.poll_until(false, |bench, _| bench.memory.finished() == sources).await;
    }

    /// Polls until the one file there was read to its end or refused.
    pub(crate) async fn read_or_refused(&mut self) {
        let done = |bench: &Self| bench.memory.finished() == 1 || !bench.landing.refused().is_empty();
        self.poll_until(false, |bench, _| done(bench)).await;
    }

    /// Polls until nothing is left to do.
    async fn idle(&mut self) {
        self.poll_until(true, |_, polled| matches!(polled, PollAnswer::Idle)).await;
    }

    /// Enters all that was given out into the ledger.
    fn account(&self) {
        for (source, line, _) in &self.lines {
            self.memory.enter(*source, *line);
        }
        for letter in &self.letters {
            self.memory.enter(letter["source"].as_u64().unwrap(), letter["line"].as_u64().unwrap());
        }
    }

    fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|(_, _, text)| text.as_str()).collect()
    }

    /// The numbers of the lines that were given out.
    fn numbers(&self) -> Vec<u64> {
        self.lines.iter().map(|(_, line, _)| *line).collect()
    }

    fn codes(&self) -> Vec<&str> {
        self.letters.iter().map(|letter| letter["reasons"][0]["code"].as_str().unwrap()).collect()
    }

    /// The names in `done/`, sorted.
    fn done(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("done")) else { return vec![] };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Makes a file look as if it was last modified so many seconds ago.
fn age(path: &std::path::Path, seconds: u64) {
    let modified = SystemTime::now() - Duration::from_secs(seconds);
    File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// Lines of `hired`, as many as it takes to fill `mebibytes`.
fn many_lines(mebibytes: usize) -> String {
    let mut content = String::new();
    for line in 1.. {
        content.push_str(&format!("{line},name of {line},1\n"));
        if content.len() >= mebibytes << 20 {
            break;
        }
    }
    content
}
