//! How dates and times are written, as the key `format` of a column names it.
//!
//! [`Format::read`] and [`Format::write`] are inverse for every instant that a format can say. `probe` finds two
//! formats that read one text differently.

mod epoch;
mod excel;
pub(crate) mod probe;
mod strptime;

use std::fmt;

use crate::instant::zone::Zone;
use crate::instant::{Instant, Misfit};
use crate::kind::Kind;
use crate::suggestion::did_you_mean;
pub use epoch::Unit;
pub use strptime::Strptime;

/// The formats that are words. All others name their parts as `strptime` does.
const WORDS: [&str; 5] = ["epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "excel"];

/// How a date or a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The parts of a date and a time, by `strptime`: `%d/%m/%Y`.
    Strptime(Strptime),
    /// The time since 1970-01-01T00:00:00Z, in a unit.
    Epoch {
        /// The unit.
        unit: Unit,
        /// Whether only numbers of as many digits are read as this unit has today. It is so where a column has several
        /// units.
        by_length: bool,
    },
    /// A spreadsheet's number of a day, from 1899-12-30. Its fraction is the time.
    Excel,
}

/// What is wrong with a format, and what to write instead.
pub(crate) type Wrong = (String, String);

/// A point in time as a format says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// In UTC, or for a kind without a zone.
    Instant(Instant),
    /// A local time without offset.
    Local(Instant),
}

impl Moment {
    /// The instant, where a local time is one of `zone`, or UTC if there is none.
    pub(crate) fn in_zone(self, zone: Option<&Zone>) -> Result<Instant, Misfit> {
        match (self, zone) {
            (Self::Local(local), Some(zone)) => zone.utc(local).map_err(Misfit::Local),
            (Self::Local(instant) | Self::Instant(instant), _) => Ok(instant),
        }
    }
}

impl Format {
    /// Reads a format as the manifest writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let epoch = |unit| Self::Epoch { unit, by_length: false };
        match text {
            "epoch_s" => Ok(epoch(Unit::Seconds)),
            "epoch_ms" => Ok(epoch(Unit::Milliseconds)),
            "epoch_us" => Ok(epoch(Unit::Microseconds)),
            "epoch_ns" => Ok(epoch(Unit::Nanoseconds)),
            "excel" => Ok(Self::Excel),
            _ if text.contains('%') => Strptime::parse(text).map(Self::Strptime),
            _ => {
                let otherwise = || {
                    let words = WORDS.join(", ");
                    format!("write its parts as strptime does, like \"%d/%m/%Y\", or one of {words}")
                };
                Err((format!("\"{text}\" is no format"), did_you_mean(text, &WORDS, otherwise)))
            }
        }
    }

    /// Where several formats count from 1970, lets the number of digits decide between them.
    pub(crate) fn tell_apart(formats: &mut [Self]) {
        let is_epoch = |format: &&Self| matches!(format, Self::Epoch { .. });
        let several = formats.iter().filter(is_epoch).count() > 1;
        for format in formats {
            if let Self::Epoch { by_length, .. } = format {
                *by_length = several;
            }
        }
    }

    /// Whether the format says all parts of a kind, and no other ones.
    pub(crate) fn fits(&self, kind: Kind) -> Result<(), Wrong> {
        match self {
            Self::Strptime(parts) => parts.fits(kind),
            Self::Epoch { unit, .. } if kind == Kind::Time => Err((
                format!("{unit} is an instant, not a time of day"),
                "choose another type or format".into(),
            )),
            Self::Epoch { .. } | Self::Excel => Ok(()),
        }
    }

    /// Reads a text as a value of a kind.
    pub(crate) fn read(&self, kind: Kind, text: &[u8]) -> Result<Moment, Misfit> {
        match self {
            Self::Strptime(parts) => parts.read(kind, text),
            Self::Epoch { unit, by_length } => unit.read(kind, text, *by_length).map(Moment::Instant),
            Self::Excel => excel::read(kind, text).map(Moment::Local),
        }
    }

    /// Writes an instant, which is in UTC. `None` if the format cannot say it.
    pub(crate) fn write(&self, kind: Kind, instant: Instant) -> Option<String> {
        match self {
            Self::Strptime(parts) => parts.write(instant),
            Self::Epoch { unit, .. } => unit.write(instant),
            Self::Excel => excel::write(kind, instant),
        }
    }
}

/// As the manifest writes it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strptime(parts) => f.write_str(parts.as_str()),
            Self::Epoch { unit, .. } => unit.fmt(f),
            Self::Excel => f.write_str("excel"),
        }
    }
}

