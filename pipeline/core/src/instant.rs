//! Points in time: ISO 8601 as Postgres reads it, without the forms that Postgres would guess at.
//!
//! The values of a line and the bounds of a manifest are read by the same code, so every bound can be compared with
//! every value of its column.
//!
//! [`Instant::parse`] reads the strict form, which Postgres reads too. `loose` reads further forms that Postgres reads
//! without ambiguity; what they mean is written anew in the strict form.

pub(crate) mod zone;
pub(crate) mod loose;
pub(crate) mod format;

use crate::instant::zone::LocalFault;
use crate::kind::Kind;

/// A point in time, or a time of day: days from 1970-01-01 and nanoseconds of the day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    days: i64,
    nanoseconds: i64,
}

/// Why a text is not a point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The text is not of the form, or not a day of the calendar.
    Form,
    /// The text is not within the years from 1 to [`year_max`].
    Range,
    /// The text is a day with a time other than midnight, which a `date` would lose.
    HasTime,
    /// The text is a local time that its zone has never or twice.
    Local(LocalFault),
}

pub(crate) const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

/// The last year that Postgres stores in a column of this kind.
pub(crate) const fn year_max(kind: Kind) -> i64 {
    if matches!(kind, Kind::Date) { 5_874_897 } else { 294_276 }
}

impl Instant {
    /// The point in time `nanoseconds` after the beginning of a day, which is given as days since 1970-01-01.
    pub fn new(days: i64, nanoseconds: i64) -> Self {
        Self { days, nanoseconds }
    }

    /// `infinity`, which is later than all days.
    const FUTURE: Self = Self { days: i64::MAX, nanoseconds: 0 };

    /// `-infinity`, which is earlier than all days.
    const PAST: Self = Self { days: i64::MIN, nanoseconds: 0 };

    /// The day `year-month-day` at `nanoseconds`. `None` if the calendar has no such day, or the year is below 1.
    pub(crate) fn of(year: i64, month: i64, day: i64, nanoseconds: i64) -> Option<Self> {
        let is_day = year >= 1 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        is_day.then(|| Self { days: days_from_civil(year, month, day), nanoseconds })
    }

    /// The instant `seconds` and `nanoseconds` after 1970-01-01T00:00:00Z.
    pub(crate) fn since_epoch(seconds: i64, nanoseconds: i64) -> Self {
        let day_seconds = DAY / SECOND;
        let rest = seconds.rem_euclid(day_seconds) * SECOND;
        Self { days: seconds.div_euclid(day_seconds), nanoseconds: rest + nanoseconds }
    }

    /// Days since 1970-01-01.
    pub(crate) fn days(self) -> i64 {
        self.days
    }

    /// Nanoseconds since midnight.
    pub(crate) fn nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// Year, month and day. The year may be below 1.
    pub(crate) fn civil(self) -> (i64, i64, i64) {
        civil_from_days(self.days)
    }

    /// Whether this is `infinity` or `-infinity`.
    pub(crate) fn is_infinite(self) -> bool {
        self == Self::FUTURE || self == Self::PAST
    }

    /// Checks that the instant is within the years that Postgres stores in a column of a kind.
    pub(crate) fn within_years(self, kind: Kind) -> Result<Self, Misfit> {
        let last = days_from_civil(year_max(kind) + 1, 1, 1) - 1;
        let is_within = kind == Kind::Time || self.is_infinite() || (FIRST_DAY..=last).contains(&self.days);
        if is_within { Ok(self) } else { Err(Misfit::Range) }
    }

    /// Reads a text of a kind:
    ///
    /// * `date`: `YYYY-MM-DD`;
    /// * `time`: `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`;
    /// * `timestamp`: a date, `T` or a blank, and a time. An offset is a misfit, because Postgres would drop it
    ///   silently;
    /// * `timestamptz`: the same with an offset: `Z`, `+HH`, `+HHMM`, `+HH:MM` or none, which is UTC.
    ///
    /// All but `time` may be `infinity` or `-infinity`. A text of any other kind is a misfit.
    #[inline]
    pub(crate) fn parse(kind: Kind, text: &[u8]) -> Result<Self, Misfit> {
        Self::parse_local(kind, text).map(|(instant, _)| instant)
    }

