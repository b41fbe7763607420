//! Sessions that have fallen silent.
//!
//! An answer may be lost on the way for ever: a firewall forgets the connection, a proxy swallows what it
//! takes. No deadline on our side tells that from a statement that takes long, such as the first build of a
//! view or the wait for a lock. The server can tell: **a session is lost if the server waits for our next
//! message and goes on waiting**, because whoever has a connection here sends one statement after another.
//! So, every few seconds, one more connection looks what the server says of our sessions. A lost one is
//! closed on both sides, and who waits for it gets an error and tries again. If the server does not answer
//! these looks either, that is said, and in the end all are closed.
//!
//! A session that rests in the pool looks the same, and closing it costs nothing.
//!
//! **Behind a pooler nothing is known of a session**: its statements are answered by now this process of the server, now
//! that one, and the number of one of them may be a stranger's a moment later. Such sessions are neither judged nor ended.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};
use tracing::{debug, warn};

use super::session::{Process, Sessions};

/// How often it looks, and how long the server may take to answer.
const LOOK_EVERY: Duration = Duration::from_secs(3);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// At so many looks one after another a session must be silent, or the server, to be given up.
const LOOKS: u32 = 5;
/// What else may be the cause where a pooler stands between.
const POOLER_HINT: &str = "; or its pooler has no session left: a run needs six";

/// Opens the connections of a pool, and closes those that are lost.
pub(super) struct Watchdog {
    begin: Arc<Sessions>,
    sessions: Arc<Mutex<Vec<Session>>>,
    /// Set with the first connection. It looks out until the pool is gone.
    looks_out: OnceLock<()>,
}

/// A connection of the pool, as both ends know it.
struct Session {
    /// The server's process, and when it started; `None` where that is not known.
    process: Option<Process>,
    /// Drives the connection; ends it when aborted.
    task: AbortHandle,
    /// What the server said at the last look while it waited for us, and at how many looks it said so.
    silence: String,
    looks: u32,
}

/// What the server says of a session.
struct Seen {
    process: Process,
    /// Changes with whatever the session does; `None` while it does not wait for us.
    silence: Option<String>,
}

impl Watchdog {
    pub(super) fn over(begin: Arc<Sessions>) -> Self {
        Self { begin, sessions: Arc::default(), looks_out: OnceLock::new() }
    }

    /// Starts a session, and finds out whether it is the server's own.
    async fn start(
        &self,
        config: &Config,
    ) -> Result<(Client, JoinHandle<()>, Option<Process>), tokio_postgres::Error> {
        let mut token = None;
        let opened = if self.begin.are_pooled() {
            open(config).await
        } else {
            let (told, its_token) = self.begin.at_start(config);
            token = Some(its_token);
            open(&told).await
        };
        let (client, task) = match opened {
            Err(error) if token.is_some() && Sessions::may_be_refused(&error) => {
                // A pooler refuses what it cannot keep. It takes us without, or says what else is wrong.
                debug!("a start with settings was refused: {}", super::error::describe(&error));
                token = None;
                open(config).await?
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
            let handle = task.abort_handle();
            let session = Session { process, task: handle, silence: String::new(), looks: 0 };
            locked(&self.sessions).push(session);
            let looking = || {
                drop(tokio::spawn(look_out(Arc::downgrade(&self.sessions), Arc::clone(&self.begin), config)))
            };
            self.looks_out.get_or_init(looking);
            Ok((client, task))
        })
    }
}

async fn open(config: &Config) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Who waits for an answer gets the error too, and says it; but not why the server ended one that rested.
            let said = super::error::describe(&error);
            match super::error::setting_behind(&error) {
                Some(setting) => warn!("Postgres ended a session: {said}; {setting}"),
                None => debug!("a connection to Postgres ended: {said}"),
            }
        }
    });
    Ok((client, task))
}

fn locked(sessions: &Mutex<Vec<Session>>) -> MutexGuard<'_, Vec<Session>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner) // a list, whole between any two statements
}

