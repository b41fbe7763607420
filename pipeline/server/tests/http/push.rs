//! Rows in as JSON and NDJSON, and what became of them.

use serde_json::json;

use super::{HTTP, Service, company};
use crate::home::Home;

const DEPARTMENTS: &str = "/v1/datasets/departments/rows";

#[tokio::test]
async fn each_row_is_told_what_became_of_it() {
    let home = company().await;
    let service = Service::start(&home).await;
    let rows = json!({"rows": [
        {"id": 1, "department": "Sales"},
        {"department": "R&D, \"quoted\"\nand more", "id": 2},
        {"id": "seven", "department": null},
        {"id": 4}
    ]});
    let pushed = service.post_json(&format!("{DEPARTMENTS}?wait=true"), &rows).await.with_status(200);
    assert_eq!(pushed.headers["location"], "/v1/receipts/1");
    let receipt = pushed.json();
    let counts =
        ["lines", "accepted", "rejected", "waiting", "in_flight"].map(|name| receipt[name].as_u64().unwrap());
    assert_eq!(counts, [4, 2, 2, 0, 0], "{receipt}");
    let outcomes: Vec<_> =
        receipt["rows"].as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["accepted", "accepted", "rejected", "rejected"]);
    let reasons = receipt["rows"][2]["reasons"].as_array().unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| &reason["code"]).collect();
    assert_eq!(codes, ["invalid_integer", "missing_value"], "{receipt}");
    assert_eq!(
        home.query("select id, department from departments order by id").await,
        ["1|Sales", "2|R&D, \"quoted\"\nand more"]
    );
    // A row whose reference does not exist yet waits, and that is an answer too.
    let employee = json!({"rows": [
        {"id": 1, "name": "A", "datetime": "2021-02-03T04:05:06Z", "department_id": 1, "job_id": 9}
    ]});
    let path = "/v1/datasets/hired_employees/rows?wait=true&timeout_seconds=30";
    let waiting = service.post_json(path, &employee).await.with_status(200).json();
    assert_eq!((&waiting["waiting"], &waiting["rows"][0]["outcome"]), (&json!(1), &json!("waiting")));
    assert_eq!(waiting["rows"][0]["reasons"][0]["code"], "unknown_reference");
    service
        .post_json("/v1/datasets/jobs/rows", &json!({"rows": [{"id": 9, "job": "J"}]}))
        .await
        .with_status(202);
    crate::home::until("it is healed", async || {
        home.count("select count(*) from hired_employees").await == 1
    })
    .await;
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn several_datasets_enter_together_with_a_receipt_each() {
    let home = company().await;
    let service = Service::start(&home).await;
    let rows = json!({
        "hired_employees": [{"id": 1, "name": "A", "datetime": "2021-02-03T04:05:06Z", "department_id": 1, "job_id": 9}],
        "jobs": [{"id": 9, "job": "J"}],
        "departments": [{"id": 1, "department": "D"}, {"id": 2, "department": "E"}],
    });
    let pushed = service.post_json("/v1/rows?wait=true", &rows).await.with_status(200).json();
    let receipts = pushed["receipts"].as_array().unwrap();
    let each: Vec<_> = receipts
        .iter()
        .map(|receipt| (receipt["dataset"].as_str().unwrap(), receipt["lines"].as_u64().unwrap()))
        .collect();
    // In the order of the document, whatever that is when it is written.
    assert_eq!(each.len(), 3);
    assert!(
        each.contains(&("departments", 2))
            && each.contains(&("jobs", 1))
            && each.contains(&("hired_employees", 1))
    );
    crate::home::until("all are in", async || home.count("select count(*) from hired_employees").await == 1)
        .await;
    let unknown = json!({"departments": [{"id": 3, "department": "F"}], "job": [{"id": 1}]});
    service.post_json("/v1/rows", &unknown).await.problem(404, "not-found");
    let faulty = json!({"departments": [{"id": 3, "department": "F"}], "jobs": [{"id": 1, "title": "x"}]});
    service.post_json("/v1/rows", &faulty).await.problem(400, "bad-request");
    assert_eq!(
        home.count("select count(*) from tidegate.sources").await,
        3,
        "a refused request leaves nothing"
    );
    service.stop().await;
}

#[tokio::test]
async fn ndjson_is_a_row_a_line() {
    let home = company().await;
    let service = Service::start(&home).await;
    let body = "{\"id\":1,\"department\":\"A\"}\n\n{\"id\":2,\"department\":\"B\"}\r\n";
    let path = format!("{DEPARTMENTS}?wait=true");
    let pushed = service.post(&path, "application/x-ndjson", &[], body).await.with_status(200).json();
    assert_eq!(pushed["accepted"], 2);
    let torn = "{\"id\":3,\"department\":\"A\"}\n{\"id\":4,";
    let problem =
        service.post(&path, "application/x-ndjson", &[], torn).await.problem(400, "bad-request").json();
    assert_eq!(problem["line"], 2);
    assert_eq!(home.count("select count(*) from departments").await, 2);
    service.stop().await;
}