    /// As [`Instant::parse`], with whether the text says its offset from UTC.
    #[inline]
    pub(crate) fn parse_local(kind: Kind, text: &[u8]) -> Result<(Self, bool), Misfit> {
        let mut rest = Remainder(text);
        let mut has_offset = false;
        let instant = match kind {
            Kind::Date => match rest.date(year_max(kind)) {
                Ok(days) => Self { days, nanoseconds: 0 },
                Err(misfit) => return infinite(text).ok_or(misfit),
            },
            Kind::Time => Self { days: 0, nanoseconds: rest.time().ok_or(Misfit::Form)? },
            Kind::Timestamp | Kind::Timestamptz => {
                let days = match rest.date(year_max(kind)) {
                    Ok(days) => days,
                    Err(misfit) => return infinite(text).ok_or(misfit),
                };
                let nanoseconds = rest.separated_time().ok_or(Misfit::Form)?;
                has_offset = kind == Kind::Timestamptz && !rest.0.is_empty();
                let offset = if has_offset { rest.offset().ok_or(Misfit::Form)? } else { 0 };
                Self { days, nanoseconds }.minus(offset)
            }
            _ => return Err(Misfit::Form),
        };
        if !rest.0.is_empty() {
            return Err(Misfit::Form);
        }
        // An offset may move an instant out of the allowed years.
        let is_within = kind != Kind::Timestamptz || (FIRST_DAY..=LAST_DAY).contains(&instant.days);
        if is_within { Ok((instant, has_offset)) } else { Err(Misfit::Range) }
    }

    /// The one spelling of the instant as a value of a kind, which a line may have: `2021-07-27`, `16:02:08`,
    /// `2021-07-27T16:02:08` or `2021-07-27T16:02:08Z`, with a fraction if there is one. Before the year 1 `BC`
    /// follows, which Postgres reads and a line may not have.
    pub fn text(self, kind: Kind) -> String {
        let mut text = Vec::with_capacity(32);
        self.write(kind, &mut text);
        String::from_utf8(text).expect("digits and separators are text")
    }

    /// Appends the text of [`Instant::text`].
    pub(crate) fn write(self, kind: Kind, out: &mut Vec<u8>) {
        match self {
            Self::FUTURE => return out.extend_from_slice(b"infinity"),
            Self::PAST => return out.extend_from_slice(b"-infinity"),
            _ => {}
        }
        let era = if kind == Kind::Time { "" } else { write_date(self.days, out) };
        if !matches!(kind, Kind::Date | Kind::Time) {
            out.push(b'T');
        }
        if kind != Kind::Date {
            write_time(self.nanoseconds, out);
        }
        if kind == Kind::Timestamptz {
            out.push(b'Z');
        }
        out.extend_from_slice(era.as_bytes());
    }

    /// The instant whose local time this is, where local time is `offset` nanoseconds ahead of UTC.
    pub(crate) fn minus(self, offset: i64) -> Self {
        let nanoseconds = self.nanoseconds - offset;
        if (0..DAY).contains(&nanoseconds) {
            return Self { nanoseconds, ..self };
        }
        Self { days: self.days + nanoseconds.div_euclid(DAY), nanoseconds: nanoseconds.rem_euclid(DAY) }
    }
}

/// The first and the last day that a `timestamptz` may fall on.
const FIRST_DAY: i64 = days_from_civil(1, 1, 1);
const LAST_DAY: i64 = days_from_civil(year_max(Kind::Timestamptz) + 1, 1, 1) - 1;

/// Reads `infinity` or `-infinity`, in any case. Its instant needs no zone.
#[cold]
fn infinite(text: &[u8]) -> Option<(Instant, bool)> {
    let instant = match text {
        _ if text.eq_ignore_ascii_case(b"infinity") => Instant::FUTURE,
        _ if text.eq_ignore_ascii_case(b"-infinity") => Instant::PAST,
        _ => return None,
    };
    Some((instant, true))
}

/// The rest of a text.
struct Remainder<'a>(&'a [u8]);

