//! Sources that are to be read once more: who asks writes it down, the running pipeline does it.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::keyed::Becomes;
use super::{Before, Error, How, Keyed, Postgres};

/// A source that is to be read once more, as a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Its number among reloads.
    pub reload: u64,
    /// What is read again.
    pub old_source: u64,
    /// The dataset of that.
    pub dataset: String,
    /// What kind of input that was.
    pub kind: String,
    /// The name of its file.
    pub name: String,
    /// BLAKE3 of its content, where that is known.
    pub content: Option<Vec<u8>>,
    /// Its size.
    pub bytes: Option<u64>,
    /// Who asked.
    pub asked_by: String,
    /// When, by Postgres's clock.
    pub asked_at: String,
    /// How far it is.
    pub state: ReloadState,
    /// Why it is refused.
    pub error: Option<String>,
    /// What it has become.
    pub source: Option<u64>,
}

/// How far a reload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadState {
    /// It waits for the pipeline.
    Asked,
    /// It has a number as a new source.
    Entered,
    /// It was refused; nothing enters.
    Failed,
}

impl Postgres {
    /// Asks for a source to be read again. Gives the number of the reload; `None` if there is no such source. With
    /// `keyed`, for one that no request of that name has asked for before.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn ask_for_reload(
        &self,
        source: u64,
        asked_by: &str,
        keyed: Option<&Keyed>,
    ) -> Result<Before<Option<u64>>, Error> {
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        if let Some(keyed) = keyed {
            match keyed.claim::<i64>(&tx, Becomes::Reload).await? {
                Before::Nothing => {}
                Before::Became(reload) => return Ok(Before::Became(Some(reload as u64))),
                Before::Another => return Ok(Before::Another),
            }
        }
        let sql = include_str!("../../../sql/queries/ask_for_reload.sql");
        let Some(row) = tx.query_opt(sql, &[&(source as i64), &asked_by]).await? else {
            return Ok(Before::Became(None));
        };
        let reload: i64 = row.get(0);
        if let Some(keyed) = keyed {
            keyed.became(&tx, Becomes::Reload, &reload).await?;
        }
        tx.commit().await?;
        Ok(Before::Became(Some(reload as u64)))
    }

    /// The reloads that the pipeline has to work on, in the order in which they were asked for: those that wait for it,
    /// and those whose source is not complete.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn open_reloads(&self) -> Result<Vec<Reload>, Error> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(include_str!("../../../sql/queries/reloads.sql")).await?;
        let rows = connection.query(&statement, &[&None::<i64>]).await?;
        Ok(rows.iter().map(reload).collect())
    }

    /// A reload.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn reload_of(&self, number: u64) -> Result<Option<Reload>, Error> {
        let sql = include_str!("../../../sql/queries/reloads.sql");
        let row = self.connection().await?.query_opt(sql, &[&Some(number as i64)]).await?;
        Ok(row.as_ref().map(reload))
    }

    /// Notes why a source cannot be read again.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or another process has taken the leases over.
    pub async fn refuse_reload(&self, reload: u64, error: &str) -> Result<(), Error> {
        let sql =
            "update tidegate.reloads set state = 'failed', error = $2 where reload = $1 and state = 'asked'";
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.execute(sql, &[&(reload as i64), &error]).await?;
        Ok(tx.commit().await?)
    }
}

/// What a reload has become, if it has entered.
pub(super) async fn entered(tx: &Transaction<'_>, reload: u64) -> Result<Option<i64>, Error> {
    let sql = "select source from tidegate.reloads where reload = $1";
    let row = tx.query_opt(sql, &[&(reload as i64)]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Notes what a reload has become, in the transaction that registers it.
pub(super) async fn enter(tx: &Transaction<'_>, reload: u64, source: u64) -> Result<(), Error> {
    let sql = "update tidegate.reloads set state = 'entered', source = $2, entered_at = clock_timestamp() \
               where reload = $1 and state = 'asked'";
    match tx.execute(sql, &[&(reload as i64), &(source as i64)]).await? {
        1 => Ok(()),
        _ => Err(Error::halt(format!("the reload {reload} is not asked for any more"))),
    }
}

fn reload(row: &Row) -> Reload {
    let number = |name: &str| row.get::<_, Option<i64>>(name).map(|number| number as u64);
    Reload {
        reload: row.get::<_, i64>("reload") as u64,
        old_source: row.get::<_, i64>("old_source") as u64,
        dataset: row.get("dataset"),
        kind: row.get("kind"),
        name: row.get("name"),
        content: row.get("content"),
        bytes: number("bytes"),
        asked_by: row.get("asked_by"),
        asked_at: row.get("asked_at"),
        state: match row.get("state") {
            "asked" => ReloadState::Asked,
            "entered" => ReloadState::Entered,
            _ => ReloadState::Failed,
        },
        error: row.get("error"),
        source: number("source"),
    }
}
