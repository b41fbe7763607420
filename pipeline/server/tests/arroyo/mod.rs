//! `tidegate arroyo`: what it prints, and what it does to a cluster that is [played](cluster).

mod cluster;

use std::sync::atomic::{AtomicUsize, Ordering};

use cluster::{Cluster, Pipeline};

use crate::company::MANIFEST;
use crate::home::{Home, Outcome, Running};

/// No database is asked here.
fn home() -> Home {
    Home::on("postgres://nobody@127.0.0.1:1/none".to_owned(), MANIFEST)
}

/// Runs `tidegate arroyo deploy` against a cluster.
async fn deploy(home: &Home, cluster: &Cluster, arguments: &str, token: Option<&str>) -> Outcome {
    let arguments = format!("arroyo deploy --api {} --endpoint sc:9003 {arguments}", cluster.url);
    let mut command = home.command(arguments.split_whitespace());
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.env_remove("TIDEGATE_ARROYO_API").env_remove("TIDEGATE_ARROYO_TOKEN");
    if let Some(token) = token {
        command.env("TIDEGATE_ARROYO_TOKEN", token);
    }
    Running::start(command).ended().await
}

/// What a first deployment asks for, in order.
const FIRST: [&str; 8] = [
    "POST pipelines/validate_query",
    "POST udfs/validate",
    "POST udfs/validate",
    "POST udfs/validate",
    "POST udfs/validate",
    "POST udfs/validate",
    "POST udfs/validate",
    "POST pipelines",
];

/// A cluster that runs the pipeline of the manifest.
async fn deployed(home: &Home) -> Cluster {
    let cluster = Cluster::new().await;
    deploy(home, &cluster, "", None).await.succeeded();
    assert_eq!(cluster.changes(), FIRST);
    cluster
}

/// Changes a rule of the manifest.
fn change(home: &Home) {
    let changed = MANIFEST.replace("name: text", "name: {type: text, max_length: 80}");
    std::fs::write(home.path("tidegate.yaml"), changed).unwrap();
}

#[tokio::test]
async fn the_sql_of_the_example_names_every_topic_and_function() {
    let sql = home().run("arroyo sql --endpoint sc:9003").await.succeeded().stdout;
    let expected = include_str!("company.sql");
    assert!(sql == expected, "tests/arroyo/company.sql is not what is printed now:\n{sql}");
    for dataset in ["departments", "jobs", "hired_employees"] {
        let topic = dataset.replace('_', "-");
        for text in [
            format!("topic = 'company-raw-{topic}'"),
            format!("topic = 'company-accepted-{topic}'"),
            format!(
                "accept_{dataset}(value) as accepted, reject_{dataset}(value) as rejected from raw_{dataset}"
            ),
            format!("insert into accepted_{dataset} select accepted as value from checked_{dataset}"),
        ] {
            assert_eq!(sql.matches(&text).count(), 1, "{text}");
        }
    }
    assert_eq!(sql.matches("insert into dead_letters").count(), 3);
    assert_eq!(sql.matches("topic = 'company-dead-letters'").count(), 1);
}

#[tokio::test]
async fn without_a_cluster_in_the_manifest_an_endpoint_must_be_given() {
    home().run("arroyo sql").await.failed_with(2).saying(&["names no Fluvio cluster", "--endpoint"]);
}

#[tokio::test]
async fn a_function_is_printed_or_all_are_written_to_a_folder() {
    let home = home();
    home.run("arroyo udf").await.failed_with(2).saying(&["accept_departments, reject_departments", "--to"]);
    home.run("arroyo udf --dataset none --function accept").await.failed_with(2).saying(&["hired_employees"]);
    home.run("arroyo udf --to functions --git https://example.org/t.git --tag v1").await.succeeded();
    let written = home.names_in("functions");
    assert_eq!(written.len(), 6);
    for name in written {
        let text = std::fs::read_to_string(home.path("functions").join(&name)).unwrap();
        let (function, dataset) = name.strip_suffix(".rs").unwrap().split_once('_').unwrap();
        assert!(
            text.contains("tidegate-udf = { git = \"https://example.org/t.git\", tag = \"v1\" }\n"),
            "{text}"
        );
        let one = format!("arroyo udf --dataset {dataset} --function {function}");
        let printed = home.run(&format!("{one} --git https://example.org/t.git --tag v1")).await.succeeded();
        assert_eq!(printed.stdout, text);
        let own = home.run(&one).await.succeeded().stdout;
        assert!(own.contains(&format!("tidegate-udf = \"={}\"\n", env!("CARGO_PKG_VERSION"))), "{own}");
        let other = home.run(&format!("{one} --version 9.9.9")).await.succeeded().stdout;
        assert!(other.contains("tidegate-udf = \"=9.9.9\"\n"), "{other}");
        let path = home.run(&format!("{one} --path /srv/udf")).await.succeeded().stdout;
        assert!(path.contains("tidegate-udf = { path = \"/srv/udf\" }\n"), "{path}");
    }
    home.run("arroyo udf --git https://example.org/t.git").await.failed_with(2);
    home.run("arroyo udf --path x --version 1").await.failed_with(2);
}

