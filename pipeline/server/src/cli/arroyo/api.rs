//! The part of Arroyo's REST API that deploying needs.
//!
//! Requests go to the given address only: redirects are not followed, so the token stays there. Answers are read up to
//! a limit, and every request has a timeout.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::udf::Udf;
use crate::Failure;
use crate::cli::output;

/// The environment variable that holds the token.
pub(super) const TOKEN: &str = "TIDEGATE_ARROYO_TOKEN";

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long Arroyo may take for an answer that it only has to look up.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The limit must hold a page of pipelines, which come with their sources and graphs.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const PAGE: usize = 20;
const PAGES_MAX: usize = 1000;
/// How many characters of an answer that is not JSON are shown.
const SHOWN_CHARS_MAX: usize = 300;

/// The API of a cluster.
pub(super) struct Api {
    client: Client,
    base: Url,
}

/// A function in the API's form.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Definition {
    pub(super) definition: String,
    #[serde(default)]
    language: String,
}

/// A pipeline that exists.
#[derive(Debug, Deserialize)]
pub(super) struct ArroyoPipeline {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) query: String,
    #[serde(default)]
    pub(super) udfs: Vec<Definition>,
    #[serde(default)]
    graph: Graph,
}

#[derive(Debug, Default, Deserialize)]
struct Graph {
    #[serde(default)]
    nodes: Vec<GraphNode>,
}

#[derive(Debug, Deserialize)]
struct GraphNode {
    parallelism: u64,
}

impl ArroyoPipeline {
    /// Whether each part of the pipeline has so many subtasks.
    pub(super) fn has_parallelism(&self, parallelism: u64) -> bool {
        self.graph.nodes.iter().all(|node| node.parallelism == parallelism)
    }
}

/// The job of a pipeline.
#[derive(Debug, Deserialize)]
pub(super) struct ArroyoJob {
    pub(super) id: String,
    /// `Created`, `Compiling`, `Scheduling`, `Running`, `Recovering`, `Stopped`, `Failed` and more.
    pub(super) state: String,
    /// Whether the job is meant to run.
    #[serde(default = "yes")]
    pub(super) running_desired: bool,
    #[serde(default)]
    failure_reason: Option<Diagnostic>,
    /// The reason as versions of Arroyo return it in which reasons have no domain.
    #[serde(default)]
    failure_message: Option<String>,
}

fn yes() -> bool {
    true
}

