//! Where the tables of datasets lie: in the schema that the manifest says, never in Tidegate's, and nowhere by chance.

use super::database;
use crate::company;
use crate::home::{Home, Outcome};

/// A database as a version had it that left the place of tables and views to the search path.
async fn of_an_earlier_version(schema: &str) -> Home {
    let home = company::embedded(company::MANIFEST).await;
    company::drop_example(&home);
    home.ingest().await;
    home.query(&format!("create schema if not exists {schema}")).await;
    for table in company::TABLES {
        home.query(&format!("alter table public.{table} set schema {schema}")).await;
    }
    for view in ["hires_by_quarter", "hires_by_department", "departments_above_mean"] {
        home.query(&format!("alter view public.{view} set schema {schema}")).await;
    }
    home.query(&format!("update tidegate.views set schema = '{schema}'")).await;
    let database = database(&home).await;
    home.query(&format!("alter database \"{database}\" set search_path = {schema}, public")).await;
    home
}

/// The statements that are told, each up to where its schema is said.
fn told_statements(outcome: &Outcome) -> Vec<String> {
    let starts = outcome.stderr.match_indices("alter ").map(|(at, _)| &outcome.stderr[at..]);
    let ends = |text: &str| {
        let line = text.lines().next().unwrap().to_owned();
        line.split("; or leave").next().unwrap().to_owned()
    };
    starts.map(ends).collect()
}

#[tokio::test]
async fn tables_and_views_that_the_search_path_had_placed_are_moved_by_what_is_told() {
    for schema in ["tidegate", "app"] {
        let home = of_an_earlier_version(schema).await;
        home.drop("jobs_2.csv", "9001,another\n");
        // First the tables, then the views.
        for statements in [3, 3] {
            let refused = home.run("run --until-idle").await.failed_with(1);
            refused_with(&refused, schema);
            let told = told_statements(&refused);
            assert_eq!(told.len(), statements, "{told:#?}");
            let checked = home.run("check --format csv").await.failed_with(1);
            assert!(checked.stdout.contains("set schema"), "{}", checked.stdout);
            for statement in told {
                home.query(&statement).await;
            }
        }
        home.ingest().await;
        assert_eq!(home.query("select job from public.jobs where id = 9001").await, ["another"]);
        company::assert_accounted(&home).await;
        company::assert_views_hold(&home).await;
        home.run("verify").await.succeeded();
        home.run("check").await.succeeded();
    }
}

fn refused_with(outcome: &Outcome, schema: &str) {
    let leave = format!("'schema: {schema}' in the manifest");
    assert_eq!(outcome.stderr.contains(&leave), schema != "tidegate", "{}", outcome.stderr);
}

#[tokio::test]
async fn a_manifest_that_says_the_schema_goes_on_with_tables_that_are_there() {
    let home = of_an_earlier_version("app").await;
    let manifest = company::MANIFEST.replace("pipeline: company", "pipeline: company\nschema: app");
    std::fs::write(home.path("tidegate.yaml"), manifest).unwrap();
    home.drop("jobs_2.csv", "9001,another\n");
    home.ingest().await;
    assert_eq!(home.query("select job from app.jobs where id = 9001").await, ["another"]);
    assert_eq!(home.query("select count(*) from pg_tables where schemaname = 'public'").await, ["0"]);
    assert_eq!(home.query("select schema, count(*) from tidegate.views group by 1").await, ["app|3"]);
    home.run("verify").await.succeeded();
}

const NAMED_AS_OURS: &str = "\
pipeline: ours
stable_for: 10ms
datasets:
  requests:
    key: id
    columns: {id: integer, name: text}
  sources:
    key: source
    columns: {source: integer, name: text}
";

#[tokio::test]
async fn a_dataset_that_is_called_as_a_table_of_tidegate_is_another_table() {
    let home = Home::embedded(NAMED_AS_OURS).await;
    let database = database(&home).await;
    home.query(&format!("alter database \"{database}\" set search_path = tidegate, public")).await;
    home.drop("requests_1.csv", "1,one\n");
    home.drop("sources_1.csv", "7,seven\n");
    home.ingest().await;
    assert_eq!(home.query("select name from public.requests").await, ["one"]);
    assert_eq!(home.query("select name from public.sources").await, ["seven"]);
    let told = home.run("check --format csv").await.succeeded().stdout;
    assert!(told.contains("public.requests fits the manifest"), "{told}");
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_said_with_what_makes_it() {
    let home = Home::embedded(&NAMED_AS_OURS.replace("stable_for", "schema: absent\nstable_for")).await;
    home.run("run --until-idle").await.failed_with(1).saying(&["create schema \"absent\""]);
    assert!(home.run("check --format csv").await.failed_with(1).stdout.contains("create schema absent"));
    home.query("create schema absent").await;
    home.run("check").await.succeeded();
    home.drop("requests_1.csv", "1,one\n");
    home.ingest().await;
    assert_eq!(home.query("select name from absent.requests").await, ["one"]);
}
