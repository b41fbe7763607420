//! Closes sessions that have fallen silent.
//!
//! An answer may be lost for ever: a firewall forgets the connection, or a proxy swallows what it receives. A
//! deadline on the client's side cannot tell a lost answer from a statement that takes long, such as the first build
//! of a view or the wait for a lock. The server can: **a session is lost if the server waits for the client's next
//! message and goes on waiting**, because every user of a connection here sends one statement after another. Every
//! few seconds, one more connection asks the server about the sessions of the pool. A lost session is closed on both
//! sides, and the caller that waits for it gets an error and retries. If the server does not answer these questions
//! either, the watchdog warns, and in the end closes all sessions.
//!
//! An idle session in the pool looks the same. Closing it costs nothing.
//!
//! **Behind a pooler the state of a session cannot be known**: the statements of one session are answered by
//! different processes of the server, and a moment later the id of such a process may belong to another application's
//! session. The watchdog neither judges nor ends sessions there.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Statement};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::connector::Connector;
use crate::session::{ServerProcess, Sessions};

/// How often the watchdog asks, and how long the server may take to answer.
const LOOK_EVERY: Duration = Duration::from_secs(3);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// After so many silent looks in a row a session, or the server, is given up.
const LOOKS: u32 = 5;
/// Another possible cause of silence behind a pooler, for the warning.
const POOLER_HINT: &str = "; or its pooler has no session left: a run needs six";

/// Opens the connections of a pool, and closes those that are lost.
pub(super) struct Watchdog {
    begin: Arc<Sessions>,
    connector: Connector,
    sessions: Arc<Mutex<Vec<Session>>>,
    /// Set with the first connection, which starts the task that looks at the sessions until the pool is dropped.
    looks_out: OnceLock<()>,
}

/// A connection of the pool, as both ends know it.
struct Session {
    /// The server's process, and when it started; `None` if it is not known.
    process: Option<ServerProcess>,
    /// The task that drives the connection; aborting it closes the connection.
    task: AbortHandle,
    /// [`ServerSession::silence`] at the last look, empty if the server was not waiting, and at how many looks in a row it was
    /// unchanged.
    silence: String,
    looks: u32,
}

/// A session, as the server sees it.
struct ServerSession {
    process: ServerProcess,
    /// A text that changes with every activity of the session; `None` while the server does not wait for the client.
    silence: Option<String>,
}

impl Watchdog {
    pub(super) fn over(begin: Arc<Sessions>, connector: Connector) -> Self {
        Self { begin, connector, sessions: Arc::default(), looks_out: OnceLock::new() }
    }

    /// Starts a session, and finds out whether it is one of the server itself.
    async fn start(
        &self,
        config: &Config,
    ) -> Result<(Client, JoinHandle<()>, Option<ServerProcess>), tokio_postgres::Error> {
        let mut token = None;
        let opened = if self.begin.are_pooled() {
            open(&self.connector, config).await
        } else {
            let (told, its_token) = self.begin.at_start(config);
            token = Some(its_token);
            open(&self.connector, &told).await
        };
        let (client, task) = match opened {
            Err(error) if token.is_some() && Sessions::may_be_refused(&error) => {
                // A pooler refuses options that it cannot keep. Without options it lets this process in, or returns
                // the real error.
                debug!("a start with settings was refused: {}", crate::error::describe(&error));
                token = None;
                open(&self.connector, config).await?
            }
            opened => opened?,
        };
        let process = self.begin.recognise(&client, token.as_deref()).await?;
        Ok((client, task, process))
    }
}

impl Connect for Watchdog {
    fn connect(
        &self,
        config: &Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, task, process) = self.start(&config).await?;
            let task_handle = task.abort_handle();
            let session = Session { process, task: task_handle, silence: String::new(), looks: 0 };
            locked(&self.sessions).push(session);
            self.looks_out.get_or_init(|| {
                let sessions = Arc::downgrade(&self.sessions);
                tokio::spawn(look_out(sessions, self.begin.clone(), self.connector.clone(), config));
            });
            Ok((client, task))
        })
    }
}

async fn open(
    connector: &Connector,
    config: &Config,
) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
    let (client, connection) = connector.open(config).await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // The caller that waits for an answer reports the error too, but not why the server ended an idle
            // session.
            let said = crate::error::describe(&error);
            match crate::error::setting_behind(&error) {
                Some(setting) => warn!("Postgres ended a session: {said}; {setting}"),
                None => debug!("a connection to Postgres ended: {said}"),
            }
        }
    });
    Ok((client, task))
}

fn locked(sessions: &Mutex<Vec<Session>>) -> MutexGuard<'_, Vec<Session>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner) // the list is consistent between any two statements
}