impl ArroyoJob {
    /// Whether the job has ended, for good or until it is started again.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "Stopped" | "Finished" | "Failed")
    }

    /// Why the job failed.
    pub(super) fn reason(&self) -> Option<&str> {
        match &self.failure_reason {
            Some(reason) => Some(reason.text()),
            None => self.failure_message.as_deref(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collection<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

/// An error of a job or a check.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Diagnostic {
    Text(String),
    Error { error: String },
    Message { message: String },
}

impl Diagnostic {
    fn text(&self) -> &str {
        let (Self::Text(text) | Self::Error { error: text } | Self::Message { message: text }) = self;
        text
    }
}

/// Errors as texts.
fn texts(errors: Vec<Diagnostic>) -> Vec<String> {
    errors.iter().map(|error| error.text().to_owned()).collect()
}

#[derive(Deserialize)]
struct Validation {
    #[serde(default)]
    errors: Vec<Diagnostic>,
}

impl Api {
    /// The API at `url`, whose path may include `/api/v1`, with a token if the cluster demands one.
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let base = base(url)?;
        // The first provider that is installed counts for the process. All parts of this process use the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Failure::usage(format!("{TOKEN} holds what no header can; set it without line ends"))
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, base })
    }

    /// All pipelines of that name, the newest first.
    pub(super) async fn pipelines(&self, name: &str) -> Result<Vec<ArroyoPipeline>, Failure> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut url = self.url(&["pipelines"]);
            url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("starting_after", after);
            }
            let page: Collection<ArroyoPipeline> = self.get(url).await?;
            after = page.data.last().map(|pipeline| pipeline.id.clone());
            found.extend(page.data.into_iter().filter(|pipeline| pipeline.name == name));
            if !page.has_more || after.is_none() {
                return Ok(found);
            }
        }
        Err(Failure::new(format!("{} has more pipelines than can be looked through", self.base)))
    }

    /// The job of a pipeline. Arroyo gives each pipeline one.
    pub(super) async fn job(&self, pipeline: &str) -> Result<ArroyoJob, Failure> {
        let jobs: Collection<ArroyoJob> = self.get(self.url(&["pipelines", pipeline, "jobs"])).await?;
        let job = jobs.data.into_iter().next();
        job.ok_or_else(|| Failure::new(format!("the pipeline {pipeline} has no job")))
    }

    /// The last errors of a job, the newest first.
    pub(super) async fn job_errors(&self, pipeline: &str, job: &str) -> Result<Vec<String>, Failure> {
        let mut url = self.url(&["pipelines", pipeline, "jobs", job, "errors"]);
        url.query_pairs_mut().append_pair("limit", "3");
        let errors: Collection<Diagnostic> = self.get(url).await?;
        Ok(texts(errors.data))
    }

    /// Returns what Arroyo's compiler reports against a function. Arroyo may have to compile the dependencies first.
    pub(super) async fn validate_udf(&self, udf: &Udf, until: Instant) -> Result<Vec<String>, Failure> {
        let validation: Validation =
            self.post(self.url(&["udfs", "validate"]), json!(definition(udf)), left(until)).await?;
        Ok(texts(validation.errors))
    }

    /// Returns what Arroyo's planner reports against the job. The planner takes the functions as given.
    pub(super) async fn validate_query(&self, query: &str, udfs: &[Udf]) -> Result<Vec<String>, Failure> {
        let body = json!({"query": query, "udfs": definitions(udfs)});
        let url = self.url(&["pipelines", "validate_query"]);
        let validation: Validation = self.post(url, body, ANSWER_LIMIT).await?;
        Ok(texts(validation.errors))
    }

    /// Creates a pipeline, whose job starts at once. Arroyo compiles the functions before it answers. They belong to
    /// the pipeline: they are created and deleted with it, and functions of other pipelines cannot have the same names.
    pub(super) async fn create(
        &self,
        name: &str,
        query: &str,
        udfs: &[Udf],
        parallelism: u64,
        until: Instant,
    ) -> Result<ArroyoPipeline, Failure> {
        let udfs = definitions(udfs);
        let body = json!({"name": name, "query": query, "udfs": udfs, "parallelism": parallelism});
        self.post(self.url(&["pipelines"]), body, left(until)).await
    }

    /// Requests that the job stops after a checkpoint, with which it sends out the records that it holds.
    pub(super) async fn stop(&self, pipeline: &str) -> Result<(), Failure> {
        self.change(pipeline, json!({"stop": "checkpoint"})).await
    }

    /// Requests that a stopped job resumes.
    pub(super) async fn start(&self, pipeline: &str) -> Result<(), Failure> {
        self.change(pipeline, json!({"stop": "none"})).await
    }

    /// Requests a number of subtasks for each part.
    pub(super) async fn rescale(&self, pipeline: &str, parallelism: u64) -> Result<(), Failure> {
        self.change(pipeline, json!({"parallelism": parallelism})).await
    }

    async fn change(&self, pipeline: &str, change: Value) -> Result<(), Failure> {
        let url = self.url(&["pipelines", pipeline]);
        self.send(Method::PATCH, url, Some(change), ANSWER_LIMIT).await.map(drop)
    }

    /// Requests that a failed job resumes from its last checkpoint.
    pub(super) async fn restart(&self, pipeline: &str) -> Result<(), Failure> {
        let url = self.url(&["pipelines", pipeline, "restart"]);
        self.send(Method::POST, url, Some(json!({"force": false})), ANSWER_LIMIT).await.map(drop)
    }

    /// Deletes a pipeline whose job has ended.
    pub(super) async fn delete(&self, pipeline: &str) -> Result<(), Failure> {
        self.send(Method::DELETE, self.url(&["pipelines", pipeline]), None, ANSWER_LIMIT).await.map(drop)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // The id comes from the cluster. It stays one segment of the path whatever it contains.
        url.path_segments_mut().expect("a base with a host has a path").pop_if_empty().extend(path);
        url
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Failure> {
        self.ask(Method::GET, url, None, ANSWER_LIMIT).await
    }

    async fn post<T: DeserializeOwned>(&self, url: Url, body: Value, limit: Duration) -> Result<T, Failure> {
        self.ask(Method::POST, url, Some(body), limit).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<Value>,
        limit: Duration,
    ) -> Result<T, Failure> {
        let request = in_words(&method, &url);
        let answer = self.send(method, url, body, limit).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            Failure::new(format!(
                "{request}: this is not how Arroyo answers ({error}): {}; is --api the address of its API?",
                shown(&answer)
            ))
        })
    }

    /// Sends a request, and returns the body of a successful answer.
    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<Value>,
        limit: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let asked = in_words(&method, &url);
        let failed = |error: reqwest::Error| {
            // The message begins with the address already.
            let failure = Failure::from(error.without_url());
            Failure::new(format!("{asked}: {}", failure.message))
        };
        let mut request = self.client.request(method, url).timeout(limit);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let mut response = request.send().await.map_err(failed)?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::new(format!(
                    "{asked}: the answer is longer than {ANSWER_BYTES_MAX} bytes"
                )));
            }
            answer.extend_from_slice(&chunk);
        }
        match response.status().is_success() {
            true => Ok(answer),
            false => Err(Failure::new(format!("{asked}: {}", refusal(&response, &answer)))),
        }
    }
}

