//! Backups and restores over HTTP.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{assert_sound, rows};
use crate::company;
use crate::home::{Home, Running, until};

/// A pipeline that serves, and where.
async fn serving() -> (Home, Running, String) {
    let home = company::embedded(&format!("{}http: 127.0.0.1:0\n", company::MANIFEST)).await;
    company::drop_example(&home);
    let mut running = home.spawn("run");
    running.says("serving HTTP at http://").await;
    let said = running.said();
    let address =
        said.split("serving HTTP at http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let complete = "select count(*) from tidegate.sources where completed_at is not null";
    until("the example is in", async || home.count(complete).await == 3).await;
    (home, running, address)
}

/// Asks, and gives status, headers and body.
async fn ask(address: &str, method: &str, path: &str, body: Option<Value>) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), answer[end + 4..].to_vec())
}

async fn ask_json(address: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let (status, head, body) = ask(address, method, path, body).await;
    let body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| panic!("{head}\n{}", String::from_utf8_lossy(&body)));
    (status, body)
}

#[tokio::test]
async fn a_backup_is_taken_listed_downloaded_and_restored() {
    let (home, running, address) = serving().await;
    let before = rows(&home).await;
    let (status, backup) = ask_json(&address, "POST", "/v1/backups", None).await;
    assert_eq!((status, &backup["exact"]), (201, &true.into()), "{backup}");
    let (status, some) =
        ask_json(&address, "POST", "/v1/backups", Some(json!({"datasets": ["jobs"], "codec": "snappy"})))
            .await;
    assert_eq!((status, &some["exact"], some["datasets"].as_array().unwrap().len()), (201, &false.into(), 1));
    let (_, all) = ask_json(&address, "GET", "/v1/backups?limit=1", None).await;
    assert_eq!((&all["backups"][0]["id"], &all["next"]), (&some["id"], &some["id"]));
    let (_, rest) =
        ask_json(&address, "GET", &format!("/v1/backups?before={}", all["next"].as_str().unwrap()), None)
            .await;
    assert_eq!((&rest["backups"], &rest["next"]), (&json!([backup]), &Value::Null));
    let id = backup["id"].as_str().unwrap();
    assert_eq!(ask_json(&address, "GET", &format!("/v1/backups/{id}"), None).await, (200, backup.clone()));

    let href = backup["datasets"][2]["href"].as_str().unwrap();
    let (status, head, file) = ask(&address, "GET", href, None).await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/vnd.apache.avro"), "{head}");
    assert_eq!(file, std::fs::read(home.path("backups").join(id).join("hired_employees.avro")).unwrap());

    home.query("delete from hired_employees; delete from jobs; delete from departments").await;
    let (status, restore) = ask_json(&address, "POST", "/v1/restores", Some(json!({"backup": id}))).await;
    assert_eq!(status, 202, "{restore}");
    let path = format!("/v1/restores/{}", restore["id"].as_str().unwrap());
    until("it is done", async || ask_json(&address, "GET", &path, None).await.1["state"] == "done").await;
    let (_, done) = ask_json(&address, "GET", &path, None).await;
    let accepted: u64 =
        done["datasets"].as_array().unwrap().iter().map(|d| d["accepted"].as_u64().unwrap()).sum();
    assert_eq!(accepted as usize, before.len());
    assert_eq!((&done["asked_by"], &done["backup"]), (&"anonymous".into(), &id.into()));
    assert_eq!(rows(&home).await, before);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
    assert_sound(&home).await;
}

#[tokio::test]
async fn only_backups_of_the_folder_can_be_named() {
    let (home, running, address) = serving().await;
    let (_, backup) = ask_json(&address, "POST", "/v1/backups", None).await;
    let id = backup["id"].as_str().unwrap();
    for path in [
        "/v1/backups/..".to_owned(),
        "/v1/backups/..%2F..%2Flanding".to_owned(),
        "/v1/backups/20000101T000000Z".to_owned(),
        format!("/v1/backups/{id}/manifest.json"),
        format!("/v1/backups/{id}/..%2Fmanifest.avro"),
        format!("/v1/backups/{id}/_tidegate%2Ftokens.avro"),
        format!("/v1/backups/{id}/tokens.avro"),
        format!("/v1/backups/{id}/%00.avro"),
        "/v1/restores/1".to_owned(),
        "/v1/restores/00000000-0000-0000-0000-000000000000".to_owned(),
    ] {
        let (status, problem) = ask_json(&address, "GET", &path, None).await;
        assert_eq!((status, &problem["type"]), (404, &"/problems/not-found".into()), "{path}: {problem}");
    }
    let outside = home.path("backups").join(id).display().to_string();
    for (body, expected) in [
        (json!({"backup": outside}), 404),
        (json!({"backup": "../backups"}), 404),
        (json!({"backup": id, "datasets": ["nobody"]}), 404),
        (json!({"backup": id, "path": "/etc/passwd"}), 400),
        (json!({}), 400),
        (json!([1]), 400),
    ] {
        let (status, problem) = ask_json(&address, "POST", "/v1/restores", Some(body.clone())).await;
        assert_eq!(status, expected, "{body}: {problem}");
    }
    let (status, problem) = ask_json(&address, "POST", "/v1/backups", Some(json!({"to": "/tmp"}))).await;
    assert_eq!(status, 400, "{problem}");
    let file = home.path("backups").join(id).join("jobs.avro");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let (status, problem) = ask_json(&address, "POST", "/v1/restores", Some(json!({"backup": id}))).await;
    assert_eq!((status, &problem["type"]), (422, &"/problems/unfit-backup".into()));
    assert!(problem["detail"].as_str().unwrap().contains("block 1"), "{problem}");
    assert_eq!(home.query("select count(*) from tidegate.restores").await, ["0"]);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
}