#[tokio::test]
async fn no_more_of_a_body_is_read_than_it_takes_to_refuse_it() {
    let home = company().await;
    let service = Service::start(&home).await;
    // What stands behind is no JSON, and nobody has come so far.
    let row = "{\"id\": 1, \"department\": \"D\"},";
    let long = format!("{{\"rows\": [{} nothing", row.repeat(1001));
    service.post(DEPARTMENTS, "application/json", &[], long).await.problem(413, "too-large");
    let several = format!("{{\"departments\": [{{\"id\": 1}}], \"jobs\": [{} nothing", row.repeat(1000));
    service.post("/v1/rows", "application/json", &[], several).await.problem(413, "too-large");
    let unknown = "{\"nowhere\": [nothing";
    let problem = service.post("/v1/rows", "application/json", &[], unknown).await.problem(404, "not-found");
    assert!(problem.text().contains("there is no dataset 'nowhere'"), "{}", problem.text());
    for empty in ["{}", "{\"departments\": []}"] {
        service.post("/v1/rows", "application/json", &[], empty).await.problem(400, "bad-request");
    }
    let twice = "{\"jobs\": [], \"jobs\": []}";
    service.post("/v1/rows", "application/json", &[], twice).await.problem(400, "bad-request");
    service.stop().await;
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 0);
}

#[tokio::test]
async fn a_request_that_cannot_be_understood_is_refused_whole() {
    let home = super::company_with("max_record_bytes: 2KiB\n").await;
    let service = Service::start(&home).await;
    let row = |i: u64| json!({"id": i, "department": "D"});
    let rows = |n: u64| json!({"rows": (1..=n).map(row).collect::<Vec<_>>()});
    service.post_json(DEPARTMENTS, &rows(0)).await.problem(400, "bad-request");
    service.post_json(DEPARTMENTS, &rows(1001)).await.problem(413, "too-large");
    service.post_json(DEPARTMENTS, &json!([row(1)])).await.problem(400, "bad-request");
    service.post_json(DEPARTMENTS, &json!({"rows": [1]})).await.problem(400, "bad-request");
    service.post_json(DEPARTMENTS, &json!({"rows": [row(1)], "more": 1})).await.problem(400, "bad-request");
    let unknown = json!({"rows": [row(1), {"id": 2, "departmnt": "D"}]});
    let problem = service.post_json(DEPARTMENTS, &unknown).await.problem(400, "bad-request").json();
    assert_eq!((&problem["row"], &problem["field"]), (&json!(2), &json!("departmnt")));
    assert!(problem["detail"].as_str().unwrap().contains("do you mean 'department'?"), "{problem}");
    let long = json!({"rows": [row(1), {"id": 2, "department": "x".repeat(3000)}]});
    assert_eq!(service.post_json(DEPARTMENTS, &long).await.problem(413, "too-large").json()["row"], 2);
    for body in ["", "{", "{\"rows\":[{\"id\":1,\"id\":2}]}", "{\"rows\":[{\"department\":\"\\ud800\"}]}"] {
        service.post(DEPARTMENTS, "application/json", &[], body).await.problem(400, "bad-request");
    }
    service.post(DEPARTMENTS, "text/plain", &[], "1,A").await.problem(415, "unsupported-media-type");
    service
        .post(DEPARTMENTS, "application/json", &[("content-encoding", "br")], "x")
        .await
        .problem(415, "unsupported-media-type");
    service.post_json("/v1/datasets/nobody/rows", &rows(1)).await.problem(404, "not-found");
    service.post_json(&format!("{DEPARTMENTS}?wait=perhaps"), &rows(1)).await.problem(400, "bad-request");
    service
        .post_json(&format!("{DEPARTMENTS}?wait=true&timeout_seconds=0"), &rows(1))
        .await
        .problem(400, "bad-request");
    service.get(DEPARTMENTS).await.problem(405, "method-not-allowed");
    service.get("/v1/nothing").await.problem(404, "not-found");
    service.get("/v1/receipts/99").await.problem(404, "not-found");
    service.get("/v1/receipts/x").await.problem(404, "not-found");
    service.get("/v1/receipts/18446744073709551615").await.problem(404, "not-found");
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 0);
    service.post_json(&format!("{DEPARTMENTS}?wait=true"), &rows(1000)).await.with_status(200);
    assert_eq!(home.count("select count(*) from departments").await, 1000);
    service.stop().await;
}