/// All definitions, in order.
fn definitions(udfs: &[Udf]) -> Vec<Definition> {
    udfs.iter().map(definition).collect()
}

fn definition(udf: &Udf) -> Definition {
    Definition { definition: udf.source.clone(), language: "rust".to_owned() }
}

/// The base address of all paths.
fn base(url: &str) -> Result<Url, Failure> {
    let wrong = |what: &str| Failure::usage(format!("--api {what}; write it as http://host:5115"));
    let mut base = Url::parse(url).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(wrong("is no address of HTTP"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(wrong(&format!("holds a name or password, which would be logged; set {TOKEN} instead")));
    }
    base.set_query(None);
    base.set_fragment(None);
    let path = base.path().trim_end_matches('/');
    let path = format!("{}/api/v1", path.strip_suffix("/api/v1").unwrap_or(path));
    base.set_path(&path);
    Ok(base)
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1))
}

fn in_words(method: &Method, url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    format!("{method} {url}")
}

fn refusal(response: &Response, answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let status = response.status();
    let said = match serde_json::from_slice::<Refusal>(answer) {
        Ok(refusal) => output::shown(&refusal.error),
        Err(_) => shown(answer),
    };
    match status.as_u16() {
        300..=399 => {
            let to = response.headers().get(reqwest::header::LOCATION).and_then(|to| to.to_str().ok());
            format!(
                "{status} to '{}', which is not followed; give that address with --api",
                to.unwrap_or("?")
            )
        }
        401 | 403 => format!("{status}: {said}; set {TOKEN} to a token that may do this"),
        _ => format!("{status}: {said}"),
    }
}

fn shown(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let text: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("'{}'", output::shown(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_go_as_far_as_the_api_and_holds_no_secret() {
        for given in ["http://a:5115", "http://a:5115/", "http://a:5115/api/v1", "http://a:5115/api/v1/"] {
            assert_eq!(base(given).unwrap().as_str(), "http://a:5115/api/v1");
        }
        assert_eq!(base("https://a/x/?y#z").unwrap().as_str(), "https://a/x/api/v1");
        for given in ["a:5115", "file:///a", "http://", "http://u:secret@a", "ftp://a"] {
            let failure = base(given).unwrap_err();
            assert!(failure.code == 2 && !failure.message.contains("secret"), "{}", failure.message);
        }
    }

    #[test]
    fn an_id_stays_one_part_of_a_path() {
        let api = Api::new("http://a", None).unwrap();
        let url = api.url(&["pipelines", "../../x?y", "jobs"]);
        assert_eq!(url.as_str(), "http://a/api/v1/pipelines/..%2F..%2Fx%3Fy/jobs");
    }

    #[test]
    fn answers_of_several_versions_are_read() {
        let job = |json| serde_json::from_str::<ArroyoJob>(json).unwrap();
        let detailed = r#"{"id":"j","state":"Failed","failure_reason":{"error":"boom","domain":"user"}}"#;
        assert_eq!(job(detailed).reason(), Some("boom"));
        assert_eq!(job(r#"{"id":"j","state":"Failed","failure_message":"boom"}"#).reason(), Some("boom"));
        assert_eq!(job(r#"{"id":"j","state":"Running","failure_reason":null}"#).reason(), None);
        let validation: Validation =
            serde_json::from_str(r#"{"graph":null,"errors":["a",{"message":"b","span":null}]}"#).unwrap();
        assert_eq!(texts(validation.errors), ["a", "b"]);
    }
}
