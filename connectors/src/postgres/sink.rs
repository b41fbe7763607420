//! The sink: one delivery, one transaction.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{MutexGuard, PoisonError};

use deadpool_postgres::{Object, Transaction};
use tidegate_core::contract::{self, Applied, Delivery, SINK_READER, Sink};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Fate;
use tokio::sync::Mutex;
use tracing::debug;

use super::batch::{Batch, Reader, Row, Stored, Verdicts};
use super::error::Kind;
use super::lacking::Lacking;
use super::ledger::Draft;
use super::letters::HeldLetters;
use super::moves::newer;
use super::pace::Pace;
use super::references::Siblings;
use super::registry::store_offsets;
use super::table::TableSql;
use super::{
    Connection, Error, How, Inner, Postgres, beside, cheap, ordinary, references, settle, table, views,
};

/// How often a batch is applied anew because another transaction was in the way.
const CONFLICTS_MAX: u32 = 20;
/// So many rows of a dataset must be refused alike before it stops: where none was ever accepted, where some were, and
/// where the message differs from row to row. Fewer are dead letters.
const ALL_REFUSED_MIN: usize = 2;
const ALL_REFUSED_MIN_USED: usize = 10;
const ALL_REFUSED_MIN_UNLIKE: usize = 100;
pub(super) const LEDGER_DISAGREES: &str = "the ledger and the dead letters disagree about a line of the batch; \
    'tidegate verify' says where: restore the schema tidegate from a backup";
/// For how many batches the ordinary way is taken, at most, after the cheap way failed.
const DETOUR_MAX: u32 = 64;

/// What the sink remembers between batches; it may be lost.
pub(super) struct State {
    detours: Vec<Detour>,
    pub(super) pace: Pace,
    /// The session that wrote the last batch, with its prepared statements.
    session: Mutex<Option<Connection>>,
    /// The one that computed what it changed in the views.
    pub(super) beside: Mutex<Option<beside::Session>>,
    /// The datasets that get no row into their tables, and why.
    stopped: std::sync::Mutex<BTreeMap<usize, String>>,
    /// By dataset, whether this process has got a row into its table.
    written: Vec<AtomicBool>,
}

/// For one dataset: whether the cheap way failed lately.
#[derive(Default)]
struct Detour {
    /// Batches still to take the ordinary way.
    left: AtomicU32,
    /// How many it was the last time; doubles with each failure.
    length: AtomicU32,
}

impl State {
    pub(super) fn new(datasets: usize) -> Self {
        let detours = (0..datasets).map(|_| Detour::default()).collect();
        let written = (0..datasets).map(|_| AtomicBool::default()).collect();
        Self {
            detours,
            pace: Pace::default(),
            session: Mutex::default(),
            beside: Mutex::default(),
            stopped: std::sync::Mutex::default(),
            written,
        }
    }

    /// The datasets that get no row into their tables, and why.
    fn stopped(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        // An entry is put there as a whole.
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopped(&self, dataset: usize) -> bool {
        self.stopped().contains_key(&dataset)
    }
}

impl Detour {
    fn is_on(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    fn begin(&self) {
        let length = (self.length.load(Ordering::Relaxed) * 2).clamp(1, DETOUR_MAX);
        self.length.store(length, Ordering::Relaxed);
        self.left.store(length, Ordering::Relaxed);
    }

    /// A batch goes on in the cheap way, or in the ordinary one.
    fn passed(&self, cheap: bool) {
        if cheap {
            self.length.store(0, Ordering::Relaxed);
        } else {
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        }
    }
}

impl Sink for Postgres {
    type Batch = Batch;

