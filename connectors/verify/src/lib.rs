//! The audit of a pipeline: compares its tables, its ledger and its views with each other.
//!
//! All checks but `waiting`, `done` and a part of `files` read one snapshot, which does not disturb a running
//! pipeline: what is committed together is seen together. The audit locks and changes nothing, and needs only the
//! right to read. Each table is read once, in the order of positions, side by side with the ledger. So memory does
//! not grow with the number of lines.
//!
//! # The checks
//!
//! * `registry`: the number of sources. A number that no source has, and a dataset that the manifest no longer has,
//!   are noted.
//! * `ledger`: each set can be read, lies within its chunk and has as many lines as the row of the chunk says. A line
//!   is in one set only. Each accepted line is counted as inserted, updated, superseded or uncounted. No line is
//!   beyond the last of its source. A source that is complete lacks no line.
//! * `rows`: a row with a position belongs to a line that the ledger has as accepted, of a source of that dataset,
//!   and no other row of the table has the same position. No chunk of a source has more rows than it is counted to
//!   have written. A row without a position was written by another application. An accepted line need not have a row:
//!   a newer line may hold it.
//! * `dead_letters`: each dead letter has its line in the ledger, in the set of its status. Each rejected, waiting or
//!   discarded line has its dead letter. A claimed letter has an open replay, which knows the letter's set. A
//!   replayed or discarded letter has the move that made it so.
//! * `references`: each value of a referencing column is a key of the dataset that it references, whichever
//!   application wrote the row.
//! * `views`: each view returns the rows that its query returns over the tables alone. The store's query is computed
//!   in place of the store of a view, and the query of another view in place of that view. The store is compared too,
//!   group by group; a group whose sums are all zero counts as none. For a refreshed view, the time of its last
//!   refresh is noted.
//! * `done`: the size of each file in `done/` is the number of bytes that were read of it.
//! * `files`, if the user asks for it: each file in `done/` is read again, and each of its lines is compared with its
//!   fate. See `deep`.
//! * `waiting`: no line waits although all its references exist. While a pipeline runs, such a line is a violation
//!   only if it goes on waiting for longer than healing may take. While none runs, it is only noted, because the next
//!   run heals it.

mod check;
mod audit;
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
use std::time::Duration;

use tidegate_postgres::{Database, PgError, schema};
use tidegate_store::Store;

use audit::Audit;

pub use audit::Watch;
pub use check::{Check, Finding, Verdict};

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks, in order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Sorts the findings of each check: first what was checked, then the violations, then the notes.
    fn new(mut checks: Vec<Check>) -> Self {
        checks.iter_mut().for_each(|check| check.findings.sort_by_key(|finding| finding.verdict));
        Self { checks }
    }

    /// The number of violations.
    pub fn violations(&self) -> u64 {
        self.checks.iter().map(Check::violations).sum()
    }
}

/// Audits the pipeline. `heal_within` is how long a line may wait although all its references exist. With `landing`,
/// the landing folder, the files of its `done/` are checked by size; if `is_deep`, they are read again too. Fails if the
/// database holds no pipeline or another one, or if its tables do not fit the manifest.
pub async fn run(
    store: &Store,
    heal_within: Duration,
    landing: Option<&Path>,
    is_deep: bool,
    watch: &Watch<'_>,
) -> Result<Report, PgError> {
    let mut connection = schema::prepared_connection(store).await?;
    let tx = store.begin_snapshot(&mut connection).await?;
    let audit = Audit { tx: &tx, manifest: store.manifest(), tables: store.tables(), watch };
    audit.is_possible().await?;
    let mut checks = Vec::from(audit.ledger().await?);
    checks.push(audit.rows().await?);
    checks.push(audit.letters().await?);
    checks.push(audit.references().await?);
    checks.push(audit.views(&[]).await?);
    let deep = landing.filter(|_| is_deep);
    if let Some(landing) = deep {
        checks.push(deep::check(&audit, store, landing).await?);
    }
    tx.commit().await?;
    if let (Some(landing), Some(files)) = (deep, checks.last_mut()) {
        deep::strangers(store, landing, files).await?;
    }
    if let Some(landing) = landing {
        checks.push(put_away::check(store, landing).await?);
    }
    checks.push(waiting::check(store, heal_within, watch).await?);
    Ok(Report::new(checks))
}

/// Runs the check `views` alone, for the views with these names, or for all views if `names` is empty. Fails as [`run`]
/// does, and if there is no such view.
pub async fn run_views(database: &Database, names: &[String], watch: &Watch<'_>) -> Result<Report, PgError> {
    let mut connection = schema::prepared_connection(database).await?;
    let tx = database.begin_snapshot(&mut connection).await?;
    let audit = Audit { tx: &tx, manifest: database.manifest(), tables: database.tables(), watch };
    audit.is_possible().await?;
    let views = audit.views(names).await?;
    tx.commit().await?;
    Ok(Report::new(vec![views]))
}
