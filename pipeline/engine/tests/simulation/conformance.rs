//! The suite of the sink's contract, on the model in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::ledger::Effects;
use tidegate_core::manifest::Manifest;
use tidegate_testing::conformance::sink::{self as conformance, Bench, MANIFEST};

use crate::model::{Database, Memory, Row, State, Status};

#[tokio::test]
async fn the_model_in_memory_conforms() {
    conformance::all::<InMemory>().await;
}

struct InMemory {
    manifest: Arc<Manifest>,
    database: Database,
    owners: AtomicU64,
}

impl InMemory {
    fn dataset(&self, name: &str) -> usize {
        self.manifest.dataset(name).unwrap().0
    }
}

impl Bench for InMemory {
    type Sink = Memory;

    async fn new() -> Self {
        let manifest = Arc::new(Manifest::parse(MANIFEST, &|_| None).unwrap());
        Self { manifest, database: Database::default(), owners: AtomicU64::new(0) }
    }

    async fn process(&self) -> Memory {
        let owner = self.owners.fetch_add(1, Ordering::Relaxed);
        let process = self.database.open(self.manifest.clone(), owner, None, None);
        process.take_over();
        process.prepare().unwrap();
        process
    }

    async fn rows(&self, dataset: &str) -> Vec<String> {
        let dataset = self.dataset(dataset);
        let text = |(key, row): (&Vec<u8>, &Row)| {
            let position = row.position.map_or("-1:-1".to_owned(), |position| position.to_string());
            format!("{},{} {position}", String::from_utf8_lossy(key), row.values[1])
        };
        let its = |state: &State| -> Vec<String> {
            let rows = state.tables.iter().filter(|((its, _), _)| *its == dataset);
            rows.map(|((_, key), row)| text((key, row))).collect()
        };
        let mut rows = self.database.look(its);
        rows.sort_by_key(|row| row.split(',').next().map(|key| key.parse::<i64>().unwrap()));
        rows
    }

    async fn letters(&self) -> Vec<String> {
        self.database.look(|state| {
            let letters = state.letters.iter().map(|(position, letter)| {
                let status = match letter.status {
                    Status::Rejected => "rejected",
                    Status::Waiting => "waiting",
                    Status::Healed => "healed",
                };
                let codes: Vec<_> = letter.reasons.iter().map(|reason| reason.code.as_str()).collect();
                format!("{position} {status} {}", codes.join("+"))
            });
            letters.collect()
        })
    }

    async fn insert(&self, dataset: &str, values: &[&str]) {
        let index = self.dataset(dataset);
        self.database.insert(index, &self.manifest.datasets[index], values);
    }

    async fn refuse(&self, dataset: &str, name: &str) {
        self.database.refuse(self.dataset(dataset), "name", name);
    }

    async fn leave_out(&self, dataset: &str, name: &str) {
        self.database.leave_out(self.dataset(dataset), "name", name);
    }

    async fn effects(&self, source: u64) -> Effects {
        self.database.look(|state| state.effects.get(&source).copied().unwrap_or_default())
    }
}
