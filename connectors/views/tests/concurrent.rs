//! Real concurrency: nobody tells the sessions when to go on.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tidegate_postgres::schema;
use tidegate_store::{Store, prepare, upkeep};
use tidegate_testing::postgres;
use tidegate_testing::store::{of_owner, take_leases};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::database::{connect, describe};
use super::history::Counts;
use super::query::Query;
use super::relation::Relation;

const MANIFEST: &str = "\
pipeline: company
datasets:
  departments:
    key: id
    columns: {id: integer, department: text}
  jobs:
    key: id
    columns: {id: integer, job: text}
  hired_employees:
    key: id
    columns:
      id: integer
      datetime: timestamptz
      department_id: {type: integer, references: departments}
      job_id: {type: integer, references: jobs, optional: true}
  visits:
    key: id
    columns:
      id: integer
      department_id: {type: integer, references: departments}
      minutes: {type: numeric, optional: true}
";
/// The first two need the same of the employees.
const VIEWS: [(&str, &str); 4] = [
    (
        "by_quarter",
        "select extract(year from datetime at time zone 'UTC') as year, department, job, \
         count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 1) as q1, \
         count(*) filter (where extract(quarter from datetime at time zone 'UTC') > 1) as later \
         from hired_employees as e join departments as d on d.id = department_id join jobs as j on j.id = job_id \
         group by 1, 2, 3 order by 1, 2, 3",
    ),
    (
        "by_department",
        "select extract(year from datetime at time zone 'UTC') as year, d.id, department, count(job_id) as hired \
         from hired_employees as e join departments as d on d.id = department_id group by 1, 2, 3 order by 1, 2, 3",
    ),
    (
        "latest",
        "select department_id, max(datetime) as latest, count(*) as hired from hired_employees \
         group by department_id having count(*) > 1 order by 1",
    ),
    (
        "minutes",
        "select department, count(*) as visits, sum(minutes) as minutes, avg(minutes) as mean, max(v.id) as last \
         from visits as v join departments as d on d.id = v.department_id group by department order by 1",
    ),
];
const WRITERS: i32 = 6;
/// How long they go on.
const LENGTH: Duration = Duration::from_secs(5);

type Outcome = Result<(&'static str, u64), String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_write_all_at_once_neither_wait_nor_fail_because_of_a_view() {
    let url = postgres::database().await;
    let owner = Uuid::new_v4();
    let tables = of_owner(&url, MANIFEST, owner);
    schema::migrate(&tables).await.unwrap();
    take_leases(&tables).await;
    prepare::prepare(&tables, &[]).await.unwrap();
    let reader = patient(&url).await;
    let rows = "insert into departments select i, 'd' || i from generate_series(0, 5) as i; \
                insert into jobs select i, 'j' || i from generate_series(0, 5) as i";
    reader.batch_execute(rows).await.unwrap();
    let query =
        |(name, select): (&str, &str)| Query { name: name.into(), select: select.into(), is_ordered: true };
    let sink = of_owner(&url, MANIFEST, owner);
    let mut relations =
        Relation::make_all(&sink, &reader, VIEWS.map(query).into(), super::Made::Kept).await.unwrap();

    let end = Instant::now() + LENGTH;
    let (mut tasks, mut counts) = (JoinSet::new(), Counts::new());
    for number in 0..WRITERS {
        tasks.spawn(write(patient(&url).await, number, end));
    }
    tasks.spawn(truncate(patient(&url).await, end));
    tasks.spawn(fold(sink.clone(), end));
    tasks.spawn(look_for_waits(patient(&url).await, end));
    while Instant::now() < end {
        compare(&reader, &mut relations).await;
        *counts.entry("comparison").or_default() += 1;
    }
    while let Some(outcome) = tasks.join_next().await {
        let (what, count) = outcome.unwrap().unwrap_or_else(|error| panic!("{error}"));
        assert!(count > 0, "{what}");
        *counts.entry(what).or_default() += count;
    }
    compare(&reader, &mut relations).await;
    eprintln!("{counts:?}");
    assert!(relations.iter().all(Relation::has_changed));
}

/// A session that may wait: the truncation waits for all others, and they for it.
async fn patient(url: &str) -> Client {
    let client = connect(url).await;
    client.batch_execute("set lock_timeout = 0").await.unwrap();
    client
}

