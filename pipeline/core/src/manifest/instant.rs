//! Points in time as ISO 8601 texts: whether they are valid, which comes first, and one spelling of each.

use super::Kind;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;

/// Microseconds since 1970-01-01 (for `time`: since midnight, for `timestamptz`: in UTC) of a text of
/// that kind. `None` where the text is no such point in time, or the kind has none.
///
/// A `timestamp` may be a date alone, which means midnight; a `timestamptz` needs its zone.
pub(super) fn micros(kind: Kind, text: &str) -> Option<i64> {
    let mut rest = Rest(text.as_bytes());
    let micros = match kind {
        Kind::Date => rest.days()? * MICROS_PER_DAY,
        Kind::Time => rest.time()?,
        Kind::Timestamp if text.len() == "2021-07-27".len() => rest.days()? * MICROS_PER_DAY,
        Kind::Timestamp => rest.date_and_time()?,
        Kind::Timestamptz => rest.date_and_time()? - rest.zone_minutes()? * MICROS_PER_MINUTE,
        _ => return None,
    };
    // A zone may carry an instant out of the years that have four digits.
    let years = days_from_civil(1, 1, 1) * MICROS_PER_DAY..days_from_civil(10_000, 1, 1) * MICROS_PER_DAY;
    (rest.0.is_empty() && years.contains(&micros)).then_some(micros)
}

/// The one spelling of a point in time of that kind, given in microseconds as by [`micros`].
pub(super) fn canonical(kind: Kind, micros: i64) -> String {
    let (days, in_day) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    match kind {
        Kind::Date => date_text(days),
        Kind::Time => time_text(in_day),
        Kind::Timestamptz => format!("{}T{}Z", date_text(days), time_text(in_day)),
        _ => format!("{}T{}", date_text(days), time_text(in_day)),
    }
}

/// What is left of a text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn days(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.one_of(b"-")?;
        let month = self.number(2)?;
        self.one_of(b"-")?;
        let day = self.number(2)?;
        let valid = year >= 1 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        valid.then(|| days_from_civil(year, month, day))
    }

    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        let (mut second, mut fraction) = (0, 0);
        if self.one_of(b":").is_some() {
            second = self.number(2)?;
            if self.one_of(b".").is_some() {
                fraction = self.fraction()?;
            }
        }
        let valid = hour < 24 && minute < 60 && second < 60;
        valid.then(|| (hour * 60 + minute) * MICROS_PER_MINUTE + second * MICROS_PER_SECOND + fraction)
    }

    fn date_and_time(&mut self) -> Option<i64> {
        let days = self.days()?;
        self.one_of(b"T ")?;
        Some(days * MICROS_PER_DAY + self.time()?)
    }

    /// `Z`, `+02`, `+0200` or `+02:00`.
    fn zone_minutes(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Z+-")? {
            b'Z' => return Some(0),
            b'-' => -1,
            _ => 1,
        };
        let hours = self.number(2)?;
        let colon = self.one_of(b":").is_some();
        let minutes = if colon || !self.0.is_empty() { self.number(2)? } else { 0 };
        (hours < 16 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }

    /// One to six digits, as microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let missing = 6_u32.checked_sub(u32::try_from(digits).ok()?)?;
        if digits == 0 {
            return None;
        }
        Some(self.number(digits)? * 10_i64.pow(missing))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, by Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse, Howard Hinnant's `civil_from_days`.
fn date_text(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn time_text(micros: i64) -> String {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let whole = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => whole,
        _ => format!("{whole}.{fraction:06}").trim_end_matches('0').to_owned(),
    }
}