    fn read(&self, delivery: &Delivery) -> Batch {
        Reader::new(&self.inner.manifest, &self.inner.validators).delivery(delivery)
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, contract::Error> {
        Ok(self.commit(batch).await?.applied)
    }

    async fn heal(&self) -> Result<u64, contract::Error> {
        Ok(self.heal_all().await?)
    }

    async fn tidy(&self) -> Result<(), contract::Error> {
        Ok(self.fold_views().await?)
    }

    fn stopped(&self) -> BTreeMap<usize, String> {
        self.inner.sink.stopped().clone()
    }

    async fn keys(
        &self,
        dataset: usize,
        limit: usize,
        mut learn: impl FnMut(&[u8]) + Send,
    ) -> Result<bool, contract::Error> {
        match self.read_keys(dataset, limit, &mut learn).await {
            // The table is gone, or may not be read: what is known of it is that not all is known.
            Err(error) if error.kind() == Kind::Row => Ok(false),
            told => Ok(told?),
        }
    }
}

/// What one transaction did, or those of one batch.
#[derive(Default)]
pub(super) struct Committed {
    pub(super) applied: Applied,
    /// How many dead letters left where they stood.
    pub(super) left: u64,
}

impl Postgres {
    /// Applies a batch in one transaction, again and again while another is in its way.
    pub(super) async fn commit_at_once(&self, batch: &Batch, takes_time: bool) -> Result<Committed, Error> {
        let own_shapes = self.own_shapes().await?;
        let lacking = self.lacking(batch).await?;
        let mut session = self.inner.sink.session.lock().await;
        let mut conflicts = 0;
        // Datasets whose rows failed in the cheap way.
        let mut failed = vec![false; batch.rows.len()];
        loop {
            let mut connection = match session.take() {
                Some(connection) if !connection.is_closed() => connection,
                _ => self.connection().await?,
            };
            let mut attempt = Attempt {
                inner: &self.inner,
                postgres: self,
                batch,
                takes_time,
                own_shapes,
                lacking: &lacking,
                cheap: None,
                dataset: None,
            };
            let result = attempt.run(&mut connection, &failed).await;
            let Attempt { cheap, dataset, .. } = attempt;
            if matches!(&result, Err(Error::Postgres(_) | Error::CopyRefused(_))) {
                // A copy that failed may still be answered, and the next statement would get that answer.
                drop(Object::take(connection));
            } else {
                *session = Some(connection);
            }
            let Err(error) = result else {
                return result;
            };
            match (error.kind(), cheap) {
                (Kind::Row, Some(dataset)) => {
                    debug!(%error, dataset, "a batch takes the ordinary way");
                    failed[dataset] = true;
                    self.inner.sink.detours[dataset].begin();
                }
                (Kind::Conflict, _) if conflicts < CONFLICTS_MAX => conflicts += 1,
                // Nobody changes it so often: it will never be otherwise.
                _ if matches!(error, Error::LedgerChanged) => return Err(Error::halt(LEDGER_DISAGREES)),
                (Kind::Row | Kind::Lasting, _) => {
                    let error = self.explain(error).await;
                    match dataset.filter(|_| error.is_of_dataset()) {
                        Some(dataset) => self.stop_dataset(dataset, &error),
                        None => return Err(error),
                    }
                }
                _ => return Err(error),
            }
        }
    }

    async fn read_keys(
        &self,
        dataset: usize,
        limit: usize,
        learn: &mut (impl FnMut(&[u8]) + Send),
    ) -> Result<bool, Error> {
        let table = &self.inner.tables[dataset];
        let sql = format!("select {}::text from {} limit {}", table.key, table.name, limit + 1);
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Read).await?;
        views::end_with_us(&tx).await?;
        let portal = tx.bind(&sql, &[]).await?;
        let mut found = 0;
        loop {
            let rows = tx.query_portal(&portal, 10_000).await?;
            if rows.is_empty() || found > limit {
                return Ok(found <= limit);
            }
            found += rows.len();
            rows.iter().for_each(|row| learn(row.get::<_, &str>(0).as_bytes()));
        }
    }

    /// Leaves the rows of a dataset alone from now on: they stay in flight, and the next run tries them again.
    pub(super) fn stop_dataset(&self, dataset: usize, error: &Error) {
        let name = &self.inner.manifest.datasets[dataset].name;
        let message = format!(
            "dataset '{name}' has stopped: {error}; the other datasets go on, and the next run tries its lines again"
        );
        tracing::error!("{message}");
        self.inner.sink.stopped().insert(dataset, message);
    }

