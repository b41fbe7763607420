//! Metric views, exact at every commit, on stock Postgres.
//!
//! A file of `sql/views` holds one `select`. What becomes of it is decided by [`analysis`]:
//!
//! * *incremental*: a [`store`] of changes, kept by triggers and by the sink's cheap way, and a plain view that
//!   sums it up ([`shape`] says what is of the class, [`compile`] makes store and view of it);
//! * *layered*: a plain view, because it reads other views;
//! * *refreshed*: a materialized view, refreshed on a schedule.
//!
//! [`apply`] brings the database to what the files say; [`upkeep`] folds and refreshes; [`afresh`] is for audits.

mod file;
mod sql;
mod shape;
mod compile;
mod store;
mod analysis;
mod apply;
mod locks;
mod meaning;
mod triggers;
mod upkeep;
mod explain;
mod read;
mod afresh;

use std::sync::atomic::AtomicI64;

use super::Error;
pub(super) use afresh::{Registered, maintained, registered};
pub use apply::{Action, Step};
pub(super) use apply::{Options, apply};
pub use explain::{Explanation, InDatabase, StoreExplanation};
pub use file::View;
pub(super) use meaning::{set_search_path, settings};
pub use read::{Order, Page, Rows, Unreadable};
use store::Store;
pub(super) use upkeep::end_with_us;
pub use upkeep::{Due, Refreshed};

/// What a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kept by the changes to one table; exact at every commit.
    Incremental,
    /// A plain view over other views; as exact as those.
    Layered,
    /// A materialized view; as old as its last refresh.
    Refreshed,
}

impl Kind {
    /// As the database and the commands write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Layered => "layered",
            Self::Refreshed => "refreshed",
        }
    }
}

/// Why a view is not incremental: the construct, and its line in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    line: u64,
    what: String,
}

impl Reason {
    fn new(line: u64, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What is said of a view that there is not.
pub fn unknown(name: &str, known: &[&str]) -> Error {
    let known = if known.is_empty() {
        "there is none".to_owned()
    } else {
        format!("the views are: {}", known.join(", "))
    };
    Error::halt(format!("there is no view '{name}'; {known}"))
}

/// A store that the sink keeps up to date.
#[derive(Debug)]
pub(super) struct Maintained {
    /// The index of the dataset whose table it aggregates.
    pub(super) dataset: usize,
    store: Store,
    /// How many rows the last folding left; it may be lost.
    folded: AtomicI64,
}

impl Maintained {
    fn new(dataset: usize, store: Store) -> Self {
        Self { dataset, store, folded: AtomicI64::new(0) }
    }

    /// Its table, quoted.
    pub(super) fn table(&self) -> String {
        self.store.table()
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> &str {
        &self.store.name
    }

    /// The queries for its groups, as they are kept and as the dataset's `table` gives them now.
    pub(super) fn as_kept_and_afresh(&self, table: &str) -> (String, String) {
        self.store.as_kept_and_afresh(table)
    }

    /// The columns of its table that a change fills.
    pub(super) fn columns(&self) -> String {
        self.store.spec.columns().join(", ")
    }

    /// The query that gives those columns for the rows of `relation`.
    pub(super) fn change(&self, relation: &str) -> String {
        self.store.spec.change(relation)
    }

    /// The columns of the dataset's table that it uses.
    pub(super) fn uses(&self, column: &str) -> bool {
        self.store.spec.columns.contains_key(column)
    }
}
