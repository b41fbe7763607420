//! The metric views are exact at every commit, whoever writes, in both ways of writing.

use std::time::Duration;

use tidegate_core::contract::{Sink, Tally};
use tidegate_store::inspect::{self, Grade};
use tidegate_store::{Store, prepare};
use tidegate_testing::company;
use tidegate_testing::store::take_leases;
use tidegate_views::View;

use super::fixture::{Fixture, delivery};

/// The metrics computed afresh, from the tables alone.
const QUARTERS: &str = "select row(year, department, job, q1, q2, q3, q4)::text from ( \
    select extract(year from datetime at time zone 'UTC')::integer as year, department, job, \
        count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 1) as q1, \
        count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 2) as q2, \
        count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 3) as q3, \
        count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 4) as q4 \
    from hired_employees as e join departments as d on d.id = department_id join jobs as j on j.id = job_id \
    group by 1, 2, 3 order by 1, department collate \"C\", job collate \"C\") as afresh";
const ABOVE: &str = "select row(year, id, department, hired)::text from ( \
    with hired as (select extract(year from datetime at time zone 'UTC')::integer as year, department_id as id, \
        count(*) as hired from hired_employees group by 1, 2) \
    select year, id, department, hired from hired join departments using (id) \
    where hired > (select avg(hired) from hired as h where h.year = hired.year) \
    order by year, hired desc, id) as afresh";

pub(super) async fn assert_exact(fixture: &Fixture, when: &str) {
    let quarters = fixture.query("select row(v.*)::text from hires_by_quarter as v").await;
    assert_eq!(quarters, fixture.query(QUARTERS).await, "hires_by_quarter after {when}");
    let above = fixture.query("select row(v.*)::text from departments_above_mean as v").await;
    assert_eq!(above, fixture.query(ABOVE).await, "departments_above_mean after {when}");
}

/// Employees whose department, job, year and quarter all vary.
fn employees(source: u64, ids: std::ops::Range<u64>, shift: u64) -> Vec<(usize, u64, u64, String)> {
    let line = |id: u64| {
        let n = id * 7 + shift;
        let text = format!(
            "{id},n{id},202{}-{:02}-01T00:00:00Z,{},{}",
            n % 3,
            n % 12 + 1,
            n % n.clamp(1, 4) + 1,
            n % 5 + 1
        );
        (2, source, id, text)
    };
    ids.map(line).collect()
}

async fn apply(fixture: &Fixture, lines: &[(usize, u64, u64, String)]) {
    let lines: Vec<_> = lines.iter().map(|(d, s, l, text)| (*d, *s, *l, text.as_str())).collect();
    fixture.apply(&delivery(&lines)).await.unwrap();
}

async fn with_parents() -> Fixture {
    let fixture = Fixture::new(company::MANIFEST).await;
    fixture
        .execute(
            "insert into departments select i, 'd' || i from generate_series(1, 6) as i; \
             insert into jobs select i, 'j' || i from generate_series(1, 6) as i",
        )
        .await;
    fixture
}

#[tokio::test]
async fn views_are_exact_after_every_kind_of_change() {
    let fixture = with_parents().await;
    assert_exact(&fixture, "nothing").await;
    apply(&fixture, &employees(1, 1..200, 0)).await;
    assert_exact(&fixture, "a copy").await;
    apply(&fixture, &employees(2, 100..300, 5)).await;
    assert_exact(&fixture, "an upsert").await;
    apply(&fixture, &employees(1, 1..300, 0)).await;
    assert_exact(&fixture, "duplicates").await;
    for sql in [
        "update hired_employees set department_id = department_id % 6 + 1, datetime = datetime + interval '100 days' where id % 3 = 0",
        "delete from hired_employees where id % 4 = 0",
        "insert into hired_employees (id, name, datetime, department_id, job_id) values (9001, 'x', '2021-12-31 23:30-01', 1, 1)",
        "insert into hired_employees (id, name, datetime, department_id, job_id) values (9001, 'x', now(), 1, 1) \
         on conflict (id) do update set job_id = 3",
        "update departments set department = 'renamed' where id in (1, 2)",
        "begin; delete from hired_employees; rollback",
        "truncate hired_employees",
    ] {
        fixture.execute(sql).await;
        assert_exact(&fixture, sql).await;
    }
    apply(&fixture, &employees(3, 1..50, 3)).await;
    assert_exact(&fixture, "a copy after truncate").await;
}

#[tokio::test]
async fn a_copy_into_free_space_of_the_table_is_counted_whole() {
    let fixture = with_parents().await;
    apply(&fixture, &employees(1, 1..20_000, 0)).await;
    fixture.execute("delete from hired_employees where id between 100 and 15000").await;
    fixture.execute("vacuum hired_employees").await;
    apply(&fixture, &employees(2, 20_000..35_000, 1)).await;
    assert_exact(&fixture, "a copy into free space").await;
}

