//! The audit of a pipeline: what its tables, its ledger and its views must be to each other, held against
//! what they are.
//!
//! All but `waiting` is read in one snapshot, which a running pipeline does not disturb: what is committed
//! together is seen together. Nothing is locked or changed, and the right to read is enough. Each table is read once,
//! in the order of positions, side by side with the ledger, so memory does not grow with the number of
//! lines.
//!
//! # The checks
//!
//! * `registry`: how many sources there are. A number that none has, and a dataset that the manifest does not have any
//!   more, are noted.
//! * `ledger`: each set can be read, lies within its chunk and has as many lines as the row says; a line is
//!   in one set only; each accepted line is counted as inserted, updated, superseded or uncounted; no line is beyond the last of its source; a source that is complete has no hole.
//! * `rows`: a row with a position is a line that the ledger has as accepted, of a source of that dataset,
//!   and no other row of the table has the same. No source holds more rows than it is counted to have written. A row without one is another writer's. An accepted line
//!   need not have a row: a newer one may hold it.
//! * `dead_letters`: each has its line in the ledger, in the set of its status; each rejected, waiting or
//!   discarded line has its dead letter. A claimed letter has a replay under way, which knows its set; a replayed or
//!   discarded one has the move that made it so.
//! * `references`: each value of a referencing column is a key of the dataset it references, whoever wrote
//!   it.
//! * `views`: each view gives the rows that its query gives over the tables alone. In place of its store
//!   the store's query is computed, in place of another view that view's query. The store is compared too,
//!   group by group; a group whose sums are all zero is none. When a refreshed view was refreshed is noted.
//! * `done`: no file of `done/` is longer than what was read of it.
//! * `files`, where it is asked for: each file of `done/` is read again, and each of its lines held against
//!   what became of it. See `deep`.
//! * `waiting`: no line waits though all that it lacked is there. While a pipeline runs that is a violation
//!   only if it lasts longer than healing may take; while none runs the next one heals it, so it is only
//!   noted.

mod stream;
mod ledger;
mod rows;
mod letters;
mod references;
mod views;
mod waiting;
mod deep;
mod put_away;

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use tidegate_core::manifest::Manifest;

use super::table::{self, TableSql};
use super::views as kept_views;
use super::{Error, How, Postgres};

/// So many violations, and so many notes, are listed for each check; the others are counted.
const LISTED_MAX: usize = 20;

/// What is told to whoever watches: the name of the check, and how much of it is done.
pub type Watch<'a> = dyn Fn(&'static str, u64) + Sync + 'a;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks, in order.
    pub checks: Vec<Check>,
}

/// One check, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What was checked, then what is wrong, then what is worth knowing.
    pub findings: Vec<Finding>,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// So much was checked.
    Checked,
    /// It breaks the promise.
    Violation,
    /// It does not.
    Note,
}

impl Verdict {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Violation => "violation",
            Self::Note => "note",
        }
    }
}

/// One thing that an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub verdict: Verdict,
    /// How often.
    pub count: u64,
    /// Where, as `SOURCE:LINE` or the number of a source, if it is at one place.
    pub position: Option<String>,
    /// What it is, in words.
    pub message: String,
}

impl Report {
    /// How many violations there are.
    pub fn violations(&self) -> u64 {
        self.checks.iter().map(Check::violations).sum()
    }
}

impl Check {
    fn new(name: &'static str) -> Self {
        Self { name, findings: Vec::new() }
    }

    /// How many violations there are.
    pub fn violations(&self) -> u64 {
        let violations = self.findings.iter().filter(|finding| finding.verdict == Verdict::Violation);
        violations.map(|finding| finding.count).sum()
    }

    fn checked(&mut self, count: u64, what: impl Into<String>) {
        self.findings.push(Finding {
            verdict: Verdict::Checked,
            count,
            position: None,
            message: what.into(),
        });
    }

    /// Notes what was counted and is at no one place; nothing if there is none of it.
    fn counted(&mut self, count: u64, what: impl Into<String>) {
        if count > 0 {
            let (verdict, message) = (Verdict::Note, what.into());
            self.findings.push(Finding { verdict, count, position: None, message });
        }
    }

    fn violation(&mut self, position: impl Into<Option<String>>, message: impl Into<String>) {
        self.list(Verdict::Violation, position.into(), message.into());
    }

    fn note(&mut self, position: impl Into<Option<String>>, message: impl Into<String>) {
        self.list(Verdict::Note, position.into(), message.into());
    }

    fn list(&mut self, verdict: Verdict, position: Option<String>, message: String) {
        let of_verdict = || self.findings.iter().filter(|finding| finding.verdict == verdict);
        if of_verdict().count() < LISTED_MAX {
            self.findings.push(Finding { verdict, count: 1, position, message });
        } else {
            self.unlisted(verdict, 1);
        }
    }

