//! Numbers and names of JSON.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{HTTP, Service, company};
use crate::home::Home;

const MANIFEST: &str = "\
pipeline: numbers
stable_for: 10ms
datasets:
  numbers:
    key: id
    columns:
      id: bigint
      small: {type: smallint, optional: true}
      amount: {type: numeric, optional: true}
      text: {type: text, optional: true}
      document: {type: jsonb, optional: true}
";

#[tokio::test]
async fn numbers_with_a_fraction_of_zero_are_whole_and_all_others_as_they_are_written() {
    let home = Home::embedded(&format!("{HTTP}{MANIFEST}")).await;
    let service = Service::start(&home).await;
    let path = "/v1/datasets/numbers/rows?wait=true";
    let body = "{\"rows\": [\
        {\"id\": 1.0, \"small\": 2e0, \"amount\": 1.50, \"text\": 1.0, \"document\": {\"a\": 1.0}},\
        {\"id\": 9007199254740993.0, \"small\": -1.0, \"text\": 1e2},\
        {\"id\": -9.223372036854775808e18, \"small\": 0e0},\
        {\"id\": 1e2, \"small\": 1.5},\
        {\"id\": 1e400},\
        {\"id\": 1.5},\
        {\"id\": 9223372036854775808.0},\
        {\"id\": 5, \"small\": \"1.0\"}]}";
    let pushed = service.post(path, "application/json", &[], body).await.with_status(200).json();
    let outcomes: Vec<_> = pushed["rows"].as_array().unwrap().iter().map(|row| &row["outcome"]).collect();
    let (accepted, rejected) = ("accepted", "rejected");
    assert_eq!(outcomes, [accepted, accepted, accepted, rejected, rejected, rejected, rejected, accepted]);
    let code = |row: usize| &pushed["rows"][row]["reasons"][0]["code"];
    assert_eq!(
        [3, 4, 5, 6].map(code),
        ["invalid_integer", "invalid_integer", "invalid_integer", "out_of_range"]
    );
    let ndjson = "\u{feff}{\"id\": 7.0}\n{\"id\": 80E-1}\n";
    let pushed = service.post(path, "application/x-ndjson", &[], ndjson).await.with_status(200).json();
    assert_eq!(pushed["accepted"], 2);
    assert_eq!(
        home.query("select concat_ws(',', id, small, amount, text, document) from numbers order by id").await,
        ["-9223372036854775808,0", "1,2,1.50,1.0,{\"a\": 1.0}", "5,1", "7", "8", "9007199254740993,-1,1e2",]
    );
    service.stop().await;
    home.run("verify").await.succeeded();
}

/// Names that are there twice, or are none, in a body that is as large as may be.
#[tokio::test]
async fn many_names_are_compared_in_no_time() {
    let home = company().await;
    let service = Service::start(&home).await;
    let path = "/v1/datasets/departments/rows";
    let fields: String = (0..500_000).map(|i| format!("\"f{i}\":1,")).collect();
    let deep = format!("{}1{}", "[".repeat(3 << 20), "]".repeat(3 << 20));
    let begun = Instant::now();
    for (kind, to, body) in [
        ("application/json", path, format!("{{\"rows\":[{{{fields}\"f\":1}}]}}")),
        ("application/json", path, format!("{{\"rows\":[{{{fields}\"f0\":1}}]}}")),
        ("application/x-ndjson", path, format!("{{{fields}\"f\":1}}\n")),
        ("application/x-ndjson", path, "{\"id\":1,\"department\":\"A\",\"id\":2}\n".to_owned()),
        ("application/x-ndjson", path, "{\"id\":1,\"department\":\"A\",\"i\\u0064\":2}\n".to_owned()),
        ("application/json", path, format!("{{\"rows\":[{{\"id\":1,\"{}\":1}}]}}", "x".repeat(7 << 20))),
        ("application/json", "/v1/rows", "{\"jobs\":[{\"id\":1}],\"jobs\":[{\"id\":2}]}".to_owned()),
        ("application/json", "/v1/backups", deep),
    ] {
        let refused = service.post(to, kind, &[], body).await.problem(400, "bad-request");
        assert!(refused.body.len() < 64 << 10, "{to}: {} bytes", refused.body.len());
    }
    for body in [
        format!("{{{}\"jobs\":[]}}", fields.replace(":1,", ":[],")),
        format!("{{\"{}\":[]}}", "x".repeat(7 << 20)),
    ] {
        let unknown = service.post("/v1/rows", "application/json", &[], body).await.problem(404, "not-found");
        assert!(unknown.body.len() < 64 << 10, "{} bytes", unknown.body.len());
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // However deep a value is that is none of its column, it is its row's fault alone.
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let body =
        format!("{{\"rows\":[{{\"id\":{deep},\"department\":\"A\"}},{{\"id\":2,\"department\":\"B\"}}]}}");
    let pushed =
        service.post(&format!("{path}?wait=true"), "application/json", &[], body).await.with_status(200);
    assert_eq!((&pushed.json()["accepted"], &pushed.json()["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(service.post_json(path, &json!({"rows": [{"id": 1, "department": "A"}]})).await.status, 202);
    service.stop().await;
}
