//! Who may do what, and encryption.

use serde_json::json;

use super::{Service, client_builder, company};
use crate::home::Home;

const PATH: &str = "/v1/datasets/departments/rows";

async fn token(home: &Home, name: &str, role: &str) -> String {
    let made = home.run(&format!("token create {name} --role {role}")).await.succeeded();
    let token = made.stdout.trim().to_owned();
    assert!(token.starts_with("tg_") && token.len() == 67, "{token}");
    token
}

/// A browser sends to any server what a page wants, without asking that server first.
#[tokio::test]
async fn while_there_is_no_token_pages_of_other_sites_are_not_let_in() {
    let home = company().await;
    let service = Service::start(&home).await;
    let own = service.address.strip_prefix("http://").unwrap().to_owned();
    let port = own.rsplit_once(':').unwrap().1;
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let method = if path.ends_with("backups") { reqwest::Method::POST } else { reqwest::Method::GET };
        let request = headers
            .iter()
            .fold(service.request(method, path), |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().status().as_u16()
    };
    for (host, origin, expected) in [
        (own.clone(), None, 200),
        (format!("localhost:{port}"), None, 200),
        (format!("[::1]:{port}"), None, 200),
        (own.clone(), Some(format!("http://{own}")), 200),
        (own.clone(), Some("https://evil.example".to_owned()), 403),
        (own.clone(), Some("null".to_owned()), 403),
        (own.clone(), Some(format!("http://evil.example#{own}")), 403),
        (format!("evil.example:{port}"), None, 403),
        (format!("evil.example:{port}"), Some(format!("http://evil.example:{port}")), 403),
    ] {
        let mut headers = vec![("host", host.as_str())];
        headers.extend(origin.as_deref().map(|origin| ("origin", origin)));
        assert_eq!(status("/v1/receipts", &headers).await, expected, "{headers:?}");
    }
    assert_eq!(status("/v1/backups", &[("origin", "http://evil.example")]).await, 403);
    assert!(!home.path("backups").exists());
    // Who shows a token has not been lured.
    let token = token(&home, "eye", "read").await;
    crate::home::until("tokens count", async || service.get("/v1/receipts").await.status == 401).await;
    let bearer = format!("Bearer {token}");
    let headers = [("host", "tidegate.example"), ("authorization", bearer.as_str())];
    assert_eq!(status("/v1/receipts", &headers).await, 200);
    service.stop().await;
}

