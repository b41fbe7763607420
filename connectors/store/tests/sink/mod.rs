//! The sink on a real Postgres: newest wins, references, refusals, healing, views.

pub(crate) mod fixture;
mod conformance;
mod defaults;
mod group;
mod meetings;
mod moves;
mod outcome;
mod refusals;
mod row_errors;
mod keys;
mod left_out;
mod skipped;
mod rows;
mod upgrade;
mod values;
mod views;
mod waiting;

use std::time::Duration;

use tidegate_core::contract::{ConsumerOffset, Delivery, Offsets, Sink};
use tidegate_core::registry::{Arrival, ArrivalRole, Registry};
use tidegate_core::shape::Shape;
use tidegate_postgres::schema;
use tidegate_store::{leases, prepare};
use tidegate_testing::store::take_leases;
use tidegate_testing::{company, postgres};

use fixture::{Fixture, delivery};

#[tokio::test]
async fn quotes_newlines_and_nulls_arrive_as_they_were() {
    let fixture = Fixture::new("pipeline: p\ndatasets:\n  notes:\n    key: id\n    columns:\n      id: integer\n      note: {type: text, optional: true}\n").await;
    let lines =
        [(0, 1, 1, "1,\"a \"\"b\"\", c\nd\""), (0, 1, 2, "2,"), (0, 1, 3, "3,\\."), (0, 1, 4, "4,\"\r\"")];
    fixture.apply(&delivery(&lines)).await.unwrap();
    let rows = fixture.query("select id || '=' || coalesce(note, 'null') from notes order by id").await;
    assert_eq!(rows, ["1=a \"b\", c\nd", "2=null", "3=\\.", "4=\r"]);
}

#[tokio::test]
async fn a_stale_process_can_commit_nothing() {
    let fixture = Fixture::new(company::MANIFEST).await;
    let consumed =
        vec![ConsumerOffset { topic: "company-accepted-departments".into(), partition: 0, next: 1 }];
    let batch = Delivery { consumed, ..delivery(&[(0, 1, 1, "1,Sales")]) };
    fixture.apply(&batch).await.unwrap();
    assert_eq!(fixture.query("select next from tidegate.offsets").await, ["1"]);
    let other = fixture.another_owner();
    let me = tidegate_store::Holder { host: "h".into(), pid: 7, started: 0.0 };
    let minute = Duration::from_secs(60);
    let error = leases::acquire(&other, &me, minute, false).await.unwrap_err();
    assert!(error.to_string().contains("process 1 on test"), "{error}");
    leases::acquire(&other, &me, minute, true).await.unwrap();
    let error = fixture.apply(&delivery(&[(0, 1, 2, "2,Legal")])).await.unwrap_err();
    assert!(!error.retry && error.message.contains("process 7 on h, started"), "{error}");
    assert!(error.message.contains("has taken this pipeline over"), "{error}");
    let stale = &fixture.sink;
    let sum = [7; 32];
    let shape = &Shape::of(stale.manifest(), &stale.manifest().datasets[0]);
    let (fingerprint, role) = (&sum, ArrivalRole::Delivery);
    let file = Arrival {
        dataset: "departments",
        name: "a",
        fingerprint,
        content: &sum,
        bytes: 1,
        role,
        shape,
        keys: None,
    };
    let refused = [
        Sink::heal(stale).await.err(),
        Offsets::store(stale, "transform", &[]).await.err(),
        Registry::register(stale, file).await.err(),
        Registry::finish(stale, 1, 1, None).await.err(),
        Registry::complete(stale, &[1]).await.err(),
        leases::renew(stale, minute).await.err().map(Into::into),
        leases::acquire(stale, &me, minute, false).await.err().map(Into::into),
    ];
    for (i, error) in refused.into_iter().enumerate().skip(1) {
        assert!(error.is_some_and(|error| !error.retry), "{i}");
    }
    assert_eq!(fixture.rows("departments").await, ["1,Sales,1,1"]);
}

#[tokio::test]
async fn a_line_of_a_source_that_the_registry_does_not_know_stops_the_sink_and_changes_nothing() {
    let fixture = Fixture::new(company::MANIFEST).await;
    let error = fixture.apply(&delivery(&[(0, 100, 1, "1,one"), (0, 101, 1, "2,two")])).await.unwrap_err();
    assert!(!error.retry && error.message.contains("does not know source 101 any more"), "{error}");
    assert_eq!(fixture.query("select count(*) from departments").await, ["0"]);
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused_with_the_differences() {
    let url = postgres::database().await;
    let fixture = Fixture::unprepared(&url, company::MANIFEST).await;
    fixture.execute("create table departments (id bigint, department text, extra int not null)").await;
    schema::migrate(&fixture.sink).await.unwrap();
    take_leases(&fixture.sink).await;
    let error = prepare::prepare(&fixture.sink, &fixture::views()).await.unwrap_err().to_string();
    for difference in [
        "column id is bigint, the manifest says integer",
        "column _source is missing: alter table \"public\".\"departments\" add column \"_source\" bigint not null default -1",
        "column extra is not in the manifest, not null and without a default",
        "column id is no key",
    ] {
        assert!(error.contains(difference), "{error}\nlacks: {difference}");
    }
    assert_eq!(
        fixture.query("select to_regclass('jobs')::text is null").await,
        ["true"],
        "nothing was created"
    );
}

#[tokio::test]
async fn a_column_of_the_manifest_may_begin_as_those_of_tidegate() {
    let manifest = "pipeline: p\ndatasets:\n  notes:\n    key: _id\n    columns:\n      _id: integer\n      \
                    _note: {type: text, optional: true}\n";
    let fixture = Fixture::new(manifest).await;
    prepare::prepare(&fixture.sink, &[]).await.unwrap(); // holds the table against the manifest
}

#[tokio::test]
async fn a_database_holds_one_pipeline() {
    let fixture = Fixture::new(company::MANIFEST).await;
    let other = fixture.of_manifest(&company::MANIFEST.replace("pipeline: company", "pipeline: other"));
    let error = schema::migrate(&other).await.unwrap_err().to_string();
    assert!(error.contains("holds the pipeline 'company', the manifest is of 'other'"), "{error}");
}

#[tokio::test]
async fn a_ledger_that_disagrees_with_the_dead_letters_is_no_reason_to_try_for_ever() {
    let fixture = Fixture::new(company::MANIFEST).await;
    let insert = "insert into tidegate.dead_letters (source, line, dataset, stage, status, text, reasons) \
                  values (1, 1, 'departments', 'sink', 'rejected', '', '[]')";
    fixture.execute(insert).await;
    fixture.execute("alter table departments add check (department <> 'bad')").await;
    let error = fixture.apply(&delivery(&[(0, 1, 1, "1,bad")])).await.unwrap_err();
    assert!(!error.retry && error.message.contains("tidegate verify"), "{error}");
}
