//! The sink on a real Postgres: newest wins, references, refusals, healing, views.

pub(crate) mod fixture;
mod refusals;
mod views;
mod waiting;

use std::time::Duration;

use fixture::{COMPANY, Fixture, delivery};
use tidegate_connectors::csv::Registry;
use tidegate_core::contract::{Consumed, Delivery, Offsets, Sink, Tally};

#[tokio::test]
async fn rows_are_accepted_once_however_often_they_are_delivered() {
    let fixture = Fixture::new(COMPANY).await;
    let batch = delivery(&[(0, 1, 1, "1,Sales"), (0, 1, 2, "2,Legal"), (0, 1, 2, "2,Legal")]);
    let applied = fixture.apply(&batch).await.unwrap();
    assert_eq!(applied.tallies[0], Tally { accepted: 2, duplicates: 1, ..Tally::default() });
    let again = fixture.apply(&batch).await.unwrap();
    assert_eq!(again.tallies[0], Tally { duplicates: 3, ..Tally::default() });
    assert_eq!(fixture.rows("departments").await, ["1,Sales,1,1", "2,Legal,1,2"]);
    assert_eq!(fixture.sink.counts(1).await.unwrap(), [2, 0, 0, 0]);
}

#[tokio::test]
async fn the_newest_position_wins_in_any_order_and_grouping() {
    let lines = [(0, 1, 1, "1,a"), (0, 1, 2, "1,b"), (0, 2, 1, "1,c"), (0, 2, 2, "2,d"), (0, 1, 3, "2,e")];
    let orders: [&[usize]; 4] = [&[0, 1, 2, 3, 4], &[4, 3, 2, 1, 0], &[2, 0, 4, 1, 3], &[3, 4, 0, 2, 1]];
    for order in orders {
        for size in [1, 2, 5] {
            let fixture = Fixture::new(COMPANY).await;
            for group in order.chunks(size) {
                let lines: Vec<_> = group.iter().map(|i| lines[*i]).collect();
                fixture.apply(&delivery(&lines)).await.unwrap();
            }
            assert_eq!(fixture.rows("departments").await, ["1,c,2,1", "2,d,2,2"], "{order:?} by {size}");
        }
    }
}

#[tokio::test]
async fn a_row_of_another_application_ranks_below_every_line() {
    let fixture = Fixture::new(COMPANY).await;
    fixture.execute("insert into departments (id, department) values (1, 'theirs')").await;
    fixture.apply(&delivery(&[(0, 1, 1, "1,ours")])).await.unwrap();
    assert_eq!(fixture.rows("departments").await, ["1,ours,1,1"]);
}

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
    let fixture = Fixture::new(COMPANY).await;
    let consumed = vec![Consumed { topic: "company-accepted-departments".into(), partition: 0, next: 1 }];
    let batch = Delivery { consumed, ..delivery(&[(0, 1, 1, "1,Sales")]) };
    fixture.apply(&batch).await.unwrap();
    assert_eq!(fixture.query("select next from tidegate.offsets").await, ["1"]);
    let other = fixture.another_owner();
    let topics = other.manifest().topics();
    let me = tidegate_connectors::postgres::Holder { host: "h".into(), pid: 7, started: 0.0 };
    let minute = Duration::from_secs(60);
    let error = other.lease(&topics, &me, minute, false).await.unwrap_err();
    assert!(error.to_string().contains("process 1 on test"), "{error}");
    other.lease(&topics, &me, minute, true).await.unwrap();
    let error = fixture.apply(&delivery(&[(0, 1, 2, "2,Legal")])).await.unwrap_err();
    assert!(!error.retry && error.message.contains("process 7 on h, started"), "{error}");
    assert!(error.message.contains("has taken this pipeline over"), "{error}");
    let stale = &fixture.sink;
    let refused = [
        Sink::heal(stale).await.err(),
        Offsets::store(stale, "transform", &[]).await.err(),
        Registry::register(stale, "departments", "a", b"a", 1).await.err(),
        Registry::finish(stale, 1, 1).await.err(),
        Registry::complete(stale, &[1]).await.err(),
        stale.renew(&topics, minute).await.err().map(Into::into),
        stale.lease(&topics, &me, minute, false).await.err().map(Into::into),
    ];
    for (i, error) in refused.into_iter().enumerate().skip(1) {
        assert!(error.is_some_and(|error| !error.retry), "{i}");
    }
    assert_eq!(fixture.rows("departments").await, ["1,Sales,1,1"]);
}

#[tokio::test]
async fn sources_are_numbered_without_gaps_and_known_again() {
    use tidegate_connectors::postgres::SourceKind::File;
    let database = tidegate_connectors::postgres::testing::database().await;
    let fixture = Fixture::unprepared(&database.url, COMPANY).await;
    fixture.sink.migrate().await.unwrap();
    fixture::take_leases(&fixture.sink).await;
    fixture.sink.prepare(&[]).await.unwrap();
    let register = async |name: &str| {
        fixture.sink.register("departments", File, name, name.as_bytes(), 1).await.unwrap().source
    };
    let (a, b, again) = (register("a").await, register("b").await, register("a").await);
    assert_eq!((a, b, again), (1, 2, 1));
    fixture.sink.finish(1, 2).await.unwrap();
    fixture.apply(&delivery(&[(0, 1, 1, "1,x")])).await.unwrap();
    assert_eq!(fixture.sink.complete(&[1]).await.unwrap(), Vec::<u64>::new());
    fixture.apply(&delivery(&[(0, 1, 2, "2,y")])).await.unwrap();
    assert_eq!(fixture.sink.complete(&[1, 2]).await.unwrap(), [1]);
    let known = fixture.sink.register("departments", File, "a", b"a", 1).await.unwrap();
    assert!(known.complete);
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused_with_the_differences() {
    let database = tidegate_connectors::postgres::testing::database().await;
    let fixture = Fixture::unprepared(&database.url, COMPANY).await;
    fixture.execute("create table departments (id bigint, department text, extra int not null)").await;
    fixture.sink.migrate().await.unwrap();
    fixture::take_leases(&fixture.sink).await;
    let error = fixture.sink.prepare(&fixture::views()).await.unwrap_err().to_string();
    for difference in [
        "column id is bigint, the manifest says integer",
        "column _source is missing: alter table \"departments\" add column \"_source\" bigint not null default -1",
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
async fn a_database_holds_one_pipeline() {
    let fixture = Fixture::new(COMPANY).await;
    let other = fixture.of_manifest(&COMPANY.replace("pipeline: company", "pipeline: other"));
    let error = other.migrate().await.unwrap_err().to_string();
    assert!(error.contains("holds the pipeline 'company', the manifest is of 'other'"), "{error}");
}
