//! The queue for lines that enter by another way than the landing folder: requests, uploads, restores.
//!
//! Many callers ask at once. One task registers all waiting requests together, because a commit of Postgres and a sync
//! of the journal cost the same for one request as for a hundred.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::contract::Error;
use tidegate_files::{Body, EnteredSource, GeneratedKeys, Inbox, QueuedReload};
use tidegate_store::{Answer, IncompleteSource, Request, Store, requests, source_identity};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::journal::JournaledRegistry;
use crate::spool::Spool;

/// The most requests that are registered in one transaction.
const TOGETHER_MAX: usize = 256;
/// How long a registration is retried while Postgres is away, before the caller gets an error.
const REGISTER_WITHIN: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How many bytes of requests may be in memory while their lines are in flight.
const BYTES_MAX: u64 = 128 << 20;

/// Registers requests, uploads and restores, and hands them to the source that reads all lines. Cheap to clone.
#[derive(Clone)]
pub struct IngestQueue {
    /// The folder that keeps files until every line is accounted for.
    pub spool: Spool,
    inbox: Arc<Inbox>,
    ask: mpsc::Sender<QueuedRequest>,
}

/// A request that waits to be registered, with the lines of its sources in their order.
struct QueuedRequest {
    request: Request,
    bodies: Vec<Payload>,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// The lines of a source that is about to enter.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The request holds the lines; they are for the dataset of this index.
    Lines(usize),
    /// A file of the spool holds the lines.
    File {
        /// The index of the dataset.
        dataset: usize,
        /// The path of the file.
        path: PathBuf,
        /// Whether the file is new in the spool.
        fresh: bool,
    },
}

impl IngestQueue {
    /// Opens the queue of a pipeline that reads from `inbox`. When this returns, every registered source that is
    /// incomplete is in the inbox, and the spool holds the files of those sources only. Requests are registered until
    /// the handle is dropped.
    pub(crate) async fn open(
        spool: Spool,
        inbox: Arc<Inbox>,
        registry: Arc<JournaledRegistry>,
        store: &Store,
    ) -> Result<(Self, AbortOnDropHandle<()>), Error> {
        inbox.clear();
        let mut needed = Vec::new();
        for incomplete in requests::incomplete(store, None).await? {
            let Some(entered) = resume(&spool, store, incomplete) else { continue };
            if let Body::File { path, .. } = &entered.body {
                needed.push(path.clone());
            }
            inbox.push(entered);
        }
        if let Err(error) = spool.retain(&needed) {
            warn!("the spool cannot be tidied up: {error}");
        }
        let (ask, asked) = mpsc::channel(4 * TOGETHER_MAX);
        let register =
            Registrar { inbox: inbox.clone(), registry, store: store.clone(), spool: spool.clone() };
        let registering = AbortOnDropHandle::new(tokio::spawn(register.run(asked)));
        Ok((Self { spool, inbox, ask }, registering))
    }

    /// Fails while more bytes are in flight than fit into memory. The caller can retry.
    pub fn assert_room(&self) -> Result<(), Error> {
        if self.inbox.bytes() > BYTES_MAX {
            return Err(Error::retry("more lines are in flight than fit here; send it again in a moment"));
        }
        Ok(())
    }

    /// Hands a reload to the source.
    pub(crate) fn read_again(&self, again: QueuedReload) {
        self.inbox.push_reload(again);
    }

    /// Registers a request. Its lines are durable and in flight when this returns. Fails if Postgres is away, or too many
    /// bytes are in flight.
    pub async fn enter(&self, request: Request, bodies: Vec<Payload>) -> Result<Answer, Error> {
        self.assert_room()?;
        let (answer, answered) = oneshot::channel();
        let stopped = |_| Error::retry("the pipeline is stopping; send it again in a moment");
        self.ask.send(QueuedRequest { request, bodies, answer }).await.map_err(|_| stopped(()))?;
        answered.await.map_err(|_| stopped(()))?
    }
}

/// A source that was registered before, to be resumed; `None` if its dataset or its file is gone.
fn resume(spool: &Spool, store: &Store, incomplete: IncompleteSource) -> Option<EnteredSource> {
    let IncompleteSource { source, dataset, name, identity, content, lines, text, first_key, shape } =
        incomplete;
    let Some((dataset, definition)) = store.manifest().dataset(&dataset) else {
        warn!(
            source,
            "the manifest does not have the dataset '{dataset}' any more; the source stays incomplete"
        );
        return None;
    };
    let body = match text {
        Some(text) => Body::Lines(text),
        None => {
            let path = spool.path(&identity, &content);
            let content = content.try_into().ok()?;
            let identity = identity.try_into().ok()?;
            let keys = first_key.and_then(|first| GeneratedKeys::of_source(definition, identity, first));
            if !path.exists() {
                warn!(
                    source,
                    "its file is not in the spool; the source stays incomplete: send it again under its key"
                );
                return None;
            }
            Body::File { path, content, known: true, lines, keys }
        }
    };
    Some(EnteredSource { source, dataset, name, shape, body })
}

struct Registrar {
    inbox: Arc<Inbox>,
    registry: Arc<JournaledRegistry>,
    store: Store,
    spool: Spool,
}

