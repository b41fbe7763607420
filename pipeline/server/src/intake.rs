//! The way in for what is no file of the landing folder: requests, uploads, restores.
//!
//! Many ask at once and one registers them, all that wait together: a commit of Postgres and a sync of the journal
//! cost the same for one as for a hundred.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_connectors::csv::{self, Again, Body, Entered, GeneratedKeys, Inbox};
use tidegate_connectors::postgres::{Answer, Incomplete, Postgres, Request, source_identity};
use tidegate_core::contract::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::journal::Journaled;
use crate::spool::Spool;

/// How many requests are registered in one transaction, at most.
const TOGETHER_MAX: usize = 256;
/// How long a registration is tried again while Postgres is away, before whoever asked is sent away.
const REGISTER_WITHIN: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How many bytes of requests may be here that are not accounted for yet.
const BYTES_MAX: u64 = 128 << 20;

/// Registers what asks to enter, and hands it over to the source that gives out all lines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Intake {
    /// Where files are kept until every line is accounted for.
    pub(crate) spool: Spool,
    inbox: Arc<Inbox>,
    ask: mpsc::Sender<Asked>,
}

/// A request with what its sources are, in its order.
struct Asked {
    request: Request,
    bodies: Vec<Offered>,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// The lines of a source that asks to enter.
#[derive(Clone, Debug)]
pub(crate) enum Offered {
    /// As the request holds them, for the dataset of this index.
    Lines(usize),
    /// In a file of the spool.
    File {
        /// The index of the dataset.
        dataset: usize,
        /// Where it is.
        path: PathBuf,
        /// Whether it was not there before.
        fresh: bool,
    },
}

impl Offered {
    /// The file, if the lines are in one.
    fn into_path(self) -> Option<PathBuf> {
        match self {
            Self::Lines(_) => None,
            Self::File { path, .. } => Some(path),
        }
    }
}

/// Registers for an [`Intake`] as long as it lives.
pub(crate) struct Registering(JoinHandle<()>);

impl Drop for Registering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Intake {
    /// The way into a pipeline, which `inbox` leads to. What is registered and not complete is in the inbox when this
    /// returns, and nothing else is in the spool.
    pub(crate) async fn open(
        spool: Spool,
        inbox: Arc<Inbox>,
        registry: Arc<Journaled>,
        postgres: &Postgres,
    ) -> Result<(Self, Registering), Error> {
        inbox.clear();
        let mut needed = Vec::new();
        for incomplete in postgres.incomplete(None).await? {
            let Some(entered) = resume(&spool, postgres, incomplete) else { continue };
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
            Registrar { inbox: inbox.clone(), registry, postgres: postgres.clone(), spool: spool.clone() };
        let registering = Registering(tokio::spawn(register.run(asked)));
        Ok((Self { spool, inbox, ask }, registering))
    }

    /// Fails while more lines are in flight than fit here.
    ///
    /// # Errors
    ///
    /// That can be tried again.
    pub(crate) fn assert_room(&self) -> Result<(), Error> {
        if self.inbox.bytes() > BYTES_MAX {
            return Err(Error::retry("more lines are in flight than fit here; send it again in a moment"));
        }
        Ok(())
    }

    /// Hands over a source that is to be read again.
    pub(crate) fn read_again(&self, again: Again) {
        self.inbox.push_reload(again);
    }

    /// Registers a request. Its lines are durable and on their way when this returns.
    ///
    /// # Errors
    ///
    /// If Postgres is away, or too much is in flight.
    pub(crate) async fn enter(&self, request: Request, bodies: Vec<Offered>) -> Result<Answer, Error> {
        self.assert_room()?;
        let (answer, answered) = oneshot::channel();
        let stopped = |_| Error::retry("the pipeline is stopping; send it again in a moment");
        self.ask.send(Asked { request, bodies, answer }).await.map_err(|_| stopped(()))?;
        answered.await.map_err(|_| stopped(()))?
    }
}

/// What was registered before, to go on with.
fn resume(spool: &Spool, postgres: &Postgres, incomplete: Incomplete) -> Option<Entered> {
    let Incomplete { source, dataset, name, identity, content, lines, text, first_key, shape } = incomplete;
    let Some((dataset, _)) = postgres.manifest().dataset(&dataset) else {
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
            let definition = &postgres.manifest().datasets[dataset];
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
    Some(Entered { source, dataset, name, shape, body })
}

struct Registrar {
    inbox: Arc<Inbox>,
    registry: Arc<Journaled>,
    postgres: Postgres,
    spool: Spool,
}

impl Registrar {
    async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        let mut together = Vec::new();
        while asked.recv_many(&mut together, TOGETHER_MAX).await > 0 {
            let (requests, waiting): (Vec<_>, Vec<_>) = together
                .drain(..)
                .map(|Asked { request, bodies, answer }| (request, (bodies, answer)))
                .unzip();
            match self.register(&requests).await {
                Ok((answers, in_doubt)) => {
                    let each = requests.into_iter().zip(waiting).zip(answers);
                    for ((request, (bodies, waiting)), answer) in each {
                        self.hand_over(request, bodies, &answer, in_doubt).await;
                        let _ = waiting.send(Ok(answer)); // who asked may have gone
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

    /// Registers requests, and tries again for a while. Tells as well whether what is known may be so by a try whose
    /// answer was lost.
    async fn register(&self, requests: &[Request]) -> Result<(Vec<Answer>, bool), Error> {
        let begun = Instant::now();
        let mut in_doubt = false;
        loop {
            let left = REGISTER_WITHIN.saturating_sub(begun.elapsed());
            let error = match tokio::time::timeout(left, self.registry.register_requests(requests)).await {
                Ok(Ok(answers)) => return Ok((answers, in_doubt)),
                Ok(Err(error)) if !error.retry => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => Error::retry("Postgres does not answer; send it again in a moment"),
            };
            in_doubt = true;
            if begun.elapsed() + AGAIN_AFTER >= REGISTER_WITHIN {
                return Err(error);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Hands the sources of a request over, if that was not done before.
    async fn hand_over(&self, request: Request, bodies: Vec<Offered>, answer: &Answer, in_doubt: bool) {
        if !matches!(answer, Answer::New(_)) {
            // The file of one that is known may have been lost, and is here again.
            let is_fresh = bodies.iter().any(|body| matches!(body, Offered::File { fresh: true, .. }));
            let files: Vec<_> = bodies.into_iter().filter_map(Offered::into_path).collect();
            if in_doubt || !files.is_empty() {
                self.resume_all(answer.sources(), in_doubt || is_fresh, &files).await;
            }
            return;
        }
        for ((new, source), offered) in request.sources.into_iter().zip(answer.sources()).zip(bodies) {
            let (dataset, body) = match (offered, new.text) {
                (Offered::Lines(dataset), Some(text)) => (dataset, Body::Lines(text)),
                (Offered::File { dataset, path, .. }, _) => {
                    let (content, lines) = (request.content, new.lines);
                    let identity = source_identity(&request.identity, &new.dataset);
                    let definition = &self.postgres.manifest().datasets[dataset];
                    let keys =
                        new.first_key.and_then(|first| GeneratedKeys::of_source(definition, identity, first));
                    (dataset, Body::File { path, content, known: false, lines, keys })
                }
                (Offered::Lines(_), None) => continue,
            };
            self.inbox.push(Entered { source: *source, dataset, name: new.name, shape: None, body });
        }
    }

    /// Finds out, as soon as Postgres can be asked, what became of requests whose registration failed: a commit may
    /// have taken place all the same, and then their lines must go their way. Until then nobody else registers.
    async fn resolve(&self, requests: &[Request], asked: &mut mpsc::Receiver<Asked>) {
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
                Err(error) => {
                    if !error.retry {
                        return;
                    }
                    while let Ok(Asked { answer, .. }) = asked.try_recv() {
                        let _ = answer.send(Err(Error::retry("Postgres is away; send it again in a moment")));
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Looks what is not complete of sources, and hands it over if nobody has. `files` were brought again for them: if
    /// all is complete, nobody else removes them.
    async fn resume_all(&self, sources: &[u64], hand_over: bool, files: &[PathBuf]) {
        match self.postgres.incomplete(Some(sources)).await {
            Ok(incomplete) if incomplete.is_empty() => {
                files.iter().for_each(|path| csv::remove_spooled(path));
            }
            Ok(incomplete) => {
                let incomplete = incomplete.into_iter().filter(|_| hand_over);
                let entered = incomplete.filter_map(|source| resume(&self.spool, &self.postgres, source));
                entered.for_each(|entered| self.inbox.push(entered));
            }
            Err(error) => warn!("what was registered in doubt is read at the next start: {error}"),
        }
    }
}
