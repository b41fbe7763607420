//! `tidegate check` says what is missing, and changes nothing.

use crate::company;
use crate::home::{Home, Outcome};

/// The findings: subject, result, message.
async fn findings(home: &Home, arguments: &str) -> (Outcome, Vec<[String; 3]>) {
    let outcome = home.run(&format!("check --format json {arguments}")).await;
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
    let findings = outcome.rows();
    let findings = findings.iter().map(|row| ["subject", "result", "message"].map(|name| text(row, name)));
    let findings = findings.collect();
    (outcome, findings)
}

/// The result and message of the first finding about a subject that is not good, or is good.
#[track_caller]
fn about<'a>(findings: &'a [[String; 3]], subject: &str, result: &str) -> &'a str {
    let found = findings.iter().find(|finding| finding[0] == subject && finding[1] == result);
    &found.unwrap_or_else(|| panic!("no {result} about {subject}: {findings:#?}"))[2]
}

const SCHEMAS: &str = "select count(*) from pg_namespace where nspname = 'tidegate'";

#[tokio::test]
async fn a_fresh_database_is_fine_and_stays_as_it_is() {
    let home = company::home().await;
    home.drop("departments.csv", "1,One\n");
    home.drop("notes.txt", "");
    let (outcome, findings) = findings(&home, "").await;
    outcome.succeeded();
    assert!(about(&findings, "manifest", "ok").contains("3 datasets"));
    assert!(about(&findings, "views", "ok").starts_with("3 in "));
    assert!(about(&findings, "landing folder", "ok").contains("1 files to ingest"));
    assert!(about(&findings, "landing folder", "warning").contains("notes.txt"));
    assert!(about(&findings, "pipeline", "ok").contains("run will prepare it"));
    assert!(about(&findings, "table departments", "ok").contains("run will create it"));
    assert_eq!(home.query(SCHEMAS).await, ["0"]);
    assert_eq!(home.query("select count(*) from pg_tables where schemaname = 'public'").await, ["0"]);
    assert_eq!(home.names_in("landing"), ["departments.csv", "notes.txt"]);
    assert!(!home.path(".tidegate").exists());
}

#[tokio::test]
async fn files_that_would_be_refused_or_begin_with_names_are_warned_of() {
    let manifest = "pipeline: c\ndatasets:\n  t: {key: id, columns: {id: text, name: text}}\n  \
                    h: {key: id, csv: {header: true}, columns: {id: text}}\n";
    let home = Home::new(manifest).await;
    home.drop("t1.csv", "id,name\na,Ann\n");
    home.drop("h1.csv", b"PK\x03\x04\x14\0\0\0\x08\0a.csv");
    home.drop("h2.csv", "id\na\n");
    let (outcome, findings) = findings(&home, "").await;
    outcome.succeeded();
    let warnings: Vec<&str> =
        findings.iter().filter(|it| it[1] == "warning").map(|it| it[2].as_str()).collect();
    let warns = |name: &str, what: &str| warnings.iter().any(|it| it.starts_with(name) && it.contains(what));
    assert!(warns("t1.csv", "its first line names the columns"), "{warnings:?}");
    assert!(warns("h1.csv", "zip archive"), "{warnings:?}");
    assert_eq!(warnings.iter().filter(|it| it.starts_with("h2.csv")).count(), 0, "{warnings:?}");
}

#[tokio::test]
async fn a_landing_folder_that_is_missing_is_not_created() {
    let home = company::home().await;
    std::fs::remove_dir(home.path("landing")).unwrap();
    let (outcome, findings) = findings(&home, "").await;
    outcome.succeeded();
    assert!(about(&findings, "landing folder", "ok").contains("run will create it"));
    assert!(!home.path("landing").exists());
    home.ingest().await;
    assert!(home.path("landing").exists());
}