    /// An error for good; how the tables were changed under the pipeline, if that explains it.
    async fn explain(&self, error: Error) -> Error {
        let changed = async {
            let connection = self.connection().await?;
            table::ensure_unchanged(&connection, &self.inner.manifest).await
        };
        match (&error, changed.await) {
            (Error::Postgres(_) | Error::CopyRefused(_), Err(Error::Halt(changed))) => Error::Halt(changed),
            _ => error,
        }
    }
}

/// One try to apply a batch.
struct Attempt<'a> {
    inner: &'a Inner,
    postgres: &'a Postgres,
    batch: &'a Batch,
    /// Whether it takes its time, whatever timeouts the role has: it cannot be done in parts.
    takes_time: bool,
    /// By dataset, the shape that its lines have now.
    own_shapes: &'a [i64],
    lacking: &'a Lacking,
    /// The dataset that is being written in the cheap way, to know whom a failure concerns.
    cheap: Option<usize>,
    /// The dataset that is being written in any way.
    dataset: Option<usize>,
}

impl Attempt<'_> {
    /// The transaction, step by step as the design's section 6 numbers them.
    async fn run(&mut self, connection: &mut Connection, failed: &[bool]) -> Result<Committed, Error> {
        // For healing too: a process that was taken over may not even know the views any more.
        let mut tx = self.postgres.fenced(connection).await?;
        if self.takes_time {
            views::end_with_us(&tx).await?;
        }
        let held = HeldLetters::hold(&tx, &self.batch.letters).await?;
        let mut ledger = Draft::read(&tx, self.batch.positions()).await?;
        held.assert_agree(&self.batch.letters, &ledger)?;
        let mut all_verdicts = Vec::with_capacity(self.batch.rows.len());
        for (dataset, failed) in failed.iter().enumerate() {
            if self.inner.sink.is_stopped(dataset) {
                all_verdicts.push(Verdicts::default());
                continue;
            }
            let mut verdicts = self.undecided(dataset, &held, &mut ledger);
            self.dataset = Some(dataset);
            self.check_references(&tx, (dataset, Siblings::Count), &mut verdicts).await?;
            self.write_rows(&mut tx, dataset, *failed, &mut verdicts).await?;
            self.dataset = None;
            all_verdicts.push(verdicts);
        }
        Failpoint::RowsWritten.pass()?;
        let newer = newer::rows(&tx, self.inner, self.batch, &all_verdicts).await?;
        let (batch, own_shapes) = (self.batch, self.own_shapes);
        let known = settle::Known { batch, held: &held, verdicts: &all_verdicts, newer: &newer, own_shapes };
        let committed = settle::settle(&tx, &self.inner.manifest, known, &mut ledger).await?;
        if !self.batch.consumed.is_empty() {
            store_offsets(&tx, SINK_READER, &self.batch.consumed).await?;
        }
        Failpoint::LettersWritten.pass()?;
        ledger.write(&tx).await?;
        Failpoint::LedgerWritten.pass()?;
        tx.commit().await?;
        Failpoint::BatchCommitted.pass()?;
        Ok(committed)
    }

    /// Drops what the ledger holds; the rest is accepted until a step says otherwise.
    fn undecided(&self, dataset: usize, held: &HeldLetters, ledger: &mut Draft) -> Verdicts {
        let rows = &self.batch.rows[dataset];
        let mut verdicts = Verdicts { accepted: Vec::with_capacity(rows.lines.len()), ..Verdicts::default() };
        for (i, row) in rows.lines.iter().enumerate() {
            let is_undecided = match self.stored(row) {
                Some(stored) => held.has(row.position) && ledger.fate(row.position) == Some(stored.set),
                None => ledger.enter(row.position),
            };
            if is_undecided {
                verdicts.accepted.push(i as u32);
            } else {
                verdicts.duplicates += 1;
            }
        }
        verdicts
    }

    /// Where the line of a row stands among the dead letters, if it does.
    fn stored(&self, row: &Row) -> Option<Stored> {
        row.letter.and_then(|letter| self.batch.letters[letter as usize].stored)
    }

    async fn check_references(
        &self,
        tx: &Transaction<'_>,
        (dataset, siblings): (usize, Siblings),
        verdicts: &mut Verdicts,
    ) -> Result<(), Error> {
        let Inner { manifest, tables, .. } = self.inner;
        let rows = &self.batch.rows[dataset];
        references::check(tx, manifest, tables, (dataset, siblings), rows, verdicts).await
    }

