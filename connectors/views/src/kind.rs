//! The kinds of views, and why a view is of the kind that is refreshed.

/// The kind of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewKind {
    /// Kept up to date by the changes to one table. Exact at every commit.
    Incremental,
    /// A plain view over other views. As exact as those.
    Layered,
    /// A materialized view. As old as its last refresh.
    Refreshed,
}

impl ViewKind {
    /// Returns the kind's name, as the database and the commands write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Layered => "layered",
            Self::Refreshed => "refreshed",
        }
    }
}

/// The reason why a view is refreshed and not kept by changes: the construct, and its line in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RefreshReason {
    pub(crate) line: u64,
    pub(crate) what: String,
}

pub(crate) fn refuse<T>(line: u64, what: impl Into<String>) -> Result<T, RefreshReason> {
    Err(RefreshReason { line, what: what.into() })
}