/// Whether the change of the views is computed beside the rows: by direct copy alone it is.
async fn is_computed_beside(fixture: &Fixture) -> bool {
    let sql = "select count(*) > 0 from pg_class where relname ~ '^tidegate_[0-9a-f]{32}$' and relpersistence = 't'";
    fixture.query(sql).await == ["true"]
}

/// A process that keeps up to date the view `v` alone.
async fn with_view(fixture: &Fixture, text: &str) -> Store {
    let sink = fixture.another_owner();
    take_leases(&sink).await;
    prepare::prepare(&sink, &[View::parse("v", text).unwrap()]).await.unwrap();
    sink
}

/// Why rows are not written by direct copy, as `check` says it.
async fn why_not_cheap(sink: &Store) -> String {
    let findings = inspect::database(sink).await.unwrap();
    let reasons = findings.iter().filter(|finding| finding.message.contains("not written by direct copy"));
    reasons.map(|finding| format!("{}: {}\n", finding.subject, finding.message)).collect()
}

#[tokio::test]
async fn both_ways_of_writing_rows_agree() {
    let (direct_copy, staged_upsert) = (with_parents().await, with_parents().await);
    // A trigger of somebody else's closes the direct copy.
    staged_upsert
        .execute(
            "create function theirs() returns trigger language plpgsql as $$ begin return new; end $$; \
             create trigger theirs before insert on hired_employees for each row execute function theirs()",
        )
        .await;
    let batches = [(1, 1..500, 0), (2, 500..20_000, 3), (2, 19_000..40_000, 3), (3, 300..900, 1)];
    for (i, (source, ids, shift)) in batches.into_iter().enumerate() {
        let mut lines = employees(source, ids, shift);
        // A line that comes twice, one that waits for its department, a text that needs quotes.
        lines.push(lines[0].clone());
        lines.push((2, 50, i as u64 + 1, format!("{},x,2021-01-01T00:00:00Z,99,1", 100_000 + i)));
        lines.push((
            2,
            51,
            i as u64 + 1,
            format!("{},\"a \"\"b\"\", \\N\",2021-01-01T00:00:00Z,1,1", 200_000 + i),
        ));
        let mut before = Vec::new();
        for fixture in [&direct_copy, &staged_upsert] {
            let text = |(d, s, l, text): &(usize, u64, u64, String)| (*d, *s, *l, text.clone());
            let lines: Vec<_> = lines.iter().map(text).collect();
            apply(fixture, &lines).await;
            assert_exact(fixture, "a batch").await;
            before.push(fixture.letters().await);
        }
        assert_eq!(before[0], before[1]);
    }
    assert!(is_computed_beside(&direct_copy).await && !is_computed_beside(&staged_upsert).await);
    assert_eq!(direct_copy.rows("hired_employees").await, staged_upsert.rows("hired_employees").await);
    let views = "select row(v.*)::text from hires_by_quarter as v";
    assert_eq!(direct_copy.query(views).await, staged_upsert.query(views).await);
}

#[tokio::test]
async fn views_stay_exact_when_the_session_that_computes_their_change_is_lost() {
    let fixture = with_parents().await;
    let killer = with_killer(&fixture).await;
    let (mut failures, mut batches) = (0, 0);
    while failures < 3 {
        assert!(batches < 500, "no session was lost in the middle of a batch");
        let lines = employees(batches % 90 + 1, batches * 2000..(batches + 1) * 2000, batches);
        let lines: Vec<_> = lines.iter().map(|(d, s, l, text)| (*d, *s, *l + 1, text.as_str())).collect();
        while let Err(error) = fixture.apply(&delivery(&lines)).await {
            assert!(error.retry, "{error}");
            failures += 1;
        }
        batches += 1;
    }
    killer.abort();
    assert_exact(&fixture, "sessions were lost").await;
    assert_eq!(fixture.query("select count(*) from hired_employees").await, [(batches * 2000).to_string()]);
}

