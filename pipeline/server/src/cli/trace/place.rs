//! The line that the user asks about: `FILE:LINE` or `SOURCE:LINE`.

use std::path::Path;
use std::str::FromStr;

use tidegate_core::position::Position;

/// A line, by its file or by its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The line of a source.
    Source(Position),
    /// The line of that number in every source of a file name.
    File {
        /// The last part of the path.
        name: String,
        /// The number of the record, from 1.
        line: u64,
    },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || {
            format!(
                "'{text}' is no line; write FILE:LINE or SOURCE:LINE, for example hired_employees.csv:117 or \
                 3:117; lines count records from 1, without header and blank lines"
            )
        };
        let (place, line) = text.rsplit_once(':').ok_or_else(error)?;
        let line = line.parse().ok().filter(|line| *line > 0).ok_or_else(error)?;
        if !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Source(Position::new(place.parse().map_err(|_| error())?, line)));
        }
        let name = Path::new(place).file_name().and_then(|name| name.to_str()).ok_or_else(error)?;
        Ok(Self::File { name: name.to_owned(), line })
    }
}
