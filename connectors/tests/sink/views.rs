//! The metric views are exact at every commit, whoever writes, in both ways of writing.

use tidegate_core::contract::Sink;

use super::fixture::{COMPANY, Fixture, delivery};

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
    let fixture = Fixture::new(COMPANY).await;
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
    let scattered = fixture
        .query("select min((ctid::text::point)[0]) < 100 from hired_employees where _source = 2")
        .await;
    assert_eq!(scattered, ["true"], "the rows were meant to go into the space left free");
    assert_exact(&fixture, "a copy into free space").await;
}

#[tokio::test]
async fn both_ways_of_writing_rows_agree() {
    let (cheap, ordinary) = (with_parents().await, with_parents().await);
    // A trigger of somebody else's closes the cheap way.
    ordinary
        .execute(
            "create function theirs() returns trigger language plpgsql as $$ begin return new; end $$; \
             create trigger theirs before insert on hired_employees for each row execute function theirs()",
        )
        .await;
    for (source, ids, shift) in [(1, 1..500, 0), (2, 400..700, 3), (3, 650..900, 1)] {
        for fixture in [&cheap, &ordinary] {
            apply(fixture, &employees(source, ids.clone(), shift)).await;
            assert_exact(fixture, "a batch").await;
        }
    }
    assert_eq!(cheap.rows("hired_employees").await, ordinary.rows("hired_employees").await);
    let views = "select row(v.*)::text from hires_by_quarter as v";
    assert_eq!(cheap.query(views).await, ordinary.query(views).await);
}

#[tokio::test]
async fn folding_changes_nothing_but_the_number_of_rows() {
    let fixture = with_parents().await;
    for source in 1..=80 {
        apply(&fixture, &employees(source, source * 1000..source * 1000 + 900, source)).await;
    }
    let count = "select count(*) from tidegate.view_hires_by_quarter";
    fixture.execute("insert into tidegate.view_hires_by_quarter select g, 1, 1, 1, -1, 0, 0 from generate_series(1, 60000) as g").await;
    fixture.execute("insert into tidegate.view_hires_by_quarter select g, 1, 1, -1, 1, 0, 0 from generate_series(1, 60000) as g").await;
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
    views[1] = tidegate_connectors::postgres::views::View::parse("hires_by_department", &text).unwrap();
    let again = fixture.another_owner();
    super::fixture::take_leases(&again).await;
    again.prepare(&views).await.unwrap();
    assert_eq!(fixture.query("select to_regclass('departments_above_mean')::text is null").await, ["true"]);
    let total = "select sum(hired)::bigint from hires_by_department";
    assert_eq!(fixture.query(total).await, fixture.query("select count(*) from hired_employees").await);
    fixture.execute("delete from hired_employees where id < 50").await;
    assert_eq!(fixture.query(total).await, fixture.query("select count(*) from hired_employees").await);
    again.prepare(&super::fixture::views()).await.unwrap();
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
    fixture.sink.prepare(&super::fixture::views()).await.unwrap();
    assert_exact(&fixture, "the table was made anew").await;
    let insert = "insert into hired_employees (id, name, datetime, department_id, job_id) values (1, 'x', now(), 1, 1)";
    fixture.execute(insert).await;
    assert_exact(&fixture, "an insert by another application").await;
}

#[tokio::test]
async fn sums_that_depend_on_their_order_are_refused() {
    let fixture = Fixture::new(COMPANY).await;
    let text = "-- store: departments by id\nselect id, sum(1.5::real) as s from departments group by id\n\
                -- view\nselect id, s from store";
    let view = tidegate_connectors::postgres::views::View::parse("floats", text).unwrap();
    let error = fixture.sink.prepare(&[view]).await.unwrap_err().to_string();
    assert!(error.contains("'floats'") && error.contains("cast it to numeric"), "{error}");
}