/// Compares the views in one snapshot. The locks come before that: a truncation behind it would empty the table
/// for the query alone.
async fn compare(client: &Client, relations: &mut [Relation]) {
    let begin = "begin isolation level repeatable read read only; \
                 lock table hired_employees, visits in access share mode";
    client.batch_execute(begin).await.unwrap();
    for relation in relations {
        relation.follow(client).await.unwrap_or_else(|what| panic!("{what}"));
    }
    client.batch_execute("commit").await.unwrap();
}

/// A writer of rows of its own, as long as there is time; gives how many transactions it has committed.
async fn write(client: Client, number: i32, end: Instant) -> Outcome {
    let mut rng = Rng::with_seed(number as u64);
    let isolation = ["read committed", "repeatable read", "serializable"][number as usize % 3];
    let (mut committed, mut used) = (0, 10); // an insert takes ids that an upsert cannot have taken
    while Instant::now() < end || committed == 0 {
        match transaction(&client, &mut rng, isolation, number, &mut used).await {
            Ok(()) => committed += 1,
            Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) && number % 3 > 0 => {
                client.batch_execute("rollback").await.unwrap();
            }
            Err(error) => return Err(format!("a writer at {isolation}: {}", describe(&error))),
        }
    }
    Ok((isolation, committed))
}

async fn transaction(
    client: &Client,
    rng: &mut Rng,
    isolation: &str,
    number: i32,
    used: &mut i32,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&format!("begin isolation level {isolation}; select 1")).await?;
    if rng.u8(0..4) == 0 {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..20))).await; // for others to commit behind its snapshot
    }
    for _ in 0..rng.usize(1..5) {
        let first = number * 1_000_000 + *used;
        let old = number * 1_000_000 + rng.i32(0..*used);
        let ids = format!("id in ({old}, {}, {})", old + 1, old + 2);
        let some = rng.i32(0..6);
        let sql = match rng.u8(0..9) {
            0 | 1 => {
                *used += 5;
                format!(
                    "insert into hired_employees select i, timestamptz '2021-01-01Z' + i % 700 * interval '1 day', \
                     i % 6, nullif(i % 7, 6) from generate_series({first}, {first} + 4) as i"
                )
            }
            2 => format!(
                "update hired_employees set department_id = {some}, datetime = datetime + interval '90 days' where {ids}"
            ),
            3 => format!("delete from hired_employees where {ids}"),
            4 => format!(
                "insert into hired_employees values ({old}, '2022-02-02Z', {some}, null) \
                 on conflict (id) do update set job_id = {some}, department_id = excluded.department_id"
            ),
            5 => {
                *used += 3;
                format!(
                    "insert into visits select i, i % 6, i / 10.0 from generate_series({first}, {first} + 2) as i"
                )
            }
            6 => format!("update visits set minutes = minutes + 1.00, department_id = {some} where {ids}"),
            7 => format!("delete from visits where {ids}"),
            _ => format!("update departments set department = 'd{}' where id = {number}", rng.u8(..)),
        };
        client.batch_execute(&sql).await?;
    }
    client.batch_execute(if rng.u8(0..8) == 0 { "rollback" } else { "commit" }).await
}

/// Truncates a table that all others write.
async fn truncate(client: Client, end: Instant) -> Outcome {
    let mut count = 0;
    while Instant::now() < end || count == 0 {
        client
            .batch_execute("truncate visits")
            .await
            .map_err(|error| format!("truncate: {}", describe(&error)))?;
        count += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(("truncate", count))
}

/// Folds all the time.
async fn fold(sink: Store, end: Instant) -> Outcome {
    let mut count = 0;
    while Instant::now() < end || count == 0 {
        upkeep::fold_all(&sink).await.map_err(|error| format!("fold: {error}"))?;
        count += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(("fold", count))
}

/// Looks for sessions that wait for a lock. `truncate` makes them wait for its table, whether that has a view or
/// not, and itself for what belongs to that; and a table grows for one at a time.
async fn look_for_waits(client: Client, end: Instant) -> Outcome {
    let waits = "with visits as (select unnest(array[oid, reltoastrelid]) as oid from pg_class \
                 where oid = 'visits'::regclass) \
                 select format('%s %s: %s', locktype, relation::regclass, query) from pg_locks \
                 join pg_stat_activity using (pid) where not granted and datname = current_database() \
                 and backend_type = 'client backend' and locktype <> 'extend' \
                 and coalesce(relation, 0) not in (select oid from visits union all \
                 select indexrelid from pg_index where indrelid in (select oid from visits))";
    let mut count = 0;
    while Instant::now() < end {
        if let Some(wait) = client.query(waits, &[]).await.unwrap().first() {
            return Err(format!("a session waits: {}", wait.get::<_, &str>(0)));
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(("look", count))
}
