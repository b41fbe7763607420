//! Dates and times: ISO 8601 as Postgres reads it, and nothing that it would guess at.

use super::Fault;
use crate::dead_letter::Code;

/// A point in time, or a time of day: days from 1970-01-01 and nanoseconds of the day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant {
    days: i64,
    nanoseconds: i64,
}

const DAY: i64 = 86_400_000_000_000;
/// Postgres's last year for `timestamp` and for `date`.
const TIMESTAMP_YEAR_MAX: i64 = 294_276;
const DATE_YEAR_MAX: i64 = 5_874_897;

/// Reads `YYYY-MM-DD`.
pub(super) fn date(field: &[u8]) -> Result<Instant, Fault> {
    let invalid = || Fault::new(Code::InvalidDate, "is not a date, YYYY-MM-DD");
    let mut text = Text(field);
    let days = text.date(DATE_YEAR_MAX).map_err(|e| e.into_fault(invalid))?;
    if text.0.is_empty() { Ok(Instant { days, nanoseconds: 0 }) } else { Err(invalid()) }
}

/// Reads `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`.
pub(super) fn time(field: &[u8]) -> Result<Instant, Fault> {
    let invalid = || Fault::new(Code::InvalidTime, "is not a time of day, HH:MM:SS");
    let mut text = Text(field);
    let nanoseconds = text.time().ok_or_else(invalid)?;
    if text.0.is_empty() { Ok(Instant { days: 0, nanoseconds }) } else { Err(invalid()) }
}

/// Reads a date, `T` or a blank, a time, and an offset: `Z`, `+HH`, `+HH:MM` or none, which is UTC.
///
/// Without `zone` an offset is a fault: Postgres would drop it silently.
pub(super) fn timestamp(field: &[u8], zone: bool) -> Result<Instant, Fault> {
    let form = if zone {
        "is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"
    } else {
        "is not a timestamp without offset, YYYY-MM-DDTHH:MM:SS"
    };
    let invalid = || Fault::new(Code::InvalidTimestamp, form);
    let mut text = Text(field);
    let days = text.date(TIMESTAMP_YEAR_MAX).map_err(|e| e.into_fault(invalid))?;
    if !(text.take(b'T') || text.take(b' ') || text.take(b't')) {
        return Err(invalid());
    }
    let nanoseconds = text.time().ok_or_else(invalid)?;
    let offset = if zone { text.offset().ok_or_else(invalid)? } else { 0 };
    if !text.0.is_empty() {
        return Err(invalid());
    }
    let nanoseconds = nanoseconds - offset;
    let instant =
        Instant { days: days + nanoseconds.div_euclid(DAY), nanoseconds: nanoseconds.rem_euclid(DAY) };
    let out_of_range = instant.days >= days_from_civil(TIMESTAMP_YEAR_MAX + 1, 1, 1);
    if out_of_range { Err(DateError::OutOfRange.into_fault(invalid)) } else { Ok(instant) }
}

enum DateError {
    Form,
    OutOfRange,
}

impl DateError {
    fn into_fault(self, invalid: impl Fn() -> Fault) -> Fault {
        match self {
            Self::Form => invalid(),
            Self::OutOfRange => Fault::new(Code::OutOfRange, "is out of the range of Postgres"),
        }
    }
}

