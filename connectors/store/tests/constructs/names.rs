//! What the names and words in a query stand for: what Postgres takes them for.

use tidegate_store::prepare;
use tidegate_views::{ViewKind, upkeep};

use super::{PARENTS, World, parsed};

/// Tables whose references are called as the keys that they name.
const SHOP: &str = "\
pipeline: shop
datasets:
  regions:
    key: region_id
    columns: {region_id: integer, region: text}
  customers:
    key: customer_id
    columns: {customer_id: integer, region_id: {type: integer, references: regions}}
  orders:
    key: id
    columns:
      id: integer
      customer_id: {type: integer, references: customers}
      region_id: {type: integer, references: regions, optional: true}
";

const SHOP_TABLES: &str = r#"
create schema hr;
create table regions (region_id integer primary key, region text not null, _source bigint not null default -1,
    _line bigint not null default -1);
create table customers (customer_id integer primary key, region_id integer not null references regions,
    _source bigint not null default -1, _line bigint not null default -1);
create table orders (id integer primary key, customer_id integer not null references customers,
    region_id integer references regions, _source bigint not null default -1, _line bigint not null default -1);
insert into regions select i, 'r' || i from generate_series(1, 3) as i;
insert into customers select i, i % 3 + 1 from generate_series(1, 6) as i;
insert into orders select i, i % 6 + 1, nullif(i % 4, 0) from generate_series(1, 20) as i;
"#;

#[tokio::test]
async fn using_joins_to_the_tables_behind_the_last_comma() {
    let world = World::of(SHOP, SHOP_TABLES).await;
    let views = [
        (
            "comma",
            "select r.region, count(*) from orders o, customers c join regions r using (region_id) \
             where o.customer_id = c.customer_id group by r.region",
        ),
        (
            "chain",
            "select region, count(*) from orders o join customers c using (customer_id) \
             join regions r on r.region_id = c.region_id group by region",
        ),
        (
            "simple",
            "select region_id, region, count(*) from orders join regions using (region_id) group by 1, 2",
        ),
    ];
    world.apply(&views).await;
    for (name, explained) in world.explained(&views).await {
        assert_eq!(explained.kind, ViewKind::Incremental, "{name}: {:?}", explained.reason);
    }
    world.assert_exact(&views, "filling").await;
    world
        .fixture
        .execute("delete from orders where id % 3 = 0; update orders set region_id = 2 where id < 5")
        .await;
    world.assert_exact(&views, "changes").await;
}

#[tokio::test]
async fn a_word_for_a_time_that_would_stand_still_is_refused() {
    let world = World::with(&[]).await;
    for (text, line) in [
        ("select count(*)\nfrom staff\nwhere day <\n    'today'", 4),
        (
            "select case when day = 'today' then 'today' else 'before' end as bucket, count(*) from staff group by 1",
            1,
        ),
        ("-- refresh: 1h\nselect count(*) from staff where moment < ' NOW '", 2),
        ("select count(*) from staff where moment < timestamptz 'yesterday'", 1),
        ("select count(*) from staff\nwhere moment = any ('{now, 2020-01-01}')", 2),
        ("select string_agg(name, ',') from staff where wall < 'tomorrow'::timestamp", 1),
        ("select * from layer where (select max(day) from staff) < 'today'", 1),
    ] {
        let views = [("layer", "select tiny, count(*) from staff group by tiny"), ("v", text)];
        let error = prepare::prepare(&world.fixture.sink, &parsed(&views)).await.unwrap_err().to_string();
        let begin = format!("view 'v', line {line}: '");
        assert!(error.starts_with(&begin) && error.contains("stands for the moment"), "{text}\n{error}");
    }
}

#[tokio::test]
async fn a_guard_holds_for_all_that_stands_behind_it() {
    let views = [
        (
            "zones",
            "select case when zone <> '' then (moment at time zone zone)::date end as day, \
             count(case when zone <> '' then extract(hour from moment at time zone zone) end) as n \
             from staff group by 1",
        ),
        (
            "units",
            "select case when name <> '' then date_trunc(name, wall) end as a, \
             max(case when name <> '' then date_trunc(name, wall) end) as b, \
             count(case when tiny > 0 then extract(year from make_date(tiny, 1, 1)) end) as c, \
             sum(case when tiny > 0 then extract(year from make_date(tiny, 1, 1))::integer end) as d \
             from staff group by 1",
        ),
    ];
    let world = World::with(&views).await;
    for explained in world.explained(&views).await.values() {
        assert_eq!(explained.kind, ViewKind::Incremental, "{:?}", explained.reason);
    }
    let insert = "insert into staff (id, moment, wall, zone, name, tiny) \
        select i, '2020-01-01 12:00+00', '2020-01-01 12:00', (array['', 'UTC'])[i], (array['', 'month'])[i], i - 1 \
        from generate_series(1, 2) as i";
    world.fixture.execute(insert).await;
    world.assert_exact(&views, "rows that are guarded against").await;
}

#[tokio::test]
async fn what_a_column_and_an_output_are_both_called_is_the_column() {
    let views = [
        (
            "column",
            "select coalesce(name, 'none') as name, string_agg(id::text, ',' order by id) from staff group by name",
        ),
        ("output", "select tiny + 1 as more, string_agg(id::text, ',' order by id) from staff group by more"),
    ];
    let world = World::with(&views).await;
    world.fixture.execute("insert into staff (id, name) values (1, null), (2, 'none')").await;
    for (name, concurrently) in [("column", false), ("output", true)] {
        let refreshed = upkeep::refresh(&world.fixture.sink, name).await.unwrap();
        assert_eq!(refreshed.concurrently, concurrently, "{name}");
    }
    world.assert_exact(&views, "a refresh").await;
}

#[tokio::test]
async fn a_view_may_be_called_as_a_type() {
    let views = [
        ("date", "select (moment at time zone 'UTC')::date as day, count(*) from staff group by 1"),
        ("text", "select tiny::text as tiny, count(*) from staff group by 1"),
        ("z", "select day::text as day, '2020-01-01'::date as start, count from date"),
    ];
    let world = World::new().await;
    world.fixture.execute(PARENTS).await;
    world.apply(&views).await;
    world.fixture.execute("insert into staff (id, moment) values (1, '2020-01-01 12:00+00')").await;
    assert_eq!(world.fixture.query("select day from z").await, ["2020-01-01"]);
}
