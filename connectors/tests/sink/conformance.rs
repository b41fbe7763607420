//! The suite of the contract, on Postgres and on the model of it in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_connectors::conformance::{self, Bench, MANIFEST};
use tidegate_connectors::memory::{Database, Memory, Row, Status};
use tidegate_connectors::postgres::{Holder, Postgres};
use tidegate_core::ledger::Effects;
use tidegate_core::manifest::Manifest;

use super::fixture::Fixture;

#[tokio::test]
async fn postgres_conforms() {
    conformance::all::<OnPostgres>().await;
}

#[tokio::test]
async fn the_model_in_memory_conforms() {
    conformance::all::<InMemory>().await;
}

struct OnPostgres(Fixture);

impl Bench for OnPostgres {
    type Sink = Postgres;

    async fn new() -> Self {
        Self(Fixture::without_sources(MANIFEST).await)
    }

    async fn process(&self) -> Postgres {
        let process = self.0.another_owner();
        let me = Holder { host: "test".into(), pid: 1, started: 0.0 };
        process.lease(&me, Duration::from_secs(600), true).await.unwrap();
        process
    }

    async fn rows(&self, dataset: &str) -> Vec<String> {
        let sql =
            format!("select id || ',' || name || ' ' || _source || ':' || _line from {dataset} order by id");
        self.0.query(&sql).await
    }

    async fn letters(&self) -> Vec<String> {
        self.0.letters().await
    }

    async fn insert(&self, dataset: &str, values: &[&str]) {
        let values = values.iter().map(|value| match *value {
            "" => "null".to_owned(),
            value => format!("'{value}'"),
        });
        let values: Vec<_> = values.collect();
        self.0.execute(&format!("insert into {dataset} values ({})", values.join(", "))).await;
    }

    async fn refuse(&self, dataset: &str, name: &str) {
        let sql = format!("alter table {dataset} add check (name <> '{name}') not valid");
        self.0.execute(&sql).await;
    }

    async fn leave_out(&self, dataset: &str, name: &str) {
        let sql = format!(
            "create or replace function leave_out() returns trigger language plpgsql as \
             $$ begin if new.name = '{name}' then return null; end if; return new; end $$; \
             create trigger leave_out before insert or update on {dataset} for each row execute function leave_out()"
        );
        self.0.execute(&sql).await;
    }

    async fn effects(&self, source: u64) -> Effects {
        let sql = format!(
            "select concat_ws(' ', coalesce(sum(inserted_count), 0), coalesce(sum(updated_count), 0), \
             coalesce(sum(superseded_count), 0), coalesce(sum(uncounted_count), 0)) \
             from tidegate.ledger where source = {source}"
        );
        let counts = self.0.query(&sql).await.remove(0);
        let mut counts = counts.split(' ').map(|count| count.parse().unwrap());
        let mut next = || counts.next().unwrap();
        Effects { inserted: next(), updated: next(), superseded: next(), uncounted: next() }
    }
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
        let its = |state: &tidegate_connectors::memory::State| -> Vec<String> {
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
                let codes = letter.reasons.iter().map(|reason| serde_json::to_value(reason.code).unwrap());
                let codes: Vec<_> = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
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