#[tokio::test]
async fn a_first_deployment_checks_creates_and_waits_and_a_second_does_nothing() {
    let home = home();
    let cluster = Cluster::new().await;
    let outcome = deploy(&home, &cluster, "--parallelism 3", None).await.succeeded();
    outcome.saying(&["checking the SQL", "(6 of 6)", "the job is Compiling", "the job is Running"]);
    assert_eq!(cluster.changes(), FIRST);
    let sql = home.run("arroyo sql --endpoint sc:9003").await.succeeded().stdout;
    let source = home.run("arroyo udf --dataset departments --function accept").await.succeeded().stdout;
    {
        let state = cluster.state();
        let [pipeline] = &state.pipelines[..] else { panic!("there is one pipeline") };
        assert_eq!((pipeline.name.as_str(), pipeline.parallelism), ("tidegate-company", 3));
        assert_eq!(pipeline.query, sql);
        assert_eq!(pipeline.udfs.len(), 6);
        assert_eq!(pipeline.udfs[0], serde_json::json!({"definition": source, "language": "rust"}));
    }
    for arguments in ["", "--parallelism 3", "--dry-run"] {
        let again = deploy(&home, &cluster, arguments, None).await.succeeded();
        assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    }
    assert_eq!(cluster.changes(), [""; 0]);
}

#[tokio::test]
async fn an_update_stops_the_old_job_behind_a_checkpoint_and_deletes_it_when_the_new_one_runs() {
    let home = home();
    let cluster = deployed(&home).await;
    // More of others' than a page holds, all newer.
    let others = (0..45).map(|n| Pipeline::foreign(&format!("other{n}")));
    cluster.state().pipelines.splice(0..0, others);
    change(&home);
    let plan = deploy(&home, &cluster, "--dry-run", None).await.succeeded().stdout;
    assert_eq!(
        plan,
        "tidegate-company: nothing was changed\nwould check 6 functions and the SQL with Arroyo\nwould stop pipeline \
         pl_1, which is Running, with a checkpoint\nwould create a pipeline with a parallelism of 1, which compiles the \
         functions and starts\nwould delete pipeline pl_1\n"
    );
    assert_eq!(cluster.changes(), ["POST pipelines/validate_query"], "it only looks");
    deploy(&home, &cluster, "", None).await.succeeded();
    let changes = cluster.changes();
    assert_eq!(changes[..7], FIRST[..7]);
    assert_eq!(changes[7..], ["PATCH pipelines/pl_1 checkpoint", "POST pipelines", "DELETE pipelines/pl_1"]);
    assert_eq!(cluster.state().pipelines.len(), 46);
}

#[tokio::test]
async fn what_arroyo_has_against_a_function_or_the_sql_is_shown_and_nothing_is_changed() {
    let home = home();
    let cluster = deployed(&home).await;
    change(&home);
    cluster.state().uncompilable =
        Some(("reject_jobs", "error[E0433]: cannot find `tidegate_udf`\n --> src/lib.rs"));
    let outcome = deploy(&home, &cluster, "", None).await.failed_with(1);
    outcome.saying(&["cannot compile the function reject_jobs", "error[E0433]", "nothing was changed"]);
    assert!(
        cluster
            .changes()
            .iter()
            .all(|change| change.ends_with("validate") || change.ends_with("validate_query"))
    );

    cluster.state().query_errors = vec!["no such function 'accept_jobs'", "no such table 'raw_jobs'"];
    for is_0_15 in [false, true] {
        cluster.state().is_0_15 = is_0_15;
        let outcome = deploy(&home, &cluster, "", None).await.failed_with(1);
        outcome.saying(&["cannot plan the SQL", "'accept_jobs'", "'raw_jobs'"]);
        assert_eq!(cluster.changes(), ["POST pipelines/validate_query"]);
    }
}

#[tokio::test]
async fn a_pipeline_that_is_not_created_leaves_the_old_one_running() {
    let home = home();
    let cluster = deployed(&home).await;
    change(&home);
    cluster.state().refusal = Some("Failed to build UDF: the disk is full");
    let outcome = deploy(&home, &cluster, "", None).await.failed_with(1);
    outcome.saying(&["the disk is full", "pipeline pl_1, which ran before, was started again"]);
    let changes = cluster.changes();
    assert_eq!(
        changes[7..],
        ["PATCH pipelines/pl_1 checkpoint", "POST pipelines", "PATCH pipelines/pl_1 none"]
    );
}

#[tokio::test]
async fn a_job_that_fails_says_why_and_is_started_again_by_the_next_deployment() {
    let home = home();
    for is_0_15 in [false, true] {
        let cluster = Cluster::new().await;
        cluster.state().is_0_15 = is_0_15;
        cluster.state().start = vec!["Created", "Scheduling", "Running", "Failing", "Failed"];
        let outcome = deploy(&home, &cluster, "", None).await.failed_with(1);
        outcome.saying(&["pipeline pl_1 is Failed: the topic is not there", "Task failed: no such topic"]);
        cluster.changes();
        cluster.state().start = vec!["Restarting", "Running"];
        deploy(&home, &cluster, "", None).await.succeeded();
        assert_eq!(cluster.changes(), ["POST pipelines/pl_1/restart"]);
    }
}