/// Completes the reading of a kind: a day of a `date` has no time besides midnight, and the years are those that
/// Postgres stores.
fn checked(kind: Kind, instant: Instant) -> Result<Instant, Misfit> {
    if kind == Kind::Date && instant.nanoseconds() != 0 {
        return Err(Misfit::HasTime);
    }
    instant.within_years(kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::instant::{DAY, SECOND};

    /// Formats that say an instant whole, with the kind and the nanoseconds that they say it to.
    const EXACT: [(&str, Kind, i64); 18] = [
        ("%d/%m/%Y", Kind::Date, DAY),
        ("%m/%d/%Y", Kind::Date, DAY),
        ("%-d.%-m.%Y", Kind::Date, DAY),
        ("%d-%b-%Y", Kind::Date, DAY),
        ("%A, %B %d, %Y", Kind::Date, DAY),
        ("%Y%m%d", Kind::Date, DAY),
        ("%Y-%j", Kind::Date, DAY),
        ("%G-W%V-%u", Kind::Date, DAY),
        ("%I:%M:%S %p", Kind::Time, SECOND),
        ("%H:%M", Kind::Time, 60 * SECOND),
        ("%H%M%S%.f", Kind::Time, 1),
        ("%d/%m/%Y %H:%M:%S", Kind::Timestamp, SECOND),
        ("%b %d %Y %I:%M %p", Kind::Timestamp, 60 * SECOND),
        ("%Y%m%d%H%M%S", Kind::Timestamp, SECOND),
        ("%d/%b/%Y:%H:%M:%S %z", Kind::Timestamptz, SECOND),
        ("%a %b %d %H:%M:%S %Z %Y", Kind::Timestamptz, SECOND),
        ("excel", Kind::Timestamp, SECOND / 1000),
        ("excel", Kind::Time, SECOND / 1000),
    ];

    const EPOCHS: [(&str, i64); 4] =
        [("epoch_s", 1), ("epoch_ms", 1_000_000), ("epoch_us", 1000), ("epoch_ns", 1)];

    fn round(kind: Kind, days: i64, nanoseconds: i64, unit: i64) -> Instant {
        let days = if kind == Kind::Time { 0 } else { days };
        Instant::new(days, if kind == Kind::Date { 0 } else { nanoseconds / unit * unit })
    }

    fn read_again(format: &Format, kind: Kind, instant: Instant) -> Option<Instant> {
        let text = format.write(kind, instant).unwrap_or_else(|| panic!("{format} says {instant:?}"));
        let moment = format.read(kind, text.as_bytes()).unwrap_or_else(|misfit| panic!("{text}: {misfit:?}"));
        moment.in_zone(None).ok()
    }

    proptest! {
        #[test]
        fn what_a_format_writes_it_reads_as_the_same_instant(
            days in -25_000_i64..2_900_000,
            nanoseconds in 0..DAY,
            chosen in 0..EXACT.len(),
        ) {
            let (text, kind, unit) = EXACT[chosen];
            let format = Format::parse(text).expect(text);
            prop_assert_eq!(format.fits(kind), Ok(()), "{}", text);
            let instant = round(kind, days, nanoseconds, unit);
            prop_assert_eq!(read_again(&format, kind, instant), Some(instant), "{}", text);
        }

        #[test]
        fn a_number_since_1970_is_the_same_instant_again(
            days in -30_000_i64..60_000,
            nanoseconds in 0..DAY,
            chosen in 0..EPOCHS.len(),
        ) {
            let (text, unit) = EPOCHS[chosen];
            let format = Format::parse(text).expect(text);
            for kind in [Kind::Timestamp, Kind::Timestamptz, Kind::Date] {
                let instant = round(kind, days, nanoseconds, unit);
                prop_assert_eq!(read_again(&format, kind, instant), Some(instant), "{}", text);
            }
        }

        #[test]
        fn two_digits_of_a_year_are_read_within_a_century(days in -365_i64..36_000) {
            let format = Format::parse("%d/%m/%y").expect("it is a format");
            let instant = Instant::new(days, 0);
            prop_assume!((1969..=2068).contains(&instant.civil().0));
            prop_assert_eq!(read_again(&format, Kind::Date, instant), Some(instant));
        }

        #[test]
        fn a_local_time_and_its_instant_belong_together(days in -10_000_i64..40_000, seconds in 0..86_400_i64) {
            let zone = Zone::named("America/New_York").expect("it is a zone");
            let instant = Instant::new(days, seconds * SECOND);
            match zone.utc(zone.local(instant)) {
                Ok(again) => prop_assert_eq!(again, instant),
                Err(crate::instant::zone::LocalFault::Ambiguous(_, first, second)) => {
                    prop_assert!(first < second && (first == instant || second == instant));
                }
                Err(other) => prop_assert!(false, "{other}: the zone has this local time"),
            }
        }
    }
}