/// Looks at the sessions, again and again, until the pool is gone.
async fn look_out(sessions: Weak<Mutex<Vec<Session>>>, begin: Arc<Sessions>, config: Config) {
    let mut client = None;
    let mut unanswered: Option<(Instant, u32)> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(sessions) = sessions.upgrade() else { return };
        let asked: Vec<AbortHandle> = {
            let mut sessions = locked(&sessions);
            // Of those whose process is not known nothing is left on the other side that we could end.
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
        let looked = tokio::time::timeout(LOOK_TIMEOUT, look(&mut client, &config, &pids)).await;
        let why = match looked {
            Ok(Ok(seen)) => {
                unanswered = None;
                let ghosts = judge(&mut locked(&sessions), &pids, &seen);
                end(client.as_ref().map(|(client, _)| client), &ghosts).await;
                continue;
            }
            Ok(Err(error)) if error.code().is_some() => {
                // It answers, though not to one more session; nothing is known of the others.
                debug!("Postgres was not asked for its sessions: {}", super::error::describe(&error));
                unanswered = None;
                continue;
            }
            Ok(Err(error)) => super::error::describe(&error),
            Err(_) => "it takes what is sent and says nothing".to_owned(),
        };
        if let Some((_, task)) = client.take() {
            task.abort(); // it would wait for the answer as long as the connection lives
        }
        let (since, looks) = unanswered.map_or((begun, 1), |(since, looks)| (since, looks + 1));
        unanswered = Some((since, looks));
        let hint = if begin.are_pooled() { POOLER_HINT } else { "" };
        warn!("Postgres has not answered for {} s: {why}{hint}", since.elapsed().as_secs());
        if looks >= LOOKS {
            // They stay on the list: when the server is back, it may still have their processes, with their locks.
            asked.iter().for_each(AbortHandle::abort);
        }
    }
}

/// Asks the server for its side of the sessions.
async fn look(
    client: &mut Option<(Client, JoinHandle<()>)>,
    config: &Config,
    pids: &[i32],
) -> Result<Vec<Seen>, tokio_postgres::Error> {
    let (client, _) = match client {
        Some(open) if !open.0.is_closed() => open,
        _ => client.insert(open(config).await?),
    };
    let rows = client.query(include_str!("../../../sql/queries/watch_sessions.sql"), &[&pids]).await?;
    let seen = |row: &tokio_postgres::Row| Seen { process: (row.get(0), row.get(1)), silence: row.get(2) };
    Ok(rows.iter().map(seen).collect())
}

/// Closes the sessions that are lost, and forgets those that have ended on both sides. Gives the server's
/// processes that nobody listens to any more.
fn judge(sessions: &mut Vec<Session>, asked: &[i32], seen: &[Seen]) -> Vec<Process> {
    let mut ghosts = Vec::new();
    sessions.retain_mut(|session| {
        let Some(process) = session.process.clone().filter(|(pid, _)| asked.contains(pid)) else {
            return true; // opened meanwhile, or a pooler's
        };
        let is_it = |seen: &&Seen| seen.process == process;
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

/// Ends processes of the server: they may hold locks that others wait for.
async fn end(client: Option<&Client>, ghosts: &[Process]) {
    let Some(client) = client.filter(|_| !ghosts.is_empty()) else { return };
    let (pids, starts): (Vec<i32>, Vec<&str>) =
        ghosts.iter().map(|(pid, started)| (*pid, started.as_str())).unzip();
    let sql = include_str!("../../../sql/queries/end_sessions.sql");
    let parameters: [&(dyn ToSql + Sync); 2] = [&pids, &starts];
    let ending = tokio::time::timeout(LOOK_TIMEOUT, client.execute(sql, &parameters)).await;
    if !matches!(ending, Ok(Ok(_))) {
        debug!("sessions that nobody listens to could not be ended; tried again at the next look");
    }
}
