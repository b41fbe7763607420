//! Keys of several columns, rows without a key, and references of several columns or to a column that is no key.

use tidegate_core::contract::{Sink, Tally};
use tidegate_core::ledger::Effects;
use tidegate_core::registry::{Arrival, ArrivalRole, KeysNeeded, Registry};
use tidegate_core::shape::Shape;
use tidegate_store::{prepare, restores};
use tidegate_testing::postgres;
use tidegate_views::View;

use super::fixture::{Fixture, delivery, fates};

/// Airports (0), weather (1), parts (2), flights (3).
const FLIGHTS: &str = "\
pipeline: p
datasets:
  airports:
    key: id
    columns: {id: integer, faa: {type: text, optional: true}}
  weather:
    key: [origin, hour]
    columns: {hour: integer, origin: text, temp: {type: double, optional: true}}
  parts:
    key: [kind, id]
    columns:
      id: integer
      kind: text
      of_kind: {type: text, optional: true}
      of_id: {type: integer, optional: true}
    references: [{columns: [of_kind, of_id], to: parts}]
  flights:
    key: none
    columns:
      flight: integer
      origin: {type: text, optional: true, references: airports.faa}
      hour: {type: integer, optional: true}
    references: [{columns: [origin, hour], to: weather}]
";
const AIRPORTS: usize = 0;
const WEATHER: usize = 1;
const PARTS: usize = 2;
const FLIGHT: usize = 3;

fn effects([inserted, updated, superseded]: [u64; 3]) -> Effects {
    Effects { inserted, updated, superseded, uncounted: 0 }
}

/// A fresh database, prepared for a manifest and a view, with sources 1 to 100.
async fn with_view(manifest: &str, name: &str, text: &str) -> Fixture {
    let fixture = Fixture::unprepared(&postgres::database().await, manifest).await;
    fixture.prepare(&[View::parse(name, text).unwrap()]).await;
    fixture.add_sources().await;
    fixture
}

async fn weather(fixture: &Fixture) -> Vec<String> {
    fixture.query("select concat_ws(' ', origin, hour, temp, _source, _line) from weather order by 1").await
}

async fn flights(fixture: &Fixture) -> Vec<String> {
    let sql = "select concat_ws(' ', flight, origin, hour, _source || ':' || _line) from flights \
               order by _source, _line";
    fixture.query(sql).await
}

#[tokio::test]
async fn of_a_key_of_several_columns_the_newest_line_has_the_row() {
    let fixture = Fixture::new(FLIGHTS).await;
    // The first goes by direct copy, the second through the staging table.
    let first = [(WEATHER, 1, 1, "7,EWR,1"), (WEATHER, 1, 2, "8,EWR,2"), (WEATHER, 1, 3, "7,JFK,3")];
    let applied = fixture.apply(&delivery(&first)).await.unwrap();
    assert_eq!(applied.tallies[WEATHER].effects, effects([3, 0, 0]));
    let second = [
        (WEATHER, 2, 1, "007,EWR,4"),
        (WEATHER, 2, 2, "9,EWR,5"),
        (WEATHER, 2, 3, "9,EWR,6"),
        (WEATHER, 1, 4, "7,EWR,0"),
    ];
    let applied = fixture.apply(&delivery(&second)).await.unwrap();
    assert_eq!(applied.tallies[WEATHER].effects, effects([1, 1, 2]));
    assert_eq!(weather(&fixture).await, ["EWR 7 4 2 1", "EWR 8 2 1 2", "EWR 9 6 2 3", "JFK 7 3 1 3"]);
}