/// Looks at the sessions at intervals, until the pool is dropped.
async fn look_out(
    sessions: Weak<Mutex<Vec<Session>>>,
    begin: Arc<Sessions>,
    connector: Connector,
    config: Config,
) {
    let mut lookout: Option<WatchConnection> = None;
    let mut unanswered: Option<(Instant, u32)> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(sessions) = sessions.upgrade() else { return };
        let asked: Vec<AbortHandle> = {
            let mut sessions = locked(&sessions);
            // A session whose process is not known leaves nothing on the server that could be ended.
            sessions.retain(|session| session.process.is_some() || !session.task.is_finished());
            sessions.iter().map(|session| session.task.clone()).collect()
        };
        let pids: Vec<i32> =
            locked(&sessions).iter().filter_map(|session| Some(session.process.as_ref()?.0)).collect();
        if asked.is_empty() {
            unanswered = None;
            continue;
        }
        let begun = Instant::now();
        let looked = tokio::time::timeout(LOOK_TIMEOUT, look(&mut lookout, &connector, &config, &pids)).await;
        let why = match looked {
            Ok(Ok(seen)) => {
                unanswered = None;
                let ghosts = judge(&mut locked(&sessions), &pids, &seen);
                end(lookout.as_ref().map(|lookout| &lookout.client), &ghosts).await;
                continue;
            }
            Ok(Err(error)) if error.code().is_some() => {
                // The server answers, though it refuses one more session. Nothing is known of the others.
                debug!("Postgres was not asked for its sessions: {}", crate::error::describe(&error));
                unanswered = None;
                continue;
            }
            Ok(Err(error)) => crate::error::describe(&error),
            Err(_) => "it takes what is sent and says nothing".to_owned(),
        };
        lookout = None; // else its task would wait for the answer as long as the connection lives
        let (since, looks) = unanswered.map_or((begun, 1), |(since, looks)| (since, looks + 1));
        unanswered = Some((since, looks));
        let hint = if begin.are_pooled() { POOLER_HINT } else { "" };
        warn!("Postgres has not answered for {} s: {why}{hint}", since.elapsed().as_secs());
        if looks >= LOOKS {
            // The sessions stay on the list: when the server is back, it may still have their processes, with their
            // locks.
            asked.iter().for_each(AbortHandle::abort);
        }
    }
}

/// A connection beside the pool, and the statement that looks at the pool's sessions.
struct WatchConnection {
    client: Client,
    statement: Statement,
    _task: AbortOnDropHandle<()>,
}

/// Asks the server for the state of the sessions of these processes.
async fn look(
    lookout: &mut Option<WatchConnection>,
    connector: &Connector,
    config: &Config,
    pids: &[i32],
) -> Result<Vec<ServerSession>, tokio_postgres::Error> {
    let WatchConnection { client, statement, .. } = match lookout {
        Some(lookout) if !lookout.client.is_closed() => lookout,
        _ => {
            let (client, task) = open(connector, config).await?;
            let _task = AbortOnDropHandle::new(task);
            let statement = client.prepare(include_str!("../../../sql/queries/watch_sessions.sql")).await?;
            lookout.insert(WatchConnection { client, statement, _task })
        }
    };
    let rows = client.query(&*statement, &[&pids]).await?;
    let seen =
        |row: &tokio_postgres::Row| ServerSession { process: (row.get(0), row.get(1)), silence: row.get(2) };
    Ok(rows.iter().map(seen).collect())
}

/// Closes the sessions that are lost, and forgets those that have ended on both sides. Returns the server's processes
/// whose client is gone.
fn judge(sessions: &mut Vec<Session>, asked: &[i32], seen: &[ServerSession]) -> Vec<ServerProcess> {
    let mut ghosts = Vec::new();
    sessions.retain_mut(|session| {
        let Some(process) = session.process.clone().filter(|(pid, _)| asked.contains(pid)) else {
            return true; // opened since the question, or a pooler's
        };
        let is_it = |seen: &&ServerSession| seen.process == process;
        let Some(seen) = seen.iter().find(is_it) else {
            session.task.abort();
            return false;
        };
        let silence = seen.silence.as_deref().unwrap_or_default();
        let goes_on = !silence.is_empty() && silence == session.silence;
        session.looks = if goes_on { session.looks + 1 } else { 0 };
        silence.clone_into(&mut session.silence);
        if session.looks >= LOOKS {
            debug!(pid = process.0, "a connection that rests, or is lost, is closed");
            session.task.abort();
        }
        if session.task.is_finished() || session.looks >= LOOKS {
            ghosts.push(process);
        }
        true
    });
    ghosts
}

/// Ends processes of the server, which may hold locks that other sessions wait for.
async fn end(client: Option<&Client>, ghosts: &[ServerProcess]) {
    let Some(client) = client.filter(|_| !ghosts.is_empty()) else { return };
    let (pids, starts): (Vec<i32>, Vec<&str>) =
        ghosts.iter().map(|(pid, started)| (*pid, started.as_str())).unzip();
    let sql = include_str!("../../../sql/queries/end_sessions.sql");
    let parameters: [&(dyn ToSql + Sync); 2] = [&pids, &starts];
    let ending = tokio::time::timeout(LOOK_TIMEOUT, client.execute(sql, &parameters)).await;
    if !matches!(ending, Ok(Ok(_))) {
        debug!("lost sessions could not be ended; tried again at the next look");
    }
}
