//! Notifications between the processes of a pipeline: one session of a process listens, so that no task has to poll.
//!
//! A process that requests something of a pipeline calls [`notify`] in the transaction that stores the request. A
//! notification may be missed while the session is being opened, and behind a pooler no session listens. Therefore every
//! task also polls: seldom while the session listens, often while it does not.

use std::future::{pending, poll_fn};
use std::time::Duration;

use deadpool_postgres::GenericClient;
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::database::Database;
use crate::error::{PgError, describe};

const CHANNEL: &str = "tidegate";
/// The pause before the session is opened again.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The time between two looks of a task while the session listens, and while none does.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(300);
/// The shortest time between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Notifies all processes of the pipeline when the transaction commits.
pub async fn notify(client: &impl GenericClient) -> Result<(), PgError> {
    client.execute("select pg_notify($1, '')", &[&CHANNEL]).await?;
    Ok(())
}

/// The session of a process that listens, until this is dropped.
pub struct Listener {
    is_listening: watch::Receiver<bool>,
    _task: AbortOnDropHandle<()>,
}

impl Listener {
    /// Opens the session, now and whenever it was lost.
    pub fn start(database: &Database) -> Self {
        let (sender, is_listening) = watch::channel(false);
        let task = tokio::spawn(keep_listening(database.clone(), sender));
        Self { is_listening, _task: AbortOnDropHandle::new(task) }
    }

    /// Notifications for one task.
    pub fn notifications(&self) -> Notifications {
        Notifications { is_listening: self.is_listening.clone() }
    }
}

/// The notifications that one task receives.
pub struct Notifications {
    /// Whether a session listens. Each notification marks it as changed.
    is_listening: watch::Receiver<bool>,
}

impl Notifications {
    /// Resolves at the next notification since this resolved last, and when it is time to look again: after `due`, if
    /// more is known to be due by then.
    pub async fn next(&mut self, due: Option<Duration>) {
        loop {
            let is_listening = *self.is_listening.borrow();
            let pause = if is_listening { LOOK_EVERY } else { POLL_EVERY };
            let pause = due.map_or(pause, |due| due.clamp(PAUSE_MIN, pause));
            match tokio::time::timeout(pause, self.is_listening.changed()).await {
                // The session was lost: from now on the task looks more often.
                Ok(Ok(())) if is_listening && !*self.is_listening.borrow() => {}
                Ok(Ok(())) | Err(_) => return,
                Ok(Err(_)) => return tokio::time::sleep(pause).await,
            }
        }
    }
}

async fn keep_listening(database: Database, is_listening: watch::Sender<bool>) {
    loop {
        // Behind a pooler a session is lent for one transaction only. The pool's first session tells whether there is one.
        if database.connection().await.is_ok() && !database.is_pooled() {
            if let Err(error) = listen(&database, &is_listening).await {
                debug!("the session that listens has ended: {}", describe(&error));
            }
            is_listening.send_replace(false);
        }
        tokio::time::sleep(OPEN_AGAIN_AFTER).await;
    }
}

/// Listens until the session ends.
async fn listen(
    database: &Database,
    is_listening: &watch::Sender<bool>,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = database.connector.open(&database.config).await?;
    let receive = async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => {
                    is_listening.send_modify(|_| {});
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    };
    let begin = async {
        client.batch_execute(&format!("listen {CHANNEL}")).await?;
        // What was asked for before is looked for now.
        is_listening.send_replace(true);
        pending().await
    };
    tokio::select! {
        ended = receive => ended,
        failed = begin => failed,
    }
}
