//! A database and a data directory of an earlier version go on in this one.
//!
//! Each folder of `upgrade` is named by the last migration of a version. It holds what a run of that version left behind:
//! files that are complete, lines that wait, were replayed and discarded, a request and an upload, a view, and a file of
//! which four lines are on topics, because the run was killed.

use std::path::Path;

use crate::home::Home;

/// Copies what is in a folder.
fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What the earlier version left, as the home of a command.
async fn home_of(version: &str) -> Home {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade").join(version);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let home = Home::embedded(&read("tidegate.yaml")).await;
    home.session().await.batch_execute(&read("database.sql")).await.unwrap();
    copy_all(&folder.join("sql"), &home.path("sql"));
    copy_all(&folder.join("landing"), &home.path("landing"));
    copy_all(&folder.join("data"), &home.path(".tidegate"));
    home
}

const EMPLOYEES: &str = "select id, name, department_id, _source, _line from public.employees order by id";

async fn a_database_goes_on(version: &str) {
    let home = home_of(version).await;
    let before = home.query("select id, name from public.employees order by id").await;
    assert_eq!(before, ["1|Ann", "2|Bob", "3|Cy, the third", "20|Uma"]);

    let ingested = home.ingest().await;

    assert!(!ingested.stderr.contains("not whole"), "the journal is read whole: {}", ingested.stderr);
    let journal = std::fs::read_to_string(home.path(".tidegate/sources.jsonl")).unwrap();
    let content = "d51b5c9bbc51d5f75ebb937c01b20fefd9aca276c6e405ac3b7bbe266713c640";
    assert!(journal.contains("{\"event\":\"registered\",\"source\":1,"), "{journal}");
    assert!(journal.contains(content), "what it noted is still there: {journal}");
    let after = home.query(EMPLOYEES).await;
    let expected = ["1|Ann|3|3|8", "2|Bob|2|6|4", "3|Cy, the third|1|3|3", "20|Uma|2|5|1", "30|Kim|2|6|1"];
    assert_eq!(after, expected);
    let letters = "select source, line, status from tidegate.dead_letters order by 1, 2";
    assert_eq!(
        home.query(letters).await,
        [
            "2|3|rejected",
            "3|3|replayed",
            "3|4|discarded",
            "3|5|waiting",
            "3|6|waiting",
            "3|7|waiting",
            "4|3|rejected",
            "5|2|waiting",
            "6|2|rejected",
            "6|3|waiting",
        ]
    );
    assert_eq!(home.count("select count(*) from tidegate.sources where completed_at is null").await, 0);
    home.run("verify").await.succeeded();
    home.run("verify --deep").await.succeeded();
}

async fn waiting_lines_heal(version: &str) {
    let home = home_of(version).await;
    home.ingest().await;

    home.drop("departments_2.csv", "7,Seven\n8,Eight\n");
    home.drop("jobs_2.csv", "job;id\nFourth;4\n");
    home.drop("employees_3.csv", "77,Zed,2022-01-01T00:00:00Z,1,1,\n99,Yan,2022-01-01T00:00:00Z,1,1,\n");
    home.ingest().await;

    assert_eq!(home.count("select count(*) from tidegate.dead_letters where status = 'waiting'").await, 0);
    let healed = "select id, name from public.employees where id in (5, 6, 7, 21, 32) order by id";
    assert_eq!(home.query(healed).await, ["5|Di, or so", "6|Ed", "7|Flo", "21|Vic", "32|Mo"]);
    home.run("verify --deep").await.succeeded();
}

async fn an_ingested_file_is_known(version: &str) {
    let home = home_of(version).await;
    home.ingest().await;
    let (rows, sources) = (home.query(EMPLOYEES).await, home.sources().await.len());

    home.drop("employees_2.csv", std::fs::read(home.path("landing/done/6-employees_2.csv")).unwrap());
    home.ingest().await;

    assert_eq!(home.query(EMPLOYEES).await, rows);
    assert_eq!(home.sources().await.len(), sources);
}

mod a_database_of_an_earlier_version_goes_on_where_it_was {
    tidegate_testing::rows! { super::a_database_goes_on: v6: ("v6"), v10: ("v10") }
}

mod lines_that_waited_in_an_earlier_version_heal_in_this_one {
    tidegate_testing::rows! { super::waiting_lines_heal: v6: ("v6"), v10: ("v10") }
}

mod a_file_that_an_earlier_version_ingested_is_known {
    tidegate_testing::rows! { super::an_ingested_file_is_known: v6: ("v6"), v10: ("v10") }
}
