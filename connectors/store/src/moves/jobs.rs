//! Moves of many lines: a filter selects the list, which is fixed when the job is asked for.
//!
//! The lines of a job are listed in `tidegate.move_items`. Batch by batch they become moves, in transactions that
//! remove them from the list. So a crash repeats nothing, and the next holder of the leases goes on.

use serde::Serialize;
use tidegate_core::failpoint::Failpoint;
use tidegate_postgres::listener::notify;
use tidegate_postgres::{Database, PgError, TransactionMode, stored_enum};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use utoipa::ToSchema;

use super::{Kind, MoveError, Refusal, check_words, claimed};
use crate::filter::{self, CONDITIONS, LetterCounts, LetterFilter};
use crate::idempotency::{self, IdempotencyKey, Resource};
use crate::statement::{self, Columns};
use crate::store::Store;
use crate::{leases, moves};

/// The maximum number of lines of a job that become moves in one transaction.
const BATCH_LINES: i64 = 5_000;
/// The maximum number of turns a second of a job with a rate.
const TURNS_A_SECOND: f64 = 4.0;
/// The highest rate of a job, in lines a second. A higher rate would not differ from none.
const RATE_MAX: f64 = 1e9;

/// A request for moves of many lines.
#[derive(Clone, Debug)]
pub struct BulkMove {
    /// The kind of the moves.
    pub kind: Kind,
    /// The filter on dead letters. Only rejected and waiting letters are moved. A replay leaves out those that can
    /// only be replayed with an edited line.
    pub filter: LetterFilter,
    /// The maximum number of letters; the oldest come first.
    pub limit: Option<u64>,
    /// The maximum number of lines a second.
    pub rate: Option<f64>,
    /// The name of the requester.
    pub by: String,
    /// The reason that the requester gives.
    pub note: Option<String>,
    /// The idempotency key, if the request has one. A request that is sent again with its key is one job.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// The effect that a bulk move would have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The number of lines that it would move, by reason.
    #[serde(flatten)]
    pub counted: LetterCounts,
    /// The number of lines of the filter that can only be replayed with an edited line.
    pub need_a_line: u64,
}

stored_enum! {
    /// The state of a job.
    pub enum JobState {
        /// Lines are still to be moved.
        Running = "running",
        /// Every line was moved, or was no dead letter any more.
        Done = "done",
        /// The job was cancelled; the rest is not moved.
        Cancelled = "cancelled",
    }
}

/// A bulk move that was asked for, and its progress.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Job {
    /// The number of the job.
    pub job: u64,
    /// The kind of its moves: `replay` or `discard`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// `running`, `done` or `cancelled`.
    #[schema(value_type = String)]
    pub state: JobState,
    /// The name of the requester.
    pub by: String,
    /// The reason that the requester gives.
    pub note: Option<String>,
    /// The filter that selected the list, as it can be sent again.
    #[schema(value_type = Object)]
    pub filter: serde_json::Value,
    /// The maximum number of lines a second.
    pub rate: Option<f64>,
    /// The number of lines on the list when it was fixed.
    pub lines: u64,
    /// The number of lines that are not moved yet; of a cancelled job, those that were never moved.
    pub left: u64,
    /// The number of lines that were accepted.
    pub accepted: u64,
    /// The number of lines that were accepted while a newer line holds the row of their key.
    pub superseded: u64,
    /// The number of lines that were rejected again.
    pub rejected: u64,
    /// The number of lines that wait for a reference.
    pub waiting: u64,
    /// The number of lines that were discarded.
    pub discarded: u64,
    /// The number of lines that were no dead letters any more when their turn came.
    pub passed_over: u64,
    /// The name of the user or client that cancelled it.
    pub cancelled_by: Option<String>,
    /// When the job was asked for, RFC 3339 in UTC.
    pub asked_at: String,
    /// When the job ended; null while it runs.
    pub done_at: Option<String>,
}

impl Job {
    /// Returns whether the job has ended, so that it moves no more lines.
    pub fn has_ended(&self) -> bool {
        self.done_at.is_some()
    }

    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            job: row.number("job"),
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            by: row.get("asked_by"),
            note: row.get("note"),
            filter: with_reason(row.get("filter")),
            rate: row.get("rate"),
            lines: row.number("lines"),
            left: row.number("lines_left"),
            accepted: row.number("accepted"),
            superseded: row.number("superseded"),
            rejected: row.number("rejected"),
            waiting: row.number("waiting"),
            discarded: row.number("discarded"),
            passed_over: row.number("passed_over"),
            cancelled_by: row.get("cancelled_by"),
            asked_at: row.get("asked_at"),
            done_at: row.get("done_at"),
        })
    }
}

