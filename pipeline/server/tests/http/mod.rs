//! The HTTP API, over real sockets.

mod push;
mod again;
mod reloads;
mod security;
mod connections;
mod members;
mod numbers;
mod edits;
mod uploads;
mod letters;
mod views;
mod operations;
mod description;

use std::time::Duration;

use serde_json::Value;
use tidegate_core::failpoint::Failpoint;

use crate::company;
use crate::home::{Home, Running};

/// The company, served on a port of the system's choice.
pub(crate) const HTTP: &str = "http: {listen: 127.0.0.1:0}\n";

/// How long a client waits for any answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A run that serves HTTP.
pub(crate) struct Service {
    pub(crate) running: Running,
    /// Where it is served: `http://127.0.0.1:41234`.
    pub(crate) address: String,
    client: reqwest::Client,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The manifest of the company over HTTP, with more at its top.
pub(crate) fn manifest_with(more: &str) -> String {
    format!("{HTTP}{more}{}", company::MANIFEST)
}

/// The company with more at the top of its manifest.
pub(crate) async fn company_with(more: &str) -> Home {
    company::embedded(&manifest_with(more)).await
}

/// The company.
pub(crate) async fn company() -> Home {
    company_with("").await
}

/// A client that goes straight to its server.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

impl Service {
    /// Starts a run in a home whose manifest asks for HTTP, and waits until it takes rows in.
    pub(crate) async fn start(home: &Home) -> Self {
        Self::of(home.spawn("run")).await.ready().await
    }

    /// A run that ends at a failpoint.
    pub(crate) async fn doomed(home: &Home, point: Failpoint) -> Self {
        let mut command = home.command(["run"]);
        command.env("TIDEGATE_FAILPOINT", format!("{}=abort@1", point.as_str()));
        Self::of(Running::start(command)).await.ready().await
    }

    /// The service of a run that was started, as soon as it listens.
    pub(crate) async fn of(mut running: Running) -> Self {
        running.says("serving HTTP at ").await;
        running.says("\n").await;
        let said = running.said();
        let address = said.split("serving HTTP at ").nth(1).unwrap().split_whitespace().next().unwrap();
        let client = client_builder().timeout(ANSWER_WITHIN).build().unwrap();
        Self { address: address.to_owned(), running, client, token: None }
    }

    /// The same, when it takes rows in.
    pub(crate) async fn ready(mut self) -> Self {
        self.running.says(" running landing=").await;
        // Tokens are known a moment later.
        crate::home::until("tokens are known", async || self.get("/v1/receipts").await.status != 503).await;
        self
    }

    /// The same for who shows this token.
    pub(crate) fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.address));
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(reqwest::Method::GET, path)).await.unwrap()
    }

    /// Sends a body of a type, with more headers.
    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        self.try_post(path, content_type, headers, body).await.unwrap()
    }

    /// The same; the server may go away meanwhile.
    pub(crate) async fn try_post(
        &self,
        path: &str,
        content_type: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer, reqwest::Error> {
        let request =
            self.request(reqwest::Method::POST, path).header("content-type", content_type).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request).await
    }

    /// Sends JSON.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", &[], body.to_string()).await
    }

    /// Stops the run, which must end well.
    pub(crate) async fn stop(self) {
        self.running.signal(nix::sys::signal::Signal::SIGTERM);
        self.running.ended().await.succeeded();
    }
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The same, having this status.
    #[track_caller]
    pub(crate) fn with_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The same, being a problem of this kind.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, word: &str) -> Self {
        let this = self.with_status(status);
        assert_eq!(this.headers["content-type"], "application/problem+json");
        let problem = this.json();
        assert_eq!(problem["type"], format!("/problems/{word}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        this
    }
}