impl Registrar {
    async fn run(self, mut asked: mpsc::Receiver<QueuedRequest>) {
        let mut together = Vec::new();
        while asked.recv_many(&mut together, TOGETHER_MAX).await > 0 {
            let (requests, waiting): (Vec<_>, Vec<_>) = together
                .drain(..)
                .map(|QueuedRequest { request, bodies, answer }| (request, (bodies, answer)))
                .unzip();
            match self.register(&requests).await {
                Ok((answers, in_doubt)) => {
                    let each = requests.into_iter().zip(waiting).zip(answers);
                    for ((request, (bodies, waiting)), answer) in each {
                        self.hand_over(request, bodies, &answer, in_doubt).await;
                        let _ = waiting.send(Ok(answer)); // the caller may have gone
                    }
                }
                Err(error) => {
                    for (_, waiting) in waiting {
                        let Error { retry, message } = &error;
                        let _ = waiting.send(Err(Error { retry: *retry, message: message.clone() }));
                    }
                    self.resolve(&requests, &mut asked).await;
                }
            }
        }
    }

    /// Registers requests, with retries for a while. Also returns whether an attempt's answer was lost: then requests
    /// that are known already may have been registered by that attempt.
    async fn register(&self, requests: &[Request]) -> Result<(Vec<Answer>, bool), Error> {
        let begun = Instant::now();
        let mut in_doubt = false;
        loop {
            let left = REGISTER_WITHIN.saturating_sub(begun.elapsed());
            let attempt = tokio::time::timeout(left, self.registry.register_requests(requests)).await;
            let silent = |_| Err(Error::retry("Postgres does not answer; send it again in a moment"));
            let is_last = || begun.elapsed() + AGAIN_AFTER >= REGISTER_WITHIN;
            match attempt.unwrap_or_else(silent) {
                Ok(answers) => return Ok((answers, in_doubt)),
                Err(error) if !error.retry || is_last() => return Err(error),
                Err(_) => in_doubt = true,
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Hands over the sources of a request, unless they were handed over before.
    async fn hand_over(&self, request: Request, bodies: Vec<Payload>, answer: &Answer, in_doubt: bool) {
        if !matches!(answer, Answer::New(_)) {
            // The file of a known source may have been lost, and this request brings it again.
            let is_fresh = bodies.iter().any(|body| matches!(body, Payload::File { fresh: true, .. }));
            let files = bodies.into_iter().filter_map(|body| match body {
                Payload::Lines(_) => None,
                Payload::File { path, .. } => Some(path),
            });
            let files: Vec<_> = files.collect();
            if in_doubt || !files.is_empty() {
                self.resume_all(answer.sources(), in_doubt || is_fresh, &files).await;
            }
            return;
        }
        for ((new, source), offered) in request.sources.into_iter().zip(answer.sources()).zip(bodies) {
            let (dataset, body) = match (offered, new.text) {
                (Payload::Lines(dataset), Some(text)) => (dataset, Body::Lines(text)),
                (Payload::File { dataset, path, .. }, _) => {
                    let (content, lines) = (request.content, new.lines);
                    let identity = source_identity(&request.identity, &new.dataset);
                    let definition = &self.store.manifest().datasets[dataset];
                    let keys =
                        new.first_key.and_then(|first| GeneratedKeys::of_source(definition, identity, first));
                    (dataset, Body::File { path, content, known: false, lines, keys })
                }
                (Payload::Lines(_), None) => continue,
            };
            let shape = Some(Arc::new(new.shape));
            self.inbox.push(EnteredSource { source: *source, dataset, name: new.name, shape, body });
        }
    }

    /// Finds out what became of requests whose registration failed, as soon as Postgres can be queried. A commit may
    /// have taken place after all, and then their lines must be handed over. No other request is registered until then.
    async fn resolve(&self, requests: &[Request], asked: &mut mpsc::Receiver<QueuedRequest>) {
        loop {
            let found = tokio::time::timeout(REGISTER_WITHIN, self.registry.sources_of(requests)).await;
            match found.unwrap_or_else(|_| Err(Error::retry("Postgres does not answer"))) {
                Ok(sources) => {
                    let sources = sources.concat();
                    if !sources.is_empty() {
                        self.resume_all(&sources, true, &[]).await;
                    }
                    return;
                }
                Err(error) if !error.retry => return,
                Err(_) => {
                    while let Ok(QueuedRequest { answer, .. }) = asked.try_recv() {
                        let _ = answer.send(Err(Error::retry("Postgres is away; send it again in a moment")));
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Looks up which of these sources are incomplete. With `hand_over`, hands those to the source. `files` are new
    /// copies of their files. If all sources are complete, removes `files`, because no other code would.
    async fn resume_all(&self, sources: &[u64], hand_over: bool, files: &[PathBuf]) {
        match requests::incomplete(&self.store, Some(sources)).await {
            Ok(incomplete) if incomplete.is_empty() => {
                files.iter().for_each(|path| tidegate_files::remove_spooled(path));
            }
            Ok(incomplete) => {
                let incomplete = incomplete.into_iter().filter(|_| hand_over);
                let entered = incomplete.filter_map(|source| resume(&self.spool, &self.store, source));
                entered.for_each(|entered| self.inbox.push(entered));
            }
            Err(error) => warn!("what was registered in doubt is read at the next start: {error}"),
        }
    }
}