#[tokio::test]
async fn what_a_run_has_prepared_passes() {
    let home = company::home().await;
    company::drop_example(&home);
    home.ingest().await;
    let (outcome, findings) = findings(&home, "").await;
    outcome.succeeded();
    assert!(findings.iter().all(|finding| finding[1] == "ok"), "{findings:#?}");
    assert!(home.run("check").await.succeeded().stdout.contains("fits the manifest"));
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused_with_its_differences() {
    let home = company::home().await;
    home.query("create table departments (id bigint primary key, department text)").await;
    let (outcome, findings) = findings(&home, "").await;
    outcome.failed_with(1).saying(&["found a fault"]);
    let differences = about(&findings, "table departments", "fault");
    for difference in ["id is bigint, the manifest says integer", "_source is missing", "_line is missing"] {
        assert!(differences.contains(difference), "'{difference}' is not in '{differences}'");
    }
    assert_eq!(home.query(SCHEMAS).await, ["0"]);
    // A run says the same, and leaves the table as it is.
    home.run("run --until-idle").await.failed_with(1).saying(&["does not fit the manifest", "id is bigint"]);
    let columns = "select string_agg(attname, ' ') from pg_attribute \
                   where attrelid = 'departments'::regclass and attnum > 0";
    assert_eq!(home.query(columns).await, ["id department"]);
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_fault_beside_the_others() {
    let home = company::home().await;
    std::fs::write(home.path("sql/views/broken.sql"), "delete from jobs").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (outcome, findings) = findings(&home, &format!("--database-url postgres://me@{free}/db")).await;
    outcome.failed_with(1).saying(&["2 of "]);
    assert!(about(&findings, "database", "fault").contains("cannot connect"));
    assert!(about(&findings, "views", "fault").contains("broken.sql"));
    about(&findings, "manifest", "ok");
}

#[tokio::test]
async fn no_database_at_all_is_a_fault() {
    let home = company::home().await;
    let mut command = home.command(["check", "--format", "json"]);
    command.env_remove("DATABASE_URL");
    let outcome = crate::home::Running::start(command).ended().await.failed_with(1);
    assert!(outcome.stdout.contains("DATABASE_URL"), "{}", outcome.stdout);
}

#[tokio::test]
async fn another_pipelines_database_is_a_fault() {
    let home = company::embedded(company::MANIFEST).await;
    home.ingest().await;
    let other = company::MANIFEST.replace("pipeline: company", "pipeline: other");
    std::fs::write(home.path("tidegate.yaml"), other).unwrap();
    let (outcome, findings) = findings(&home, "").await;
    outcome.failed_with(1);
    let fault = about(&findings, "pipeline", "fault");
    assert!(fault.contains("'company'") && fault.contains("'other'"), "{fault}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_to_grant() {
    let home = company::home().await;
    let name = home.query("select current_database()").await.remove(0);
    home.query(&format!("create role poor_{name} login password 'x'")).await;
    home.query(&format!("revoke all on database {name} from public")).await;
    home.query(&format!("grant connect on database {name} to poor_{name}")).await;
    let config: tokio_postgres::Config = home.url.parse().unwrap();
    let url = format!("postgres://poor_{name}:x@127.0.0.1:{}/{name}", config.get_ports()[0]);
    let (outcome, findings) = findings(&home, &format!("--database-url {url}")).await;
    outcome.failed_with(1);
    assert!(about(&findings, "rights", "fault").contains("grant create on database"));
}

#[tokio::test]
async fn all_faults_of_a_manifest_are_named_with_their_places() {
    let home = company::home().await;
    let faulty = company::MANIFEST.replace("key: id\n    columns:\n", "kye: id\n    columns:\n");
    let faulty = faulty
        .replace("jobs:\n    key: id", "jobs:\n    key: code")
        .replace("datetime: timestamptz", "datetime: datetime");
    std::fs::write(home.path("tidegate.yaml"), faulty).unwrap();
    home.run("check").await.failed_with(2).saying(&[
        "tidegate.yaml:8:10: the key \"code\" is no column of jobs",
        "tidegate.yaml:11:5: unknown key \"kye\"; did you mean \"key\"?",
        "tidegate.yaml:15:17: \"datetime\" is no type; did you mean \"timestamptz\"?",
    ]);
}

#[tokio::test]
async fn keys_that_are_there_already_are_not_to_be_generated() {
    let manifest = company::MANIFEST.replace(
        "columns: {id: integer, job: text}",
        "columns: {id: {type: integer, generated: {start: 100}}, job: text}",
    );
    let home = company::with_manifest(&manifest).await;
    let (outcome, found) = findings(&home, "").await;
    outcome.succeeded();
    assert!(!found.iter().any(|finding| finding[0] == "generated keys of jobs"), "{found:#?}");
    home.drop("jobs.csv", "99,A\n");
    home.ingest().await;
    let (_, found) = findings(&home, "").await;
    assert!(!found.iter().any(|finding| finding[0] == "generated keys of jobs"), "{found:#?}");
    home.drop("jobs_2.csv", "100,B\n250,C\n");
    home.ingest().await;
    let (outcome, found) = findings(&home, "").await;
    outcome.succeeded();
    assert_eq!(
        about(&found, "generated keys of jobs", "warning"),
        "jobs has a row with the key 250, and the next generated key is 100: where keys are taken already, the next ones \
         follow 250; if another application takes keys there too, set 'generated: {start: N}' of id to a number that it \
         does not reach"
    );
    // Keys that were generated are none of these.
    home.query("insert into tidegate.generated_keys values ('jobs', 251)").await;
    let (_, found) = findings(&home, "").await;
    assert!(!found.iter().any(|finding| finding[0] == "generated keys of jobs"), "{found:#?}");
}
