//! What a view may be made of: every construct of the incremental class, every one outside it, the isolation
//! levels, and what a start does to views that are there.

mod apply;
mod inside;
mod isolation;
mod names;
mod outside;

use std::collections::BTreeMap;

use tidegate_core::contract::Sink;
use tidegate_postgres::schema;
use tidegate_store::prepare;
use tidegate_testing::postgres;
use tidegate_testing::store::take_leases;
use tidegate_views::{Explanation, View, ViewKind, explain};
use tokio_postgres::Client;

use super::sink::fixture::Fixture;

/// Tables in two schemas, with chains of references, two references to one table, and one to itself.
const MANIFEST: &str = "\
pipeline: constructs
datasets:
  regions:
    key: id
    columns: {id: integer, region: text}
  departments:
    key: id
    columns:
      id: integer
      department: text
      rate: numeric
      grade: integer
      region_id: {type: integer, references: regions, optional: true}
  people:
    table: hr.staff
    key: id
    columns:
      id: integer
      name: {type: text, optional: true}
      department_id: {type: integer, references: departments, optional: true}
      second_id: {type: integer, references: departments, optional: true}
      manager_id: {type: integer, references: people, optional: true}
      tiny: {type: smallint, optional: true}
      whole: {type: integer, optional: true}
      big: {type: bigint, optional: true}
      exact: {type: numeric, optional: true}
      price: {type: 'numeric(12,2)', optional: true}
      approx: {type: double, optional: true}
      flag: {type: boolean, optional: true}
      day: {type: date, optional: true}
      moment: {type: timestamptz, optional: true}
      wall: {type: timestamp, optional: true}
      code: {type: varchar(5), optional: true}
      data: {type: jsonb, optional: true}
";

/// The tables as another application might have made them, with columns that a manifest does not know.
const TABLES: &str = r#"
create schema hr;
create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create type mood as enum ('sad', 'ok', 'happy');
create domain share as numeric check (value >= 0);
create table regions (id integer primary key, region text not null, _source bigint not null default -1,
    _line bigint not null default -1);
create table departments (id integer primary key, department text not null, rate numeric not null,
    grade integer not null, region_id integer references regions on delete set null,
    _source bigint not null default -1, _line bigint not null default -1);
create table hr.staff (
    id integer primary key, name text,
    department_id integer references departments on delete cascade,
    second_id integer references departments on delete set null deferrable initially deferred,
    manager_id integer references hr.staff on delete set null,
    tiny smallint, whole integer, big bigint, exact numeric, price numeric(12,2), approx double precision,
    flag boolean, day date, moment timestamptz, wall timestamp, code varchar(5), data jsonb,
    padded char(4), feeling mood, portion share, tags text[], moments timestamptz[], span interval, raw bytea,
    caseless text collate nocase, strict text collate "C", single real, period tstzrange,
    "Odd ""Name" text, zone text default 'UTC',
    _source bigint not null default -1, _line bigint not null default -1
);
"#;

