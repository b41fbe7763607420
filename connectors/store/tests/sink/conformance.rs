//! The suite of the contract, on Postgres.

use tidegate_core::ledger::Effects;
use tidegate_store::Store;
use tidegate_testing::conformance::sink::{self as conformance, Bench, MANIFEST};
use tidegate_testing::store::take_leases;

use super::fixture::Fixture;

#[tokio::test]
async fn postgres_conforms() {
    conformance::all::<OnPostgres>().await;
}

struct OnPostgres(Fixture);

impl Bench for OnPostgres {
    type Sink = Store;

    async fn new() -> Self {
        Self(Fixture::without_sources(MANIFEST).await)
    }

    async fn process(&self) -> Store {
        let process = self.0.another_owner();
        take_leases(&process).await;
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
