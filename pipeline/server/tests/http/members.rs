//! Bodies of gzip: all of their members are read, and nothing else.

use std::io::Write;

use serde_json::json;

use super::{Service, company};

const PATH: &str = "/v1/datasets/departments/rows?wait=true&timeout_seconds=60";
const GZIP: [(&str, &str); 1] = [("content-encoding", "gzip")];
const FORM: &str = "multipart/form-data; boundary=b";

fn member(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// A text in members, each of so many bytes, with an empty one between and at the end.
fn members(text: &str, bytes: usize) -> Vec<u8> {
    let mut packed: Vec<u8> = Vec::new();
    for part in text.as_bytes().chunks(bytes) {
        packed.extend(member(part));
        packed.extend(member(""));
    }
    packed
}

/// What is sent of each form: its type, and its body of departments from `first` on.
fn bodies(first: u64) -> [(&'static str, String); 4] {
    let csv: String = (first..first + 50).map(|id| format!("{id},D{id}\n")).collect();
    let rows: Vec<_> = (first..first + 50).map(|id| json!({"id": id, "department": "D"})).collect();
    let ndjson: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"d.csv\"\r\n\r\n{csv}\r\n--b--\r\n"
    );
    [
        ("text/csv", csv),
        ("application/json", json!({"rows": rows}).to_string()),
        ("application/x-ndjson", ndjson),
        (FORM, form),
    ]
}

#[tokio::test]
async fn all_members_of_a_body_enter_in_every_form() {
    let home = company().await;
    let service = Service::start(&home).await;
    for (i, bytes) in [7, 100, 1 << 20].into_iter().enumerate() {
        for (kind, body) in bodies(1 + 50 * i as u64) {
            let pushed = service.post(PATH, kind, &GZIP, members(&body, bytes)).await.with_status(200).json();
            assert_eq!((&pushed["lines"], &pushed["accepted"]), (&json!(50), &json!(50)), "{kind} {bytes}");
        }
    }
    assert_eq!(home.count("select count(*) from departments").await, 150);
    let several =
        json!({"jobs": [{"id": 1, "job": "J"}], "departments": [{"id": 1, "department": "D"}]}).to_string();
    let sent =
        service.post("/v1/rows", "application/json", &GZIP, members(&several, 9)).await.with_status(202);
    assert_eq!(sent.json()["receipts"].as_array().unwrap().len(), 2);
    let backup = service
        .post("/v1/backups", "application/json", &GZIP, members("{\"datasets\": [\"jobs\"]}", 5))
        .await;
    assert_eq!(backup.with_status(201).json()["datasets"].as_array().unwrap().len(), 1);
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn a_torn_member_and_what_is_none_refuse_the_request_whole() {
    let home = company().await;
    let service = Service::start(&home).await;
    let behind: [&[u8]; 5] = [&[0], &[0; 600], b"behind", b"\x1f\x8b", &member("99,torn")[..12]];
    for (kind, body) in bodies(1) {
        let whole = members(&body, 400);
        let mut refused: Vec<Vec<u8>> = behind.iter().map(|behind| [&whole[..], behind].concat()).collect();
        // In the last member's checksum, and in the middle of one before.
        refused.push(whole[..whole.len() - 4].to_vec());
        let mut damaged = whole.clone();
        let middle = member(&body.as_bytes()[..400.min(body.len())]).len() - 6;
        damaged[middle] ^= 0x10;
        refused.push(damaged);
        for (i, body) in refused.into_iter().enumerate() {
            let problem = service.post(PATH, kind, &GZIP, body).await.problem(400, "bad-request").json();
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("not gzip from its beginning to its end"), "{kind} {i}: {detail}");
        }
    }
    for coding in ["br", "deflate", "zstd", "gzip, gzip", "gzip, br"] {
        let headers = [("content-encoding", coding)];
        let body = member("1,A\n");
        service.post(PATH, "text/csv", &headers, body).await.problem(415, "unsupported-media-type");
    }
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 0);
    crate::home::until("the spool is empty", async || home.names_in(".tidegate/spool").is_empty()).await;
    let named = [("content-encoding", "X-GZip")];
    assert_eq!(
        service.post(PATH, "text/csv", &named, member("1,A\n")).await.with_status(200).json()["accepted"],
        1
    );
    service.stop().await;
}

/// How much memory a process holds, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A small body that is large when it is decoded, where a form has no limit of its own: before its first part, in the
/// head of a part, in the names there, and behind the last.
#[tokio::test]
async fn what_is_around_the_parts_of_a_form_is_not_kept() {
    let home = company().await;
    let service = Service::start(&home).await;
    let before = resident_kib(service.running.pid());
    let much = "x".repeat(64 << 20);
    let part = "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n1,A\n\r\n";
    for body in [
        much.clone(),
        format!("{much}\r\n{part}--b--\r\n"),
        format!("--b\r\nx: {much}\r\n\r\n1,A\n\r\n--b--"),
        format!("--b\r\n{}\r\n1,A\n\r\n--b--", "x: y\r\n".repeat(10 << 20)),
        format!("--b\r\ncontent-disposition: form-data; name=\"{much}\"\r\n\r\n1,A\n\r\n--b--"),
        format!("--b{}\r\n", " ".repeat(64 << 20)),
        format!("{part}--b--\r\n{much}"),
    ] {
        // Who has not sent everything yet may find the connection closed.
        if let Ok(refused) = service.try_post(PATH, FORM, &GZIP, member(body)).await {
            refused.problem(413, "too-large");
        }
    }
    // Of many parts the second is one too many.
    let many = member(part.repeat(100_000));
    if let Ok(refused) = service.try_post(PATH, FORM, &GZIP, many).await {
        refused.problem(400, "bad-request");
    }
    let grown = resident_kib(service.running.pid()) - before;
    assert!(grown < 48 << 10, "it has grown by {grown} KiB");
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 0);
    service.stop().await;
}
