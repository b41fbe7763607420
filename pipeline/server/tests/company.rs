//! Homes of the company, and what must always hold in them.

use serde_json::Value;
use tidegate_testing::company;
pub(crate) use tidegate_testing::company::{MANIFEST, TABLES, file};

use crate::home::Home;

/// What a view must equal, asked of the tables directly.
const QUERIES: [(&str, &str); 3] = [
    (
        "hires_by_quarter",
        "select extract(year from at)::integer, department, job,
            count(*) filter (where extract(quarter from at) = 1),
            count(*) filter (where extract(quarter from at) = 2),
            count(*) filter (where extract(quarter from at) = 3),
            count(*) filter (where extract(quarter from at) = 4)
        from (select *, datetime at time zone 'UTC' as at from hired_employees) as hired
        join departments on departments.id = department_id
        join jobs on jobs.id = job_id
        group by 1, 2, 3",
    ),
    (
        "hires_by_department",
        "select extract(year from datetime at time zone 'UTC')::integer, departments.id, department, count(*)
        from hired_employees join departments on departments.id = department_id
        group by 1, 2, 3",
    ),
    (
        "departments_above_mean",
        "with hired as (
            select extract(year from datetime at time zone 'UTC')::integer as year, department_id, count(*) as n
            from hired_employees group by 1, 2
        )
        select year, id, department, n
        from hired join departments on id = department_id
        where n > (select avg(n) from hired as other where other.year = hired.year)",
    ),
];

/// A home of the company, with the views of the repository.
pub(crate) async fn home() -> Home {
    with_manifest(MANIFEST).await
}

/// The same with another manifest of the company.
pub(crate) async fn with_manifest(manifest: &str) -> Home {
    furnished(Home::new(manifest).await)
}

/// The same, with embedded topics, whatever else the tests run on.
pub(crate) async fn embedded(manifest: &str) -> Home {
    furnished(Home::embedded(manifest).await)
}

/// The home, with the views of the repository.
pub(crate) fn furnished(home: Home) -> Home {
    let views = home.path("sql/views");
    std::fs::create_dir_all(&views).unwrap();
    for (name, text) in company::VIEWS {
        std::fs::write(views.join(format!("{name}.sql")), text).unwrap();
    }
    home
}

/// Drops the files of the example.
pub(crate) fn drop_example(home: &Home) {
    for table in TABLES {
        home.drop(&format!("{table}.csv"), file(table));
    }
}

/// All that the landed files came to, but for positions and times.
pub(crate) async fn state(home: &Home) -> Vec<String> {
    let mut state = Vec::new();
    let mut add = |title: &str, rows: Vec<String>| {
        state.push(format!("== {title}"));
        state.extend(rows);
    };
    add("departments", home.query("select id, department from departments order by id").await);
    add("jobs", home.query("select id, job from jobs order by id").await);
    let employees = "select id, name, datetime, department_id, job_id from hired_employees order by id";
    add("hired_employees", home.query(employees).await);
    for (view, _) in QUERIES {
        add(view, home.query(&format!("select * from {view}")).await);
    }
    // What a waiting line waits for is a test of its own, in `order`.
    let letters = "select dataset, status, text, case status when 'rejected' then reasons end \
                   from tidegate.dead_letters where status in ('rejected', 'waiting') \
                   order by dataset, status, text, reasons::text";
    add("dead letters", home.query(letters).await);
    state
}

/// Fails unless two states are equal, and names the first difference.
#[track_caller]
pub(crate) fn assert_same(what: &str, left: &[String], right: &[String]) {
    let different = (0..left.len().max(right.len())).find(|i| left.get(*i) != right.get(*i));
    if let Some(i) = different {
        panic!("{what}: they differ at row {i}:\n  {:?}\n  {:?}", left.get(i), right.get(i));
    }
}

/// Fails unless every line is accounted for once and every view equals its query.
pub(crate) async fn assert_accounted(home: &Home) {
    for source in home.sources().await {
        let n = |name: &str| source[name].as_u64().unwrap_or_else(|| panic!("no {name}: {source}"));
        assert_eq!(
            n("accepted") + n("rejected") + n("waiting") + n("discarded"),
            n("lines"),
            "a line is lost or counted twice: {source}"
        );
        assert_eq!(n("in_flight"), 0, "{source}");
        assert_eq!(source["complete"], Value::Bool(true), "{source}");
    }
    // What the ledger says of each line is what the tables hold.
    let letters = "select count(*) from tidegate.dead_letters where status = ";
    for fate in ["rejected", "waiting"] {
        let ledger = format!("select coalesce(sum({fate}_count), 0) from tidegate.ledger");
        assert_eq!(
            home.query(&ledger).await,
            home.query(&format!("{letters}'{fate}'")).await,
            "lines {fate}: by the ledger, and as dead letters"
        );
    }
    assert_views_hold(home).await;
}

/// Fails unless every view equals what its query gives over the tables.
pub(crate) async fn assert_views_hold(home: &Home) {
    for (view, query) in QUERIES {
        let (here, there) = (format!("(select * from {view})"), format!("({query})"));
        for (what, a, b) in [("too much", &here, &there), ("missing", &there, &here)] {
            let rows = home.query(&format!("{a} except all {b}")).await;
            assert!(rows.is_empty(), "{what} in {view}: {rows:?}");
        }
    }
}
