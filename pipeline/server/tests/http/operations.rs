//! Health, metrics, and the description of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Answer, HTTP, Service};
use crate::company;
use crate::home::{Home, skipped, until};
use crate::server::OwnServer;

async fn open_metrics(service: &Service) -> String {
    let request =
        service.request(reqwest::Method::GET, "/metrics").header("accept", "application/openmetrics-text");
    let answer = Answer::of(request).await.unwrap().with_status(200);
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.text()
}

/// The samples of `/metrics`: name with labels, and value.
async fn metrics(service: &Service) -> BTreeMap<String, f64> {
    let text = open_metrics(service).await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    samples.map(sample).collect()
}

#[track_caller]
fn sample(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    *samples.get(name).unwrap_or_else(|| panic!("no {name} in {samples:#?}"))
}

/// Asserts samples that are named in short: `tidegate_` is in front of each.
#[track_caller]
fn assert_samples(samples: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        assert_eq!(sample(samples, &format!("tidegate_{name}")), *value, "{name}");
    }
}

#[tokio::test]
async fn what_the_stages_did_is_counted_by_dataset_and_reason() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    home.drop("departments.csv", "1,One\n2,Two\n,\n3\n");
    home.drop("jobs.csv", "1,J\n");
    home.drop(
        "hired_employees.csv",
        "1,n,2021-01-01T00:00:00Z,1,1\n2,n,2021-01-01T00:00:00Z,9,1\n3,n,x,1,1\n",
    );
    let complete = "select count(*) from tidegate.sources where completed_at is not null";
    until("all is accounted for", async || home.count(complete).await == 3).await;
    let samples = metrics(&service).await;
    assert_samples(
        &samples,
        &[
            ("lines_in_total{stage=\"source\",dataset=\"departments\"}", 4.0),
            ("lines_out_total{stage=\"source\",dataset=\"departments\"}", 4.0),
            ("lines_in_total{stage=\"transform\",dataset=\"departments\"}", 4.0),
            ("lines_out_total{stage=\"transform\",dataset=\"departments\"}", 2.0),
            ("lines_in_total{stage=\"sink\",dataset=\"departments\"}", 4.0),
            ("lines_out_total{stage=\"sink\",dataset=\"departments\"}", 2.0),
            ("lines_total{dataset=\"departments\",fate=\"rejected\"}", 2.0),
            ("lines_total{dataset=\"hired_employees\",fate=\"waiting\"}", 1.0),
            ("lines_total{dataset=\"jobs\",fate=\"duplicate\"}", 0.0),
            ("accepted_lines_total{dataset=\"departments\",effect=\"inserted\"}", 2.0),
            ("accepted_lines_total{dataset=\"departments\",effect=\"superseded\"}", 0.0),
            ("ledger_accepted_lines{dataset=\"departments\",effect=\"inserted\"}", 2.0),
            ("ledger_accepted_lines{dataset=\"departments\",effect=\"uncounted\"}", 0.0),
            ("dataset_stopped{dataset=\"jobs\"}", 0.0),
            ("dead_letters_total{dataset=\"departments\",reason=\"missing_value\"}", 2.0),
            ("dead_letters_total{dataset=\"departments\",reason=\"wrong_column_count\"}", 1.0),
            ("dead_letters_total{dataset=\"hired_employees\",reason=\"invalid_timestamp\"}", 1.0),
            ("dead_letters_total{dataset=\"hired_employees\",reason=\"unknown_reference\"}", 1.0),
            ("healed_lines_total", 0.0),
            ("stage_running{stage=\"transform\"}", 1.0),
            ("lag_records{stage=\"transform\"}", 0.0),
            ("lag_bytes{stage=\"sink\"}", 0.0),
            ("postgres_up", 1.0),
            ("ready", 1.0),
            ("sources{dataset=\"departments\",kind=\"file\",state=\"complete\"}", 1.0),
            ("ledger_lines{dataset=\"hired_employees\",fate=\"waiting\"}", 1.0),
            ("ledger_in_flight_lines{dataset=\"jobs\"}", 0.0),
        ],
    );
    let version = format!("tidegate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(sample(&samples, &version), 1.0);
    assert!(sample(&samples, "tidegate_commit_seconds_count") > 0.0);
    assert!(sample(&samples, "tidegate_commit_seconds_sum") > 0.0);
    for stage in ["source", "transform", "sink"] {
        assert!(
            sample(&samples, &format!("tidegate_batch_seconds_count{{stage=\"{stage}\"}}")) > 0.0,
            "{stage}"
        );
    }
    home.drop("departments_2.csv", "9,Nine\n");
    until("it is healed", async || home.count("select count(*) from hired_employees").await == 2).await;
    until("that is counted", async || metrics(&service).await["tidegate_healed_lines_total"] == 1.0).await;
    service.stop().await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    for i in 0..3 {
        service.get(&format!("/v1/views/no_{i}")).await.with_status(404);
        service.get(&format!("/nothing/{i}")).await.with_status(404);
    }
    let samples = metrics(&service).await;
    assert_samples(
        &samples,
        &[
            ("http_requests_total{method=\"GET\",route=\"/v1/views/{view}\",status=\"404\"}", 3.0),
            ("http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}", 3.0),
            ("http_request_seconds_count{method=\"GET\",route=\"/v1/views/{view}\"}", 3.0),
        ],
    );
    service.stop().await;
}

