//! `tidegate run --until-idle`: its summary, its exit codes, and doing it again.

use crate::company::{self, TABLES};
use crate::home::{Home, Running};

/// All that is in the database, times included.
async fn everything(home: &Home) -> Vec<String> {
    let mut all = company::state(home).await;
    for table in ["sources", "ledger", "dead_letters", "offsets", "views", "pipeline"] {
        all.extend(home.query(&format!("select r::text from tidegate.{table} as r order by 1")).await);
    }
    for table in TABLES {
        all.extend(home.query(&format!("select xmin, r::text from {table} as r order by id")).await);
    }
    all
}

#[tokio::test]
async fn the_summary_of_a_run_is_a_table_or_json() {
    let home = company::home().await;
    company::drop_example(&home);
    let table = home.ingest().await.stdout;
    let row = |name: &str| {
        let line = table.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{table}"));
        line.split(['│', ' ', '┆']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        row("dataset"),
        "dataset sources accepted inserted updated superseded rejected waiting discarded in_flight"
    );
    assert_eq!(row("jobs"), "jobs 1 183 183 0 0 0 0 0 0");
    assert_eq!(row("hired_employees"), "hired_employees 1 1930 1930 0 0 66 4 0 0");
    assert!(table.contains("2195 lines in ") && table.contains("70 new dead letters"), "{table}");

    let json = home.run("run --until-idle --format json").await.succeeded().json();
    assert_eq!(json["datasets"][2]["rejected"], 66, "as the ledger stands");
    assert_eq!(json["lines"], 0);
    assert_eq!(json["new_dead_letters"], 0);
    assert_eq!(json["stopped"], false);
    assert_eq!(json["refused"], serde_json::json!([]));
    assert!(json["seconds"].as_f64().unwrap() > 0.0, "{json}");
    assert!(json["cpu_seconds"].as_f64().unwrap() > 0.0, "{json}");
    assert!(json["peak_memory_bytes"].as_u64().unwrap() > 1 << 20, "{json}");

    let csv = home.run("run --until-idle --format csv").await.succeeded().stdout;
    assert_eq!(
        csv,
        "dataset,sources,accepted,inserted,updated,superseded,uncounted,rejected,waiting,discarded,in_flight\n\
         departments,1,12,12,0,0,0,0,0,0,0\njobs,1,183,183,0,0,0,0,0,0,0\n\
         hired_employees,1,1930,1930,0,0,0,66,4,0,0\n"
    );
}

#[tokio::test]
async fn a_second_run_changes_nothing_at_all() {
    let home = company::home().await;
    company::drop_example(&home);
    home.ingest().await;
    let before = everything(&home).await;
    home.ingest().await;
    company::assert_same("a second run", &everything(&home).await, &before);
    // The same files, dropped again under their names.
    company::drop_example(&home);
    home.ingest().await;
    company::assert_same("the same files", &everything(&home).await, &before);
    assert_eq!(home.names_in("landing"), ["done"]);
    assert_eq!(home.names_in("landing/done").len(), 3);
}

#[tokio::test]
async fn the_same_content_under_another_name_is_another_source_with_the_same_rejects() {
    let home = company::home().await;
    company::drop_example(&home);
    home.ingest().await;
    let tables = async || {
        let mut state = company::state(&home).await;
        state.truncate(state.iter().position(|row| row == "== dead letters").unwrap());
        state
    };
    let before = tables().await;
    for table in TABLES {
        home.drop(&format!("{table}-again.csv"), company::file(table));
    }
    let summary = home.run("run --until-idle --format json").await.succeeded().json();
    assert_eq!(summary["lines"], 2195);
    assert_eq!(summary["new_dead_letters"], 70);
    company::assert_same("tables and views", &tables().await, &before);
    company::assert_accounted(&home).await;
    let per_source = "select source, count(*), md5(string_agg(text || reasons, '' order by line)) as content \
                      from tidegate.dead_letters group by source order by source";
    let letters = home.query(per_source).await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!(letters[0].replacen("3|", "", 1), letters[1].replacen("6|", "", 1));
    let owners = home.query("select distinct _source from hired_employees").await;
    assert_eq!(owners, ["6"], "the newer source holds every row");
}

#[tokio::test]
async fn more_dead_letters_than_allowed_give_exit_code_3() {
    let home = company::home().await;
    company::drop_example(&home);
    let refused = home.run("run --until-idle --max-dead-letters 69").await.failed_with(3);
    refused.saying(&["70 new dead letters, 69 are allowed", "dead-letters summary"]);
    company::assert_accounted(&home).await;
    // Only new ones count.
    home.run("run --until-idle --max-dead-letters 0%").await.succeeded();
    home.run("run --until-idle --max-dead-letters 0").await.succeeded();
    for table in TABLES {
        home.drop(&format!("{table}-again.csv"), company::file(table));
    }
    home.run("run --until-idle --max-dead-letters 70").await.succeeded();
    // A share is of the lines of this run: 70 of 2195.
    for (share, code) in [("3.1%", 3), ("3.2%", 0)] {
        for table in TABLES {
            home.drop(&format!("{table}-{code}.csv"), company::file(table));
        }
        home.run(&format!("run --until-idle --max-dead-letters {share}")).await.failed_with(code);
    }
    for wrong in ["101%", "-1", "few", "%"] {
        home.run(&format!("run --until-idle --max-dead-letters={wrong}")).await.failed_with(2);
    }
}

#[tokio::test]
async fn a_file_whose_every_line_is_rejected_gives_exit_code_5_and_what_else_is_wrong_is_said() {
    let home = company::home().await;
    home.drop("departments.csv", "id;name\n1;One\n");
    home.drop("jobs.csv", "1,One\nx,Two\n");
    let outcome = home.run("run --until-idle --format json").await.failed_with(5);
    assert_eq!(
        outcome.json()["wholly_rejected"],
        serde_json::json!([{"source": 1, "file": "departments.csv"}])
    );
    outcome.saying(&["every line of a file was rejected: source 1 'departments.csv'", "sources reload 1"]);
    // Of another run it says nothing.
    home.ingest().await;
    home.drop("departments.csv", "id;name\n2;Two\n");
    home.drop("notes.txt", "not ours");
    home.run("run --until-idle").await.failed_with(5).saying(&["left in the landing folder", "notes.txt"]);
    home.drop("departments.csv", "id;name\n3;Three\n");
    let all = home.run("run --until-idle --max-dead-letters 1").await.failed_with(3);
    all.saying(&["2 new dead letters, 1 are allowed", "every line of a file was rejected", "notes.txt"]);
    home.run("--help").await.succeeded();
}

#[tokio::test]
async fn a_file_that_is_held_open_gives_exit_code_4_and_does_not_hold_the_run_up() {
    let home = company::home().await;
    let writer = std::fs::File::create(home.path("landing/departments.csv")).unwrap();
    std::io::Write::write_all(&mut &writer, b"1,One\n").unwrap();
    home.drop("jobs.csv", "1,One\n");
    let outcome = home.run("run --until-idle").await.failed_with(4);
    outcome.saying(&["departments.csv", "has it open for writing", &std::process::id().to_string()]);
    assert_eq!(home.query("select name from tidegate.sources").await, ["jobs.csv"]);
    drop(writer);
    home.ingest().await;
    assert_eq!(home.query("select id from departments").await, ["1"]);
}

#[tokio::test]
async fn a_matching_file_that_cannot_be_read_gives_exit_code_4_and_stays() {
    let home = company::home().await;
    home.drop("departments.csv", "1,One\n");
    home.drop("jobs.csv", "1,One\n");
    set_mode(&home, "landing/jobs.csv", 0o000);
    let outcome = unprivileged(&home, "run --until-idle --format json").await.failed_with(4);
    let refused = outcome.json()["refused"][0].clone();
    assert!(refused["path"].as_str().unwrap().ends_with("landing/jobs.csv"), "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("Permission denied"), "{refused}");
    outcome.saying(&["left in the landing folder", "jobs.csv", "Permission denied"]);
    assert_eq!(home.query("select id from departments").await, ["1"], "the others are ingested");
    assert_eq!(home.names_in("landing"), ["done", "jobs.csv"]);

    set_mode(&home, "landing/jobs.csv", 0o644);
    unprivileged(&home, "run --until-idle").await.succeeded();
    assert_eq!(home.query("select id from jobs").await, ["1"]);
}

fn set_mode(home: &Home, path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the command as a user to whom permissions mean something, which they do not to root.
async fn unprivileged(home: &Home, arguments: &str) -> crate::home::Outcome {
    if !nix::unistd::geteuid().is_root() {
        return home.run(arguments).await;
    }
    // That user may not be able to enter the folder that the command was built in.
    let binary = home.path("tidegate");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_tidegate"), &binary).unwrap();
        set_mode(home, "", 0o777);
        set_mode(home, "landing", 0o777);
    }
    let mut command = tokio::process::Command::new(binary);
    command.args(arguments.split_whitespace()).current_dir(home.path("")).env("DATABASE_URL", &home.url);
    command.uid(65_534).gid(65_534);
    Running::start(command).ended().await
}

#[tokio::test]
async fn a_faulty_manifest_gives_exit_code_2_and_all_faults_with_their_places() {
    let home = company::home().await;
    let faulty = company::MANIFEST.replace("landing", "lading").replace("name: text", "name: txt");
    let faulty =
        faulty.replace("stable_for: 10ms", "stabel_for: 10ms").replace("references: jobs", "references: job");
    std::fs::write(home.path("tidegate.yaml"), faulty).unwrap();
    home.run("run --until-idle").await.failed_with(2).saying(&[
        "tidegate.yaml:2:1: unknown key \"stabel_for\"; did you mean \"stable_for\"?",
        "tidegate.yaml:14:13: \"txt\" is no type; did you mean \"text\"?",
        "tidegate.yaml:17:43: there is no dataset \"job\" to reference; did you mean \"jobs\"?",
    ]);
    let tidegate = "select count(*) from pg_namespace where nspname = 'tidegate'";
    assert_eq!(home.query(tidegate).await, ["0"], "nothing was begun");
}

#[tokio::test]
async fn what_was_asked_wrongly_gives_exit_code_2() {
    let home = company::home().await;
    let mut command = home.command(["run", "--until-idle"]);
    command.env_remove("DATABASE_URL");
    Running::start(command).ended().await.failed_with(2).saying(&["DATABASE_URL", "--database-url"]);
    home.run("run --until-idle --config none.yaml")
        .await
        .failed_with(2)
        .saying(&["none.yaml", "tidegate init"]);
    home.run("run --until-idel").await.failed_with(2).saying(&["--until-idle"]);
    assert!(!home.path(".tidegate/topics").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_database_url_that_cannot_be_read_is_said_without_repeating_the_password() {
    let home = company::home().await;
    let outcome = home.run("run --until-idle --database-url postgres://me:s3cret@host:port/db").await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("database url"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_file_of_no_dataset_is_left_alone_and_gives_exit_code_4() {
    let home = company::home().await;
    home.drop("notes.txt", "not ours");
    home.drop(".departments.csv.swp", "not ours");
    home.drop("departments.csv", "1,One\n");
    let outcome = home.run("run --until-idle --format json").await.failed_with(4);
    let left = outcome.json()["left"].clone();
    assert!(left[0]["path"].as_str().unwrap().ends_with("landing/notes.txt"), "{left}");
    outcome.saying(&["left in the landing folder", "notes.txt", "matches the 'files' of no dataset"]);
    assert_eq!(home.query("select id from departments").await, ["1"], "the others are ingested");
    assert_eq!(home.names_in("landing"), [".departments.csv.swp", "done", "notes.txt"]);
}