impl Remainder<'_> {
    fn take(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        first.is_ascii_digit().then(|| {
            self.0 = rest;
            i64::from(first - b'0')
        })
    }

    fn two_digits(&mut self) -> Option<i64> {
        let [tens, ones, rest @ ..] = self.0 else { return None };
        (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| {
            self.0 = rest;
            i64::from(tens - b'0') * 10 + i64::from(ones - b'0')
        })
    }

    /// Days since 1970-01-01.
    fn date(&mut self, year_max: i64) -> Result<i64, Misfit> {
        let (year, month, day) = self.year_month_day().ok_or(Misfit::Form)?;
        if !(1..=year_max).contains(&year) {
            return Err(Misfit::Range);
        }
        let is_day = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        if is_day { Ok(days_from_civil(year, month, day)) } else { Err(Misfit::Form) }
    }

    fn year_month_day(&mut self) -> Option<(i64, i64, i64)> {
        let mut year = self.two_digits()? * 100 + self.two_digits()?;
        while let Some(digit) = self.digit() {
            year = year.saturating_mul(10).saturating_add(digit);
        }
        self.take(b'-')?;
        let month = self.two_digits()?;
        self.take(b'-')?;
        Some((year, month, self.two_digits()?))
    }

    /// Nanoseconds since midnight.
    fn time(&mut self) -> Option<i64> {
        let hour = self.two_digits()?;
        self.take(b':')?;
        let minute = self.two_digits()?;
        let (mut second, mut fraction) = (0, 0);
        if self.take(b':').is_some() {
            second = self.two_digits()?;
            if self.take(b'.').is_some() {
                fraction = self.fraction()?;
            }
        }
        let is_time = hour < 24 && minute < 60 && second < 60;
        is_time.then_some((hour * 60 + minute) * MINUTE + second * SECOND + fraction)
    }

    fn separated_time(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        if matches!(first, b'T' | b' ' | b't') { self.time() } else { None }
    }

    /// One to nine digits, in nanoseconds.
    fn fraction(&mut self) -> Option<i64> {
        let (mut unit, mut fraction) = (SECOND / 10, self.digit()? * (SECOND / 10));
        while unit > 1
            && let Some(digit) = self.digit()
        {
            unit /= 10;
            fraction += digit * unit;
        }
        Some(fraction)
    }

    /// The offset from UTC in nanoseconds.
    fn offset(&mut self) -> Option<i64> {
        let Some((first, rest)) = self.0.split_first() else { return Some(0) };
        self.0 = rest;
        let sign = match first {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.two_digits()?;
        let colon = self.take(b':').is_some();
        let minutes = if colon || !self.0.is_empty() { self.two_digits()? } else { 0 };
        (hours < 16 && minutes < 60).then_some(sign * (hours * 60 + minutes) * MINUTE)
    }
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a day in the year 1 or later, by Howard Hinnant's `days_from_civil`.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // A year begins in March, so that the leap day is its last. Years before 1 do not occur.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The inverse, Howard Hinnant's `civil_from_days`: year, month and day. The year may be below 1.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Appends `YYYY-MM-DD`. Returns the suffix `BC` for days before the year 1.
fn write_date(days: i64, out: &mut Vec<u8>) -> &'static str {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    if year < 10_000 {
        out.extend(two_digits(year / 100));
        out.extend(two_digits(year % 100));
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(year).as_bytes());
    }
    out.push(b'-');
    out.extend(two_digits(month));
    out.push(b'-');
    out.extend(two_digits(day));
    era
}

/// Appends `HH:MM:SS`, with a fraction if there is one.
fn write_time(nanoseconds: i64, out: &mut Vec<u8>) {
    let (seconds, mut fraction) = (nanoseconds / SECOND, nanoseconds % SECOND);
    out.extend(two_digits(seconds / 3600));
    out.push(b':');
    out.extend(two_digits(seconds / 60 % 60));
    out.push(b':');
    out.extend(two_digits(seconds % 60));
    if fraction != 0 {
        out.push(b'.');
    }
    while fraction != 0 {
        out.push(b'0' + (fraction / (SECOND / 10)) as u8);
        fraction = fraction % (SECOND / 10) * 10;
    }
}

/// A number below 100 in two digits.
fn two_digits(number: i64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(kind: Kind, text: &str) -> Result<Instant, Misfit> {
        Instant::parse(kind, text.as_bytes())
    }

    #[test]
    fn instants_are_ordered_in_utc() {
        let at = |text: &str| parse(Kind::Timestamptz, text).unwrap();
        assert_eq!(at("2021-01-01T00:30:00+01:00"), at("2020-12-31T23:30:00Z"));
        assert!(at("2021-01-01T00:00:00.5Z") > at("2021-01-01T00:00:00.25Z"));
        assert_eq!(at("1970-01-02T00:00:00Z"), Instant { days: 1, nanoseconds: 0 });
        assert_eq!(at("0001-01-01T00:00:00Z"), Instant { days: -719_162, nanoseconds: 0 });
        assert_eq!(parse(Kind::Text, "23:59"), Err(Misfit::Form), "a text is no point in time");
        assert!(
            at("infinity") > at("294276-12-31T00:00:00Z") && at("-Infinity") < at("0001-01-01T00:00:00Z")
        );
        assert_eq!(at("-infinity").text(Kind::Timestamptz), "-infinity");
    }

    proptest! {
        #[test]
        fn every_point_in_time_has_one_spelling_that_reads_as_itself(
            days in FIRST_DAY..=LAST_DAY,
            nanoseconds in 0..DAY,
        ) {
            for kind in [Kind::Timestamp, Kind::Timestamptz] {
                let instant = Instant { days, nanoseconds };
                prop_assert_eq!(parse(kind, &instant.text(kind)), Ok(instant));
            }
            let (day, time) = (Instant { days, nanoseconds: 0 }, Instant { days: 0, nanoseconds });
            prop_assert_eq!(parse(Kind::Date, &day.text(Kind::Date)), Ok(day));
            prop_assert_eq!(parse(Kind::Time, &time.text(Kind::Time)), Ok(time));
        }
    }
}