    /// Counts what is not listed.
    fn unlisted(&mut self, verdict: Verdict, count: u64) {
        const MORE: &str = "and as many more";
        if count == 0 {
            return;
        }
        match self.findings.iter_mut().find(|finding| finding.verdict == verdict && finding.message == MORE) {
            Some(more) => more.count += count,
            None => self.findings.push(Finding { verdict, count, position: None, message: MORE.to_owned() }),
        }
    }

    /// Puts first what was checked, then the violations.
    fn sorted(mut self) -> Self {
        self.findings.sort_by_key(|finding| finding.verdict);
        self
    }
}

/// What all checks look at.
struct Audit<'a> {
    tx: &'a Transaction<'a>,
    manifest: &'a Manifest,
    tables: &'a [TableSql],
    watch: &'a Watch<'a>,
}

impl Postgres {
    /// Audits the pipeline. `heal_within` is how long a line may wait for the healing that it is ready for.
    /// With `landing`, the landing folder, its files in `done/` are looked at, and read again if it `is_deep`.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked, holds no pipeline or another one, or its tables do not fit the
    /// manifest.
    pub async fn verify(
        &self,
        heal_within: Duration,
        landing: Option<&Path>,
        is_deep: bool,
        watch: &Watch<'_>,
    ) -> Result<Report, Error> {
        let mut connection = self.prepared_connection().await?;
        let tx = self.snapshot(&mut connection).await?;
        let audit = Audit { tx: &tx, manifest: &self.inner.manifest, tables: &self.inner.tables, watch };
        audit.is_possible().await?;
        let (registry, ledger) = audit.ledger().await?;
        let mut checks = vec![registry, ledger];
        checks.push(audit.rows().await?);
        checks.push(audit.letters().await?);
        checks.push(audit.references().await?);
        checks.push(audit.views(&[]).await?);
        let deep = landing.filter(|_| is_deep);
        if let Some(landing) = deep {
            checks.push(deep::check(&audit, self, landing).await?);
        }
        tx.commit().await?;
        if let (Some(landing), Some(files)) = (deep, checks.last_mut()) {
            deep::strangers(self, landing, files).await?;
        }
        if let Some(landing) = landing {
            checks.push(put_away::check(self, landing).await?);
        }
        checks.push(waiting::check(self, heal_within, watch).await?);
        Ok(Report { checks: checks.into_iter().map(Check::sorted).collect() })
    }

    /// The check `views` alone, of the views of these names, or of all if there are none.
    ///
    /// # Errors
    ///
    /// As [`Postgres::verify`], and if there is no such view.
    pub async fn verify_views(&self, names: &[String], watch: &Watch<'_>) -> Result<Report, Error> {
        let mut connection = self.prepared_connection().await?;
        let tx = self.snapshot(&mut connection).await?;
        let audit = Audit { tx: &tx, manifest: &self.inner.manifest, tables: &self.inner.tables, watch };
        audit.is_possible().await?;
        let views = audit.views(names).await?;
        tx.commit().await?;
        Ok(Report { checks: vec![views.sorted()] })
    }

    /// Begins a transaction that sees one moment and changes nothing, and takes the time that it takes.
    pub(super) async fn snapshot<'a>(
        &self,
        connection: &'a mut ClientWrapper,
    ) -> Result<Transaction<'a>, Error> {
        let tx = self.begin(connection, How::OneMoment).await?;
        kept_views::end_with_us(&tx).await?;
        Ok(tx)
    }
}

impl Audit<'_> {
    /// Refuses what cannot be compared: another pipeline's database, tables that do not fit.
    async fn is_possible(&self) -> Result<(), Error> {
        // Rows are sorted by position.
        self.tx.batch_execute("set local work_mem = '64MB'").await?;
        let wanted = &self.manifest.pipeline;
        let name = self.tx.query_opt("select name from tidegate.pipeline", &[]).await?;
        if let Some(name) = name.map(|row| row.get::<_, String>(0)).filter(|name| name != wanted) {
            return Err(Error::halt(format!(
                "the database holds the pipeline '{name}', the manifest is of '{wanted}'"
            )));
        }
        for dataset in &self.manifest.datasets {
            let fault = match table::differences(self.tx, self.manifest, dataset).await? {
                Some(found) if found.is_empty() => continue,
                Some(found) => format!("does not fit the manifest: {}", found.join("; ")),
                None => "is missing".to_owned(),
            };
            return Err(Error::halt(format!("the table of dataset '{}' {fault}", dataset.name)));
        }
        Ok(())
    }
}

/// How long the session of the snapshot rests at most: one that rests longer is taken for lost.
const REST_MAX: Duration = Duration::from_secs(3);

impl Audit<'_> {
    /// Does what takes long without Postgres, such as hashing a large file, and keeps the snapshot's session awake.
    async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(REST_MAX) => self.tx.batch_execute("select").await?,
            }
        }
    }
}

/// A position as it is shown.
fn at(source: i64, line: impl std::fmt::Display) -> String {
    format!("{source}:{line}")
}
