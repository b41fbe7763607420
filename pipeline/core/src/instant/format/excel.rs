//! Days and times as the numbers that spreadsheets have for them.

use super::checked;
use crate::instant::{DAY, Instant, Misfit, SECOND};
use crate::kind::Kind;

/// 1899-12-30, as days from 1970-01-01.
const ZERO: i64 = -25_569;

/// 1900-03-01. A spreadsheet counts a 1900-02-29 that never was, so smaller numbers would be off by a day.
const FIRST: i64 = 61;

/// 9999-12-31, the last day of a spreadsheet.
const LAST: i64 = 2_958_465;

const DAY_MILLISECONDS: f64 = 86_400_000.0;

/// The longest number that is read. Spreadsheets write at most 17 digits.
const LENGTH_MAX: usize = 24;

/// Reads a number of days, whose fraction is the time, to the millisecond: a spreadsheet's own numbers are not more
/// exact. For a `time` it is the fraction alone.
pub(super) fn read(kind: Kind, text: &[u8]) -> Result<Instant, Misfit> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    if text.len() > LENGTH_MAX || !text.first().is_some_and(u8::is_ascii_digit) || !text.iter().all(is_digit)
    {
        return Err(Misfit::Form);
    }
    let text = std::str::from_utf8(text).map_err(|_| Misfit::Form)?;
    let number: f64 = text.parse().map_err(|_| Misfit::Form)?;
    let milliseconds = (number.fract() * DAY_MILLISECONDS).round();
    let (days, milliseconds) = if milliseconds >= DAY_MILLISECONDS {
        (number.trunc() + 1.0, 0.0)
    } else {
        (number.trunc(), milliseconds)
    };
    if days > LAST as f64 {
        return Err(Misfit::Range);
    }
    let (days, nanoseconds) = (days as i64, milliseconds as i64 * (SECOND / 1000));
    if kind == Kind::Time {
        return if days == 0 { Ok(Instant::new(0, nanoseconds)) } else { Err(Misfit::Form) };
    }
    if days < FIRST {
        return Err(Misfit::Form);
    }
    checked(kind, Instant::new(ZERO + days, nanoseconds))
}

/// Writes an instant. `None` if it is no whole number of milliseconds, or out of a spreadsheet's days.
pub(super) fn write(kind: Kind, instant: Instant) -> Option<String> {
    let days = if kind == Kind::Time { 0 } else { instant.days().checked_sub(ZERO)? };
    let is_within = kind == Kind::Time || (FIRST..=LAST).contains(&days);
    let is_whole = instant.nanoseconds() % (SECOND / 1000) == 0;
    let number = days as f64 + instant.nanoseconds() as f64 / DAY as f64;
    (is_within && is_whole).then(|| number.to_string())
}