/// Returns a stored filter in the form in which it can be given again: the field `reason` was stored as `code`
/// before.
fn with_reason(mut filter: serde_json::Value) -> serde_json::Value {
    if let Some(members) = filter.as_object_mut()
        && let Some(code) = members.remove("code")
    {
        members.insert("reason".to_owned(), code);
    }
    filter
}

/// The query for the letters that a bulk move lists. $1 to $10 are the filter's. $11 are the datasets of the manifest
/// for a replay, and null for a discard. $12 is the limit. A letter with an open move is listed too: the move may
/// leave it in the status that it had before.
fn listed() -> String {
    const BEFORE: &str = "case l.status when 'claimed' then (select m.status_before from tidegate.moves as m \
                          where m.source = l.source and m.line = l.line and m.done_at is null) else l.status end";
    format!(
        "select d.* from (select l.source, l.line, l.dataset, l.text, l.length, l.reasons, l.created_at, \
                          {BEFORE} as status from tidegate.dead_letters as l \
                          where l.status in ('rejected', 'waiting', 'claimed')) as d \
         where {CONDITIONS} and d.status in ('rejected', 'waiting') \
         and ($11::text[] is null or (d.dataset = any($11) and d.text is not null and d.length is null)) \
         order by d.source, d.line limit $12"
    )
}

impl BulkMove {
    fn check(&self) -> Result<(), Refusal> {
        let Self { filter, limit, rate, by, note, .. } = self;
        filter.check()?;
        check_words(by, note.as_deref())?;
        if *limit == Some(0) {
            return Err(Refusal::Malformed("a limit of 0 moves nothing; give 1 or more".to_owned()));
        }
        if rate.is_some_and(|rate| !(rate > 0.0 && rate <= RATE_MAX)) {
            return Err(Refusal::Malformed("a rate is a number of lines a second, above 0".to_owned()));
        }
        Ok(())
    }

    fn limit(&self) -> Option<i64> {
        self.limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// Returns the datasets whose lines can be moved; `None` for any.
    fn datasets<'a>(&self, database: &'a Database) -> Option<Vec<&'a str>> {
        let names = database.manifest().datasets.iter().map(|dataset| dataset.name.as_str());
        (self.kind == Kind::Replay).then(|| names.collect())
    }
}

/// Returns the effect that a bulk move would have at this moment. Changes nothing.
pub async fn preview(database: &Database, bulk: &BulkMove) -> Result<Preview, MoveError> {
    bulk.check()?;
    let connection = moves::connection(database).await?;
    let (datasets, limit) = (bulk.datasets(database), bulk.limit());
    let parameters = bulk.filter.parameters(None);
    let sql = filter::counting(&listed());
    let counted = filter::counted(&connection.query(&sql, &parameters.with(&[&datasets, &limit])).await?)?;
    let sql = format!(
        "select count(*) from tidegate.dead_letters as d where {CONDITIONS} \
         and d.status in ('rejected', 'waiting') and (d.text is null or d.length is not null)"
    );
    let need_a_line = match bulk.kind {
        Kind::Replay => connection.query_one(&sql, &parameters.with(&[])).await?.get::<_, i64>(0) as u64,
        Kind::Discard => 0,
    };
    Ok(Preview { counted, need_a_line })
}

/// Asks for a bulk move. The process that runs the pipeline makes it. The list of its lines is fixed from now on.
pub async fn ask(store: &Store, bulk: &BulkMove) -> Result<Job, MoveError> {
    bulk.check()?;
    let mut connection = moves::connection(store).await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    if let Some(known) = claimed::<i64>(bulk.idempotency_key.as_ref(), &tx, Resource::Job).await? {
        tx.rollback().await?;
        drop(connection); // the pool is small
        return Ok(find(store, known as u64).await?.ok_or(Refusal::NoJob(known as u64))?);
    }
    let BulkMove { kind, filter, rate, by, note, .. } = bulk;
    let sql = "insert into tidegate.move_jobs (kind, asked_by, note, filter, rate, lines) \
               values ($1, $2, $3, $4, $5, 0) returning job";
    let job: i64 = tx.query_one(sql, &[&kind.as_str(), by, note, &Json(filter), rate]).await?.get(0);
    let sql = format!(
        "with listed as ({}), kept as (insert into tidegate.move_items select $13::bigint, source, line from listed \
         returning 1) \
         update tidegate.move_jobs set lines = (select count(*) from kept) where job = $13",
        listed()
    );
    let (datasets, limit) = (bulk.datasets(store), bulk.limit());
    let more: [&(dyn ToSql + Sync); 3] = [&datasets, &limit, &job];
    tx.execute(&sql, &filter.parameters(None).with(&more)).await?;
    idempotency::record(bulk.idempotency_key.as_ref(), &tx, Resource::Job, &job).await?;
    notify(&tx).await?;
    tx.commit().await?;
    drop(connection);
    Failpoint::MovesListed.pass().map_err(PgError::from)?;
    Ok(find(store, job as u64).await?.ok_or(Refusal::NoJob(job as u64))?)
}

