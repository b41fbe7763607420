//! The constraints on a value, besides its type.

use std::fmt;

use regex::Regex;

use super::{Instant, Kind};

/// The rules of a column. A rule that is `None` is not checked.
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
    /// What a text must match somewhere. `^` and `$` anchor the match at the ends.
    pub pattern: Option<Regex>,
    /// The only allowed values, for text and integers. Integers are written without `+` and leading zeros.
    pub one_of: Option<Vec<String>>,
}

impl Rules {
    /// The most characters that these rules and the type allow a text.
    pub(crate) fn length_max(&self, kind: Kind) -> Option<u32> {
        match kind {
            Kind::Varchar(length) => Some(self.max_length.map_or(length, |max| max.min(length))),
            _ => self.max_length,
        }
    }
}

/// An inclusive bound, in a form that is cheap to compare with values of the column's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// For `smallint`, `integer` and `bigint`.
    Integer(i64),
    /// For `numeric`: a valid decimal, for [`compare_decimals`](super::compare_decimals).
    Decimal(String),
    /// For `real` and `double`: finite.
    Float(f64),
    /// For `date`, `time`, `timestamp` and `timestamptz`: the point in time, and its canonical ISO 8601:
    /// `2021-07-27`, `16:02:08`, `2021-07-27T16:02:08` or `2021-07-27T16:02:08Z` (in UTC), with a fraction of the
    /// second if there is one.
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
