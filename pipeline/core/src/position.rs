//! The identity of a line.

use std::fmt;
use std::str::FromStr;

/// The origin of a line: the number of its source in the registry, and its number in that source.
///
/// A position is given once, when the line enters, and never changes. It orders lines: a larger
/// position is newer. `line` counts CSV records from 1; a header or a blank line has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The key of the source in `tidegate.sources`, from 1.
    pub source: u64,
    /// The number of the record within its source, from 1.
    pub line: u64,
}

impl Position {
    /// The position of `line` in `source`.
    pub const fn new(source: u64, line: u64) -> Self {
        Self { source, line }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
    }
}

/// The text is not of the form `SOURCE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a position; write SOURCE:LINE, for example 3:117")]
pub struct ParsePositionError(String);

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed =
            text.split_once(':').and_then(|(source, line)| Some((source.parse().ok()?, line.parse().ok()?)));
        match parsed {
            Some((source, line)) => Ok(Self { source, line }),
            None => Err(ParsePositionError(text.to_owned())),
        }
    }
}