/// What is left to read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// A number of `min` to `max` digits.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.0.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if digits < min {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some(number.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
    }

    fn date(&mut self, year_max: i64) -> Result<i64, DateError> {
        let year = self.number(4, 9).ok_or(DateError::Form)?;
        let (month, day) = self.month_and_day().ok_or(DateError::Form)?;
        if year == 0 || year > year_max {
            return Err(DateError::OutOfRange);
        }
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_of_month = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if day > days_of_month {
            return Err(DateError::Form);
        }
        Ok(days_from_civil(year, month, day))
    }

    fn month_and_day(&mut self) -> Option<(i64, i64)> {
        let month = self.take(b'-').then(|| self.number(2, 2)).flatten()?;
        let day = self.take(b'-').then(|| self.number(2, 2)).flatten()?;
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((month, day))
    }

    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2, 2)?;
        let minute = self.take(b':').then(|| self.number(2, 2)).flatten()?;
        let mut nanoseconds = (hour * 60 + minute) * 60_000_000_000;
        if hour > 23 || minute > 59 {
            return None;
        }
        if self.take(b':') {
            let second = self.number(2, 2).filter(|s| *s <= 59)?;
            nanoseconds += second * 1_000_000_000;
            if self.take(b'.') {
                let before = self.0.len();
                let fraction = self.number(1, 9)?;
                let digits = (before - self.0.len()) as u32;
                nanoseconds += fraction * 10i64.pow(9 - digits);
            }
        }
        Some(nanoseconds)
    }

    /// The offset from UTC in nanoseconds.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.take(b'Z') || self.take(b'z') {
            return Some(0);
        }
        let sign = if self.take(b'+') {
            1
        } else if self.take(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.number(2, 2).filter(|h| *h <= 15)?;
        let colon = self.take(b':');
        let minutes = match self.number(2, 2) {
            Some(minutes) => minutes,
            None if !colon => 0,
            None => return None,
        };
        (minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000_000_000)
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; after Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Instant, Fault>) -> Option<Code> {
        result.err().map(|fault| fault.code)
    }

    #[test]
    fn timestamps_are_iso_8601_within_the_range_of_postgres() {
        use Code::{InvalidTimestamp as Invalid, OutOfRange};
        for (text, zone, expected) in [
            ("2021-07-27T16:02:08Z", true, None),
            ("2021-07-27 16:02", true, None),
            ("2021-07-27T16:02:08.123456+05:30", true, None),
            ("2021-07-27T16:02:08-0330", true, None),
            ("2021-07-27T16:02:08+05", true, None),
            ("2020-02-29T00:00:00Z", true, None),
            ("2000-02-29T00:00:00Z", true, None),
            ("294276-12-31T23:59:59Z", true, None),
            ("2021-07-27T16:02:08", false, None),
            ("2021-02-29T00:00:00Z", true, Some(Invalid)),
            ("1900-02-29T00:00:00Z", true, Some(Invalid)),
            ("2021-07-27T16:02:08Z", false, Some(Invalid)),
            ("2021-07-27", true, Some(Invalid)),
            ("2021-13-01T00:00:00Z", true, Some(Invalid)),
            ("2021-07-27T24:00:00Z", true, Some(Invalid)),
            ("2021-07-27T16:02:08 ", true, Some(Invalid)),
            ("2021-07-27T16:02:08+5", true, Some(Invalid)),
            ("2021-07-27T16:02:08+05:", true, Some(Invalid)),
            ("21-07-27T16:02:08Z", true, Some(Invalid)),
            ("0000-01-01T00:00:00Z", true, Some(OutOfRange)),
            ("294277-01-01T00:00:00Z", true, Some(OutOfRange)),
            ("294276-12-31T23:59:59-01:00", true, Some(OutOfRange)),
        ] {
            assert_eq!(code(timestamp(text.as_bytes(), zone)), expected, "{text}");
        }
    }

    #[test]
    fn instants_are_ordered_in_utc() {
        let at = |text: &str| timestamp(text.as_bytes(), true).unwrap();
        assert_eq!(at("2021-01-01T00:30:00+01:00"), at("2020-12-31T23:30:00Z"));
        assert!(at("2021-01-01T00:00:00.5Z") > at("2021-01-01T00:00:00.25Z"));
        assert_eq!(at("1970-01-02T00:00:00Z"), Instant { days: 1, nanoseconds: 0 });
    }

    #[test]
    fn dates_and_times_are_read() {
        assert_eq!(code(date(b"2024-02-29")), None);
        assert_eq!(code(date(b"2023-02-29")), Some(Code::InvalidDate));
        assert_eq!(code(date(b"2023-02-01x")), Some(Code::InvalidDate));
        assert_eq!(code(date(b"5874898-01-01")), Some(Code::OutOfRange));
        assert_eq!(code(time(b"23:59:59.999999")), None);
        assert_eq!(code(time(b"23:60")), Some(Code::InvalidTime));
        assert_eq!(code(time(b"7:00")), Some(Code::InvalidTime));
    }
}
