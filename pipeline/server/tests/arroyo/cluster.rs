//! An Arroyo cluster that is played: its REST API as Arroyo's sources define it (paths, the shapes of
//! requests and answers, states of jobs), over HTTP on loopback. It compiles and runs nothing, and it is no
//! recording of a cluster that ran.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A cluster that ends with its test.
pub(crate) struct Cluster {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

/// What a cluster has, and how it behaves.
#[derive(Default)]
pub(crate) struct State {
    /// The newest first.
    pub(crate) pipelines: Vec<Pipeline>,
    /// All requests so far, as `METHOD /path`, but for those that only look.
    pub(crate) changes: Vec<String>,
    /// The token that it asks for.
    pub(crate) token: Option<&'static str>,
    /// A function that does not compile, and why.
    pub(crate) uncompilable: Option<(&'static str, &'static str)>,
    /// What is wrong with any query.
    pub(crate) query_errors: Vec<&'static str>,
    /// Why no pipeline is created.
    pub(crate) refusal: Option<&'static str>,
    /// The states of a job that starts, one a look; the last one stays.
    pub(crate) start: Vec<&'static str>,
    /// So many of the next requests are hung up on.
    pub(crate) silences: u32,
    /// Where all requests are sent instead.
    pub(crate) moved_to: Option<String>,
    /// Whether it answers as Arroyo 0.15 does, and not as its successor: errors are texts.
    pub(crate) is_0_15: bool,
    /// The bearer tokens that came.
    pub(crate) tokens: Vec<String>,
    created: u32,
}

pub(crate) struct Pipeline {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) udfs: Vec<Value>,
    pub(crate) parallelism: u64,
    /// `none` where it is meant to run.
    pub(crate) stop: String,
    pub(crate) states: VecDeque<&'static str>,
}

impl Pipeline {
    /// A pipeline that is not Tidegate's.
    pub(crate) fn foreign(name: &str) -> Self {
        Self {
            id: format!("pl_{name}"),
            name: name.to_owned(),
            query: "select 1".to_owned(),
            udfs: Vec::new(),
            parallelism: 1,
            stop: "none".to_owned(),
            states: ["Running"].into(),
        }
    }

    fn state(&self) -> &'static str {
        self.states[0]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "query": self.query, "udfs": self.udfs, "stop": self.stop,
            "checkpoint_interval_micros": 10_000_000, "created_at": 1, "action": "checkpoint", "action_text": "Stop",
            "action_in_progress": false, "preview": false, "state_url": null, "tags": {},
            "graph": {"nodes": [
                {"node_id": 0, "operator": "o", "description": "d", "parallelism": self.parallelism},
            ], "edges": []},
        })
    }

    fn job(&self, is_0_15: bool) -> Value {
        let mut job = json!({
            "id": format!("job_{}", self.id), "running_desired": self.stop == "none", "state": self.state(),
            "run_id": 1, "start_time": 1, "finish_time": null, "tasks": 3, "created_at": 1,
        });
        let reason = "the topic is not there";
        job[if is_0_15 { "failure_message" } else { "failure_reason" }] = match (self.state(), is_0_15) {
            ("Failed", true) => reason.into(),
            ("Failed", false) => json!({"error": reason, "domain": "external"}),
            _ => Value::Null,
        };
        job
    }
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state =
            State { start: vec!["Created", "Compiling", "Scheduling", "Running"], ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = serve(stream, &served).await; // whoever hangs up is served again when it comes back
            }
        });
        Self { url, state, serving }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests since the last time, but for those that only look.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().changes)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One request on one connection.
async fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length, mut token, mut line) = (None, 0, None, String::new());
    while stream.read_line(&mut line).await? > 2 {
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap()
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = value.strip_prefix("Bearer ").map(str::to_owned);
            }
            _ => {}
        }
        head.get_or_insert(line.clone());
        line.clear();
    }
    let Some(head) = head else { return Ok(()) };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let (method, target) = head.trim_end().strip_suffix(" HTTP/1.1").unwrap().split_once(' ').unwrap();
    let (status, body, location) = {
        let mut state = state.lock().unwrap();
        state.tokens.extend(token.clone());
        if state.silences > 0 {
            state.silences -= 1;
            return Ok(());
        }
        match &state.moved_to {
            Some(to) => ("307 Temporary Redirect", Value::Null, format!("location: {to}{target}\r\n")),
            None => {
                let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
                let (status, answer) = match state.token.is_none_or(|asked| token.as_deref() == Some(asked)) {
                    true => state.answer(method, target, &body),
                    false => refusal("401 Unauthorized", "Invalid token"),
                };
                (status, answer, String::new())
            }
        }
    };
    // Deleting answers with nothing at all.
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{location}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

