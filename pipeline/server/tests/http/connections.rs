//! Connections that do nothing, and those that keep the service busy: others are served all the same.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Service};
use crate::home::{Home, until};

/// What HTTP/2 begins with, and a client's settings: none, or a window of 0 bytes for each answer.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HELLO_WITHOUT_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
const PATH: &str = "/v1/datasets/departments/rows";
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

async fn served(connections: u32) -> (Home, Service) {
    let manifest = format!(
        "http: {{listen: 127.0.0.1:0, max_connections: {connections}}}\n{}",
        crate::company::MANIFEST
    );
    let home = crate::company::embedded(&manifest).await;
    let service = Service::start(&home).await;
    (home, service)
}

impl Service {
    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.address.strip_prefix("http://").unwrap()).await.unwrap()
    }

    /// Asks on a connection of its own.
    async fn alone(&self, path: &str) -> Answer {
        let client = super::client_builder().timeout(Duration::from_secs(20)).build().unwrap();
        Answer::of(client.get(format!("{}{path}", self.address))).await.unwrap()
    }
}

async fn pushes(service: &Service, id: u64) {
    let row = json!({"rows": [{"id": id, "department": "D"}]});
    service.post_json(&format!("{PATH}?wait=true"), &row).await.with_status(200);
}

/// Whether the other side has closed a connection.
async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    loop {
        match tokio::time::timeout(Duration::from_millis(50), socket.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

#[tokio::test]
async fn however_many_idle_connections_there_are_requests_are_answered() {
    let (_home, service) = served(48).await;
    // Silent ones, heads that do not end, ones that wait for the next request, and HTTP/2 without any.
    let beginnings: [&[u8]; 4] =
        [b"", b"GET /healthz HTTP/1.1\r\nx: y", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", HELLO];
    let mut idle = Vec::new();
    for (id, beginning) in beginnings.into_iter().enumerate() {
        for _ in 0..200 {
            let mut socket = service.socket().await;
            let _ = socket.write_all(beginning).await;
            idle.push(socket);
        }
        for path in WATCHED {
            service.alone(path).await.with_status(200);
        }
        pushes(&service, id as u64).await;
    }
    // The oldest had to go.
    until("it is closed", async || is_closed(&mut idle[0]).await).await;
    assert!(!is_closed(idle.last_mut().unwrap()).await, "the last one stays");
    drop(idle);
    service.stop().await;
}

#[tokio::test]
async fn whoever_watches_is_served_while_all_connections_are_busy() {
    let (home, service) = served(4).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut socket = service.socket().await;
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: 4\r\n\r\n9"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        busy.push(socket);
    }
    until("all are busy", async || home.names_in(".tidegate/spool").len() == 4).await;
    for _ in 0..50 {
        for path in WATCHED {
            service.alone(path).await.with_status(200);
        }
        let refused = service.alone("/v1/receipts").await.problem(503, "unavailable");
        assert_eq!(refused.headers["retry-after"], "1");
    }
    for socket in &mut busy {
        socket.write_all(b",A\n").await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 202", "who was busy has lost nothing");
    }
    service.alone("/v1/receipts").await.with_status(200);
    drop(busy);
    service.stop().await;
    assert_eq!(home.count("select count(*) from departments").await, 1);
}

/// Answers of HTTP/2 that nobody takes: the client says that it has no room for them, and answers pings.
#[tokio::test]
async fn answers_that_are_not_taken_do_not_keep_their_connections() {
    let (_home, service) = served(3).await;
    let path = b"/docs/swagger-ui-bundle.js";
    // GET http, the path and localhost, without compression: a head that is all of its request.
    let mut head = vec![0x82, 0x86, 0x04, path.len() as u8];
    head.extend(path);
    head.extend([0x01, 9]);
    head.extend(b"localhost");
    let mut frame = vec![0, 0, head.len() as u8, 0x01, 0x05, 0, 0, 0, 1];
    frame.extend(head);
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut socket = service.socket().await;
        socket.write_all(HELLO_WITHOUT_WINDOW).await.unwrap();
        socket.write_all(&frame).await.unwrap();
        deaf.push(socket);
        service.alone("/healthz").await.with_status(200);
    }
    until("there is room", async || service.alone("/v1/receipts").await.status == 200).await;
    drop(deaf);
    service.stop().await;
}

#[tokio::test]
async fn slow_reads_do_not_make_postgres_look_down() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    let session = home.session().await;
    session.batch_execute("begin; lock table tidegate.dead_letters in access exclusive mode").await.unwrap();
    let slow: Vec<_> = (0..6).map(|_| service.get("/v1/dead-letters")).collect();
    let slow = futures_util::future::join_all(slow);
    let watch = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                       and datname = current_database()";
        until("three wait", async || home.count(waiting).await >= 3).await;
        for _ in 0..20 {
            service.alone("/readyz").await.with_status(200);
        }
        let metrics = service.alone("/metrics").await.with_status(200).text();
        assert!(
            metrics.contains("tidegate_postgres_up 1") && metrics.contains("tidegate_ready 1"),
            "{metrics}"
        );
        session.batch_execute("rollback").await.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, watch);
    assert!(slow.iter().all(|answer| answer.status == 200));
    service.stop().await;
}

#[tokio::test]
async fn the_process_may_open_as_many_files_as_the_system_allows() {
    let home = super::company().await;
    let service = Service::start(&home).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.running.pid())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "{files:?}");
    service.stop().await;
}
