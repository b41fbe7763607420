//! A backup that takes longer than a client waits: it has a name and a state.

use serde_json::{Value, json};

use crate::company;
use crate::home::{Home, until};
use crate::http::Service;

const COPYING: &str = "select count(*) from pg_stat_activity where query like 'copy (%' and wait_event_type = 'Lock' \
                       and datname = current_database()";

async fn state(service: &Service, path: &str) -> Value {
    service.get(path).await.with_status(200).json()
}

/// Asks for a backup that cannot read a table. Gives its path, and what was answered.
async fn asked(service: &Service, home: &Home, key: &[(&str, &str)]) -> (String, Value) {
    let asking = service.post("/v1/backups", "application/json", key, "");
    let copying = until("it waits for a table", async || home.count(COPYING).await == 1);
    let (answer, ()) = tokio::join!(asking, copying);
    let answer = answer.with_status(202);
    (answer.headers["location"].to_str().unwrap().to_owned(), answer.json())
}

#[tokio::test]
async fn a_backup_that_takes_long_has_a_name_and_a_state() {
    let home = crate::http::company().await;
    company::drop_example(&home);
    let service = Service::start(&home).await;
    let complete = "select count(*) from tidegate.sources where completed_at is not null";
    until("the example is in", async || home.count(complete).await == 3).await;
    let session = home.session().await;
    let lock = "begin; lock table hired_employees in access exclusive mode";
    session.batch_execute(lock).await.unwrap();
    let key = [("idempotency-key", "slow")];
    let (path, answered) = asked(&service, &home, &key).await;
    assert_eq!((&answered["state"], &answered["error"]), (&json!("running"), &Value::Null));
    assert_eq!(path, format!("/v1/backups/{}", answered["id"].as_str().unwrap()));
    assert_eq!(state(&service, &path).await, answered);
    let again = service.post("/v1/backups", "application/json", &key, "").await.with_status(202);
    assert_eq!(
        (again.headers["location"].to_str().unwrap(), again.json()),
        (path.as_str(), answered.clone())
    );
    let other = service.post("/v1/backups", "application/json", &key, "{\"datasets\": [\"jobs\"]}").await;
    other.problem(422, "idempotency-key-reused");
    service.post("/v1/backups", "application/json", &[], "").await.problem(409, "conflict");
    assert_eq!(state(&service, "/v1/backups").await["backups"], json!([]));
    session.batch_execute("rollback").await.unwrap();
    until("it is there", async || state(&service, &path).await["state"] == "done").await;
    let done = state(&service, &path).await;
    assert_eq!((&done["id"], done["datasets"].as_array().unwrap().len()), (&answered["id"], 3));
    assert_eq!(state(&service, "/v1/backups").await["backups"], json!([done]));
    let again = service.post("/v1/backups", "application/json", &key, "").await.with_status(201);
    assert_eq!(again.json(), done);

    // One that fails says so, and why.
    session.batch_execute(lock).await.unwrap();
    let (path, _) = asked(&service, &home, &[]).await;
    home.query("select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy (%' and pid <> pg_backend_pid()")
        .await;
    until("it has failed", async || state(&service, &path).await["state"] == "failed").await;
    let failed = state(&service, &path).await;
    assert!(failed["error"].is_string() && failed["datasets"] == json!([]), "{failed}");
    session.batch_execute("rollback").await.unwrap();
    service.get("/v1/backups/20000101T000000Z").await.problem(404, "not-found");
    service.stop().await;
}
