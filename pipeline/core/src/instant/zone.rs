//! Time zones, out of the IANA database that is part of the program: no machine reads a time differently.

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::instant::{Instant, SECOND};
use crate::kind::Kind;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The last year for which a zone's offset is known.
const YEAR_MAX: i64 = 9999;

/// A time zone with its name: `Europe/Berlin`.
#[derive(Clone)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// Why a local time is no instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalFault {
    /// The clock is put forward over this time.
    Missing(String),
    /// The clock is put back over this time: the name of the zone and the two instants.
    Ambiguous(String, Instant, Instant),
    /// The offset is not known so far ahead.
    TooLate(String),
}

impl Zone {
    /// The zone of a name in the IANA database, in any case. `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        let rules = ZONES.get(name).ok()?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Some(Self { name, rules })
    }

    /// The zone of a name that stands behind a time; `Z` is UTC. Abbreviations such as `EST` are no names there, because Postgres
    /// and the IANA database do not take all of them for the same offset.
    pub(crate) fn behind_a_time(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("Z") {
            return Self::named("UTC");
        }
        let is_utc = name.eq_ignore_ascii_case("UTC") || name.eq_ignore_ascii_case("GMT");
        if is_utc || name.contains('/') { Self::named(name) } else { None }
    }

    /// The name in the IANA database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instant of a local time.
    ///
    /// # Errors
    ///
    /// If the zone has that local time never or twice, because the clock is put forward or back.
    pub(crate) fn utc(&self, local: Instant) -> Result<Instant, LocalFault> {
        if local.is_infinite() {
            return Ok(local);
        }
        let Some(civil) = civil(local) else { return Err(LocalFault::TooLate(self.name.clone())) };
        let at = |offset: jiff::tz::Offset| local.minus(i64::from(offset.seconds()) * SECOND);
        match self.rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Ok(at(offset)),
            AmbiguousOffset::Gap { .. } => Err(LocalFault::Missing(self.name.clone())),
            AmbiguousOffset::Fold { before, after } => {
                Err(LocalFault::Ambiguous(self.name.clone(), at(before), at(after)))
            }
        }
    }

    /// The local time of an instant. Beyond the years of the database it is UTC.
    pub(crate) fn local(&self, instant: Instant) -> Instant {
        let seconds = instant.days().saturating_mul(86_400).saturating_add(instant.nanoseconds() / SECOND);
        match jiff::Timestamp::from_second(seconds) {
            Ok(at) => instant.minus(-i64::from(self.rules.to_offset(at).seconds()) * SECOND),
            Err(_) => instant,
        }
    }
}

/// A local time as jiff has it. `None` beyond its years.
pub(crate) fn civil(local: Instant) -> Option<DateTime> {
    let (year, month, day) = local.civil();
    let seconds = local.nanoseconds() / SECOND;
    let year = i16::try_from(year).ok().filter(|year| i64::from(*year) <= YEAR_MAX)?;
    DateTime::new(
        year,
        month as i8,
        day as i8,
        (seconds / 3600) as i8,
        (seconds / 60 % 60) as i8,
        (seconds % 60) as i8,
        (local.nanoseconds() % SECOND) as i32,
    )
    .ok()
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Display for LocalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(zone) => {
                write!(f, "does not exist in {zone}, where the clock is put forward over this time")
            }
            Self::Ambiguous(zone, first, second) => {
                let [first, second] = [first, second].map(|at| at.text(Kind::Timestamptz));
                write!(
                    f,
                    "is there twice in {zone}, where the clock is put back: {first} or {second}; \
                     write the time with its offset"
                )
            }
            Self::TooLate(zone) => write!(f, "is beyond the years in which the offset of {zone} is known"),
        }
    }
}