/// Ends, again and again, whatever session works on a temporary table of the sink.
async fn with_killer(fixture: &Fixture) -> tokio::task::JoinHandle<()> {
    let other = fixture.another_owner();
    tokio::spawn(async move {
        let client = other.connection().await.unwrap();
        loop {
            let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
                       and state <> 'idle' and query like 'copy %pg_temp.%' and pid <> pg_backend_pid()";
            client.query(sql, &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    })
}

#[tokio::test]
async fn triggers_that_fire_where_triggers_are_off_close_the_cheap_way() {
    let fixture = with_parents().await;
    let enable = |how: &str| {
        format!(
            "do $$ declare name text; begin for name in select tgname from pg_trigger \
             where tgrelid = 'hired_employees'::regclass and not tgisinternal loop \
             execute format('alter table hired_employees enable {how} trigger %I', name); end loop; end $$"
        )
    };
    fixture.execute(&enable("always")).await;
    apply(&fixture, &employees(1, 1..300, 0)).await;
    assert_exact(&fixture, "a batch where triggers always fire").await;
    assert!(!is_computed_beside(&fixture).await);
    let why = why_not_cheap(&fixture.sink).await;
    assert!(
        why.contains(
            "fires where triggers are off: alter table \"public\".\"hired_employees\" enable trigger"
        ),
        "{why}"
    );
    fixture.execute(&enable("replica")).await;
    assert!(why_not_cheap(&fixture.sink).await.contains("fires where triggers are off"));
    fixture.execute(&enable("")).await;
    assert_eq!(why_not_cheap(&fixture.sink).await, "");
    apply(&fixture, &employees(1, 300..600, 0)).await;
    assert_exact(&fixture, "a batch where they fire as they did").await;
    assert!(is_computed_beside(&fixture).await);
}

#[tokio::test]
async fn a_view_of_a_column_outside_the_manifest_closes_the_cheap_way() {
    let fixture = with_parents().await;
    fixture.execute("alter table hired_employees add column bonus integer not null default 7").await;
    let sink = with_view(&fixture, "select sum(bonus) as paid from hired_employees").await;
    let lines = employees(1, 1..100, 0);
    let lines: Vec<_> = lines.iter().map(|(d, s, l, text)| (*d, *s, *l, text.as_str())).collect();
    sink.apply(&sink.read(&delivery(&lines))).await.unwrap();
    assert_eq!(fixture.query("select paid from v").await, [(99 * 7).to_string()]);
    assert!(!is_computed_beside(&fixture).await);
    let why = why_not_cheap(&sink).await;
    assert!(
        why.contains(
            "a view uses column bonus of \"public\".\"hired_employees\", which is not in the manifest"
        ),
        "{why}"
    );
    assert!(!why.contains("departments"), "{why}");
}

#[tokio::test]
async fn a_row_for_which_a_view_fails_is_refused_alone() {
    let fixture = with_parents().await;
    let sink = with_view(&fixture, "select sum(60 / (job_id - 3)) as s from hired_employees").await;
    let texts: Vec<String> = (1..=6).map(|id| format!("{id},n,2021-01-01T00:00:00Z,1,{id}")).collect();
    let lines: Vec<_> = texts.iter().zip(1..).map(|(text, line)| (2, 1, line, text.as_str())).collect();
    let applied = sink.apply(&sink.read(&delivery(&lines))).await.unwrap();
    let Tally { accepted, rejected, .. } = applied.tallies[2];
    assert_eq!((accepted, rejected), (5, 1));
    assert_eq!(fixture.letters().await, ["1:3 rejected constraint_violation"]);
    assert_eq!(fixture.query("select s from v").await, ["20"]);
}

/// A transaction that waits for the change of a view is not taken for one that was lost.
#[tokio::test]
async fn a_view_may_take_longer_than_a_session_may_be_silent() {
    let fixture = with_parents().await;
    fixture
        .execute(
            "create function slow(id integer) returns integer immutable language plpgsql as \
             $$ begin perform pg_sleep(25) where id = 1; return id; end $$",
        )
        .await;
    let sink = with_view(&fixture, "select sum(slow(id)) as s from hired_employees").await;
    sink.apply(&sink.read(&delivery(&[(2, 1, 1, "1,n,2021-01-01T00:00:00Z,1,1")]))).await.unwrap();
    assert_eq!(fixture.query("select s from v").await, ["1"]);
}

#[tokio::test]
async fn a_role_that_may_not_create_temporary_tables_is_told_so_before_anything_is_written() {
    let fixture = with_parents().await;
    fixture
        .execute(
            "do $$ declare db text := current_database(); begin execute format('create role %I', 'of_' || db); \
             execute format('revoke temporary on database %I from public', db); \
             execute format('grant set on parameter session_replication_role to %I', 'of_' || db); \
             execute format('grant usage on schema tidegate to %I', 'of_' || db); \
             execute format('grant all on all tables in schema public, tidegate to %I', 'of_' || db); \
             execute format('grant all on all sequences in schema tidegate to %I', 'of_' || db); end $$",
        )
        .await;
    let role = format!("of_{}", fixture.query("select current_database()").await[0]);
    let sink = fixture.of_role(&role);
    take_leases(&sink).await;
    let findings = inspect::database(&sink).await.unwrap();
    let rights = findings.iter().find(|finding| finding.subject == "rights").unwrap();
    assert_eq!(rights.grade, Grade::Fault);
    let error = prepare::prepare(&sink, &super::fixture::views()).await.unwrap_err().to_string();
    let grant = format!("grant temporary on database {} to {role}", &role[3..]);
    assert_eq!(error, format!("views need the privilege to make temporary tables: {grant}"));
    fixture.execute(&grant).await;
    prepare::prepare(&sink, &super::fixture::views()).await.unwrap();
    sink.apply(&sink.read(&delivery(&[(2, 1, 1, "1,n,2021-01-01T00:00:00Z,1,1")]))).await.unwrap();
    assert_exact(&fixture, "the right was granted").await;
    assert!(is_computed_beside(&fixture).await);
}

#[tokio::test]
async fn folding_changes_nothing_but_the_number_of_rows() {
    let fixture = with_parents().await;
    apply(&fixture, &employees(1, 1..2000, 1)).await;
    fixture
        .execute(
            "do $$ begin for i in 1..12000 loop \
             update hired_employees set job_id = job_id % 5 + 1 where id = i % 1999 + 1; end loop; end $$",
        )
        .await;
    let count = "select count(*) from tidegate.view_hires_by_quarter";
    let rows: u64 = fixture.query(count).await[0].parse().unwrap();
    assert!(rows > 24_000, "{rows} changes");
    fixture.sink.tidy().await.unwrap();
    let rows: u64 = fixture.query(count).await[0].parse().unwrap();
    assert!(rows < 500, "{rows} rows are left");
    assert_exact(&fixture, "folding").await;
}

#[tokio::test]
async fn a_view_whose_file_changed_is_made_anew_and_one_without_file_is_dropped() {
    let fixture = with_parents().await;
    apply(&fixture, &employees(1, 1..200, 0)).await;
    let mut views = super::fixture::views();
    views.retain(|view| view.name != "departments_above_mean");
    let text = views[1].definition.replace("order by year, hired desc, id", "order by id");
    views[1] = tidegate_views::View::parse("hires_by_department", &text).unwrap();
    let again = fixture.another_owner();
    take_leases(&again).await;
    prepare::prepare(&again, &views).await.unwrap();
    assert_eq!(fixture.query("select to_regclass('departments_above_mean')::text is null").await, ["true"]);
    let total = "select sum(hired)::bigint from hires_by_department";
    assert_eq!(fixture.query(total).await, fixture.query("select count(*) from hired_employees").await);
    fixture.execute("delete from hired_employees where id < 50").await;
    assert_eq!(fixture.query(total).await, fixture.query("select count(*) from hired_employees").await);
    prepare::prepare(&again, &super::fixture::views()).await.unwrap();
    assert_exact(&fixture, "the first definition").await;
}

#[tokio::test]
async fn a_copy_behind_a_refused_row_of_another_dataset_is_counted() {
    let fixture = with_parents().await;
    fixture.execute("alter table departments add check (department <> 'bad')").await;
    let mut lines = employees(1, 1..100, 0);
    lines.extend([(0, 2, 1, "7,bad".to_owned()), (0, 2, 2, "8,good".to_owned())]);
    apply(&fixture, &lines).await;
    assert_eq!(fixture.query("select count(*) from hired_employees").await, ["99"]);
    assert_exact(&fixture, "a refused row").await;
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_counted_anew() {
    let fixture = with_parents().await;
    apply(&fixture, &employees(1, 1..100, 0)).await;
    fixture.execute("drop table hired_employees cascade").await;
    prepare::prepare(&fixture.sink, &super::fixture::views()).await.unwrap();
    assert_exact(&fixture, "the table was made anew").await;
    let insert = "insert into hired_employees (id, name, datetime, department_id, job_id) values (1, 'x', now(), 1, 1)";
    fixture.execute(insert).await;
    assert_exact(&fixture, "an insert by another application").await;
}

#[tokio::test]
async fn a_table_that_another_has_taken_the_place_of_counts_no_more() {
    let fixture = with_parents().await;
    apply(&fixture, &employees(1, 1..100, 0)).await;
    fixture.execute("alter table hired_employees rename to hired_employees_old").await;
    prepare::prepare(&fixture.sink, &super::fixture::views()).await.unwrap();
    assert_exact(&fixture, "another table took its place").await;
    let insert = "insert into hired_employees (id, name, datetime, department_id, job_id) values (1, 'x', now(), 1, 1)";
    fixture.execute(insert).await;
    fixture.execute("delete from hired_employees_old where id < 50").await;
    assert_exact(&fixture, "a deletion from the old one").await;
    fixture.execute("truncate hired_employees_old").await;
    assert_exact(&fixture, "a truncation of the old one").await;
}