#[tokio::test]
async fn a_job_that_was_stopped_is_started_and_one_that_is_too_narrow_is_widened() {
    let home = home();
    let cluster = deployed(&home).await;
    {
        let mut state = cluster.state();
        state.pipelines[0].stop = "checkpoint".to_owned();
        state.pipelines[0].states = ["CheckpointStopping", "Stopped"].into();
    }
    deploy(&home, &cluster, "", None).await.succeeded();
    assert_eq!(cluster.changes(), ["PATCH pipelines/pl_1 none"]);
    deploy(&home, &cluster, "--parallelism 4", None).await.succeeded();
    assert_eq!(cluster.changes(), ["PATCH pipelines/pl_1"]);
    assert_eq!(cluster.state().pipelines[0].parallelism, 4);
}

#[tokio::test]
async fn an_update_that_was_interrupted_is_completed() {
    let home = home();
    let cluster = deployed(&home).await;
    change(&home);
    // The new job never comes to run, so the old one is kept.
    cluster.state().start = vec!["Created", "Scheduling"];
    let outcome = deploy(&home, &cluster, "--timeout 4s", None).await.failed_with(1);
    outcome.saying(&["pipeline pl_2 did not run within --timeout, it is Scheduling"]);
    assert_eq!(cluster.state().pipelines.len(), 2);
    cluster.changes();
    cluster.state().pipelines[0].states = ["Running"].into();
    deploy(&home, &cluster, "", None).await.succeeded();
    assert_eq!(cluster.changes(), ["DELETE pipelines/pl_1"]);
}

#[tokio::test]
async fn a_cluster_that_falls_silent_for_a_moment_is_asked_again() {
    let home = home();
    let cluster = Cluster::new().await;
    let running = deploy(&home, &cluster, "-v", None);
    let silent = async {
        crate::home::until("the job is looked at", async || !cluster.state().pipelines.is_empty()).await;
        cluster.state().silences = 3;
    };
    let (outcome, ()) = tokio::join!(running, silent);
    outcome.succeeded().saying(&["asking again"]);
}

#[tokio::test]
async fn a_pipeline_of_the_name_that_is_not_tidegate_s_is_left_alone() {
    let home = home();
    let cluster = Cluster::new().await;
    cluster.state().pipelines.push(Pipeline::foreign("tidegate-company"));
    let outcome = deploy(&home, &cluster, "", None).await.failed_with(1);
    outcome.saying(&["pl_tidegate-company", "is not Tidegate's"]);
    assert_eq!(cluster.changes(), [""; 0]);
}

#[tokio::test]
async fn the_token_opens_the_cluster_and_is_never_shown() {
    let home = home();
    let cluster = Cluster::new().await;
    cluster.state().token = Some("s3cret");
    deploy(&home, &cluster, "", None).await.failed_with(1).saying(&[
        "401",
        "Invalid token",
        "TIDEGATE_ARROYO_TOKEN",
    ]);
    deploy(&home, &cluster, "", Some("wr0ng")).await.failed_with(1).saying(&["401"]);
    let outcome = deploy(&home, &cluster, "-vv", Some("s3cret")).await.succeeded();
    assert!(!outcome.stderr.contains("s3cret") && !outcome.stdout.contains("s3cret"), "{}", outcome.stderr);
    deploy(&home, &cluster, "", Some("two\nlines")).await.failed_with(2).saying(&["TIDEGATE_ARROYO_TOKEN"]);
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    let home = home();
    let (cluster, other) = (Cluster::new().await, Cluster::new().await);
    cluster.state().moved_to = Some(other.url.clone());
    let outcome = deploy(&home, &cluster, "", Some("s3cret")).await.failed_with(1);
    outcome.saying(&["307", &other.url, "not followed"]);
    assert_eq!(cluster.state().tokens, ["s3cret"]);
    assert_eq!(other.state().tokens, [""; 0]);
}

#[tokio::test]
async fn an_address_that_is_not_arroyo_s_is_told_from_one_that_is() {
    let home = home();
    let page = AtomicUsize::new(0);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer: &[u8] = match page.fetch_add(1, Ordering::Relaxed) {
                0 => b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
                // Longer than is ever read.
                _ => b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
            };
            let _ = stream.write_all(answer).await;
            if answer.ends_with(b"close\r\n\r\n") {
                while stream.write_all(&[b' '; 64 * 1024]).await.is_ok() {}
            }
        }
    });
    let deploy = format!("arroyo deploy --endpoint sc:9003 --api http://{address}");
    home.run(&deploy).await.failed_with(1).saying(&["'<html>'", "is --api the address of its API?"]);
    home.run(&deploy).await.failed_with(1).saying(&["longer than 33554432 bytes"]);
    serving.abort();
    home.run(&deploy.replace("http", "ftp")).await.failed_with(2).saying(&["no address of HTTP"]);
}