    async fn write_rows(
        &mut self,
        tx: &mut Transaction<'_>,
        dataset: usize,
        failed: bool,
        verdicts: &mut Verdicts,
    ) -> Result<(), Error> {
        if verdicts.accepted.is_empty() {
            return Ok(());
        }
        let Inner { manifest, tables, sink, .. } = self.inner;
        let (rows, table) = (&self.batch.rows[dataset], &tables[dataset]);
        let definition = &manifest.datasets[dataset];
        let detour = &sink.detours[dataset];
        let groups = self.lacking.groups(&*tx, table, dataset, &verdicts.accepted).await?;
        if groups.is_none() && !failed && !detour.is_on() {
            self.cheap = Some(dataset);
            if cheap::write(tx, self.postgres, dataset, rows, &verdicts.accepted).await? {
                self.cheap = None;
                sink.written[dataset].store(true, Ordering::Relaxed);
                verdicts.writes =
                    verdicts.accepted.iter().map(|row| rows.lines[*row as usize].position).collect();
                detour.passed(true);
                return Ok(());
            }
            self.cheap = None;
        }
        detour.passed(false);
        let tried = verdicts.accepted.len();
        let are_new = verdicts.accepted.iter().all(|row| self.stored(&rows.lines[*row as usize]).is_none());
        match groups {
            None => ordinary::write(tx, definition, table, rows, verdicts).await?,
            Some(groups) => {
                let mut accepted = Vec::with_capacity(tried);
                for (left_out, of_group) in groups {
                    let table = TableSql { left_out, ..table.clone() };
                    verdicts.accepted = of_group;
                    ordinary::write(tx, definition, &table, rows, verdicts).await?;
                    accepted.append(&mut verdicts.accepted);
                }
                verdicts.accepted = accepted;
            }
        }
        if !verdicts.accepted.is_empty() {
            sink.written[dataset].store(true, Ordering::Relaxed);
        } else if let Some((said, alike)) = verdicts.refusals.of_all(tried).filter(|_| are_new)
            && self.is_evidence(tx, dataset, (tried, alike)).await?
        {
            return Err(Error::AllRefused { rows: tried, said });
        }
        self.wait_for_own_rows(tx, dataset, verdicts).await
    }

    /// Whether it tells that no row gets into the table, that so many were refused, in the same words or not: a message
    /// that differs is one about the row, unless there is no end of them.
    async fn is_evidence(
        &self,
        tx: &Transaction<'_>,
        dataset: usize,
        (rows, alike): (usize, bool),
    ) -> Result<bool, Error> {
        let min = if alike { ALL_REFUSED_MIN } else { ALL_REFUSED_MIN_UNLIKE };
        if rows < min || self.inner.sink.written[dataset].load(Ordering::Relaxed) {
            return Ok(false);
        }
        let sql =
            format!("select exists (select from {} where _source > 0)", self.inner.tables[dataset].name);
        let is_used: bool = tx.query_one(&sql, &[]).await?.get(0);
        Ok(!is_used || rows >= ALL_REFUSED_MIN_USED)
    }

    /// Rows that were refused although their references were checked may reference a row of their own dataset
    /// that was refused itself. They wait for it, whatever else is wrong with them: so they would if it had
    /// been tried before them.
    async fn wait_for_own_rows(
        &self,
        tx: &Transaction<'_>,
        dataset: usize,
        verdicts: &mut Verdicts,
    ) -> Result<(), Error> {
        let columns = &self.inner.manifest.datasets[dataset].columns;
        if !columns.iter().any(|column| column.references == Some(dataset)) {
            return Ok(());
        }
        let refused = verdicts.set_aside.iter().filter(|aside| aside.fate == Fate::Rejected);
        let mut again =
            Verdicts { accepted: refused.map(|aside| aside.row).collect(), ..Verdicts::default() };
        self.check_references(tx, (dataset, Siblings::Ignore), &mut again).await?;
        for waiting in again.set_aside {
            verdicts.set_aside.retain(|set_aside| set_aside.row != waiting.row);
            verdicts.set_aside.push(waiting);
        }
        Ok(())
    }
}
