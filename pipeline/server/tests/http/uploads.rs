//! Files in over HTTP.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HTTP, Service, company, company_with};
use crate::home::Home;

const PATH: &str = "/v1/datasets/departments/rows?wait=true&timeout_seconds=60";
const BOUNDARY: &str = "----a-boundary";
const FORM: &str = "multipart/form-data; boundary=----a-boundary";

fn form(field: &str, name: &str, content: &str) -> String {
    format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\ncontent-type: text/csv\r\n\r\n{content}\r\n--{BOUNDARY}--\r\n"
    )
}

#[tokio::test]
async fn a_file_enters_as_a_form_or_as_it_is() {
    let home = company().await;
    let service = Service::start(&home).await;
    let csv = "1,A\r\n2,\"B, b\"\r\n\r\n3\r\n4,D";
    let pushed = service
        .post(PATH, FORM, &[], form("file", "../../etc/passwd.csv", csv))
        .await
        .with_status(200)
        .json();
    let counts = ["lines", "accepted", "rejected"].map(|name| pushed[name].as_u64().unwrap());
    assert_eq!(
        (counts, pushed["kind"].as_str(), pushed["name"].as_str()),
        ([4, 3, 1], Some("upload"), Some("passwd.csv"))
    );
    assert_eq!(pushed["rows"][2]["reasons"][0]["code"], "wrong_column_count");
    // A form may be as large as a file.
    let large: String = (1..=200_000).map(|id| format!("{id},Department {id}\n")).collect();
    let pushed =
        service.post(PATH, FORM, &[], form("file", "large.csv", &large)).await.with_status(200).json();
    assert_eq!(pushed["accepted"], 200_000);
    // The envelope is no part of what was sent.
    let key = [("idempotency-key", "k")];
    let first = service.post(PATH, FORM, &key, form("file", "one.csv", csv)).await.with_status(200).json();
    let again = service.post(PATH, FORM, &key, form("file", "two.csv", csv)).await.with_status(200).json();
    let plain = service.post(PATH, "text/csv; charset=utf-8", &key, csv).await.with_status(200).json();
    assert_eq!((&again["source"], &plain["source"]), (&first["source"], &first["source"]));
    service.post(PATH, FORM, &[], form("data", "x.csv", csv)).await.problem(400, "bad-request");
    service.post(PATH, FORM, &[], format!("--{BOUNDARY}--\r\n")).await.problem(400, "bad-request");
    let torn = form("file", "x.csv", csv)[..120].to_owned();
    service.post(PATH, FORM, &[], torn).await.problem(400, "bad-request");
    service.post(PATH, "text/csv", &[], "").await.problem(400, "bad-request");
    service
        .post(PATH, "text/csv", &[("content-encoding", "gzip")], "no gzip")
        .await
        .problem(400, "bad-request");
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 3);
    crate::home::until("the spool is empty", async || home.names_in(".tidegate/spool").is_empty()).await;
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn the_content_type_says_how_a_file_is_written() {
    let home = company().await;
    let service = Service::start(&home).await;
    let written = "text/csv; header=present; charset=latin1; delimiter=\";\"";
    let csv = b"department;id\nJos\xe9;1\nAnn;2\n".to_vec();
    let pushed = service.post(PATH, written, &[], csv).await.with_status(200).json();
    assert_eq!((&pushed["lines"], &pushed["accepted"]), (&2.into(), &2.into()), "{pushed}");
    let plain = service.post(PATH, "text/csv", &[], "3,Bob\n").await.with_status(200).json();
    assert_eq!(plain["accepted"], 1, "the next file is as the manifest says");
    let rows = home.query("select id, department from departments order by id").await;
    assert_eq!(rows, ["1|José", "2|Ann", "3|Bob"]);
    service.post(PATH, "text/csv; header=maybe", &[], "4,x\n").await.problem(400, "bad-request");
    service.stop().await;
    home.run("verify").await.succeeded();
}

const HEADED: &str = "\
pipeline: headed
stable_for: 10ms
datasets:
  things:
    key: id
    csv: {header: true}
    columns: {id: bigint, text: text}
";

#[tokio::test]
async fn a_header_that_does_not_fit_refuses_the_file() {
    let home = Home::embedded(&format!("{HTTP}{HEADED}")).await;
    let service = Service::start(&home).await;
    let path = "/v1/datasets/things/rows?wait=true";
    let problem =
        service.post(path, "text/csv", &[], "id,txt\n1,a\n").await.problem(400, "bad-request").json();
    assert!(problem["detail"].as_str().unwrap().contains("did you mean 'text'?"), "{problem}");
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 0);
    let pushed = service.post(path, "text/csv", &[], "text,id\na,1\n").await.with_status(200).json();
    assert_eq!(pushed["accepted"], 1);
    crate::home::until("the spool is empty", async || home.names_in(".tidegate/spool").is_empty()).await;
    service.stop().await;
}

