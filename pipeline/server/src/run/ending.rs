//! How a run ends: what became of files, and the exit code that says so.

use std::str::FromStr;

use tidegate_connectors::csv::{Landing, PassedOver, Registry};
use tidegate_connectors::postgres::{self, Postgres};
use tidegate_core::printable::printable_line;
use tracing::warn;

use super::Outcome;
use crate::Failure;

/// What was asked for could not be done.
const FAILED: u8 = 1;
/// More dead letters than allowed.
const TOO_MANY_DEAD_LETTERS: u8 = 3;
/// Something was left in the landing folder.
const LEFT: u8 = 4;
/// All lines of a file were rejected.
const WHOLLY_REJECTED: u8 = 5;
/// How many files a message names.
const NAMED_MAX: usize = 3;

/// What became of the files of the landing folder in a run.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Those that belong to a dataset and cannot be taken, with the reason.
    pub refused: Vec<(String, String)>,
    /// All that are left in the folder: these, those that are held open, and those of no dataset.
    pub left: Vec<(String, String)>,
    /// Those of `done/` that were written to and cannot be read again, with the reason.
    pub unread: Vec<(String, String)>,
    /// Those that were not read, because they were read last under their names.
    pub passed_over: Vec<PassedOver>,
    /// Those that have become complete, by their sources.
    pub complete: Vec<u64>,
}

impl Files {
    /// Takes in what became of the files of a landing folder.
    pub(crate) fn add<R: Registry>(&mut self, landing: &Landing<R>) {
        let texts = |(path, why): (&std::path::PathBuf, &String)| (path.display().to_string(), why.clone());
        self.refused = landing.refused().iter().map(texts).collect();
        let left = landing.left();
        let (unread, left): (Vec<_>, Vec<_>) = left.iter().partition(|(path, _)| landing.is_done(path));
        self.unread = unread.into_iter().map(texts).collect();
        self.left = left.into_iter().map(texts).collect();
        self.passed_over.extend_from_slice(landing.passed_over());
        self.complete.extend_from_slice(landing.complete());
    }

    /// What was passed over, and how it is read again.
    pub(crate) fn passed_over_in_words(&self) -> Option<String> {
        let name = printable_line(&self.passed_over.first()?.name);
        let mut sources: Vec<u64> = self.passed_over.iter().map(|passed| passed.source).collect();
        sources.dedup();
        let more = if sources.len() > NAMED_MAX { " ..." } else { "" };
        let named = sources.iter().take(NAMED_MAX).map(u64::to_string).collect::<Vec<_>>().join(" ");
        let files = match self.passed_over.len() {
            1 => format!("'{name}' was passed over"),
            count => format!("{count} files were passed over, such as '{name}'"),
        };
        Some(format!(
            "{files}: it is the content that was read last under its name; 'tidegate sources reload {named}{more}' \
             reads it again"
        ))
    }
}

/// How many dead letters a run may leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// So many lines.
    Lines(u64),
    /// So many of a hundred lines.
    Percent(f64),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || "write a number of lines, such as 10, or a share of the lines read, such as 1%".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(wrong()) }
            }
            None => text.parse().map(Self::Lines).map_err(|_| wrong()),
        }
    }
}

impl Allowed {
    /// Whether so many dead letters are too many of so many lines.
    fn is_exceeded(self, letters: u64, lines: u64) -> bool {
        match self {
            Self::Lines(max) => letters > max,
            Self::Percent(percent) => letters as f64 * 100.0 > percent * lines as f64,
        }
    }

    fn in_words(self, lines: u64) -> String {
        match self {
            Self::Lines(max) => format!("{max} are allowed"),
            Self::Percent(percent) => format!("{percent} % of {lines} lines are allowed"),
        }
    }
}

/// What is not as it should be when a run has ended; the first of it gives the exit code.
pub(super) fn faults(outcome: &Outcome, allowed: Option<Allowed>, until_idle: bool) -> Vec<Failure> {
    let mut faults = Vec::new();
    if !outcome.datasets_stopped.is_empty() {
        faults.push(Failure::new(outcome.datasets_stopped.join("; ")));
    }
    let (letters, lines) = (outcome.new_dead_letters, outcome.lines);
    if let Some(allowed) = allowed.filter(|allowed| allowed.is_exceeded(letters, lines)) {
        faults.push(Failure {
            code: TOO_MANY_DEAD_LETTERS,
            message: format!(
                "{letters} new dead letters, {}; see 'tidegate dead-letters summary'",
                allowed.in_words(lines)
            ),
        });
    }
    if !until_idle {
        return faults;
    }
    if let Some((source, name)) = outcome.wholly_rejected.first() {
        faults.push(Failure {
            code: WHOLLY_REJECTED,
            message: format!(
                "every line of a file was rejected: source {source} '{name}'{}; see 'tidegate dead-letters summary', \
                 mend the manifest or the file, and read it again with 'tidegate sources reload {source}'",
                and_more(outcome.wholly_rejected.len())
            ),
        });
    }
    faults.extend(left(&outcome.files));
    if faults.is_empty()
        && let Some((source, name)) = outcome.incomplete.first()
    {
        // Else it is the files that were left, or the datasets that stopped, that lines wait for.
        faults.push(Failure::new(format!(
            "lines are neither in Postgres nor on a topic, and their file is gone: source {source} '{name}'{}; put the \
             file into the landing folder again, under its name, and it is completed",
            and_more(outcome.incomplete.len())
        )));
    }
    faults
}

/// Fails with the first of several faults, and says the others.
pub(crate) fn fail_with(faults: Vec<Failure>) -> Result<(), Failure> {
    let mut faults = faults.into_iter();
    let first = faults.next();
    faults.for_each(|fault| warn!("{}", fault.message));
    first.map_or(Ok(()), Err)
}

/// What of `done/` was written to and cannot be read again, and what was left in the landing folder.
pub(crate) fn left(files: &Files) -> Vec<Failure> {
    let first_of = |code, what: &str, files: &[(String, String)]| {
        let (path, reason) = files.first()?;
        Some(Failure { code, message: format!("{what}: {path}: {reason}{}", and_more(files.len())) })
    };
    let unread = first_of(FAILED, "written to after it was moved, and not read again", &files.unread);
    let left = first_of(LEFT, "left in the landing folder", &files.left);
    unread.into_iter().chain(left).collect()
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// Of the files that have become complete those whose every line was rejected.
pub(super) async fn wholly_rejected(
    postgres: &Postgres,
    files: &Files,
) -> Result<Vec<(u64, String)>, postgres::Error> {
    if files.complete.is_empty() { Ok(Vec::new()) } else { postgres.wholly_rejected(&files.complete).await }
}
