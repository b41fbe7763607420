//! One transaction of the sink: applies a batch whole or not at all.

use std::sync::atomic::Ordering;

use deadpool_postgres::{Object, Transaction};
use tidegate_core::contract::{CommitReport, SINK_READER};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Fate;
use tidegate_postgres::error::PgErrorKind;
use tidegate_postgres::session::end_with_us;
use tidegate_postgres::table::{self, TableSql};
use tidegate_postgres::{Connection, Database, PgError};
use tracing::debug;

use super::absent_columns::{self, AbsentColumns, Groups};
use super::batch::{BatchRow, RowBatch, StoredState, Verdicts};
use super::letters::LockedDeadLetters;
use super::references::{self, Siblings};
use super::{direct_copy, newer, settle, staged_upsert};
use crate::ledger::LedgerUpdate;
use crate::registry::store_offsets;
use crate::state::ShapesByForm;
use crate::store::Store;
use crate::{leases, shapes};

/// The maximum number of retries of a batch after conflicts with another transaction.
const CONFLICTS_MAX: u32 = 20;

/// The numbers of refused rows from which a dataset stops: if its table has no row of the pipeline, if it has some,
/// and if the message differs from row to row. Fewer refused rows become dead letters.
const ALL_REFUSED_MIN: usize = 2;

const ALL_REFUSED_MIN_USED: usize = 10;

const ALL_REFUSED_MIN_UNLIKE: usize = 100;

pub(super) const LEDGER_DISAGREES: &str = "the ledger and the dead letters disagree about a line of the batch; \
    'tidegate verify' says where: restore the schema tidegate from a backup";

/// The result of one transaction, or of all transactions of one batch.
#[derive(Default)]
pub(super) struct CommitOutcome {
    pub(super) applied: CommitReport,
    /// The number of stored dead letters whose status changed. A waiting letter that goes on waiting does not count.
    pub(super) left: u64,
}

/// Applies a batch in one transaction, and retries it while another transaction conflicts with it.
pub(super) async fn commit_at_once(
    store: &Store,
    batch: &RowBatch,
    takes_time: bool,
) -> Result<CommitOutcome, PgError> {
    let own_shapes = shapes::own(store).await?;
    let lacking = absent_columns::of_batch(store, batch).await?;
    let mut session = store.inner.sink.session.lock().await;
    let mut conflicts = 0;
    // By dataset, whether the direct copy of its rows has failed.
    let mut failed = vec![false; batch.rows.len()];
    loop {
        let mut connection = match session.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => store.connection().await?,
        };
        let mut attempt = Attempt {
            store,
            batch,
            takes_time,
            own_shapes,
            lacking: &lacking,
            direct_copy: None,
            dataset: None,
        };
        let result = attempt.run(&mut connection, &failed).await;
        let Attempt { direct_copy, dataset, .. } = attempt;
        if matches!(&result, Err(PgError::Postgres(_) | PgError::CopyRefused(_))) {
            // Answers to a failed copy may still arrive on this connection, and would be taken for answers to the
            // next statement. The connection is closed.
            drop(Object::take(connection));
        } else {
            *session = Some(connection);
        }
        let Err(error) = result else {
            return result;
        };
        match (error.kind(), direct_copy) {
            (PgErrorKind::Row, Some(dataset)) => {
                debug!(%error, dataset, "a batch takes the staged upsert");
                failed[dataset] = true;
                store.inner.sink.backoffs[dataset].begin();
            }
            (PgErrorKind::Conflict, _) if conflicts < CONFLICTS_MAX => conflicts += 1,
            // No other process changes the ledger so often: another retry would find the same disagreement.
            _ if matches!(error, PgError::LedgerChanged) => return Err(PgError::halt(LEDGER_DISAGREES)),
            (PgErrorKind::Row | PgErrorKind::Lasting, _) => {
                let error = explained(store, error).await;
                match dataset.filter(|_| error.is_of_dataset()) {
                    Some(dataset) => stop(store, dataset, &error),
                    None => return Err(error),
                }
            }
            _ => return Err(error),
        }
    }
}

/// Stops a dataset: this process writes no more rows of it. Its lines stay in flight, and the next run tries them
/// again.
pub(super) fn stop(store: &Store, dataset: usize, error: &PgError) {
    let name = &store.manifest().datasets[dataset].name;
    let message = format!(
        "dataset '{name}' has stopped: {error}; the other datasets go on, and the next run tries its lines again"
    );
    tracing::error!("{message}");
    store.inner.sink.stopped().insert(dataset, message);
}