/// The names in the table of the documentation, and those that are served.
#[tokio::test]
async fn every_metric_is_documented_and_served() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    home.drop("departments.csv", "1,One\n,\n");
    until("it is committed", async || home.count("select count(*) from tidegate.dead_letters").await == 1)
        .await;
    metrics(&service).await; // so that a request was answered
    let text = open_metrics(&service).await;
    let mut served: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md")).unwrap();
    let mut documented: Vec<&str> =
        docs.lines().filter_map(|line| line.strip_prefix("| `tidegate_")?.split('`').next()).collect();
    served.sort_unstable();
    documented.sort_unstable();
    let documented: Vec<String> = documented.iter().map(|name| format!("tidegate_{name}")).collect();
    assert_eq!(served, documented);
    service.stop().await;
}

/// The text format 0.0.4, for who does not ask for another, held against its grammar and against Prometheus's own tool.
#[tokio::test]
async fn who_asks_for_no_format_gets_the_one_that_every_tool_reads() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    home.drop("departments.csv", "1,One\n,\n");
    until("it is committed", async || home.count("select count(*) from tidegate.dead_letters").await == 1)
        .await;
    service.get("/healthz").await.with_status(200);
    let newer = metrics(&service).await;
    let answer = service.get("/metrics").await.with_status(200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let samples = grammatical(&text);
    for name in newer.keys() {
        assert!(samples.contains(name), "no {name} in {text}");
    }
    if let Some(promtool) = promtool("who_asks_for_no_format_gets_the_one_that_every_tool_reads") {
        let mut tool = std::process::Command::new(promtool);
        tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = tool.spawn().unwrap();
        running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ended = running.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    service.stop().await;
}

/// The samples of a text in the format 0.0.4, each of a family whose help and type stand before it, all together.
fn grammatical(text: &str) -> BTreeSet<String> {
    let mut families: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut helped, mut family, mut samples) = ("", "", BTreeSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty(), "{line}");
            helped = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(families.insert(name, kind).is_none(), "{line}");
            family = name;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = sample.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] =
                if families[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(samples.insert(sample.to_owned()), "{line} is there twice");
        }
    }
    assert!(text.ends_with('\n') && !families.is_empty());
    samples
}

/// Prometheus's own tool, as `.ci/run` unpacks it or as it is on the path. If there is none, says that it was not asked.
fn promtool(test: &str) -> Option<PathBuf> {
    const TOOL: &str = "promtool";
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ci-tools/prometheus/usr/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(unpacked)]);
    let found = folders.map(|folder| folder.join(TOOL)).find(|tool| tool.is_file());
    if found.is_none() {
        skipped(test, &format!("there is no {TOOL}; it is in Debian's package 'prometheus'"));
    }
    found
}

#[tokio::test]
async fn a_process_whose_postgres_is_down_lives_is_not_ready_and_can_be_watched() {
    let mut server = OwnServer::start().await;
    let home = company::furnished(Home::on(server.url(), &format!("{HTTP}{}", company::MANIFEST)));
    let service = Service::start(&home).await;
    assert_eq!(service.get("/healthz").await.with_status(200).json(), json!({"status": "alive"}));
    assert_eq!(service.get("/readyz").await.with_status(200).json(), json!({"status": "ready"}));
    server.stop_immediately().await;
    until("it is not ready", async || service.get("/readyz").await.status == 503).await;
    let problem = service.get("/readyz").await.problem(503, "not-ready");
    assert!(problem.headers.contains_key("retry-after"));
    let missing = &problem.json()["missing"];
    assert!(missing.as_array().unwrap().iter().any(|missing| missing["what"] == "postgres"), "{missing}");
    service.get("/healthz").await.with_status(200);
    let samples = metrics(&service).await;
    assert_samples(
        &samples,
        &[("postgres_up", 0.0), ("ready", 0.0), ("lines_in_total{stage=\"source\",dataset=\"jobs\"}", 0.0)],
    );
    assert!(!samples.keys().any(|name| name.starts_with("tidegate_sources")), "{samples:#?}");
    server.start_again().await;
    until("it is ready again", async || service.get("/readyz").await.status == 200).await;
    assert_samples(&metrics(&service).await, &[("postgres_up", 1.0), ("ready", 1.0)]);
    service.stop().await;
}

