//! Restores that were asked for: who asks writes them down, the running pipeline takes them up.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::keyed::Becomes;
use super::{Before, Error, How, Keyed, Postgres};

/// A restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// What makes it one and the same.
    pub id: Uuid,
    /// The backup, where it is one of the pipeline's own folder.
    pub backup: Option<String>,
    /// What enters, in this order.
    pub files: Vec<RestoreFile>,
    /// Who asked.
    pub asked_by: String,
    /// When, by Postgres's clock.
    pub asked_at: String,
    /// How far it is.
    pub state: RestoreState,
    /// Why it failed.
    pub error: Option<String>,
    /// What the files have become, in their order.
    pub sources: Vec<u64>,
}

/// A file of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFile {
    /// The dataset whose rows it has.
    pub dataset: String,
    /// Where it is, from the root.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 of it as it was checked, in hexadecimal digits.
    pub blake3: String,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreState {
    /// It waits for the pipeline.
    Asked,
    /// Its files are sources of the pipeline, as any others.
    Entered,
    /// It was refused; nothing more enters.
    Failed,
}

impl Postgres {
    /// Asks for a restore. With `keyed`, for one that no request of that name has asked for before; tells which it
    /// is if there is one, and nothing is asked for then.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn ask_for_restore(
        &self,
        id: Uuid,
        backup: Option<&str>,
        files: &[RestoreFile],
        asked_by: &str,
        keyed: Option<&Keyed>,
    ) -> Result<Before<Uuid>, Error> {
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        if let Some(keyed) = keyed {
            let before = keyed.claim(&tx, Becomes::Restore).await?;
            if before != Before::Nothing {
                return Ok(before);
            }
            keyed.became(&tx, Becomes::Restore, &id).await?;
        }
        let sql = include_str!("../../../sql/queries/ask_for_restore.sql");
        tx.execute(sql, &[&id, &backup, &Json(files), &asked_by]).await?;
        tx.commit().await?;
        Ok(Before::Nothing)
    }

    /// The restore that a request has asked for before.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn restore_of_request(&self, keyed: &Keyed) -> Result<Before<Uuid>, Error> {
        keyed.before(&self.connection().await?, Becomes::Restore).await
    }

    /// The restores that wait for the pipeline, the oldest first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn asked_restores(&self) -> Result<Vec<Restore>, Error> {
        self.restores(None).await
    }

    /// A restore.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn restore_of(&self, id: Uuid) -> Result<Option<Restore>, Error> {
        Ok(self.restores(Some(id)).await?.pop())
    }

    async fn restores(&self, id: Option<Uuid>) -> Result<Vec<Restore>, Error> {
        let sql = include_str!("../../../sql/queries/restores.sql");
        let rows = self.connection().await?.query(sql, &[&id]).await?;
        let restores = rows.iter().map(|row| {
            let Json(files) = row.get("files");
            Restore {
                id: row.get("id"),
                backup: row.get("backup"),
                files,
                asked_by: row.get("asked_by"),
                asked_at: row.get("asked_at"),
                state: match row.get("state") {
                    "asked" => RestoreState::Asked,
                    "entered" => RestoreState::Entered,
                    _ => RestoreState::Failed,
                },
                error: row.get("error"),
                sources: row.get::<_, Vec<i64>>("sources").into_iter().map(|source| source as u64).collect(),
            }
        });
        Ok(restores.collect())
    }

    /// Notes that the files of a restore have become these sources.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or another process has taken the leases over.
    pub async fn restore_entered(&self, id: Uuid, sources: &[u64]) -> Result<(), Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let sql = "update tidegate.restores set state = 'entered', sources = $2, entered_at = clock_timestamp() \
                   where id = $1 and state = 'asked'";
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.execute(sql, &[&id, &sources]).await?;
        Ok(tx.commit().await?)
    }

    /// Notes why a restore is refused, and what of it had entered before as `sources`.
    ///
    /// # Errors
    ///
    /// As [`Postgres::restore_entered`].
    pub async fn restore_failed(&self, id: Uuid, error: &str, sources: &[u64]) -> Result<(), Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let sql = "update tidegate.restores set state = 'failed', error = $2, sources = $3 \
                   where id = $1 and state = 'asked'";
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.execute(sql, &[&id, &error, &sources]).await?;
        Ok(tx.commit().await?)
    }
}
