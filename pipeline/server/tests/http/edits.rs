//! Many edits, and jobs that meet each other.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{Service, company};
use crate::home::{Home, until};

/// So many departments without a name.
async fn with_nameless(count: u64) -> (Home, Service) {
    let home = company().await;
    home.drop("departments.csv", (1..=count).map(|id| format!("{id},\n")).collect::<String>());
    let service = Service::start(&home).await;
    let letters = "select count(*) from tidegate.dead_letters";
    until("all are dead letters", async || home.count(letters).await == count).await;
    (home, service)
}

#[tokio::test]
async fn edits_that_come_together_are_all_made_and_answered() {
    let (home, service) = with_nameless(400).await;
    let edit = async |line: u64| {
        let body = json!({"line": format!("{line},D{line}")});
        let done =
            service.post_json(&format!("/v1/dead-letters/1:{line}/replay"), &body).await.with_status(200);
        assert_eq!(done.json()["outcome"], "accepted");
    };
    for line in 1..=50 {
        edit(line).await;
    }
    futures_util::stream::iter(51..=400).for_each_concurrent(16, edit).await;
    service.stop().await;
    assert_eq!(home.count("select count(*) from departments").await, 400);
    home.run("verify").await.succeeded();
}

async fn ask(service: &Service, what: &str, body: Value) -> (String, Value) {
    let asked = service.post_json(&format!("/v1/dead-letters/{what}"), &body).await.with_status(202);
    (asked.headers["location"].to_str().unwrap().to_owned(), asked.json())
}

async fn ended(service: &Service, path: &str) -> Value {
    until("the job has ended", async || service.get(path).await.json()["state"] != "running").await;
    service.get(path).await.with_status(200).json()
}

/// A filter that a job answers can be sent back, whatever is in it.
#[tokio::test]
async fn a_filter_that_was_answered_can_be_sent_again() {
    let (home, service) = with_nameless(3).await;
    for filter in [
        json!({}),
        json!({"reason": "missing_value", "column": "department", "status": "rejected", "dataset": "departments"}),
        json!({"source": 1, "since": "2020-01-01", "until": "2030-01-31T10:00:00.5+05:30", "contains": ","}),
        json!({"since": "1960-01-01"}),
    ] {
        let (path, job) = ask(&service, "replay", json!({"filter": filter})).await;
        let answered = ended(&service, &path).await;
        assert_eq!(answered["filter"], job["filter"]);
        let (again, _) = ask(&service, "replay", json!({"filter": answered["filter"]})).await;
        let again = ended(&service, &again).await;
        assert_eq!(
            (&again["filter"], &again["lines"]),
            (&answered["filter"], &answered["lines"]),
            "{filter}"
        );
        assert_eq!(again["lines"], 3, "{filter}");
    }
    // One that was asked for before this version.
    let sql = "insert into tidegate.move_jobs (kind, asked_by, filter, lines, done_at) \
               values ('replay', 'ann', '{\"code\": \"missing_value\"}', 0, now()) returning job";
    let job = home.query(sql).await.remove(0);
    let kept = service.get(&format!("/v1/dead-letters/jobs/{job}")).await.with_status(200).json();
    assert_eq!(kept["filter"], json!({"reason": "missing_value"}));
    service.stop().await;
}

#[tokio::test]
async fn a_job_that_was_cancelled_says_what_is_left() {
    let (_home, service) = with_nameless(50).await;
    let (path, _) = ask(&service, "replay", json!({"filter": {}, "rate": 20})).await;
    until("some are tried", async || service.get(&path).await.json()["rejected"].as_u64() >= Some(5)).await;
    service.post(&format!("{path}/cancel"), "application/json", &[], "").await.with_status(200);
    let job = ended(&service, &path).await;
    let number = |name: &str| job[name].as_u64().unwrap();
    assert_eq!((job["state"].as_str(), number("lines")), (Some("cancelled"), 50));
    assert!(number("left") > 0, "{job}");
    assert_eq!(number("left") + number("rejected") + number("passed_over"), 50, "{job}");
    service.stop().await;
}

#[tokio::test]
async fn jobs_that_meet_wait_for_each_other() {
    let (home, service) = with_nameless(60).await;
    // The lines of the first are tried again slowly, and stay what they are; those of the others do not wait for it,
    // and none of them is passed over for being in its hands.
    let (slow, _) = ask(&service, "replay", json!({"filter": {}, "rate": 100})).await;
    let (again, _) = ask(&service, "replay", json!({"filter": {}})).await;
    let [slow, again] = [ended(&service, &slow).await, ended(&service, &again).await];
    for job in [slow, again] {
        assert_eq!(
            (&job["rejected"], &job["passed_over"], &job["left"]),
            (&json!(60), &json!(0), &json!(0)),
            "{job}"
        );
    }
    let (first, _) = ask(&service, "discard", json!({"filter": {}, "limit": 40})).await;
    let (second, _) = ask(&service, "discard", json!({"filter": {}})).await;
    let [first, second] = [ended(&service, &first).await, ended(&service, &second).await];
    let number = |job: &Value, name: &str| job[name].as_u64().unwrap();
    assert_eq!(number(&first, "discarded") + number(&second, "discarded"), 60, "{first} {second}");
    // What is passed over is gone: given up by the other.
    assert_eq!(number(&second, "passed_over"), number(&second, "lines") - number(&second, "discarded"));
    service.stop().await;
    assert_eq!(home.count("select count(*) from tidegate.dead_letters where status = 'discarded'").await, 60);
    home.run("verify").await.succeeded();
}

/// A receipt is complete from the moment on that it tells.
#[tokio::test]
async fn what_is_complete_was_completed_at_some_time() {
    let home = company().await;
    let service = Service::start(&home).await;
    for id in 0..30 {
        let row = json!({"rows": [{"id": id, "department": "D"}]});
        let path = "/v1/datasets/departments/rows";
        let wait = id % 2 == 0;
        let pushed = service.post_json(&format!("{path}?wait={wait}"), &row).await;
        assert_eq!(pushed.status, if wait { 200 } else { 202 });
        let mut receipt = pushed.json();
        assert!(!wait || receipt["complete"] == true, "{receipt}");
        let own = format!("/v1/receipts/{}", receipt["source"]);
        loop {
            assert_eq!(receipt["complete"] == true, receipt["completed_at"].is_string(), "{receipt}");
            if receipt["complete"] == true {
                break;
            }
            receipt = service.get(&own).await.with_status(200).json();
        }
    }
    service.stop().await;
}
