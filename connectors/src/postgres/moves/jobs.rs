//! Moves of many lines: a filter gives the list, which is fixed when it is asked for.
//!
//! A job's lines stand in `tidegate.move_items`. Batch by batch they become moves, in transactions that take them out
//! of there; so a crash repeats nothing, and the next holder of the leases goes on.

use serde::Serialize;
use tidegate_core::failpoint::Failpoint;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::super::filter::{self, CONDITIONS, Counted, LetterFilter};
use super::super::keyed::Becomes;
use super::super::{Error, How, Keyed, Postgres};
use super::{Kind, MoveError, Refused, check_words, claimed};

/// How many lines of a job become moves at once.
const BATCH_LINES: i64 = 5_000;
/// A job with a rate takes its turn so often a second, at most.
const TURNS_A_SECOND: f64 = 4.0;
/// The highest rate that is told from none.
const RATE_MAX: f64 = 1e9;

/// Moves of many lines, as somebody wants them.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// What is to be done.
    pub kind: Kind,
    /// With which dead letters; of those only with rejected and waiting ones, and not with those that can only be
    /// replayed with an edited line.
    pub filter: LetterFilter,
    /// With at most so many, the oldest.
    pub limit: Option<u64>,
    /// At most so many lines a second.
    pub rate: Option<f64>,
    /// Who asks.
    pub by: String,
    /// Why.
    pub note: Option<String>,
    /// How the request names itself, if it does: sent again, it is one job.
    pub keyed: Option<Keyed>,
}

/// What a bulk move would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The lines that it would move, by reason.
    #[serde(flatten)]
    pub counted: Counted,
    /// How many lines the filter means that can only be replayed with an edited line.
    pub need_a_line: u64,
}

/// A bulk move that was asked for, and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Job {
    /// Its number.
    pub job: u64,
    /// What is done.
    pub kind: Kind,
    /// `running`, `done` or `cancelled`.
    pub state: String,
    /// Who asked.
    pub by: String,
    /// Why.
    pub note: Option<String>,
    /// The filter that gave the list.
    pub filter: serde_json::Value,
    /// At most so many lines a second.
    pub rate: Option<f64>,
    /// How many lines the list had.
    pub lines: u64,
    /// How many of them are not moved yet; of a job that was cancelled, how many were not.
    pub left: u64,
    /// How many were accepted.
    pub accepted: u64,
    /// How many were accepted, and a newer line holds the row.
    pub superseded: u64,
    /// How many were rejected again.
    pub rejected: u64,
    /// How many wait for a reference.
    pub waiting: u64,
    /// How many were given up.
    pub discarded: u64,
    /// How many were no dead letters any more when their turn came.
    pub passed_over: u64,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
    /// When it was asked for, RFC 3339 in UTC.
    pub asked_at: String,
    /// When it ended; `None` while it runs.
    pub done_at: Option<String>,
}

impl Job {
    /// Whether nothing more comes of it.
    pub fn has_ended(&self) -> bool {
        self.done_at.is_some()
    }

    fn of(row: &Row) -> Self {
        let number = |name: &str| row.get::<_, i64>(name) as u64;
        Self {
            job: number("job"),
            kind: Kind::parse(row.get("kind")),
            state: row.get("state"),
            by: row.get("asked_by"),
            note: row.get("note"),
            filter: as_asked(row.get("filter")),
            rate: row.get("rate"),
            lines: number("lines"),
            left: number("lines_left"),
            accepted: number("accepted"),
            superseded: number("superseded"),
            rejected: number("rejected"),
            waiting: number("waiting"),
            discarded: number("discarded"),
            passed_over: number("passed_over"),
            cancelled_by: row.get("cancelled_by"),
            asked_at: row.get("asked_at"),
            done_at: row.get("done_at"),
        }
    }
}

/// A filter as it can be asked for again: what is `reason` now was kept as `code` before.
fn as_asked(mut filter: serde_json::Value) -> serde_json::Value {
    if let Some(members) = filter.as_object_mut()
        && let Some(code) = members.remove("code")
    {
        members.insert("reason".to_owned(), code);
    }
    filter
}

