//! Times without an offset are UTC, whatever the role, the database, the url or a pooler say.

use super::database;
use super::pooler::{Mode, Pooler};
use crate::home::Home;

const MANIFEST: &str = "\
pipeline: times
stable_for: 10ms
datasets:
  slots:
    key: at
    columns: {at: timestamptz, name: text}
  events:
    key: id
    columns:
      id: integer
      at: {type: timestamptz, references: slots}
      local: timestamp
      day: date
      amount: {type: double, optional: true}
";

/// The texts that a time, a number or bytes become, and are read as, are others in such a database.
const ABROAD: [&str; 6] = [
    "timezone = 'America/Bogota'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = iso_8601",
    "bytea_output = escape",
    "extra_float_digits = -5",
    "quote_all_identifiers = on",
];

/// A home in a database whose sessions are told otherwise.
async fn home_abroad() -> Home {
    let home = Home::embedded(MANIFEST).await;
    let database = database(&home).await;
    for setting in ABROAD {
        home.query(&format!("alter database \"{database}\" set {setting}")).await;
    }
    std::fs::create_dir_all(home.path("sql/views")).unwrap();
    let quarters = "select extract(quarter from at at time zone 'UTC')::integer as quarter, day, count(*) as events \
                    from events group by 1, 2";
    std::fs::write(home.path("sql/views/quarters.sql"), quarters).unwrap();
    let days = "-- refresh: 1day\nselect at::date as day, count(*) as events from events group by 1";
    std::fs::write(home.path("sql/views/days.sql"), days).unwrap();
    home
}

/// Ingests children before their parents, whose times have an offset where the children's have none; then holds all of it
/// against UTC.
async fn assert_utc(home: &Home) {
    home.drop(
        "events_1.csv",
        "1,2024-03-31 23:30:00,2024-03-31 23:30:00,2024-03-31,0.1\n\
                               2,2024-01-01T00:30:00,2024-05-04 00:00:00,2024-05-04,1e300\n\
                               3,2024-01-01T00:30:00+02:00,2024-05-04 00:00:00,2024-05-04,\n",
    );
    home.ingest().await;
    assert_eq!(
        home.query("select count(*) from tidegate.dead_letters where status = 'waiting'").await,
        ["3"]
    );
    home.drop(
        "slots_1.csv",
        "2024-03-31T23:30:00Z,last\n2024-01-01 00:30:00,first\n2023-12-31 22:30:00,before\n",
    );
    home.ingest().await;
    let at = "to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')";
    let events = format!(
        "select id, {at}, to_char(local, 'YYYY-MM-DD HH24:MI'), to_char(day, 'YYYY-MM-DD'), amount = any('{{0.1,1e300}}') \
         from events order by id"
    );
    assert_eq!(
        home.query(&events).await,
        [
            "1|2024-03-31 23:30|2024-03-31 23:30|2024-03-31|t",
            "2|2024-01-01 00:30|2024-05-04 00:00|2024-05-04|t",
            "3|2023-12-31 22:30|2024-05-04 00:00|2024-05-04|null",
        ]
    );
    let quarters = "select quarter, to_char(day, 'YYYY-MM-DD'), events from quarters order by 1, 2";
    assert_eq!(home.query(quarters).await, ["1|2024-03-31|1", "1|2024-05-04|1", "4|2024-05-04|1"]);
    // Sent again, so that rows that are there are met; and once more, by staged upsert.
    home.drop("events_2.csv", "1,2024-03-31 23:30:00,2024-03-31 23:30:00,2024-03-31,0.1\n");
    home.ingest().await;
    assert_eq!(home.query(&events).await[0], "1|2024-03-31 23:30|2024-03-31 23:30|2024-03-31|t");
    home.run("verify --deep").await.succeeded();
    let traced = home.run("trace --dataset slots --key 2024-03-31T23:30:00 --format json").await.succeeded();
    assert!(traced.stdout.contains("is of this line"), "{}", traced.stdout);
}

#[tokio::test]
async fn a_database_and_a_url_that_say_another_zone_and_style_shift_nothing() {
    for options in ["", "?options=-c%20timezone%3DAmerica/Bogota%20-c%20datestyle%3DSQL,DMY%20"] {
        let home = home_abroad().await;
        let url = format!("{}{options}", home.url);
        assert_utc(&home.by_way_of(url)).await;
    }
}

/// What poolers are told to take without keeping it.
const IGNORING: &str = "ignore_startup_parameters = options,extra_float_digits,jit,timezone,datestyle,intervalstyle,\
                        bytea_output,client_min_messages,standard_conforming_strings,default_transaction_isolation,\
                        tidegate.session";

#[tokio::test]
async fn a_pooler_that_keeps_a_session_for_a_client_shifts_nothing() {
    for settings in [&[][..], &[IGNORING]] {
        let home = home_abroad().await;
        let Some(pooler) = Pooler::start("times", &home.url, Mode::Session, settings).await else { return };
        let url = pooler.url(&home.url);
        assert_utc(&home.by_way_of(url)).await;
    }
}

#[tokio::test]
async fn a_pooler_that_gives_another_session_to_each_transaction_shifts_nothing() {
    for settings in [&["max_prepared_statements = 200"][..], &["max_prepared_statements = 200", IGNORING]] {
        let home = home_abroad().await;
        let Some(pooler) = Pooler::start("times", &home.url, Mode::Transaction, settings).await else {
            return;
        };
        let url = pooler.url(&home.url);
        assert_utc(&home.by_way_of(url)).await;
    }
}