/// Returns a job by its number.
pub async fn find(database: &Database, number: u64) -> Result<Option<Job>, PgError> {
    let sql = include_str!("../../../../sql/queries/move_jobs.sql").replace("{condition}", "j.job = $1");
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let row = moves::connection(database).await?.query_opt(&sql, &[&number]).await?;
    Ok(row.as_ref().map(Job::of).transpose()?)
}

/// Returns the latest jobs, newest first; with `before`, the latest with a smaller number.
pub async fn list(database: &Database, before: Option<u64>, limit: u32) -> Result<Vec<Job>, PgError> {
    let sql = include_str!("../../../../sql/queries/move_jobs.sql")
        .replace("{condition}", "$1::bigint is null or j.job < $1 order by j.job desc limit $2");
    let before = before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
    let rows = moves::connection(database).await?.query(&sql, &[&before, &i64::from(limit)]).await?;
    Ok(rows.iter().map(Job::of).collect::<Result<_, _>>()?)
}

/// Cancels a job. Lines whose turn has not come keep their status. Fails if there is no such job, or if it has ended.
pub async fn cancel(database: &Database, number: u64, by: &str) -> Result<Job, MoveError> {
    check_words(by, None)?;
    let job = i64::try_from(number).unwrap_or(i64::MAX);
    let mut connection = moves::connection(database).await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    let sql = "update tidegate.move_jobs set cancelled_by = $2, done_at = clock_timestamp() \
               where job = $1 and done_at is null";
    if tx.execute(sql, &[&job, &by]).await? == 0 {
        let row = tx.query_opt("select from tidegate.move_jobs where job = $1", &[&job]).await?;
        return Err(row.map_or(Refusal::NoJob(number), |_| Refusal::JobEnded(number)).into());
    }
    tx.execute("delete from tidegate.move_items where job = $1", &[&job]).await?;
    tx.commit().await?;
    drop(connection);
    Ok(find(database, number).await?.ok_or(Refusal::NoJob(number))?)
}

/// Returns the jobs that have not ended and are due.
pub(crate) async fn due(database: &Database) -> Result<Vec<i64>, PgError> {
    let sql = "select job from tidegate.move_jobs where done_at is null and due_at <= clock_timestamp() order by job";
    let rows = statement::query(&database.connection().await?, sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes moves of the next lines of a job. `false` if another process does so at the moment, or the job has no lines
/// left but those of which other moves are open. These lines have their turn when the other moves are made.
pub(crate) async fn claim_of(store: &Store, job: i64) -> Result<bool, PgError> {
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    let sql = "select rate from tidegate.move_jobs where job = $1 and done_at is null and due_at <= clock_timestamp() \
               for update skip locked";
    let Some(row) = tx.query_opt(sql, &[&job]).await? else { return Ok(false) };
    let lines = match row.get::<_, Option<f64>>(0) {
        Some(rate) => ((rate / TURNS_A_SECOND).ceil() as i64).clamp(1, BATCH_LINES),
        None => BATCH_LINES,
    };
    let datasets: Vec<&str> = store.manifest().datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    let sql = include_str!("../../../../sql/queries/next_items.sql");
    let next = statement::query(&tx, sql, &[&job, &lines]).await?;
    if next.is_empty() {
        return Ok(false);
    }
    let column = |i: usize| next.iter().map(|row| row.get(i)).collect::<Vec<i64>>();
    let (sources, numbers) = (column(0), column(1));
    // This statement follows the locks, so that it sees a move that was asked for meanwhile.
    let sql = include_str!("../../../../sql/queries/claim_items.sql");
    let claimed = statement::query_one(&tx, sql, &[&job, &datasets, &sources, &numbers]).await?;
    let claimed: i64 = claimed.get(0);
    Failpoint::MovesClaimed.pass()?;
    tx.commit().await?;
    Ok(claimed > 0)
}

/// Ends the jobs that have neither lines nor open moves left.
pub(crate) async fn end(database: &Database) -> Result<(), PgError> {
    let sql = "update tidegate.move_jobs as j set done_at = clock_timestamp() where done_at is null \
               and not exists (select from tidegate.move_items as i where i.job = j.job) \
               and not exists (select from tidegate.moves as m where m.job = j.job and m.done_at is null)";
    statement::execute(&database.connection().await?, sql, &[]).await?;
    Ok(())
}