/// Returns the error to report where no retry helps. If the tables no longer fit the manifest, that is the
/// difference; otherwise it is `error`.
async fn explained(database: &Database, error: PgError) -> PgError {
    let changed = async {
        let connection = database.connection().await?;
        table::ensure_unchanged(&connection, database.manifest()).await
    };
    match (&error, changed.await) {
        (PgError::Postgres(_) | PgError::CopyRefused(_), Err(PgError::Halt(changed))) => {
            PgError::Halt(changed)
        }
        _ => error,
    }
}

/// One attempt to apply a batch.
pub(super) struct Attempt<'a> {
    pub(super) store: &'a Store,
    pub(super) batch: &'a RowBatch,
    /// Whether the transaction runs without the role's timeouts. It does if the batch cannot be divided.
    takes_time: bool,
    /// By dataset, the numbers of the shapes that the manifest gives its lines now.
    pub(super) own_shapes: &'a [ShapesByForm],
    lacking: &'a AbsentColumns,
    /// The dataset that is being written by direct copy, so that a failure can be attributed to it.
    direct_copy: Option<usize>,
    /// The dataset whose rows are being checked and written, by either way.
    dataset: Option<usize>,
}

impl Attempt<'_> {
    /// Runs the transaction. It holds the leases, locks the dead letters, reads the ledger, checks the references and
    /// writes the rows of each dataset, settles the dead letters, stores the sink's offsets, writes the ledger and
    /// commits.
    async fn run(&mut self, connection: &mut Connection, failed: &[bool]) -> Result<CommitOutcome, PgError> {
        // Healing is fenced too: a process whose leases were taken over may not know the current views.
        let mut tx = leases::fenced(self.store, connection).await?;
        if self.takes_time {
            end_with_us(&tx).await?;
        }
        let locked = LockedDeadLetters::lock(&tx, &self.batch.letters).await?;
        let mut ledger = LedgerUpdate::read(&tx, self.batch.positions()).await?;
        locked.assert_agree(&self.batch.letters, &ledger)?;
        let mut all_verdicts = Vec::with_capacity(self.batch.rows.len());
        for (dataset, failed) in failed.iter().enumerate() {
            if self.store.inner.sink.is_stopped(dataset) {
                all_verdicts.push(Verdicts::default());
                continue;
            }
            let mut verdicts = self.undecided(dataset, &locked, &mut ledger);
            self.dataset = Some(dataset);
            self.check_references(&tx, dataset, Siblings::Count, &mut verdicts).await?;
            self.write_rows(&mut tx, dataset, *failed, &mut verdicts).await?;
            self.dataset = None;
            all_verdicts.push(verdicts);
        }
        Failpoint::RowsWritten.pass()?;
        let newer = newer::rows(&tx, self.store, self.batch, &all_verdicts).await?;
        let committed = settle::settle(&tx, self, &locked, &all_verdicts, &newer, &mut ledger).await?;
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

    /// Returns the rows that the ledger does not hold yet; the others are counted as duplicates. A row of a stored
    /// dead letter is kept if its letter is locked and the ledger agrees with the letter. Each row that is kept
    /// counts as accepted until a later step sets it aside.
    fn undecided(&self, dataset: usize, locked: &LockedDeadLetters, ledger: &mut LedgerUpdate) -> Verdicts {
        let rows = &self.batch.rows[dataset];
        let mut verdicts = Verdicts { accepted: Vec::with_capacity(rows.lines.len()), ..Verdicts::default() };
        for (i, row) in rows.lines.iter().enumerate() {
            let is_undecided = match self.stored(row) {
                Some(stored) => locked.has(row.position) && ledger.fate(row.position) == Some(stored.set),
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

    /// Returns the stored dead letter of a row's line, if it has one.
    fn stored(&self, row: &BatchRow) -> Option<StoredState> {
        self.batch.letter_of(row)?.stored
    }

    async fn check_references(
        &self,
        tx: &Transaction<'_>,
        dataset: usize,
        siblings: Siblings,
        verdicts: &mut Verdicts,
    ) -> Result<(), PgError> {
        references::check(tx, self.store, dataset, siblings, &self.batch.rows[dataset], verdicts).await
    }

    async fn write_rows(
        &mut self,
        tx: &mut Transaction<'_>,
        dataset: usize,
        failed: bool,
        verdicts: &mut Verdicts,
    ) -> Result<(), PgError> {
        if verdicts.accepted.is_empty() {
            return Ok(());
        }
        let (manifest, tables, sink) = (self.store.manifest(), self.store.tables(), &self.store.inner.sink);
        let (rows, table) = (&self.batch.rows[dataset], &tables[dataset]);
        let definition = &manifest.datasets[dataset];
        let backoff = &sink.backoffs[dataset];
        let groups = self.lacking.groups(&*tx, table, dataset, &verdicts.accepted).await?;
        if groups.is_none() && !failed && !backoff.is_on() {
            self.direct_copy = Some(dataset);
            if direct_copy::write(tx, self.store, dataset, rows, &verdicts.accepted).await? {
                self.direct_copy = None;
                sink.written[dataset].store(true, Ordering::Relaxed);
                verdicts.writes =
                    verdicts.accepted.iter().map(|row| rows.lines[*row as usize].position).collect();
                backoff.passed(true);
                return Ok(());
            }
            self.direct_copy = None;
        }
        backoff.passed(false);
        let tried = verdicts.accepted.len();
        let are_new = verdicts.accepted.iter().all(|row| self.stored(&rows.lines[*row as usize]).is_none());
        match groups {
            None => {
                let mut orphans = staged_upsert::write(tx, definition, table, rows, verdicts).await?;
                verdicts.set_aside.append(&mut orphans);
            }
            Some(groups) => self.write_groups(tx, dataset, groups, verdicts).await?,
        }
        if !verdicts.accepted.is_empty() {
            sink.written[dataset].store(true, Ordering::Relaxed);
        } else if let Some((said, alike)) = verdicts.refusals.of_all(tried).filter(|_| are_new)
            && self.is_evidence(tx, dataset, tried, alike).await?
        {
            return Err(PgError::AllRefused { rows: tried, said });
        }
        self.wait_for_own_rows(tx, dataset, verdicts).await
    }

    /// Writes groups of rows, each without the columns that are left out of it. A row may reference a row of its own
    /// table in a later group, so the rows that violate a foreign key are tried again as long as others are written.
    async fn write_groups(
        &self,
        tx: &mut Transaction<'_>,
        dataset: usize,
        mut groups: Groups,
        verdicts: &mut Verdicts,
    ) -> Result<(), PgError> {
        let (rows, definition) = (&self.batch.rows[dataset], &self.store.manifest().datasets[dataset]);
        let mut accepted = Vec::with_capacity(verdicts.accepted.len());
        loop {
            let (before, mut orphans) = (accepted.len(), Vec::new());
            for (left_out, of_group) in &mut groups {
                let table = TableSql { left_out: left_out.clone(), ..self.store.tables()[dataset].clone() };
                verdicts.accepted = std::mem::take(of_group);
                let mut its = staged_upsert::write(tx, definition, &table, rows, verdicts).await?;
                accepted.append(&mut verdicts.accepted);
                of_group.extend(its.iter().map(|orphan| orphan.row));
                orphans.append(&mut its);
            }
            groups.retain(|_, of_group| !of_group.is_empty());
            if groups.is_empty() || accepted.len() == before {
                verdicts.accepted = accepted;
                verdicts.set_aside.append(&mut orphans);
                return Ok(());
            }
        }
    }

    /// Returns whether the refused rows show that no row can be written to the table. Fewer refusals suffice if all
    /// messages are alike: a message that differs from row to row is about the row, unless very many rows are
    /// refused.
    async fn is_evidence(
        &self,
        tx: &Transaction<'_>,
        dataset: usize,
        rows: usize,
        alike: bool,
    ) -> Result<bool, PgError> {
        let min = if alike { ALL_REFUSED_MIN } else { ALL_REFUSED_MIN_UNLIKE };
        if rows < min || self.store.inner.sink.written[dataset].load(Ordering::Relaxed) {
            return Ok(false);
        }
        let sql =
            format!("select exists (select from {} where _source > 0)", &self.store.tables()[dataset].name);
        let is_used: bool = tx.query_one(&sql, &[]).await?.get(0);
        Ok(!is_used || rows >= ALL_REFUSED_MIN_USED)
    }

    /// Makes refused rows wait if they reference a row of their own dataset that was refused too. Such a row waits
    /// whatever else is wrong with it, as it would if the referenced row had been tried before it.
    async fn wait_for_own_rows(
        &self,
        tx: &Transaction<'_>,
        dataset: usize,
        verdicts: &mut Verdicts,
    ) -> Result<(), PgError> {
        if !self.store.manifest().datasets[dataset].references_own_table() {
            return Ok(());
        }
        let refused = verdicts.set_aside.iter().filter(|aside| aside.fate == Fate::Rejected);
        let mut again =
            Verdicts { accepted: refused.map(|aside| aside.row).collect(), ..Verdicts::default() };
        self.check_references(tx, dataset, Siblings::Ignore, &mut again).await?;
        for waiting in again.set_aside {
            verdicts.set_aside.retain(|set_aside| set_aside.row != waiting.row);
            verdicts.set_aside.push(waiting);
        }
        Ok(())
    }
}