#[tokio::test]
async fn rows_of_such_keys_are_written_one_by_one_where_postgres_refuses_some() {
    let fixture = Fixture::new(FLIGHTS).await;
    fixture.execute("alter table weather add check (temp > 0)").await;
    fixture.apply(&delivery(&[(WEATHER, 1, 1, "7,EWR,1")])).await.unwrap();
    let lines = [(WEATHER, 2, 1, "7,EWR,-1"), (WEATHER, 2, 2, "7,EWR,2"), (WEATHER, 2, 3, "8,EWR,3")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    let expected = Tally { accepted: 2, rejected: 1, effects: effects([1, 1, 0]), ..Tally::default() };
    assert_eq!(applied.tallies[WEATHER], expected);
    assert_eq!(weather(&fixture).await, ["EWR 7 2 2 2", "EWR 8 3 2 3"]);
    assert_eq!(fixture.letters().await, ["2:1 rejected constraint_violation"]);
}

#[tokio::test]
async fn without_a_key_every_line_inserts_once_however_often_it_is_delivered() {
    let fixture = Fixture::new(FLIGHTS).await;
    let lines = [(FLIGHT, 1, 1, "5,,"), (FLIGHT, 1, 2, "5,,"), (FLIGHT, 2, 1, "5,,")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[FLIGHT].effects, effects([3, 0, 0]));
    let again = [(FLIGHT, 1, 2, "5,,"), (FLIGHT, 1, 3, "6,,")];
    let applied = fixture.apply(&delivery(&again)).await.unwrap();
    let expected = Tally { accepted: 1, duplicates: 1, effects: effects([1, 0, 0]), ..Tally::default() };
    assert_eq!(applied.tallies[FLIGHT], expected);
    assert_eq!(flights(&fixture).await, ["5 1:1", "5 1:2", "6 1:3", "5 2:1"]);
}

#[tokio::test]
async fn rows_without_a_key_pass_triggers_and_constraints_one_by_one() {
    let fixture = Fixture::new(FLIGHTS).await;
    fixture
        .execute(
            "alter table flights add check (flight > 0); \
             create function theirs() returns trigger language plpgsql as $$ begin \
             if new.flight = 13 then return null; end if; return new; end $$; \
             create trigger theirs before insert on flights for each row execute function theirs()",
        )
        .await;
    let lines =
        [(FLIGHT, 1, 1, "5,,"), (FLIGHT, 1, 2, "13,,"), (FLIGHT, 1, 3, "-1,,"), (FLIGHT, 1, 4, "5,,")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    let expected = Tally { accepted: 2, rejected: 2, effects: effects([2, 0, 0]), ..Tally::default() };
    assert_eq!(applied.tallies[FLIGHT], expected);
    assert_eq!(flights(&fixture).await, ["5 1:1", "5 1:4"]);
    assert_eq!(fixture.letters().await, ["1:2 rejected left_out", "1:3 rejected constraint_violation"]);
}

#[tokio::test]
async fn a_line_waits_for_a_row_that_has_all_values_of_its_reference() {
    let fixture = Fixture::new(FLIGHTS).await;
    fixture.execute("insert into airports values (1, 'EWR'), (2, 'JFK')").await;
    fixture.execute("insert into weather (origin, hour) values ('EWR', 8), ('JFK', 7)").await;
    let lines = [(FLIGHT, 1, 1, "5,EWR,7"), (FLIGHT, 1, 2, "5,EWR,8"), (FLIGHT, 1, 3, "5,EWR,")];
    fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(flights(&fixture).await, ["5 EWR 8 1:2", "5 EWR 1:3"], "a missing part references nothing");
    let awaits = fixture.query("select awaits::text from tidegate.dead_letters").await;
    assert_eq!(awaits, [r#"{"origin, hour": ["EWR", "7"]}"#]);
    let said = fixture.query("select reasons -> 0 ->> 'message' from tidegate.dead_letters").await;
    assert_eq!(said, ["weather has no row 'EWR,7'"]);
    assert_eq!(fixture.sink.heal().await.unwrap(), 0);
    fixture.apply(&delivery(&[(WEATHER, 2, 1, "7,EWR,1")])).await.unwrap();
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    assert_eq!(flights(&fixture).await, ["5 EWR 7 1:1", "5 EWR 8 1:2", "5 EWR 1:3"]);
}

#[tokio::test]
async fn a_reference_to_a_column_that_is_no_key_makes_it_unique_and_heals_when_a_row_has_the_value() {
    let fixture = Fixture::new(FLIGHTS).await;
    fixture.apply(&delivery(&[(FLIGHT, 1, 1, "5,EWR,"), (AIRPORTS, 2, 1, "1,JFK")])).await.unwrap();
    assert_eq!(fates(&fixture.sink, 1).await, [0, 0, 1, 0]);
    fixture.apply(&delivery(&[(AIRPORTS, 2, 2, "2,EWR"), (AIRPORTS, 2, 3, "3,")])).await.unwrap();
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    assert_eq!(flights(&fixture).await, ["5 EWR 1:1"]);
    // Another row of the value, and a row that would take the value away from the flight.
    let lines = [(AIRPORTS, 3, 1, "4,JFK"), (AIRPORTS, 3, 2, "2,LGA"), (AIRPORTS, 3, 3, "5,")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!((applied.tallies[AIRPORTS].accepted, applied.tallies[AIRPORTS].rejected), (1, 2));
    assert_eq!(fixture.rows("airports").await, ["1,JFK,2,1", "2,EWR,2,2", "3,,2,3", "5,,3,3"]);
}

#[tokio::test]
async fn rows_reference_rows_of_their_own_batch_by_several_columns() {
    let fixture = Fixture::new(FLIGHTS).await;
    let lines = [
        (PARTS, 1, 1, "2,wheel,car,1"),
        (PARTS, 1, 2, "1,car,,"),
        (PARTS, 1, 3, "3,wheel,car,2"),
        (PARTS, 1, 4, "4,wheel,wheel,3"),
        (PARTS, 1, 5, "5,wheel,wheel,"),
    ];
    fixture.apply(&delivery(&lines)).await.unwrap();
    let parts = "select kind || id from parts order by _source, _line";
    assert_eq!(fixture.query(parts).await, ["wheel2", "car1", "wheel5"]);
    assert_eq!(fates(&fixture.sink, 1).await, [3, 0, 2, 0]);
    fixture.apply(&delivery(&[(PARTS, 2, 1, "2,car,,")])).await.unwrap();
    fixture.sink.heal().await.unwrap();
    assert_eq!(fixture.query(parts).await, ["wheel2", "car1", "wheel3", "wheel4", "wheel5", "car2"]);
}

#[tokio::test]
async fn a_view_joins_by_all_columns_of_a_reference_and_is_kept_row_by_row() {
    let joined = "select f.flight, w.temp, count(*) as flights from flights as f join weather as w \
                  on f.origin = w.origin and w.hour = f.hour group by f.flight, w.temp";
    let fixture = with_view(FLIGHTS, "temps", joined).await;
    assert_eq!(
        fixture.query("select count(*) from tidegate.view_stores").await,
        ["1"],
        "not refreshed as a whole"
    );
    fixture.execute("insert into airports values (1, 'EWR')").await;
    fixture.apply(&delivery(&[(WEATHER, 1, 1, "7,EWR,1"), (WEATHER, 1, 2, "8,EWR,2")])).await.unwrap();
    let lines = [
        (FLIGHT, 1, 3, "5,EWR,7"),
        (FLIGHT, 1, 4, "5,EWR,7"),
        (FLIGHT, 1, 5, "5,EWR,8"),
        (FLIGHT, 1, 6, "6,EWR,"),
    ];
    fixture.apply(&delivery(&lines)).await.unwrap();
    let rows = "select concat_ws(' ', flight, temp, flights) from temps order by 1";
    assert_eq!(fixture.query(rows).await, ["5 1 2", "5 2 1"]);
    fixture.apply(&delivery(&[(WEATHER, 2, 1, "8,EWR,1"), (FLIGHT, 2, 2, "6,EWR,8")])).await.unwrap();
    assert_eq!(fixture.query(rows).await, ["5 1 3", "6 1 1"]);
    // One of the two columns alone is no reference.
    let half =
        "select w.temp, count(*) from flights as f join weather as w on f.hour = w.hour group by w.temp";
    let error = prepare::prepare(&fixture.sink, &[View::parse("half", half).unwrap()]).await;
    assert!(error.is_err() || fixture.query("select count(*) from tidegate.view_stores").await == ["0"]);
}

const TWO: &str = "\
pipeline: p
datasets:
  old: {table: jobs, key: id, columns: {id: integer, job: text}}
  new: {table: jobs, key: id, columns: {job: text, id: integer}}
  staff: {key: none, columns: {name: text, job: {type: integer, references: new}}}
";

#[tokio::test]
async fn datasets_that_share_a_table_write_to_it_and_fulfil_references_to_each_other() {
    let by_job = "select job, count(*) as jobs from jobs group by job";
    let fixture = with_view(TWO, "by_job", by_job).await;
    let [old, new, staff] = [0, 1, 2];
    fixture.apply(&delivery(&[(staff, 9, 1, "Ann,7"), (staff, 9, 2, "Bob,8")])).await.unwrap();
    let applied = fixture.apply(&delivery(&[(new, 2, 1, "clerk,7"), (old, 1, 1, "1,cook")])).await.unwrap();
    assert!(applied.may_heal);
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    // In one batch, the newest of both has the row.
    let both =
        [(old, 3, 1, "8,older"), (new, 4, 1, "newer,8"), (old, 5, 1, "7,newest"), (new, 4, 2, "newer,7")];
    let applied = fixture.apply(&delivery(&both)).await.unwrap();
    assert_eq!(applied.tallies[old].effects, effects([1, 1, 0]));
    assert_eq!(applied.tallies[new].effects, effects([0, 1, 1]));
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    assert_eq!(fixture.rows("jobs").await, ["1,cook,1,1", "7,newest,5,1", "8,newer,4,1"]);
    assert_eq!(fixture.query("select name from staff order by 1").await, ["Ann", "Bob"]);
    assert_eq!(
        fixture.query("select job || jobs from by_job order by 1").await,
        ["cook1", "newer1", "newest1"]
    );
}

#[tokio::test]
async fn restored_rows_of_a_table_without_a_key_may_double_what_is_there_or_on_its_way() {
    let fixture = Fixture::new(FLIGHTS).await;
    let may_double = async |dataset| restores::may_double(&fixture.sink, dataset).await.unwrap();
    assert!(!may_double(FLIGHT).await);
    fixture
        .execute("update tidegate.sources set dataset = 'flights', kind = 'restore' where source = 1")
        .await;
    assert!(may_double(FLIGHT).await, "another restore is not complete");
    fixture.execute("update tidegate.sources set completed_at = now()").await;
    assert!(!may_double(FLIGHT).await);
    fixture.apply(&delivery(&[(FLIGHT, 2, 1, "5,,"), (AIRPORTS, 2, 2, "1,")])).await.unwrap();
    assert!(may_double(FLIGHT).await && !may_double(AIRPORTS).await);
}

#[tokio::test]
async fn the_tables_that_are_created_have_these_keys() {
    let fixture = Fixture::new(FLIGHTS).await;
    let constraints = fixture
        .query(
            "select conrelid::regclass || ': ' || pg_get_constraintdef(oid) from pg_constraint \
             where contype in ('p', 'u', 'f') and connamespace = 'public'::regnamespace order by 1",
        )
        .await;
    assert_eq!(
        constraints,
        [
            "airports: PRIMARY KEY (id)",
            "airports: UNIQUE (faa)",
            "flights: FOREIGN KEY (origin) REFERENCES airports(faa)",
            "flights: FOREIGN KEY (origin, hour) REFERENCES weather(origin, hour)",
            "flights: PRIMARY KEY (_source, _line)",
            "parts: FOREIGN KEY (of_kind, of_id) REFERENCES parts(kind, id)",
            "parts: PRIMARY KEY (kind, id)",
            "weather: PRIMARY KEY (origin, hour)",
        ]
    );
    prepare::prepare(&fixture.sink, &[]).await.unwrap(); // holds the tables against the manifest
}

/// The tables of the manifest, with other columns beside.
const POSITION: &str = "_source bigint not null default -1, _line bigint not null default -1";

#[tokio::test]
async fn tables_that_are_there_fit_whatever_the_order_of_their_keys() {
    let url = postgres::database().await;
    let fixture = Fixture::unprepared(&url, FLIGHTS).await;
    fixture
        .execute(&format!(
            "create table airports (id integer primary key, faa text unique, {POSITION}); \
             create table weather (hour integer, origin text, temp double precision, {POSITION}, \
             primary key (hour, origin)) partition by range (hour); \
             create table weather_early partition of weather for values from (0) to (12); \
             create table weather_late partition of weather for values from (12) to (24); \
             create table flights (flight integer not null, origin text references airports (faa), hour integer, \
             {POSITION}, foreign key (hour, origin) references weather (hour, origin))"
        ))
        .await;
    fixture.prepare(&[]).await;
    fixture.add_sources().await;
    let lines = [
        (AIRPORTS, 1, 1, "1,EWR"),
        (WEATHER, 1, 2, "7,EWR,1"),
        (WEATHER, 1, 3, "13,EWR,2"),
        (WEATHER, 2, 1, "7,EWR,3"),
        (FLIGHT, 2, 2, "5,EWR,13"),
        (FLIGHT, 2, 3, "5,EWR,13"),
    ];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[WEATHER].effects, effects([2, 0, 1]));
    let applied = fixture.apply(&delivery(&[(WEATHER, 3, 1, "13,EWR,4")])).await.unwrap();
    assert_eq!(applied.tallies[WEATHER].effects, effects([0, 1, 0]));
    assert_eq!(weather(&fixture).await, ["EWR 13 4 3 1", "EWR 7 3 2 1"]);
    assert_eq!(flights(&fixture).await, ["5 EWR 13 2:2", "5 EWR 13 2:3"], "without any index");
}

#[tokio::test]
async fn tables_that_lack_such_keys_are_refused_with_what_adds_them() {
    let url = postgres::database().await;
    let fixture = Fixture::unprepared(&url, FLIGHTS).await;
    fixture
        .execute(&format!(
            "create table airports (id integer primary key, faa text, {POSITION}); \
             create table weather (hour integer not null, origin text not null, temp double precision, {POSITION}); \
             create unique index on weather (origin, hour, temp); create unique index on weather (origin); \
             create table flights (flight integer not null, origin text, hour integer, {POSITION})"
        ))
        .await;
    let said = |dataset: usize| {
        let sink = &fixture.sink;
        async move {
            let client = sink.connection().await.unwrap();
            let dataset = &sink.manifest().datasets[dataset];
            let differences = tidegate_postgres::table::differences(&client, sink.manifest(), dataset).await;
            differences.unwrap().unwrap()
        }
    };
    assert_eq!(
        said(AIRPORTS).await,
        [r#"column faa is referenced and not unique: alter table "public"."airports" add unique ("faa")"#]
    );
    assert_eq!(
        said(WEATHER).await,
        [
            r#"columns origin, hour are no key: alter table "public"."weather" add primary key ("origin", "hour")"#
        ]
    );
    assert_eq!(
        said(FLIGHT).await,
        [
            r#"column origin has no foreign key, and Postgres can make none until "faa" is a key of "public"."airports""#,
            r#"columns origin, hour have no foreign key, and Postgres can make none until "origin", "hour" is a key of "public"."weather""#,
        ]
    );
}

#[tokio::test]
async fn a_file_that_lacks_keys_takes_numbers_once_and_keeps_them_when_it_is_read_again() {
    let manifest = "pipeline: p\ndatasets:\n  people:\n    key: id\n    columns: {id: {type: integer, generated: {start: 100}}, name: text}\n";
    let fixture = Fixture::without_sources(manifest).await;
    let store = &fixture.sink;
    let shape = &Shape::of(store.manifest(), &store.manifest().datasets[0]);
    let file = |name: &'static str, fingerprint: &'static [u8; 32], lines: Option<u64>, role| Arrival {
        dataset: "people",
        name,
        fingerprint,
        content: fingerprint,
        bytes: 1,
        role,
        shape,
        keys: lines.map(|lines| KeysNeeded::Numbers { start: 100, lines }),
    };
    let first_key = async |arrival: Arrival<'_>| Registry::register(store, arrival).await.unwrap().first_key;
    let delivery = ArrivalRole::Delivery;
    assert_eq!(first_key(file("a", &[1; 32], Some(5), delivery)).await, Some(100));
    assert_eq!(first_key(file("b", &[2; 32], None, delivery)).await, None);
    assert_eq!(first_key(file("c", &[3; 32], Some(1), delivery)).await, Some(105));
    assert_eq!(first_key(file("a", &[1; 32], Some(5), delivery)).await, Some(100), "the same source");
    // As a recovery registers it, without the keys.
    fixture.execute("update tidegate.sources set first_key = null where name = 'c'").await;
    assert_eq!(first_key(file("c", &[3; 32], Some(1), delivery)).await, Some(106));
    // As a recovery registers it, which knows its first key and not how many lines it has.
    fixture.execute("update tidegate.generated_keys set next = 100").await;
    assert_eq!(first_key(file("c", &[3; 32], Some(1), delivery)).await, Some(106));
    assert_eq!(fixture.query("select next from tidegate.generated_keys").await, ["107"]);
    fixture.execute("insert into tidegate.reloads (reload, old_source, asked_by) overriding system value values (7, 1, 'me')").await;
    let again = file("a", &[1; 32], Some(5), ArrivalRole::Reload(7));
    assert_eq!(first_key(again).await, Some(100), "the keys that its rows have");
    assert_eq!(first_key(again).await, Some(100));
    // Keys that another application has taken are passed over.
    fixture.execute("insert into people values (108, 'x')").await;
    assert_eq!(first_key(file("d", &[4; 32], Some(3), delivery)).await, Some(110));
}