/// Every type, in another dialect and with a header, a word for missing, and text that looks like it.
const TYPES: &str = "\
pipeline: types
stable_for: 10ms
datasets:
  things:
    key: id
    csv: {delimiter: ';', quote: \"'\", header: true, 'null': NA}
    columns:
      id: bigint
      text: {type: text, optional: true}
      number: {type: 'numeric(20,4)', optional: true}
      flag: {type: boolean, optional: true}
      document: {type: jsonb, optional: true}
";

#[tokio::test]
async fn values_keep_their_meaning_in_any_dialect() {
    let home = Home::embedded(&format!("{HTTP}{TYPES}")).await;
    let service = Service::start(&home).await;
    let texts = ["NA", "a;b", "it's", "'", "two\nlines", "\r", " x ", "\u{feff}bom", "=1+1"];
    let mut rows: Vec<_> = (1..).zip(texts).map(|(id, text)| json!({"id": id, "text": text})).collect();
    rows.push(json!({"id": 100, "text": null, "flag": true, "document": {"a": ["'", ";", null]}}));
    rows.push(json!({"id": 101, "text": "", "document": "a string"}));
    rows.push(json!({"id": 102, "text": "nul \u{0}"}));
    let body =
        json!({"rows": rows}).to_string().replace("\"id\":100", "\"id\":100,\"number\":12345678901234.5678");
    let path = "/v1/datasets/things/rows?wait=true";
    let pushed = service.post(path, "application/json", &[], body).await.with_status(200).json();
    assert_eq!(pushed["rejected"], 1, "{pushed}");
    assert_eq!(pushed["rows"][texts.len() + 2]["reasons"][0]["code"], "invalid_character");
    let stored = home.query("select to_json(text)::text from things where id < 100 order by id").await;
    let expected: Vec<_> = texts.iter().map(|text| json!(text).to_string()).collect();
    assert_eq!(stored, expected);
    let rest = "select text is null, number, flag, document from things where id >= 100 order by id";
    assert_eq!(
        home.query(rest).await,
        ["t|12345678901234.5678|t|{\"a\": [\"'\", \";\", null]}", "t|null|null|\"a string\""]
    );
    service.stop().await;
    home.run("verify").await.succeeded();
}

const GENERATED: &str = "\
pipeline: keys
stable_for: 10ms
datasets:
  numbered:
    key: id
    columns: {id: {type: bigint, generated: {start: 1000000}}, name: text}
  named:
    key: id
    columns: {id: {type: uuid, generated: uuid}, name: text}
";

#[tokio::test]
async fn keys_are_given_before_a_row_is_durable() {
    let home = Home::embedded(&format!("{HTTP}{GENERATED}")).await;
    let mut service = Service::start(&home).await;
    let rows = json!({"rows": [{"name": "a"}, {"id": 7, "name": "b"}, {"id": null, "name": "c"}]});
    let key = [("idempotency-key", "k")];
    let path = "/v1/datasets/numbered/rows?wait=true";
    let first = service.post(path, "application/json", &key, rows.to_string()).await.with_status(200).json();
    assert_eq!(first["accepted"], 3);
    service.running.kill().await;
    let service = Service::start(&home).await;
    let again = service.post(path, "application/json", &key, rows.to_string()).await.with_status(200).json();
    assert_eq!(again["source"], first["source"]);
    service.post_json(path, &json!({"rows": [{"name": "d"}]})).await.with_status(200);
    assert_eq!(
        home.query("select id, name from numbered order by name").await,
        ["1000000|a", "7|b", "1000001|c", "1000004|d"]
    );
    let rows: Vec<_> = (0..50).map(|_| json!({"name": "n"})).collect();
    let named = json!({"rows": rows});
    service.post_json("/v1/datasets/named/rows?wait=true", &named).await.with_status(200);
    assert_eq!(home.query("select count(*), count(distinct substr(id::text, 15, 1)), min(substr(id::text, 15, 1)) from named").await, ["50|1|7"]);
    // A file has no column for what is given, or has it here and there.
    let path = "/v1/datasets/numbered/rows?wait=true";
    let file = service.post(path, "text/csv", &[], ",e\n9,f\n,g\n").await.with_status(200).json();
    assert_eq!(file["accepted"], 3, "{file}");
    let given = "select id, name from numbered where name >= 'e' order by name";
    assert_eq!(home.query(given).await, ["1000005|e", "9|f", "1000007|g"]);
    let file = service.post("/v1/datasets/named/rows?wait=true", "text/csv", &[], ",x\n,y\n").await;
    assert_eq!(file.with_status(200).json()["accepted"], 2);
    // Whoever wrote the row, its key is not given again.
    home.query(
        "insert into numbered (id, name) select id, 'theirs' from generate_series(1000008, 1000020) as id",
    )
    .await;
    service.post_json(path, &json!({"rows": [{"name": "h"}, {"name": "i"}]})).await.with_status(200);
    let file = service.post(path, "text/csv", &[], ",j\n,k\n").await.with_status(200).json();
    assert_eq!(file["accepted"], 2, "{file}");
    let given = "select id, name from numbered where name >= 'h' and name <> 'theirs' order by id";
    assert_eq!(home.query(given).await, ["1000021|h", "1000022|i", "1000023|j", "1000024|k"]);
    assert_eq!(home.query("select count(*) from numbered where name = 'theirs'").await, ["13"]);
    // They order as they came.
    assert_eq!(
        home.count("select count(*) from named as a join named as b on a._source = b._source and a._line < b._line and a.id > b.id")
            .await,
        0
    );
    service.stop().await;
}
