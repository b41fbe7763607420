//! The end of a run: what became of files, and the exit code.

use std::str::FromStr;

use tidegate_node::{Files, RunSummary};
use tracing::warn;

use crate::Failure;

/// The command failed.
const FAILED: u8 = 1;
/// The run left more dead letters than allowed.
const TOO_MANY_DEAD_LETTERS: u8 = 3;
/// Files were left in the landing folder.
const LEFT: u8 = 4;
/// All lines of a file were rejected.
const WHOLLY_REJECTED: u8 = 5;

/// How many dead letters a run may leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeadLetterLimit {
    /// A number of lines.
    Lines(u64),
    /// A percentage of the lines.
    Percent(f64),
}

impl FromStr for DeadLetterLimit {
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

impl DeadLetterLimit {
    /// Whether `letters` dead letters are too many for a run of `lines` lines.
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

/// The faults at the end of a run. The first one gives the exit code.
pub(super) fn faults(
    outcome: &RunSummary,
    allowed: Option<DeadLetterLimit>,
    until_idle: bool,
) -> Vec<Failure> {
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
        // Otherwise the lines wait for the files that were left, or for the datasets that stopped.
        faults.push(Failure::new(format!(
            "lines are neither in Postgres nor on a topic, and their file is gone: source {source} '{name}'{}; put the \
             file into the landing folder again, under its name, and it is completed",
            and_more(outcome.incomplete.len())
        )));
    }
    faults
}

/// Fails with the first of several faults, and logs the others.
pub(crate) fn fail_with(faults: Vec<Failure>) -> Result<(), Failure> {
    let mut faults = faults.into_iter();
    let first = faults.next();
    faults.for_each(|fault| warn!("{}", fault.message));
    first.map_or(Ok(()), Err)
}

/// Failures for files of `done/` that were written to and cannot be read again, and for files left in the landing
/// folder.
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
