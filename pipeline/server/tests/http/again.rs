//! The same request again: it enters once, whatever ended in between.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_core::failpoint::Failpoint;
use tokio::io::AsyncWriteExt;

use super::{Service, company};
use crate::home::Home;
use crate::proxy::{AtCommit, Proxy, Way};

const PATH: &str = "/v1/datasets/departments/rows";

fn rows(first: u64, count: u64) -> String {
    let row = |id| json!({"id": id, "department": format!("D{id}")});
    json!({"rows": (first..first + count).map(row).collect::<Vec<_>>()}).to_string()
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_key_names_one_request() {
    let home = company().await;
    let service = Service::start(&home).await;
    let key = [("idempotency-key", "first")];
    let first = service.post(PATH, "application/json", &key, rows(1, 3)).await.with_status(202).json();
    let again = service.post(&format!("{PATH}?wait=true"), "application/json", &key, rows(1, 3)).await;
    let again = again.with_status(200).json();
    assert_eq!(again["source"], first["source"]);
    let gzip = [key[0], ("content-encoding", "gzip")];
    let packed =
        service.post(PATH, "application/json", &gzip, zipped(&rows(1, 3))).await.with_status(202).json();
    assert_eq!(packed["source"], first["source"]);
    let other = service.post(PATH, "application/json", &key, rows(1, 4)).await;
    other.problem(422, "idempotency-key-reused");
    // Elsewhere the same key names another request.
    let jobs = json!({"rows": [{"id": 1, "job": "J"}]}).to_string();
    let elsewhere = service.post("/v1/datasets/jobs/rows", "application/json", &key, jobs).await;
    assert_eq!(elsewhere.with_status(202).json()["source"], 2);
    // Without a key each is its own.
    for source in [3, 4] {
        let pushed = service.post(PATH, "application/json", &[], rows(1, 3)).await.with_status(202).json();
        assert_eq!(pushed["source"], source);
    }
    let spelled = service.post("/v1/datasets/%64epartments/rows", "application/json", &key, rows(1, 3)).await;
    assert_eq!(
        spelled.with_status(202).json()["source"],
        first["source"],
        "however it is written, it is one place"
    );
    let two = [("idempotency-key", "a"), ("idempotency-key", "b")];
    service.post(PATH, "application/json", &two, rows(1, 1)).await.problem(400, "bad-request");
    for key in ["", "a b", &"x".repeat(256), "é"] {
        let bad = service.post(PATH, "application/json", &[("idempotency-key", key)], rows(1, 1)).await;
        bad.problem(400, "bad-request");
    }
    service.stop().await;
    let service = Service::start(&home).await;
    let later = service.post(PATH, "application/json", &key, rows(1, 3)).await.with_status(202).json();
    assert_eq!((&later["source"], &later["complete"]), (&first["source"], &json!(true)));
    service.post(PATH, "application/json", &key, rows(2, 3)).await.problem(422, "idempotency-key-reused");
    service.stop().await;
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 4);
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn many_that_send_the_same_at_once_get_one_receipt() {
    let home = company().await;
    let service = Service::start(&home).await;
    let key = [("idempotency-key", "together")];
    let csv = |n: u64| (1..=n).map(|id| format!("{id},D{id}\n")).collect::<String>();
    let json =
        async || service.post(PATH, "application/json", &key, rows(1, 10)).await.with_status(202).json();
    let files = [("idempotency-key", "files")];
    let file = async || service.post(PATH, "text/csv", &files, csv(2000)).await.with_status(202).json();
    let (json, file) = tokio::join!(
        futures_util::future::join_all((0..16).map(|_| json())),
        futures_util::future::join_all((0..16).map(|_| file())),
    );
    for answers in [json, file] {
        assert!(answers.iter().all(|answer| answer["source"] == answers[0]["source"]));
    }
    // One that differs is refused, however close it comes.
    service.post(PATH, "text/csv", &files, csv(1999)).await.problem(422, "idempotency-key-reused");
    crate::home::until("all is in", async || home.count("select count(*) from departments").await == 2000)
        .await;
    crate::home::until("the spool is empty", async || home.names_in(".tidegate/spool").is_empty()).await;
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn a_request_whose_server_was_killed_is_sent_again_and_enters_once() {
    for point in [
        Failpoint::SourceRegistered,
        Failpoint::SourceJournaled,
        Failpoint::RawAppended,
        Failpoint::AcceptedAppended,
        Failpoint::BatchCommitted,
    ] {
        let home = company().await;
        let key = [("idempotency-key", "k")];
        let mut service = Service::doomed(&home, point).await;
        let _ = service.try_post(PATH, "application/json", &key, rows(1, 100)).await;
        crate::home::until("it has ended", async || service.running.has_ended()).await;
        let service = Service::start(&home).await;
        let path = format!("{PATH}?wait=true");
        let pushed =
            service.post(&path, "application/json", &key, rows(1, 100)).await.with_status(200).json();
        assert_eq!((&pushed["source"], &pushed["accepted"]), (&json!(1), &json!(100)), "{point:?}");
        service.stop().await;
        assert_eq!(home.count("select count(*) from departments").await, 100, "{point:?}");
        home.run("verify").await.succeeded();
    }
}

/// What else can be asked for under a key. The server is killed when it has done it, and then it is asked for again.
#[tokio::test]
async fn moves_backups_and_restores_under_a_key_are_one_whatever_was_killed() {
    const MOVES: &str = "select count(*) from tidegate.moves";
    const JOBS: &str = "select count(*) from tidegate.move_jobs";
    const RESTORES: &str = "select count(*) from tidegate.restores";
    let home = company().await;
    home.drop("departments.csv", "1,Sales\n2,\n3,\n4,\n5,\n");
    home.ingest().await;
    home.run("backup").await.succeeded();
    let kept =
        || home.names_in("backups").into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
    let backup = kept().remove(0);
    let key = [("idempotency-key", "k")];
    for (path, body, other, point, number, counted) in [
        (
            "/v1/dead-letters/1:2/replay",
            json!({"line": "2,Two"}),
            json!({"line": "2,Zwei"}),
            Failpoint::MoveAsked,
            "number",
            MOVES,
        ),
        (
            "/v1/dead-letters/1:3/discard",
            json!({}),
            json!({"note": "old"}),
            Failpoint::MoveAsked,
            "number",
            MOVES,
        ),
        (
            "/v1/dead-letters/replay",
            json!({"filter": {"source": 1}, "limit": 1}),
            json!({"filter": {"source": 1}}),
            Failpoint::MovesListed,
            "job",
            JOBS,
        ),
        (
            "/v1/dead-letters/discard",
            json!({"filter": {}}),
            json!({"filter": {"source": 1}}),
            Failpoint::MovesListed,
            "job",
            JOBS,
        ),
        ("/v1/backups", json!({"datasets": ["jobs"]}), json!({}), Failpoint::BackupPublished, "id", ""),
        (
            "/v1/restores",
            json!({"backup": backup}),
            json!({"backup": backup, "datasets": ["jobs"]}),
            Failpoint::RestoreConverted,
            "id",
            RESTORES,
        ),
    ] {
        let count = async || match counted {
            "" => kept().len() as u64,
            sql => home.count(sql).await,
        };
        let before = count().await;
        let mut service = Service::doomed(&home, point).await;
        let _ = service.try_post(path, "application/json", &key, body.to_string()).await;
        crate::home::until("it has ended", async || service.running.has_ended()).await;
        let service = Service::start(&home).await;
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let answer = service.post(path, "application/json", &key, body.to_string()).await;
            assert!([200, 201, 202].contains(&answer.status), "{path}: {}", answer.text());
            numbers.push(answer.json()[number].clone());
        }
        assert_eq!(numbers[0], numbers[1], "{path}");
        let refused = service.post(path, "application/json", &key, other.to_string()).await;
        refused.problem(422, "idempotency-key-reused");
        let moved = "select count(*) from tidegate.move_jobs where done_at is null";
        crate::home::until("all is moved", async || home.count(moved).await == 0).await;
        let open = "select count(*) from tidegate.sources where completed_at is null";
        crate::home::until("all is in", async || home.count(open).await == 0).await;
        service.stop().await;
        assert_eq!(count().await, before + 1, "{path}");
    }
    // What a request asked for need not be there any more to tell what became of it.
    std::fs::remove_dir_all(home.path("backups").join(&backup)).unwrap();
    let service = Service::start(&home).await;
    let body = json!({"backup": backup}).to_string();
    service.post("/v1/restores", "application/json", &key, body.clone()).await.with_status(202);
    service.post("/v1/restores", "application/json", &[], body).await.problem(404, "not-found");
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let home = company().await;
    // Killed while Postgres holds the lines and no topic does.
    let mut service = Service::doomed(&home, Failpoint::RawAppended).await;
    let answered = service.try_post(PATH, "application/json", &[], rows(1, 50)).await;
    crate::home::until("it has ended", async || service.running.has_ended()).await;
    std::fs::remove_dir_all(home.path(".tidegate/topics")).unwrap();
    // Nothing has to be sent again: a run until idle finishes it.
    home.ingest().await;
    let rows = home.count("select count(*) from departments").await;
    assert!(rows == 50 || (answered.is_err() && rows == 0), "{rows} rows, answered: {answered:?}");
    crate::company::assert_accounted(&home).await;
    assert_eq!(home.count("select count(*) from tidegate.request_lines").await, 0);
}

#[tokio::test]
async fn an_upload_that_was_cut_off_enters_once_whole() {
    let home = company().await;
    let service = Service::start(&home).await;
    let csv: String = (1..=5000).map(|id| format!("{id},Department {id}\n")).collect();
    let (half, _) = csv.split_at(csv.len() / 2);
    let address = service.address.strip_prefix("http://").unwrap().to_owned();
    for _ in 0..3 {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\nidempotency-key: up\r\ncontent-length: {}\r\n\r\n",
            csv.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(half.as_bytes()).await.unwrap();
        socket.flush().await.unwrap();
        drop(socket);
    }
    let path = format!("{PATH}?wait=true");
    let key = [("idempotency-key", "up")];
    let pushed = service.post(&path, "text/csv", &key, csv.clone()).await.with_status(200).json();
    assert_eq!((&pushed["source"], &pushed["accepted"]), (&json!(1), &json!(5000)));
    service.stop().await;
    assert_eq!(home.count("select count(*) from departments").await, 5000);
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn an_upload_whose_server_was_killed_enters_once() {
    let csv: String = (1..=5000).map(|id| format!("{id},Department {id}\n")).collect();
    for point in [
        Failpoint::UploadSpooled,
        Failpoint::SourceRegistered,
        Failpoint::SourceJournaled,
        Failpoint::RawAppended,
        Failpoint::SourceFinished,
        Failpoint::SourceCompleted,
    ] {
        let home = company().await;
        let key = [("idempotency-key", "k")];
        let mut service = Service::doomed(&home, point).await;
        let _ = service.try_post(PATH, "text/csv", &key, csv.clone()).await;
        crate::home::until("it has ended", async || service.running.has_ended()).await;
        let service = Service::start(&home).await;
        let path = format!("{PATH}?wait=true");
        let pushed = service.post(&path, "text/csv", &key, csv.clone()).await.with_status(200).json();
        assert_eq!((&pushed["source"], &pushed["accepted"]), (&json!(1), &json!(5000)), "{point:?}");
        crate::home::until("the spool is empty", async || home.names_in(".tidegate/spool").is_empty()).await;
        service.stop().await;
        home.run("verify").await.succeeded();
    }
}

/// The company, whose command comes to its database by a proxy.
async fn proxied() -> (Home, Proxy) {
    let home = company().await;
    let proxy = Proxy::new(&home.url).await;
    let url = proxy.url(&home.url);
    (home.by_way_of(url), proxy)
}

/// A commit whose answer is lost may have taken place: what it registered goes its way, whoever was told what.
#[tokio::test]
async fn a_registration_in_doubt_is_resolved() {
    for what in [AtCommit::LoseAnswer, AtCommit::Forget] {
        let (home, proxy) = proxied().await;
        let service = Service::start(&home).await;
        service
            .post(&format!("{PATH}?wait=true"), "application/json", &[], rows(1, 1))
            .await
            .with_status(200);
        for n in 0..5 {
            proxy.at_next_commit(what);
            let pushed = service.post(PATH, "application/json", &[], rows(10 + 10 * n, 10)).await;
            assert!([202, 503].contains(&pushed.status), "{}", pushed.text());
        }
        let counted = "select count(*) from tidegate.sources where completed_at is null";
        crate::home::until("all is accounted for", async || home.count(counted).await == 0).await;
        let (rows, lines) = ("select count(*) from departments", "select sum(lines) from tidegate.sources");
        assert_eq!(home.count(rows).await, home.count(lines).await);
        service.stop().await;
        home.run("verify").await.succeeded();
    }
}

#[tokio::test]
async fn without_postgres_nothing_is_half_done() {
    let (home, proxy) = proxied().await;
    let service = Service::start(&home).await;
    service.post(&format!("{PATH}?wait=true"), "application/json", &[], rows(1, 1)).await.with_status(200);
    proxy.set(Way::Refused);
    let refused = service.post(PATH, "application/json", &[], rows(2, 1)).await.problem(503, "unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    service.post(PATH, "text/csv", &[], "3,C\n").await.problem(503, "unavailable");
    proxy.set(Way::Open);
    crate::home::until("Postgres is back", async || {
        let key = [("idempotency-key", "back")];
        service.post(PATH, "application/json", &key, rows(4, 1)).await.status == 202
    })
    .await;
    crate::home::until("it is in", async || home.count("select count(*) from departments").await == 2).await;
    assert_eq!(home.query("select id from departments order by id").await, ["1", "4"]);
    service.stop().await;
    home.run("verify").await.succeeded();
}

/// Clients that send until they are answered, while the server is killed again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_repeat_what_was_not_answered_lose_nothing_and_double_nothing() {
    const CLIENTS: u64 = 8;
    const REQUESTS: u64 = 30;
    const KILLS: u64 = 8;
    let home = std::sync::Arc::new(company().await);
    let address = std::sync::Arc::new(tokio::sync::RwLock::new(None::<String>));
    let client = super::client_builder().timeout(Duration::from_secs(5)).build().unwrap();
    let mut clients = Vec::new();
    for c in 0..CLIENTS {
        let (address, client) = (address.clone(), client.clone());
        clients.push(tokio::spawn(async move {
            for r in 0..REQUESTS {
                let body = rows(c * 1_000_000 + r * 10, 10);
                loop {
                    let to = address.read().await.clone();
                    let sent = match to {
                        Some(to) => {
                            let request =
                                client.post(format!("{to}{PATH}")).header("content-type", "application/json");
                            request
                                .header("idempotency-key", format!("{c}-{r}"))
                                .body(body.clone())
                                .send()
                                .await
                        }
                        None => {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                            continue;
                        }
                    };
                    match sent {
                        Ok(answer) if answer.status() == 202 => break,
                        Ok(answer) => assert_eq!(answer.status(), 503),
                        Err(_) => {}
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }));
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..KILLS {
        let mut service = Service::of(home.spawn("run")).await;
        *address.write().await = Some(service.address.clone());
        let sources = home.count("select count(*) from tidegate.sources").await;
        crate::home::until("something entered", async || {
            home.count("select count(*) from tidegate.sources").await >= (sources + 5).min(CLIENTS * REQUESTS)
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.u64(0..40))).await;
        *address.write().await = None;
        service.running.kill().await;
    }
    let service = Service::start(&home).await;
    *address.write().await = Some(service.address.clone());
    for client in clients {
        client.await.unwrap();
    }
    let all = CLIENTS * REQUESTS * 10;
    crate::home::until("all is in", async || home.count("select count(*) from departments").await == all)
        .await;
    let receipts: Value = service.get("/v1/receipts?limit=1000").await.with_status(200).json();
    assert_eq!(receipts["receipts"].as_array().unwrap().len() as u64, CLIENTS * REQUESTS);
    service.stop().await;
    assert_eq!(home.count("select sum(accepted_count) from tidegate.ledger").await, all);
    home.run("verify").await.succeeded();
}
