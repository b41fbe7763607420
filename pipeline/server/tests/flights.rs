//! Keys of several columns, rows without a key, generated keys of files, and tables that datasets share, from a file to
//! the audit.

use crate::home::Home;

const FLIGHTS: &str = "\
pipeline: flights
stable_for: 10ms
datasets:
  airports:
    key: id
    csv: {header: true}
    columns: {id: {type: integer, generated: {start: 100}}, faa: text}
  weather:
    key: [origin, hour]
    csv: {header: true}
    columns: {origin: text, hour: integer, temp: {type: double, optional: true}}
  weather_old:
    table: weather
    key: [origin, hour]
    csv: {delimiter: \";\"}
    columns: {hour: integer, temp: {type: double, optional: true}, origin: text}
  flights:
    key: none
    columns:
      flight: integer
      origin: {type: text, references: airports.faa}
      hour: {type: integer, optional: true}
    references: [{columns: [origin, hour], to: weather}]
";

const COUNT: &str = "select count(*) from flights";

/// A home with the files of a few flights, all of them ingested.
async fn flown() -> Home {
    let home = Home::new(FLIGHTS).await;
    home.drop("flights.csv", "1,EWR,7\n1,EWR,7\n2,JFK,8\n3,EWR,\n4,LGA,7\n");
    home.drop("weather.csv", "temp,hour,origin\n1.5,7,EWR\n2.5,8,EWR\n");
    home.drop("weather_old.csv", "8;0.5;JFK\n7;0;EWR\n");
    home.drop("airports.csv", "faa\nEWR\nJFK\n");
    home.ingest().await;
    home
}

#[tokio::test]
async fn every_line_of_such_datasets_is_accounted_for() {
    let home = flown().await;
    let rows =
        "select flight || ' ' || origin || ' ' || coalesce(hour::text, '-') from flights order by _line";
    assert_eq!(home.query(rows).await, ["1 EWR 7", "1 EWR 7", "2 JFK 8", "3 EWR -"]);
    // The newest line has the row, of whichever dataset it is.
    let weather = "select origin || ' ' || hour || ' ' || temp from weather order by 1";
    let newest = home
        .query(
            "select max(source) = (select source from tidegate.sources where dataset = 'weather_old') \
                             from tidegate.sources where dataset like 'weather%'",
        )
        .await;
    let ewr = if newest == ["t"] { "EWR 7 0" } else { "EWR 7 1.5" };
    assert_eq!(home.query(weather).await, [ewr, "EWR 8 2.5", "JFK 8 0.5"]);
    assert_eq!(home.query("select id || faa from airports order by id").await, ["100EWR", "101JFK"]);
    home.run("verify --deep").await.succeeded();
    // The missing airport and its weather come, in a file of the older form.
    home.drop("airports-2.csv", "faa,id\nLGA,\nBOS,7\n");
    home.drop("weather_old-2.csv", "7;;LGA\n");
    home.ingest().await;
    assert_eq!(home.query(COUNT).await, ["5"]);
    assert_eq!(home.query("select id || faa from airports where faa > 'L' order by id").await, ["102LGA"]);
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn the_same_file_is_the_same_delivery_also_where_rows_have_no_key() {
    let home = flown().await;
    home.drop("flights.csv", "1,EWR,7\n1,EWR,7\n2,JFK,8\n3,EWR,\n4,LGA,7\n");
    home.ingest().await;
    assert_eq!(home.query(COUNT).await, ["4"]);
    home.drop("flights.csv", "9,EWR,7\n");
    home.ingest().await;
    assert_eq!(home.query(COUNT).await, ["5"]);
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn a_row_is_traced_by_all_columns_of_its_key() {
    let home = flown().await;
    let told = home.run("trace --dataset weather --key EWR,007").await.succeeded().stdout;
    assert!(told.contains("with origin EWR and hour 7 is of this line"), "{told}");
    home.run("trace --dataset weather --key EWR").await.failed_with(2).saying(&["takes 2 values"]);
    home.run("trace --dataset flights --key 1").await.failed_with(2).saying(&["have no key"]);
    let told = home.run("trace flights.csv:2").await.succeeded().stdout;
    assert!(told.contains("row of flights of line"), "{told}");
}

#[tokio::test]
async fn a_reload_gives_lines_the_keys_that_they_had_and_refuses_rows_without_a_key() {
    let home = flown().await;
    let source = async |dataset: &str| {
        let sql = format!("select source from tidegate.sources where dataset = '{dataset}'");
        home.query(&sql).await.concat()
    };
    home.run(&format!("sources reload {}", source("airports").await)).await.succeeded();
    assert_eq!(home.query("select id || faa from airports order by id").await, ["100EWR", "101JFK"]);
    let refused = home.run(&format!("sources reload {}", source("flights").await)).await;
    assert!(refused.code != Some(0) && refused.stderr.contains("have no key"), "{}", refused.stderr);
    assert_eq!(home.query(COUNT).await, ["4"]);
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn a_backup_has_a_shared_table_once_and_doubles_no_row_without_a_key() {
    let home = flown().await;
    let backup = home.run("backup --format json").await.succeeded().json();
    let path = backup["path"].as_str().unwrap().to_owned();
    let files = home.names_in(&path);
    assert!(files.contains(&"weather.avro".to_owned()) && !files.contains(&"weather_old.avro".to_owned()));
    let refused = home.run(&format!("restore {path}")).await;
    assert!(refused.code != Some(0) && refused.stderr.contains("have no key"), "{}", refused.stderr);
    assert_eq!(home.query(COUNT).await, ["4"]);
    home.query("truncate flights").await;
    home.run(&format!("restore {path}")).await.succeeded();
    assert_eq!(home.query(COUNT).await, ["4"]);
    home.run("verify").await.succeeded();
    let again = home.run(&format!("restore {path} flights")).await;
    assert!(again.code != Some(0), "{}", again.stderr);
    assert_eq!(home.query(COUNT).await, ["4"]);
}