type Answer = (&'static str, Value);

fn refusal(status: &'static str, error: &str) -> Answer {
    (status, json!({"error": error}))
}

impl State {
    fn answer(&mut self, method: &str, target: &str, body: &Value) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(path) = path.strip_prefix("/api/v1/") else { return refusal("404 Not Found", "404") };
        if method != "GET" {
            self.changes.push(format!("{method} {path}"));
        }
        let parts: Vec<&str> = path.split('/').collect();
        match (method, &parts[..]) {
            ("POST", ["udfs", "validate"]) => self.validate_udf(body),
            ("POST", ["pipelines", "validate_query"]) => self.validate_query(body),
            ("POST", ["pipelines"]) => self.create(body),
            ("GET", ["pipelines"]) => self.list(query),
            (_, ["pipelines", id, rest @ ..]) => {
                let Some(index) = self.pipelines.iter().position(|pipeline| pipeline.id == *id) else {
                    return refusal("404 Not Found", "Pipeline not found");
                };
                self.pipeline(method, index, rest, body)
            }
            _ => refusal("404 Not Found", "Not found"),
        }
    }

    fn validate_udf(&self, body: &Value) -> Answer {
        assert_eq!(body["language"], "rust");
        let definition = body["definition"].as_str().unwrap();
        assert!(definition.starts_with("/*\n[dependencies]\n"), "{definition}");
        let name = definition.split("#[udf]\nfn ").nth(1).unwrap().split('(').next().unwrap();
        let errors = match self.uncompilable {
            Some((function, error)) if function == name => vec![error],
            _ => Vec::new(),
        };
        ("200 OK", json!({"udf_name": name, "errors": errors}))
    }

    fn validate_query(&self, body: &Value) -> Answer {
        assert!(body["query"].is_string() && body["udfs"].is_array(), "{body}");
        let error = |error: &&str| match self.is_0_15 {
            true => json!(error),
            false => json!({"message": error, "span": null}),
        };
        let errors: Vec<_> = self.query_errors.iter().map(error).collect();
        ("200 OK", json!({"graph": null, "errors": errors}))
    }

    fn create(&mut self, body: &Value) -> Answer {
        if let Some(refused) = self.refusal {
            return refusal("400 Bad Request", refused);
        }
        self.created += 1;
        let pipeline = Pipeline {
            id: format!("pl_{}", self.created),
            name: body["name"].as_str().unwrap().to_owned(),
            query: body["query"].as_str().unwrap().to_owned(),
            udfs: body["udfs"].as_array().unwrap().clone(),
            parallelism: body["parallelism"].as_u64().unwrap(),
            stop: "none".to_owned(),
            states: self.start.iter().copied().collect(),
        };
        let answer = pipeline.json();
        self.pipelines.insert(0, pipeline);
        ("200 OK", answer)
    }

    fn list(&self, query: &str) -> Answer {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, v)| v)
        };
        let limit: usize = parameter("limit").map_or(10, |limit| limit.parse().unwrap());
        let after =
            parameter("starting_after").and_then(|id| self.pipelines.iter().position(|each| each.id == id));
        let rest = &self.pipelines[after.map_or(0, |index| index + 1)..];
        let page: Vec<_> = rest.iter().take(limit).map(Pipeline::json).collect();
        ("200 OK", json!({"data": page, "hasMore": rest.len() > limit}))
    }

    fn pipeline(&mut self, method: &str, index: usize, rest: &[&str], body: &Value) -> Answer {
        let start: VecDeque<_> = self.start.iter().copied().collect();
        let pipeline = &mut self.pipelines[index];
        match (method, rest) {
            ("GET", ["jobs"]) => {
                let job = pipeline.job(self.is_0_15);
                if pipeline.states.len() > 1 {
                    pipeline.states.pop_front();
                }
                ("200 OK", json!({"data": [job]}))
            }
            ("GET", ["jobs", _, "errors"]) => {
                let error = json!({
                    "id": "e", "created_at": 1, "operator_id": "0", "task_index": 0, "level": "error",
                    "message": "Task failed: no such topic", "details": "", "error_domain": "external",
                });
                ("200 OK", json!({"data": [error], "hasMore": false}))
            }
            ("PATCH", []) => {
                if let Some(parallelism) = body["parallelism"].as_u64() {
                    pipeline.parallelism = parallelism;
                    pipeline.states = ["Running", "Rescaling", "Running"].into();
                }
                if let Some(stop) = body["stop"].as_str() {
                    self.changes.last_mut().unwrap().push_str(&format!(" {stop}"));
                    pipeline.stop = stop.to_owned();
                    pipeline.states = match stop {
                        "none" => std::iter::once(pipeline.state()).chain(start).collect(),
                        "checkpoint" => ["Running", "CheckpointStopping", "Stopped"].into(),
                        _ => panic!("{body}"),
                    };
                }
                ("200 OK", pipeline.json())
            }
            ("POST", ["restart"]) => {
                assert_eq!(body, &json!({"force": false}));
                pipeline.states = std::iter::once(pipeline.state()).chain(start).collect();
                ("200 OK", pipeline.json())
            }
            ("DELETE", []) => {
                if !matches!(pipeline.state(), "Stopped" | "Finished" | "Failed") {
                    return refusal("400 Bad Request", "Pipeline's jobs must be in a terminal state");
                }
                self.pipelines.remove(index);
                ("200 OK", Value::Null)
            }
            _ => refusal("404 Not Found", "Not found"),
        }
    }
}
