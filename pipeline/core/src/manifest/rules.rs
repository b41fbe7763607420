//! What a value must keep to, besides its type.

use std::fmt;

use regex::Regex;

use super::Instant;

/// The rules of a column; what is `None` is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The smallest allowed value, for numbers and points in time.
    pub min: Option<Bound>,
    /// The largest allowed value, for numbers and points in time.
    pub max: Option<Bound>,
    /// The fewest allowed characters (not bytes), for text.
    pub min_length: Option<u32>,
    /// The most allowed characters (not bytes), for text.
    pub max_length: Option<u32>,
    /// What a text must match somewhere; `^` and `$` tie it to the ends.
    pub pattern: Option<Regex>,
    /// The only allowed values, for text and whole numbers (these without sign `+` or leading zeros).
    pub one_of: Option<Vec<String>>,
}

/// An inclusive bound, in the form in which values of the column's type are cheap to compare with.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// For `smallint`, `integer` and `bigint`.
    Integer(i64),
    /// For `numeric`: a valid decimal, for [`compare_decimals`](super::compare_decimals).
    Decimal(String),
    /// For `real` and `double`: finite.
    Float(f64),
    /// For `date`, `time`, `timestamp` and `timestamptz`: the point in time, and its canonical ISO 8601:
    /// `2021-07-27`, `16:02:08`, `2021-07-27T16:02:08` or `2021-07-27T16:02:08Z` (in UTC), with a
    /// fraction behind the seconds where there is one.
    Instant(Instant, String),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(limit) => limit.fmt(f),
            Self::Float(limit) => limit.fmt(f),
            Self::Decimal(limit) | Self::Instant(_, limit) => limit.fmt(f),
        }
    }
}