#[tokio::test]
async fn limits_hold() {
    let home = Home::embedded(&format!(
        "http: {{listen: 127.0.0.1:0, max_body_bytes: 4KiB, max_upload_bytes: 64KiB}}\n{}",
        crate::company::MANIFEST
    ))
    .await;
    let service = Service::start(&home).await;
    let rows: Vec<_> = (0..200).map(|id| json!({"id": id, "department": "D".repeat(40)})).collect();
    service.post_json(PATH, &json!({"rows": rows})).await.problem(413, "too-large");
    let csv = |bytes: usize| "1,A\n".repeat(bytes / 4);
    service.post(PATH, "text/csv", &[], csv(128 << 10)).await.problem(413, "too-large");
    service.post(PATH, FORM, &[], form("file", "a.csv", &csv(128 << 10))).await.problem(413, "too-large");
    // What is small packed and large unpacked counts unpacked.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, csv(1 << 20).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 16 << 10);
    service.post(PATH, "text/csv", &[("content-encoding", "gzip")], packed).await.problem(413, "too-large");
    service.post(PATH, "text/csv", &[], csv(32 << 10)).await.with_status(200);
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 1);
    crate::home::until("the spool is empty", async || home.names_in(".tidegate/spool").is_empty()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_file_does_not_hold_up_rows() {
    let home = company().await;
    let service = Service::start(&home).await;
    let large: String = (1..=300_000).map(|id| format!("{id},Department of {id}\n")).collect();
    let path = "/v1/datasets/departments/rows";
    let file = service.post(path, "text/csv", &[], large).await.with_status(202).json();
    let jobs = json!({"rows": [{"id": 1, "job": "J"}]});
    let pushed = service.post_json("/v1/datasets/jobs/rows?wait=true", &jobs).await.with_status(200).json();
    assert_eq!(pushed["accepted"], 1);
    let file = format!("/v1/receipts/{}", file["source"]);
    let events = service.get(&format!("{file}/events")).await.with_status(200);
    assert_eq!(events.headers["content-type"], "text/event-stream");
    let last = events.text().lines().rfind(|line| line.starts_with("data: ")).unwrap()[6..].to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["complete"], &last["accepted"]), (&json!(true), &json!(300_000)));
    assert_eq!(service.get(&file).await.with_status(200).json()["accepted"], 300_000);
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn slow_clients_do_not_hold_others_up() {
    let home = company_with("").await;
    let service = Service::start(&home).await;
    let address = service.address.strip_prefix("http://").unwrap().to_owned();
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = "POST /v1/datasets/departments/rows HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: 100\r\n\r\n1,";
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let begun = std::time::Instant::now();
    for id in 0..20 {
        let row = json!({"rows": [{"id": id, "department": "D"}]});
        service.post_json("/v1/datasets/departments/rows?wait=true", &row).await.with_status(200);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    // One that ends its request is served as well.
    let mut one = slow.pop().unwrap();
    one.write_all(&b"A\n".repeat(49)).await.unwrap();
    let mut answer = [0; 12];
    one.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 202");
    drop(slow);
    service.stop().await;
}

#[tokio::test]
async fn who_says_nothing_or_takes_nothing_does_not_keep_a_connection() {
    let manifest = format!("http: {{listen: 127.0.0.1:0, max_connections: 4}}\n{}", crate::company::MANIFEST);
    let home = crate::company::embedded(&manifest).await;
    let service = Service::start(&home).await;
    let address = service.address.strip_prefix("http://").unwrap().to_owned();
    let connect = async || tokio::net::TcpStream::connect(&address).await.unwrap();
    let (_silent, _too) = (connect().await, connect().await);
    let mut deaf = Vec::new();
    for _ in 0..2 {
        let mut socket = connect().await;
        let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50);
        socket.write_all(request.as_bytes()).await.unwrap();
        deaf.push(socket);
    }
    let mut answered = Vec::new();
    for _ in 0..4 {
        let mut socket = connect().await;
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(std::time::Duration::from_secs(90), socket.read_exact(&mut answer));
        read.await.expect("it is served in time").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        answered.push(socket);
    }
    drop(deaf);
    service.running.signal(nix::sys::signal::Signal::SIGTERM);
    service.running.ended().await.succeeded();
}

#[tokio::test]
async fn a_stop_lets_requests_end() {
    let home = company().await;
    let service = Service::start(&home).await;
    let address = service.address.strip_prefix("http://").unwrap().to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = "POST /v1/datasets/departments/rows HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: 8\r\n\r\n1,A\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    service.running.signal(nix::sys::signal::Signal::SIGTERM);
    // Who had not read the head yet has hung up.
    let _ = socket.write_all(b"2,B\n").await;
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer).await;
    service.running.ended().await.succeeded();
    // Either it is in, whole, or nothing of it.
    home.ingest().await;
    let rows = home.count("select count(*) from departments").await;
    assert_eq!(rows, if answer.starts_with("HTTP/1.1 202") { 2 } else { 0 }, "{answer}");
    crate::company::assert_accounted(&home).await;
}
