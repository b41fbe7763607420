//! The forms of points in time that Postgres reads without ambiguity, besides the strict one.

use super::{Instant, Misfit, Remainder, days_in, year_max};
use crate::instant::format::Moment;
use crate::instant::zone::Zone;
use crate::kind::Kind;

/// Reads a text of a kind in a form that the strict one excludes:
///
/// * the day as `2021-7-5`, `2021/07/27` or `20210727`;
/// * for a `date`, midnight behind the day, with or without an offset;
/// * for a `timestamp`, the day alone, which is its midnight. For a `timestamptz` that would be midnight somewhere;
/// * for a `timestamptz`, a blank before the offset, and `UTC`, `GMT` or the name of a zone in place of the offset.
#[cold]
pub(crate) fn parse(kind: Kind, text: &[u8]) -> Result<Moment, Misfit> {
    if !matches!(kind, Kind::Date | Kind::Timestamp | Kind::Timestamptz) {
        return Err(Misfit::Form);
    }
    let mut rest = Remainder(text);
    let (year, month, day) = day_of(&mut rest).ok_or(Misfit::Form)?;
    if !(1..=year_max(kind)).contains(&year) {
        return Err(Misfit::Range);
    }
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return Err(Misfit::Form);
    }
    let midnight = Instant::of(year, month, day, 0).ok_or(Misfit::Form)?;
    if kind != Kind::Timestamptz && rest.0.is_empty() {
        return Ok(Moment::Instant(midnight));
    }
    let nanoseconds = rest.separated_time().ok_or(Misfit::Form)?;
    let local = Instant { nanoseconds, ..midnight };
    match kind {
        Kind::Date => {
            zone(&mut rest)?;
            if nanoseconds == 0 { Ok(Moment::Instant(midnight)) } else { Err(Misfit::HasTime) }
        }
        Kind::Timestamp if rest.0.is_empty() => Ok(Moment::Instant(local)),
        Kind::Timestamptz => match zone(&mut rest)? {
            None => Ok(Moment::Local(local)),
            Some(Offset::Fixed(offset)) => Ok(Moment::Instant(local.minus(offset))),
            Some(Offset::Of(zone)) => zone.utc(local).map(Moment::Instant).map_err(Misfit::Local),
        },
        _ => Err(Misfit::Form),
    }
}

/// Year, month and day, which may not be a day of the calendar.
fn day_of(rest: &mut Remainder<'_>) -> Option<(i64, i64, i64)> {
    let digits = rest.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut year = rest.two_digits()? * 100 + rest.two_digits()?;
    if digits == 8 {
        return Some((year, rest.two_digits()?, rest.two_digits()?));
    }
    while let Some(digit) = rest.digit() {
        year = year.saturating_mul(10).saturating_add(digit);
    }
    let separator = *rest.0.first().filter(|byte| matches!(byte, b'-' | b'/'))?;
    rest.take(separator)?;
    let month = one_or_two_digits(rest)?;
    rest.take(separator)?;
    Some((year, month, one_or_two_digits(rest)?))
}

fn one_or_two_digits(rest: &mut Remainder<'_>) -> Option<i64> {
    let first = rest.digit()?;
    Some(rest.digit().map_or(first, |second| first * 10 + second))
}

/// What a text says of the zone of a time.
enum Offset {
    /// Nanoseconds ahead of UTC.
    Fixed(i64),
    Of(Zone),
}

/// Reads the zone behind a time, to the end of the text. `None` if there is none.
fn zone(rest: &mut Remainder<'_>) -> Result<Option<Offset>, Misfit> {
    if rest.0.is_empty() {
        return Ok(None);
    }
    let is_apart = rest.take(b' ').is_some();
    let text = std::str::from_utf8(rest.0).map_err(|_| Misfit::Form)?;
    if text.is_empty() {
        return Err(Misfit::Form);
    }
    if is_apart && text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.eq_ignore_ascii_case("Z") {
        return Zone::behind_a_time(text).map(|zone| Some(Offset::Of(zone))).ok_or(Misfit::Form);
    }
    let offset = rest.offset().filter(|_| rest.0.is_empty()).ok_or(Misfit::Form)?;
    Ok(Some(Offset::Fixed(offset)))
}