/// The letters that a bulk move lists: $1 to $10 are the filter's, $11 the datasets of the manifest if lines are to be
/// replayed, else null, $12 the limit. Those too of which a move is open: it may leave them as they were before.
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

impl Bulk {
    fn check(&self) -> Result<(), Refused> {
        let Self { filter, limit, rate, by, note, .. } = self;
        filter.check()?;
        check_words(by, note.as_deref())?;
        if *limit == Some(0) {
            return Err(Refused::Malformed("a limit of 0 moves nothing; give 1 or more".to_owned()));
        }
        if rate.is_some_and(|rate| !(rate > 0.0 && rate <= RATE_MAX)) {
            return Err(Refused::Malformed("a rate is a number of lines a second, above 0".to_owned()));
        }
        Ok(())
    }

    fn limit(&self) -> Option<i64> {
        self.limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// The datasets whose lines it can move; `None` for any.
    fn datasets<'a>(&self, postgres: &'a Postgres) -> Option<Vec<&'a str>> {
        let names = postgres.inner.manifest.datasets.iter().map(|dataset| dataset.name.as_str());
        (self.kind == Kind::Replay).then(|| names.collect())
    }
}

impl Postgres {
    /// What a bulk move would do at this moment; changes nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be asked for, or Postgres cannot be asked.
    pub async fn preview_moves(&self, bulk: &Bulk) -> Result<Preview, MoveError> {
        bulk.check()?;
        let connection = self.moves_connection().await?;
        let (datasets, limit) = (bulk.datasets(self), bulk.limit());
        let parameters = bulk.filter.parameters(None);
        let sql = filter::counting(&listed());
        let counted = filter::counted(&connection.query(&sql, &parameters.with(&[&datasets, &limit])).await?);
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

    /// Asks for a bulk move, for whoever runs the pipeline to make. The list of its lines is fixed from now on.
    ///
    /// # Errors
    ///
    /// If it cannot be asked for, or Postgres cannot be asked.
    pub async fn ask_moves(&self, bulk: &Bulk) -> Result<Job, MoveError> {
        bulk.check()?;
        let mut connection = self.moves_connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        if let Some(known) = claimed::<i64>(bulk.keyed.as_ref(), &tx, Becomes::Job).await? {
            tx.rollback().await?;
            drop(connection); // there are not many
            return Ok(self.job(known as u64).await?.ok_or(Refused::NoJob(known as u64))?);
        }
        let Bulk { kind, filter, rate, by, note, .. } = bulk;
        let sql = "insert into tidegate.move_jobs (kind, asked_by, note, filter, rate, lines) \
                   values ($1, $2, $3, $4, $5, 0) returning job";
        let job: i64 = tx.query_one(sql, &[&kind.as_str(), by, note, &Json(filter), rate]).await?.get(0);
        let sql = format!(
            "with listed as ({}), kept as (insert into tidegate.move_items select $13::bigint, source, line from listed \
             returning 1) \
             update tidegate.move_jobs set lines = (select count(*) from kept) where job = $13",
            listed()
        );
        let (datasets, limit) = (bulk.datasets(self), bulk.limit());
        let more: [&(dyn ToSql + Sync); 3] = [&datasets, &limit, &job];
        tx.execute(&sql, &filter.parameters(None).with(&more)).await?;
        if let Some(keyed) = &bulk.keyed {
            keyed.became(&tx, Becomes::Job, &job).await?;
        }
        tx.commit().await?;
        drop(connection);
        Failpoint::MovesListed.pass()?;
        self.inner.bells.ring_asked();
        Ok(self.job(job as u64).await?.ok_or(Refused::NoJob(job as u64))?)
    }

    /// A job by its number.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn job(&self, number: u64) -> Result<Option<Job>, Error> {
        let sql = include_str!("../../../../sql/queries/move_jobs.sql").replace("{condition}", "j.job = $1");
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Ok(self.moves_connection().await?.query_opt(&sql, &[&number]).await?.as_ref().map(Job::of))
    }

