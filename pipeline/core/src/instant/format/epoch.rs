//! Times as numbers since 1970-01-01T00:00:00Z.

use std::fmt;
use std::ops::RangeInclusive;

use super::checked;
use crate::decimal::split_sign;
use crate::instant::{DAY, Instant, Misfit, SECOND};
use crate::kind::Kind;

/// No number that Postgres can store as an instant has more digits.
const DIGITS_MAX: usize = 19;

/// 9999-12-31, as days from 1970-01-01. A later instant is a number in a smaller unit than was thought.
const LAST: i64 = 2_932_896;

/// The unit of a number since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `epoch_s`, which may have a fraction.
    Seconds,
    /// `epoch_ms`.
    Milliseconds,
    /// `epoch_us`.
    Microseconds,
    /// `epoch_ns`.
    Nanoseconds,
}

impl Unit {
    fn nanoseconds(self) -> i128 {
        match self {
            Self::Seconds => i128::from(SECOND),
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1000,
            Self::Nanoseconds => 1,
        }
    }

    /// How many digits a number of this unit has, if the length decides. The ranges do not overlap: seconds last until
    /// the year 5138, and the others begin in 1973.
    fn digits(self) -> RangeInclusive<usize> {
        match self {
            Self::Seconds => 1..=11,
            Self::Milliseconds => 12..=14,
            Self::Microseconds => 15..=17,
            Self::Nanoseconds => 18..=19,
        }
    }

    /// Reads digits, with a sign before them, and a fraction behind them: of any value for seconds, and of zeros for
    /// the others.
    pub(super) fn read(self, kind: Kind, text: &[u8], by_length: bool) -> Result<Instant, Misfit> {
        let (negative, number) = split_sign(text);
        let (whole, fraction) = match memchr::memchr(b'.', number) {
            Some(at) => (&number[..at], &number[at + 1..]),
            None => (number, &b"0"[..]),
        };
        let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        if !is_number(whole)
            || !is_number(fraction)
            || whole.len() > DIGITS_MAX
            || fraction.len() > DIGITS_MAX
        {
            return Err(Misfit::Form);
        }
        if by_length && !self.digits().contains(&whole.len()) {
            return Err(Misfit::Form);
        }
        let value = |digits: &[u8]| digits.iter().fold(0_i128, |n, digit| n * 10 + i128::from(digit - b'0'));
        let mut total = value(whole) * self.nanoseconds();
        match self {
            Self::Seconds => {
                let digits = fraction.len().min(9);
                if fraction[digits..].iter().any(|digit| *digit != b'0') {
                    return Err(Misfit::Form);
                }
                total += value(&fraction[..digits]) * 10_i128.pow(9 - digits as u32);
            }
            _ if value(fraction) != 0 => return Err(Misfit::Form),
            _ => {}
        }
        let total = if negative { -total } else { total };
        let days = i64::try_from(total.div_euclid(i128::from(DAY))).map_err(|_| Misfit::Range)?;
        if days > LAST {
            return Err(Misfit::Form);
        }
        checked(kind, Instant::new(days, total.rem_euclid(i128::from(DAY)) as i64))
    }

    /// Writes an instant. `None` if it is no whole number of the unit; a number of seconds may have a fraction.
    pub(super) fn write(self, instant: Instant) -> Option<String> {
        if instant.is_infinite() {
            return None;
        }
        let total = i128::from(instant.days()) * i128::from(DAY) + i128::from(instant.nanoseconds());
        let (sign, size, unit) = (if total < 0 { "-" } else { "" }, total.abs(), self.nanoseconds());
        let text = match (size % unit, self) {
            (0, _) => format!("{sign}{}", size / unit),
            (rest, Self::Seconds) => format!("{sign}{}.{rest:09}", size / unit),
            _ => return None,
        };
        (text.len() <= DIGITS_MAX + sign.len() || text.contains('.')).then_some(text)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "epoch_s",
            Self::Milliseconds => "epoch_ms",
            Self::Microseconds => "epoch_us",
            Self::Nanoseconds => "epoch_ns",
        })
    }
}