#[tokio::test]
async fn a_run_that_cannot_begin_says_what_is_missing() {
    let mut server = OwnServer::start().await;
    let home = company::furnished(Home::on(server.url(), &format!("{HTTP}{}", company::MANIFEST)));
    server.stop_immediately().await;
    let service = Service::of(home.spawn("run")).await;
    service.get("/healthz").await.with_status(200);
    let missing = service.get("/readyz").await.problem(503, "not-ready").json()["missing"].clone();
    let what: Vec<&Value> = missing.as_array().unwrap().iter().map(|missing| &missing["what"]).collect();
    assert_eq!(what, ["pipeline", "postgres"]);
    assert_samples(&metrics(&service).await, &[("postgres_up", 0.0), ("stage_running{stage=\"sink\"}", 0.0)]);
    service.get("/openapi.json").await.with_status(200);
    server.start_again().await;
    until("it is ready", async || service.get("/readyz").await.status == 200).await;
    service.stop().await;
}

#[tokio::test]
async fn a_run_that_was_taken_over_says_so() {
    for _ in 0..5 {
        // So long that it is not renewed meanwhile: then the run would end.
        let home = super::company_with("lease: 10m\n").await;
        let service = Service::start(&home).await;
        home.query("update tidegate.leases set owner = gen_random_uuid(), host = 'elsewhere', pid = 7").await;
        let answered = Answer::of(service.request(reqwest::Method::GET, "/readyz")).await;
        let mut running = service.running;
        if !running.has_ended() {
            running.signal(Signal::SIGTERM);
        }
        running.ended().await;
        // If the run was about to commit, it has noticed first, and ended before it could answer.
        let Ok(answer) = answered else { continue };
        let answer = answer.problem(503, "not-ready").json();
        let missing = answer["missing"].as_array().unwrap();
        let lease = missing.iter().find(|missing| missing["what"] == "lease").unwrap();
        assert!(lease["why"].as_str().unwrap().starts_with("process 7 on elsewhere"), "{lease}");
        return;
    }
    panic!("the run has ended five times before it could be asked");
}

#[tokio::test]
async fn the_description_is_complete_in_itself() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    let answer = service.get("/openapi.json").await.with_status(200);
    assert_eq!(answer.headers["content-type"], "application/json");
    let api = answer.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"), "{}", api["openapi"]);
    let schemes = api["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["api_key", "bearer"]);
    let mut references = Vec::new();
    collect_references(&api, &mut references);
    for reference in references {
        assert!(api.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let has = |status: &str| responses.contains_key(status);
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert_eq!(path.starts_with("/v1/"), has("401") && has("403") && has("503"), "{method} {path}");
            for (status, response) in responses {
                let of_problem = response["content"].get("application/problem+json").is_some();
                assert_eq!(status.as_str() >= "400", of_problem, "{method} {path} {status}");
            }
        }
    }
    service.stop().await;
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value.as_str() {
            Some(reference) if name == "$ref" => found.push(reference.to_owned()),
            _ => collect_references(value, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_of_the_description_needs_nothing_from_elsewhere() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    let page = service.get("/docs").await.with_status(200);
    assert_eq!(page.headers["content-type"], "text/html");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    let html = page.text();
    assert!(html.contains("<base href=\"/docs/\" />") && !html.contains("//"), "{html}");
    assert_eq!(service.get("/docs/").await.with_status(200).text(), html);
    let parts: Vec<&str> = html
        .split(['"'])
        .filter(|part| part.ends_with(".js") || part.ends_with(".css") || part.ends_with(".png"))
        .collect();
    assert_eq!(parts.len(), 7, "{html}");
    for part in parts {
        let found = service.get(&format!("/docs/{}", part.trim_start_matches("./"))).await.with_status(200);
        assert!(!found.body.is_empty(), "{part}");
        if part.ends_with(".css") {
            assert!(!found.text().contains("url(http"), "{part}");
        }
    }
    let begins = service.get("/docs/swagger-initializer.js").await.text();
    assert!(
        begins.contains("\"/openapi.json\"") && begins.contains("\"validatorUrl\": \"none\""),
        "{begins}"
    );
    assert!(!begins.contains("http"), "{begins}");
    service.get("/docs/../../etc/passwd").await.problem(404, "not-found");
    service.get("/docs/nothing.js").await.problem(404, "not-found");
    service.stop().await;
}
