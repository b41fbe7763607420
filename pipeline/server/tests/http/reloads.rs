//! Sources that are read again, asked for over HTTP.

use serde_json::json;

use super::Service;
use crate::home::until;

#[tokio::test]
async fn a_source_is_read_again_once_however_often_the_request_is_sent() {
    let home = super::company().await;
    home.drop("departments.csv", "1,One\n");
    home.ingest().await;
    home.query("truncate departments, hired_employees").await;
    let service = Service::start(&home).await;
    let path = "/v1/receipts/1/reload";
    let ask = async || service.post(path, "application/json", &[("idempotency-key", "again")], "").await;
    let asked = ask().await.with_status(202);
    let (location, reload) = (asked.headers["location"].to_str().unwrap().to_owned(), asked.json());
    assert_eq!((&reload["source"], &reload["error"]), (&json!(1), &json!(null)));
    assert_eq!(ask().await.with_status(202).json()["reload"], reload["reload"]);
    until("it is read", async || service.get(&location).await.json()["state"] == "done").await;
    let done = service.get(&location).await.with_status(200).json();
    assert_eq!((&done["receipt"]["source"], &done["receipt"]["accepted"]), (&json!(2), &json!(1)));
    assert_eq!(home.query("select id, _source from departments").await, ["1|2"]);
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 2);
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_again_is_a_problem_that_says_why() {
    let home = super::company().await;
    home.drop("departments.csv", "1,One\n");
    home.ingest().await;
    let service = Service::start(&home).await;
    let rows = json!({"rows": [{"id": 2, "department": "Two"}]});
    service.post_json("/v1/datasets/departments/rows", &rows).await.with_status(202);
    let again = async |source: u64, body: &str| {
        service.post(&format!("/v1/receipts/{source}/reload"), "application/json", &[], body.to_owned()).await
    };
    let refused = again(2, "").await.problem(409, "conflict");
    assert!(refused.text().contains("is not a file, its kind is 'request'"), "{}", refused.text());
    again(9, "").await.problem(404, "not-found");
    again(u64::MAX, "").await.problem(404, "not-found");
    again(1, "{\"more\": 1}").await.with_status(400);
    service.get("/v1/reloads/9").await.problem(404, "not-found");
    std::fs::remove_file(home.path("landing/done/1-departments.csv")).unwrap();
    let asked = again(1, "{}").await.with_status(202);
    let location = asked.headers["location"].to_str().unwrap().to_owned();
    until("it is refused", async || service.get(&location).await.json()["state"] == "failed").await;
    let why = service.get(&location).await.json()["error"].as_str().unwrap().to_owned();
    assert!(why.contains("done/1-departments.csv"), "{why}");
    service.stop().await;
}
