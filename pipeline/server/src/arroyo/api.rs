//! As much of Arroyo's REST API as deploying asks for.
//!
//! Nothing is sent to another place than the one that was given: redirects are not followed, so the
//! token stays there. Answers are read up to a limit, and every request has one in time.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::udf::Udf;
use crate::{Failure, output};

/// The variable of the environment that holds the token.
pub(super) const TOKEN: &str = "TIDEGATE_ARROYO_TOKEN";

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer may take that Arroyo only has to look up.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// A page of pipelines comes with their sources and graphs.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const PAGE: usize = 20;
const PAGES_MAX: usize = 1000;
/// How much of an answer that is no JSON is shown.
const SHOWN_CHARS_MAX: usize = 300;

/// A cluster.
pub(super) struct Api {
    client: Client,
    base: Url,
}

/// A function as the API has it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Definition {
    pub(super) definition: String,
    #[serde(default)]
    language: String,
}

/// A pipeline to be created. It brings its functions along, so they come and go with it, and no other
/// pipeline's can have their names.
#[derive(Debug, Serialize)]
pub(super) struct NewPipeline<'a> {
    pub(super) name: &'a str,
    pub(super) query: &'a str,
    pub(super) udfs: Vec<Definition>,
    pub(super) parallelism: u64,
}

/// A pipeline that is there.
#[derive(Debug, Deserialize)]
pub(super) struct Pipeline {
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
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    parallelism: u64,
}

impl Pipeline {
    /// Whether each part of it has so many subtasks.
    pub(super) fn has_parallelism(&self, parallelism: u64) -> bool {
        self.graph.nodes.iter().all(|node| node.parallelism == parallelism)
    }
}

/// What runs, or ran, for a pipeline.
#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    /// `Created`, `Compiling`, `Scheduling`, `Running`, `Recovering`, `Stopped`, `Failed` and more.
    pub(super) state: String,
    /// Whether it is meant to run.
    #[serde(default = "yes")]
    pub(super) running_desired: bool,
    #[serde(default)]
    failure_reason: Option<Reason>,
    /// As versions before the reason had a domain tell it.
    #[serde(default)]
    failure_message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reason {
    Text(String),
    Detailed { error: String },
}

fn yes() -> bool {
    true
}

