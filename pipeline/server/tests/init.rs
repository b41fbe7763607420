//! `tidegate init` writes a manifest that `check` accepts and `run` can use.

use crate::company;
use crate::home::Home;

/// A home without a manifest.
async fn bare() -> Home {
    let home = Home::new("").await;
    std::fs::remove_file(home.path("tidegate.yaml")).unwrap();
    home
}

#[tokio::test]
async fn a_manifest_from_headerless_files_is_accepted_and_ingests_them() {
    let home = bare().await;
    company::drop_example(&home);
    let files = "landing/departments.csv landing/jobs.csv landing/hired_employees.csv";
    let said = home.run(&format!("init --from {files}")).await.succeeded();
    assert!(said.stdout.contains("wrote tidegate.yaml"), "{}", said.stdout);
    home.run("check").await.succeeded();
    let summary = home.run("run --until-idle --format json").await.succeeded().json();
    let accepted: Vec<u64> = (0..3).map(|i| summary["datasets"][i]["accepted"].as_u64().unwrap()).collect();
    assert_eq!(accepted[..2], [12, 183], "{summary}");
    assert!(accepted[2] > 1900, "{summary}");
}

#[tokio::test]
async fn a_manifest_from_files_with_headers_names_their_columns_and_references() {
    let home = bare().await;
    home.drop("departments.csv", "id,department\n1,One\n2,Two\n");
    home.drop(
        "people.csv",
        "id,name,born,score,active,department_id\n1,Ada,1990-02-28,1.5,true,1\n2,Bo,1985-12-01,2.25,false,2\n3,Cy,2001-01-01,,true,9\n",
    );
    home.run("init --from landing/departments.csv landing/people.csv").await.succeeded();
    let manifest = std::fs::read_to_string(home.path("tidegate.yaml")).unwrap();
    for text in ["header: true", "born: date", "active: boolean", "references: departments", "optional: true"]
    {
        assert!(manifest.contains(text), "'{text}' is not in:\n{manifest}");
    }
    home.run("check").await.succeeded();
    home.ingest().await;
    assert_eq!(
        home.query("select id, name, born, score, active, department_id from people order by id").await,
        ["1|Ada|1990-02-28|1.5|t|1", "2|Bo|1985-12-01|2.25|f|2"]
    );
    assert_eq!(home.query("select line from tidegate.dead_letters where status = 'waiting'").await, ["3"]);
}

#[tokio::test]
async fn a_manifest_from_a_file_with_semicolons_reads_it() {
    let home = bare().await;
    home.drop("prices.csv", "id;name;price\n1;Salt;0.5\n2;Pepper, black;3.25\n");
    home.run("init --from landing/prices.csv").await.succeeded();
    home.run("check").await.succeeded();
    home.ingest().await;
    assert_eq!(
        home.query("select id, name, price from prices order by id").await,
        ["1|Salt|0.5", "2|Pepper, black|3.25"]
    );
}

#[tokio::test]
async fn a_manifest_without_samples_is_one_to_fill_in() {
    let home = bare().await;
    home.run("init").await.succeeded();
    home.run("check").await.succeeded();
}

#[tokio::test]
async fn a_manifest_that_is_there_is_replaced_only_by_force() {
    let home = company::home().await;
    home.run("init").await.failed_with(2).saying(&["'tidegate.yaml' is there already", "--force"]);
    assert_eq!(std::fs::read_to_string(home.path("tidegate.yaml")).unwrap(), company::MANIFEST);
    home.run("init --force").await.succeeded();
    assert_ne!(std::fs::read_to_string(home.path("tidegate.yaml")).unwrap(), company::MANIFEST);
}

#[tokio::test]
async fn a_file_that_cannot_be_sampled_leaves_no_manifest() {
    let home = bare().await;
    home.run("init --from none.csv").await.failed_with(1).saying(&["none.csv"]);
    assert!(!home.path("tidegate.yaml").exists());
}