/// A database with those tables, prepared for views.
pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) url: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(MANIFEST, TABLES).await
    }

    pub(crate) async fn of(manifest: &str, tables: &str) -> Self {
        let url = postgres::database().await;
        let fixture = Fixture::unprepared(&url, manifest).await;
        fixture.execute(tables).await;
        fixture.execute("set search_path = public, hr").await;
        schema::migrate(&fixture.sink).await.unwrap();
        take_leases(&fixture.sink).await;
        Self { fixture, url }
    }

    pub(crate) async fn with(views: &[(&str, &str)]) -> Self {
        let world = Self::new().await;
        world.fixture.execute(PARENTS).await;
        world.apply(views).await;
        world
    }

    pub(crate) async fn apply(&self, views: &[(&str, &str)]) {
        prepare::prepare(&self.fixture.sink, &parsed(views)).await.unwrap();
    }

    /// A session of another application.
    pub(crate) async fn session(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set search_path = public, hr; set lock_timeout = '1s'").await.unwrap();
        client
    }

    pub(crate) async fn explained(&self, views: &[(&str, &str)]) -> BTreeMap<String, Explanation> {
        let (explanations, _) = explain::explain(&self.fixture.sink, &parsed(views)).await.unwrap();
        explanations.into_iter().map(|explanation| (explanation.name.clone(), explanation)).collect()
    }

    /// Holds the rows of views against those of their queries.
    pub(crate) async fn assert_exact(&self, views: &[(&str, &str)], when: &str) {
        let wrong = self.differing(views).await;
        assert!(wrong.is_empty(), "after {when}:\n{}", wrong.join("\n"));
    }

    /// Holds the names and types of the columns of views against those of their queries.
    pub(crate) async fn assert_columns(&self, views: &[(&str, &str)]) {
        for (name, query) in views {
            let columns = |relation: &str| {
                format!(
                    "select attname || ' ' || format_type(atttypid, atttypmod) from pg_attribute \
                     where attrelid = to_regclass('{relation}') and attnum > 0 order by attnum"
                )
            };
            self.fixture.execute(&format!("create temporary view afresh as {query}")).await;
            let (kept, afresh) = (columns(&format!("public.{name}")), columns("pg_temp.afresh"));
            assert_eq!(self.fixture.query(&kept).await, self.fixture.query(&afresh).await, "{name}");
            self.fixture.execute("drop view pg_temp.afresh").await;
        }
    }

    /// Folds every store: each is given more changes than are left lying, of which none changes anything.
    pub(crate) async fn fold(&self) {
        let stores = self.fixture.query("select name from tidegate.view_stores").await;
        for store in &stores {
            let sql = format!("insert into tidegate.{store} (n) select 0 from generate_series(1, 50000)");
            self.fixture.execute(&sql).await;
        }
        self.fixture.sink.tidy().await.unwrap();
        for store in &stores {
            let rows = self.fixture.query(&format!("select count(*) < 50000 from tidegate.{store}")).await;
            assert_eq!(rows, ["true"], "{store} was not folded");
        }
    }

    /// The views whose rows, as text, are not those of their queries.
    pub(crate) async fn differing(&self, views: &[(&str, &str)]) -> Vec<String> {
        let rows = |relation: &str| {
            format!("(select array_agg(q::text order by q::text collate \"C\")::text from {relation} as q)")
        };
        let mut differing = Vec::new();
        for views in views.chunks(20) {
            let pairs = views.iter().map(|(name, query)| {
                let kept = rows(&format!("\"{name}\""));
                format!("('{name}', {kept}, {})", rows(&format!("({query}\n)")))
            });
            let pairs = pairs.collect::<Vec<_>>().join(", ");
            let sql = format!(
                "select name || E'\\n  kept    ' || coalesce(kept, 'nothing') || E'\\n  afresh  ' || coalesce(afresh, 'nothing') \
                 from (values {pairs}) as pairs (name, kept, afresh) where kept is distinct from afresh"
            );
            differing.extend(self.fixture.query(&sql).await);
        }
        differing
    }
}

/// Rows that others reference.
pub(crate) const PARENTS: &str = "
insert into regions select i, 'r' || i from generate_series(1, 3) as i;
insert into departments select i, 'd' || i, i + 0.50, i % 3, nullif(i % 4, 0) from generate_series(1, 6) as i;
";

pub(crate) fn parsed(views: &[(&str, &str)]) -> Vec<View> {
    views
        .iter()
        .map(|(name, text)| View::parse(name, text).unwrap_or_else(|e| panic!("{name}: {e}")))
        .collect()
}

/// The cases of a file: `=== name` and what follows it. Names are made names of views.
pub(crate) fn cases(text: &str) -> Vec<(String, String)> {
    let cases = text.split("\n=== ").skip(1).map(|case| {
        let (name, body) = case.split_once('\n').expect("a name ends its line");
        (name.trim().replace(' ', "_"), body.trim_end().to_owned())
    });
    cases.collect()
}

pub(crate) fn borrowed(cases: &[(String, String)]) -> Vec<(&str, &str)> {
    cases.iter().map(|(name, query)| (name.as_str(), query.as_str())).collect()
}

pub(crate) fn assert_incremental(explained: &BTreeMap<String, Explanation>) {
    let others: Vec<_> = explained.values().filter(|found| found.kind != ViewKind::Incremental).collect();
    let others: Vec<String> =
        others.iter().map(|found| format!("{}: {:?}", found.name, found.reason)).collect();
    assert!(others.is_empty(), "not incremental:\n{}", others.join("\n"));
}