impl Job {
    /// Whether it has ended for good, or until it is started again.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "Stopped" | "Finished" | "Failed")
    }

    /// Why it failed.
    pub(super) fn reason(&self) -> Option<&str> {
        match &self.failure_reason {
            Some(Reason::Text(text) | Reason::Detailed { error: text }) => Some(text),
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

/// What a job or a check has to say.
#[derive(Deserialize)]
#[serde(untagged)]
enum Diagnostic {
    Text(String),
    Detailed { message: String },
}

impl Diagnostic {
    fn into_text(self) -> String {
        let (Self::Text(text) | Self::Detailed { message: text }) = self;
        text
    }
}

#[derive(Deserialize)]
struct Validation {
    #[serde(default)]
    errors: Vec<Diagnostic>,
}

impl Api {
    /// The cluster at `url`, whose path may go as far as `/api/v1`, with a token if it wants one.
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let base = base(url)?;
        // Whichever comes first is taken for the process, and this is what all of it uses.
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
    pub(super) async fn pipelines(&self, name: &str) -> Result<Vec<Pipeline>, Failure> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut url = self.url(&["pipelines"]);
            url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("starting_after", after);
            }
            let page: Collection<Pipeline> = self.ask(Method::GET, url, None::<&()>, ANSWER_LIMIT).await?;
            after = page.data.last().map(|pipeline| pipeline.id.clone());
            found.extend(page.data.into_iter().filter(|pipeline| pipeline.name == name));
            if !page.has_more || after.is_none() {
                return Ok(found);
            }
        }
        Err(Failure::new(format!("{} has more pipelines than can be looked through", self.base)))
    }

    /// The job of a pipeline; Arroyo gives it one.
    pub(super) async fn job(&self, pipeline: &str) -> Result<Job, Failure> {
        let url = self.url(&["pipelines", pipeline, "jobs"]);
        let jobs: Collection<Job> = self.ask(Method::GET, url, None::<&()>, ANSWER_LIMIT).await?;
        jobs.data
            .into_iter()
            .next()
            .ok_or_else(|| Failure::new(format!("the pipeline {pipeline} has no job")))
    }

    /// The last errors of a job, the newest first.
    pub(super) async fn job_errors(&self, pipeline: &str, job: &str) -> Result<Vec<String>, Failure> {
        let mut url = self.url(&["pipelines", pipeline, "jobs", job, "errors"]);
        url.query_pairs_mut().append_pair("limit", "3");
        let errors: Collection<Diagnostic> = self.ask(Method::GET, url, None::<&()>, ANSWER_LIMIT).await?;
        Ok(errors.data.into_iter().map(Diagnostic::into_text).collect())
    }

    /// What Arroyo's compiler has against a function. It may compile its dependencies first.
    pub(super) async fn validate_udf(&self, udf: &Udf, until: Instant) -> Result<Vec<String>, Failure> {
        let url = self.url(&["udfs", "validate"]);
        let validation: Validation = self.ask(Method::POST, url, Some(&definition(udf)), left(until)).await?;
        Ok(validation.errors.into_iter().map(Diagnostic::into_text).collect())
    }

    /// What Arroyo's planner has against the job. It takes the functions as they are.
    pub(super) async fn validate_query(&self, query: &str, udfs: &[Udf]) -> Result<Vec<String>, Failure> {
        #[derive(Serialize)]
        struct Query<'a> {
            query: &'a str,
            udfs: Vec<Definition>,
        }
        let body = Query { query, udfs: definitions(udfs) };
        let url = self.url(&["pipelines", "validate_query"]);
        let validation: Validation = self.ask(Method::POST, url, Some(&body), ANSWER_LIMIT).await?;
        Ok(validation.errors.into_iter().map(Diagnostic::into_text).collect())
    }

    /// Creates a pipeline, whose job starts at once. Arroyo compiles the functions before it answers.
    pub(super) async fn create(
        &self,
        pipeline: &NewPipeline<'_>,
        until: Instant,
    ) -> Result<Pipeline, Failure> {
        self.ask(Method::POST, self.url(&["pipelines"]), Some(pipeline), left(until)).await
    }

    /// Asks for the job to stop behind a checkpoint, by which it sends out what it holds.
    pub(super) async fn stop(&self, pipeline: &str) -> Result<(), Failure> {
        self.change(pipeline, &serde_json::json!({"stop": "checkpoint"})).await
    }

    /// Asks for a job that was stopped to go on.
    pub(super) async fn start(&self, pipeline: &str) -> Result<(), Failure> {
        self.change(pipeline, &serde_json::json!({"stop": "none"})).await
    }

    /// Asks for so many subtasks of each part.
    pub(super) async fn rescale(&self, pipeline: &str, parallelism: u64) -> Result<(), Failure> {
        self.change(pipeline, &serde_json::json!({"parallelism": parallelism})).await
    }

    async fn change(&self, pipeline: &str, change: &serde_json::Value) -> Result<(), Failure> {
        self.send(Method::PATCH, self.url(&["pipelines", pipeline]), Some(change), ANSWER_LIMIT)
            .await
            .map(drop)
    }

    /// Asks for a job that failed to go on from its last checkpoint.
    pub(super) async fn restart(&self, pipeline: &str) -> Result<(), Failure> {
        let url = self.url(&["pipelines", pipeline, "restart"]);
        let body = serde_json::json!({"force": false});
        self.send(Method::POST, url, Some(&body), ANSWER_LIMIT).await.map(drop)
    }

    /// Deletes a pipeline whose job has ended.
    pub(super) async fn delete(&self, pipeline: &str) -> Result<(), Failure> {
        let url = self.url(&["pipelines", pipeline]);
        self.send(Method::DELETE, url, None::<&()>, ANSWER_LIMIT).await.map(drop)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An id comes from the cluster, and stays one part of a path whatever is in it.
        url.path_segments_mut().expect("a base with a host has a path").pop_if_empty().extend(path);
        url
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
        limit: Duration,
    ) -> Result<T, Failure> {
        let asked = asked(&method, &url);
        let answer = self.send(method, url, body, limit).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            Failure::new(format!(
                "{asked}: this is not how Arroyo answers ({error}): {}; is --api the address of its API?",
                shown(&answer)
            ))
        })
    }

    /// Sends a request, and gives the body of an answer that says it was done.
    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
        limit: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let asked = asked(&method, &url);
        let failed = |error: reqwest::Error| {
            // The address is in front already.
            let failure = Failure::from(error.without_url());
            Failure::new(format!("{asked}: {}", failure.message))
        };
        let mut request = self.client.request(method, url).timeout(limit);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(serde_json::to_vec(body)?);
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
pub(super) fn definitions(udfs: &[Udf]) -> Vec<Definition> {
    udfs.iter().map(definition).collect()
}

fn definition(udf: &Udf) -> Definition {
    Definition { definition: udf.source.clone(), language: "rust".to_owned() }
}

/// The address that all paths are put behind.
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

fn asked(method: &Method, url: &Url) -> String {
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
        let job = |json| serde_json::from_str::<Job>(json).unwrap();
        let detailed = r#"{"id":"j","state":"Failed","failure_reason":{"error":"boom","domain":"user"}}"#;
        assert_eq!(job(detailed).reason(), Some("boom"));
        assert_eq!(job(r#"{"id":"j","state":"Failed","failure_message":"boom"}"#).reason(), Some("boom"));
        assert_eq!(job(r#"{"id":"j","state":"Running","failure_reason":null}"#).reason(), None);
        let validation: Validation =
            serde_json::from_str(r#"{"graph":null,"errors":["a",{"message":"b","span":null}]}"#).unwrap();
        let errors: Vec<_> = validation.errors.into_iter().map(Diagnostic::into_text).collect();
        assert_eq!(errors, ["a", "b"]);
    }
}