#[tokio::test]
async fn tokens_say_who_may_do_what() {
    let home = company().await;
    let service = Service::start(&home).await;
    assert!(service.running.said().contains("HTTP asks for no token"), "{}", service.running.said());
    let row = json!({"rows": [{"id": 1, "department": "D"}]});
    service.post_json(PATH, &row).await.with_status(202);
    let [ingest, read, operate] = [
        token(&home, "loader", "ingest").await,
        token(&home, "eye", "read").await,
        token(&home, "admin", "operate").await,
    ];
    crate::home::until("tokens count", async || service.get("/v1/receipts").await.status == 401).await;
    // The service may have looked before the last of them was made.
    let service = service.with_token(Some(&operate));
    crate::home::until("all of them do", async || service.get("/v1/receipts").await.status == 200).await;
    let service = service.with_token(None);
    let refused = service.post_json(PATH, &row).await.problem(401, "unauthorized");
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    let mut service = service;
    for (token, push, list, show) in
        [(&ingest, 202, 403, 200), (&read, 403, 200, 200), (&operate, 202, 200, 200)]
    {
        service = service.with_token(Some(token));
        assert_eq!(service.post_json(PATH, &row).await.status, push);
        assert_eq!(service.get("/v1/receipts").await.status, list);
        assert_eq!(service.get("/v1/receipts/1").await.status, show);
    }
    let wrong = format!("{}x", &operate[..operate.len() - 1]);
    service = service.with_token(Some(&wrong));
    service.get("/v1/receipts").await.problem(401, "unauthorized");
    service = service.with_token(None);
    let by_key = service
        .request(reqwest::Method::GET, "/v1/receipts")
        .header("x-api-key", &read)
        .send()
        .await
        .unwrap();
    assert_eq!(by_key.status().as_u16(), 200);
    // The same key of two tokens names two requests.
    let key = [("idempotency-key", "k")];
    let mut sources = Vec::new();
    for token in [&ingest, &operate] {
        service = service.with_token(Some(token));
        let pushed =
            service.post(PATH, "application/json", &key, row.to_string()).await.with_status(202).json();
        sources.push(pushed["source"].as_u64().unwrap());
    }
    assert_ne!(sources[0], sources[1]);
    home.run("token delete loader").await.succeeded();
    service = service.with_token(Some(&ingest));
    crate::home::until("it is forgotten", async || service.get("/v1/receipts/1").await.status == 401).await;
    // Nobody reads a token anywhere.
    let kept = home.query("select name, role, hash::text from tidegate.tokens").await.join("\n");
    for secret in [&ingest, &read, &operate] {
        assert!(!kept.contains(&secret[3..]) && !service.running.said().contains(&secret[3..]));
    }
    let listed = home.run("token list --format json").await.succeeded().rows();
    let names: Vec<_> = listed.iter().map(|token| token["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "eye"]);
    home.run("token create eye --role read").await.failed_with(1).saying(&["there is a token 'eye'"]);
    home.run("token create ../x --role read").await.failed_with(2);
    home.run("token delete nobody").await.failed_with(1);
    service.stop().await;
}

#[tokio::test]
async fn an_expired_token_is_not_known() {
    let home = company().await;
    let made = home.run("token create short --role operate --expires-in 2s").await.succeeded();
    let service = Service::start(&home).await.with_token(Some(made.stdout.trim()));
    service.get("/v1/receipts").await.with_status(200);
    crate::home::until("it has expired", async || service.get("/v1/receipts").await.status == 401).await;
    service.stop().await;
}

#[tokio::test]
async fn other_machines_need_a_token() {
    let home = Home::embedded(&format!("http: {{listen: 0.0.0.0:0}}\n{}", crate::company::MANIFEST)).await;
    let service = Service::of(home.spawn("run")).await;
    let address = service.address.replace("0.0.0.0", "127.0.0.1");
    let mut service = Service { address, ..service }.ready().await;
    service.get("/v1/receipts").await.problem(401, "unauthorized");
    service.running.says("HTTP refuses everything").await;
    service.stop().await;
}

#[tokio::test]
async fn certificates_encrypt() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let home = Home::embedded(&format!(
        "http: {{listen: 127.0.0.1:0, tls: {{cert: cert.pem, key: key.pem}}}}\n{}",
        crate::company::MANIFEST
    ))
    .await;
    home.run("run").await.failed_with(2).saying(&["cert.pem", "give a PEM file"]);
    std::fs::write(home.path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(home.path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let service = Service::of(home.spawn("run")).await;
    let port = service.address.rsplit(':').next().unwrap().to_owned();
    let root = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let client = client_builder().tls_certs_only([root]).build().unwrap();
    let url = format!("https://localhost:{port}/v1/receipts");
    crate::home::until("it answers", async || {
        client.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    // Who does not encrypt is not answered.
    assert!(
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(url.replace("https", "http"))
            .send()
            .await
            .is_err()
    );
    let mut service = service;
    service.running.says(" running landing=").await;
    service.stop().await;
}

#[tokio::test]
async fn nobody_elses_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let home = Home::embedded(&format!("http: {{listen: '{address}'}}\n{}", crate::company::MANIFEST)).await;
    home.run("run --until-idle").await.failed_with(1).saying(&["cannot listen on", "http.listen"]);
}

#[tokio::test]
async fn a_run_until_idle_does_not_wait_for_clients() {
    let home = company().await;
    crate::company::drop_example(&home);
    home.ingest().await;
    crate::company::assert_accounted(&home).await;
}
