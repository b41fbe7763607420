//! Dead letters over HTTP: listed, replayed, discarded and exported.

use serde_json::json;

use super::{Service, company};
use crate::home::{Home, until};

/// Line 3:2 lacks its name, 3:3 has a bad time and looks like a formula, 3:4 waits for department 9.
async fn with_letters() -> (Home, Service) {
    let home = company().await;
    home.drop("departments.csv", "1,Sales\n");
    home.drop("jobs.csv", "1,Clerk\n");
    home.drop(
        "hired_employees.csv",
        "1,Ada,2021-03-01T00:00:00Z,1,1\n2,,2021-03-01T00:00:00Z,1,1\n=3,Cy,soon,1,1\n\
         4,Dan,2021-06-01T00:00:00Z,9,1\n",
    );
    let service = Service::start(&home).await;
    until("all is in", async || home.count("select count(*) from tidegate.dead_letters").await == 3).await;
    (home, service)
}

#[tokio::test]
async fn dead_letters_are_listed_by_filter_page_by_page_and_counted() {
    let (_home, service) = with_letters().await;
    let positions = async |query: &str| {
        let page = service.get(&format!("/v1/dead-letters{query}")).await.with_status(200).json();
        let letters = page["letters"].as_array().unwrap().clone();
        let positions: Vec<_> =
            letters.iter().map(|letter| letter["position"].as_str().unwrap().to_owned()).collect();
        (positions.join(" "), page["next"].clone())
    };
    assert_eq!(positions("").await, ("3:2 3:3 3:4".to_owned(), json!(null)));
    assert_eq!(positions("?limit=2").await, ("3:2 3:3".to_owned(), json!("3:3")));
    assert_eq!(positions("?limit=2&after=3:3").await.0, "3:4");
    assert_eq!(positions("?reason=missing_value").await.0, "3:2");
    assert_eq!(positions("?status=waiting&dataset=hired_employees").await.0, "3:4");
    assert_eq!(positions("?contains=%27%20or%20true%20--").await.0, "");
    assert_eq!(positions("?since=2020-01-01T00:00:00%2B02:00&until=2020-01-02").await.0, "");
    let summary = service.get("/v1/dead-letters/summary?source=3").await.with_status(200).json();
    assert_eq!(summary["lines"], 3, "{summary}");
    let one = service.get("/v1/dead-letters/3:2").await.with_status(200).json();
    assert_eq!((&one["text"], &one["moves"]), (&json!("2,,2021-03-01T00:00:00Z,1,1"), &json!([])));
    for query in [
        "?reason=mising",
        "?status=dead",
        "?contains=%00",
        "?limit=0",
        "?limit=1001",
        "?after=3",
        "?sort=x",
        "?since=soon",
    ] {
        service.get(&format!("/v1/dead-letters{query}")).await.problem(400, "bad-request");
    }
    for path in ["3:1", "3", "9223372036854775808:1", "3:99999999999999999999"] {
        service.get(&format!("/v1/dead-letters/{path}")).await.problem(404, "not-found");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_line_is_replayed_or_discarded_once_and_the_answer_tells_what_came_of_it() {
    let (home, service) = with_letters().await;
    let replay = "/v1/dead-letters/3:2/replay";
    for nothing in ["", "null"] {
        service.post(replay, "application/json", &[], nothing).await.with_status(200);
    }
    let edited = json!({"line": "1,Bob,2021-03-01T00:00:00Z,1,1", "note": "from HR"});
    service.post_json(replay, &json!({"line": "1,\"Bob"})).await.problem(422, "unusable-line");
    service.post_json(replay, &json!({"lines": "1"})).await.problem(400, "bad-request");
    service.post(replay, "text/csv", &[], "1,Bob").await.problem(415, "unsupported-media-type");
    let done = service.post_json(replay, &edited).await.with_status(200).json();
    assert_eq!(
        (&done["outcome"], &done["note"], &done["attempt"]),
        (&json!("accepted"), &json!("from HR"), &json!(3))
    );
    service.post_json(replay, &edited).await.problem(409, "conflict");
    let done = service
        .post_json("/v1/dead-letters/3:4/discard", &json!({"note": "old"}))
        .await
        .with_status(200)
        .json();
    assert_eq!(done["outcome"], "discarded");
    service.post_json("/v1/dead-letters/3:1/discard", &json!({})).await.problem(404, "not-found");
    let one = service.get("/v1/dead-letters/3:2").await.with_status(200).json();
    assert_eq!((&one["status"], one["moves"].as_array().unwrap().len()), (&json!("replayed"), 3));
    assert_eq!(one["moves"][2]["by"], "anonymous");
    assert_eq!(home.query("select name from hired_employees order by _line desc limit 1").await, ["Bob"]);
    service.stop().await;
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn many_lines_are_moved_by_a_job_and_exported() {
    let (home, service) = with_letters().await;
    let csv = service.get("/v1/dead-letters/export?format=csv").await.with_status(200);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert!(csv.text().contains(",\"'=3,Cy,soon,1,1\","), "{}", csv.text());
    let ndjson = service.get("/v1/dead-letters/export?status=waiting").await.with_status(200);
    assert_eq!(ndjson.text().lines().count(), 1);
    let dry = json!({"filter": {"source": 3}, "dry_run": true});
    let preview = service.post_json("/v1/dead-letters/replay", &dry).await.with_status(200).json();
    assert_eq!((&preview["lines"], &preview["need_a_line"]), (&json!(3), &json!(0)));
    for wrong in [
        json!({}),
        json!({"filter": {"code": "x"}}),
        json!({"filter": {}, "rate": 0}),
        json!({"filter": {}, "limit": 0}),
    ] {
        service.post_json("/v1/dead-letters/discard", &wrong).await.problem(400, "bad-request");
    }
    // Of two filters none is taken.
    for twice in
        ["{\"filter\": {\"source\": 9}, \"filter\": {}}", "{\"filter\": {\"source\": 9, \"source\": 3}}"]
    {
        let asked = service.post("/v1/dead-letters/discard", "application/json", &[], twice).await;
        asked.problem(400, "bad-request");
    }
    let slow = json!({"filter": {"status": "waiting"}, "rate": 0.0001, "limit": 1, "note": "slowly"});
    let asked = service
        .post_json("/v1/dead-letters/discard", &json!({"filter": {"status": "rejected"}}))
        .await
        .with_status(202);
    let path = asked.headers["location"].to_str().unwrap().to_owned();
    until("the job is done", async || service.get(&path).await.with_status(200).json()["state"] == "done")
        .await;
    assert_eq!(service.get(&path).await.json()["discarded"], 2);
    service.post(&format!("{path}/cancel"), "application/json", &[], "").await.problem(409, "conflict");
    service.post_json("/v1/dead-letters/discard", &slow).await.with_status(202);
    let jobs = service.get("/v1/dead-letters/jobs?limit=1").await.with_status(200).json();
    assert_eq!((jobs["jobs"].as_array().unwrap().len(), &jobs["jobs"][0]["note"]), (1, &json!("slowly")));
    service.get("/v1/dead-letters/jobs/99").await.problem(404, "not-found");
    service.stop().await;
    home.run("verify").await.succeeded();
}