    /// The latest jobs before one, newest first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn jobs(&self, before: Option<u64>, limit: u32) -> Result<Vec<Job>, Error> {
        let sql = include_str!("../../../../sql/queries/move_jobs.sql")
            .replace("{condition}", "$1::bigint is null or j.job < $1 order by j.job desc limit $2");
        let before = before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
        let rows = self.moves_connection().await?.query(&sql, &[&before, &i64::from(limit)]).await?;
        Ok(rows.iter().map(Job::of).collect())
    }

    /// Ends a job: lines whose turn has not come stay what they are.
    ///
    /// # Errors
    ///
    /// If there is no such job, or it has ended; or Postgres cannot be asked.
    pub async fn cancel_job(&self, number: u64, by: &str) -> Result<Job, MoveError> {
        check_words(by, None)?;
        let job = i64::try_from(number).unwrap_or(i64::MAX);
        let mut connection = self.moves_connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        let sql = "update tidegate.move_jobs set cancelled_by = $2, done_at = clock_timestamp() \
                   where job = $1 and done_at is null";
        if tx.execute(sql, &[&job, &by]).await? == 0 {
            let row = tx.query_opt("select from tidegate.move_jobs where job = $1", &[&job]).await?;
            return Err(row.map_or(Refused::NoJob(number), |_| Refused::JobEnded(number)).into());
        }
        tx.execute("delete from tidegate.move_items where job = $1", &[&job]).await?;
        tx.commit().await?;
        drop(connection);
        Ok(self.job(number).await?.ok_or(Refused::NoJob(number))?)
    }

    /// The jobs that have lines left, and whose turn it is.
    pub(super) async fn due_jobs(&self) -> Result<Vec<i64>, Error> {
        let sql = "select job from tidegate.move_jobs where done_at is null and due_at <= clock_timestamp() order by job";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        Ok(connection.query(&statement, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    /// Makes moves of the next lines of a job. `false` if another process is at it, or it has no lines left but those
    /// of which other moves are open: they have their turn when these are made.
    pub(super) async fn claim_of_job(&self, job: i64) -> Result<bool, Error> {
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        let sql = "select rate from tidegate.move_jobs where job = $1 and done_at is null and due_at <= clock_timestamp() \
                   for update skip locked";
        let Some(row) = tx.query_opt(sql, &[&job]).await? else { return Ok(false) };
        let lines = match row.get::<_, Option<f64>>(0) {
            Some(rate) => ((rate / TURNS_A_SECOND).ceil() as i64).clamp(1, BATCH_LINES),
            None => BATCH_LINES,
        };
        let datasets: Vec<&str> =
            self.inner.manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let statement = tx.prepare_cached(include_str!("../../../../sql/queries/next_items.sql")).await?;
        let next = tx.query(&statement, &[&job, &lines]).await?;
        if next.is_empty() {
            return Ok(false);
        }
        let column = |i: usize| next.iter().map(|row| row.get(i)).collect::<Vec<i64>>();
        let (sources, numbers) = (column(0), column(1));
        // Behind the locks, so that a move that was asked for meanwhile is seen.
        let statement = tx.prepare_cached(include_str!("../../../../sql/queries/claim_items.sql")).await?;
        let claimed: i64 = tx.query_one(&statement, &[&job, &datasets, &sources, &numbers]).await?.get(0);
        Failpoint::MovesClaimed.pass()?;
        tx.commit().await?;
        Ok(claimed > 0)
    }

    /// Ends the jobs of which nothing is left.
    pub(super) async fn end_jobs(&self) -> Result<(), Error> {
        let sql = "update tidegate.move_jobs as j set done_at = clock_timestamp() where done_at is null \
                   and not exists (select from tidegate.move_items as i where i.job = j.job) \
                   and not exists (select from tidegate.moves as m where m.job = j.job and m.done_at is null)";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        connection.execute(&statement, &[]).await?;
        Ok(())
    }
}
