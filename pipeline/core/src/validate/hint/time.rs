//! The format that would read a refused date or time.

use std::sync::{LazyLock, OnceLock};

use jiff::fmt::strtime::BrokenDownTime;

use super::{Hint, accepted, first_of, list};
use crate::manifest::{Column, Format, Kind, Reading};

/// Dates. Where one of two reads a day of more than twelve, the other does not.
const DATES: [&str; 24] = [
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y-%m-%d",
    "%Y.%m.%d",
    "%Y/%m/%d",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d/%b/%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%A, %B %d, %Y",
    "%Y%m%d",
    "%d%m%Y",
    "%m%d%Y",
];

/// Times of day.
const TIMES: [&str; 8] =
    ["%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H:%M:%S%.f", "%H.%M", "%H%M%S", "%H%M"];

/// Zones behind a time.
const ZONES: [&str; 5] = ["", " %z", "%z", "%Z", " %Z"];

/// Timestamps that begin with no date.
const TIMESTAMPS: [&str; 4] = [
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %Z",
];

pub(super) fn hint(column: &Column, text: &str) -> Option<Hint> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A text that the column reads, but not in its zone or not without losing its time, needs no other format.
    let is_read = |column: &Column| accepted(column, column.reading.clone(), text).is_some();
    let in_utc = Column { reading: Reading { time_zone: None, ..column.reading.clone() }, ..column.clone() };
    let with_time = Column { kind: Kind::Timestamp, ..column.clone() };
    if is_read(&in_utc)
        || (column.kind == Kind::Date && !column.reading.formats.is_empty() && is_read(&with_time))
    {
        return None;
    }
    let candidates = formats(column.kind, text).into_iter().map(|format| {
        let mut formats = [&column.reading.formats[..], &[format]].concat();
        Format::tell_apart(&mut formats);
        let setting = format!("format: {}", list(formats.iter().map(scalar)));
        (setting, Reading { formats, ..column.reading.clone() })
    });
    first_of(column, text, candidates)
}

/// A format as a YAML scalar.
fn scalar(format: &Format) -> String {
    let text = format.to_string();
    if text.contains('%') { format!("\"{text}\"") } else { text }
}

/// The formats that read a text, those first that people use most.
fn formats(kind: Kind, text: &str) -> Vec<Format> {
    let parsed = |format: &str| Format::parse(format).ok().filter(|format| format.fits(kind).is_ok());
    let mut formats: Vec<Format> = number(text).and_then(parsed).into_iter().collect();
    for (index, date) in DATES.iter().enumerate() {
        if kind == Kind::Time {
            break;
        }
        let Some(rest) = behind(date, text) else { continue };
        if kind != Kind::Date {
            formats.extend(of_date(kind, index).iter().cloned());
        } else if rest.bytes().all(|byte| b"0: T.".contains(&byte)) {
            formats.extend(parsed(&format!("{date}{rest}")));
        }
    }
    formats.extend(without_date(kind).iter().cloned());
    formats.retain(|format| format.read(kind, text.as_bytes()).is_ok());
    formats
}

/// What follows a date in a text. `None` if the text does not begin with it.
fn behind<'a>(date: &str, text: &'a str) -> Option<&'a str> {
    let (parsed, length) = BrokenDownTime::parse_prefix(date, text).ok()?;
    parsed.to_date().ok()?;
    text.get(length..)
}

/// The formats of a timestamp that begin with a date, by its index: the date alone, and with each time behind it. Each
/// refused value of a file may ask for them, so they are parsed once.
fn of_date(kind: Kind, date: usize) -> &'static [Format] {
    static KNOWN: [[OnceLock<Vec<Format>>; DATES.len()]; 2] =
        [const { [const { OnceLock::new() }; DATES.len()] }; 2];
    let has_zone = kind == Kind::Timestamptz;
    KNOWN[usize::from(has_zone)][date].get_or_init(|| {
        let (date, zones) = (DATES[date], if has_zone { &ZONES[..] } else { &ZONES[..1] });
        let times = || TIMES.iter().flat_map(|time| zones.iter().map(move |zone| format!("{time}{zone}")));
        let behind = [", ", " ", "T", ":"]
            .into_iter()
            .flat_map(|separator| times().map(move |time| format!("{separator}{time}")));
        let all = std::iter::once(date.to_owned()).chain(behind.map(|behind| format!("{date}{behind}")));
        known(kind, all)
    })
}

/// The formats of a kind that begin with no date.
fn without_date(kind: Kind) -> &'static [Format] {
    static TIME: LazyLock<Vec<Format>> = LazyLock::new(|| known(Kind::Time, TIMES.map(str::to_owned)));
    static LOCAL: LazyLock<Vec<Format>> =
        LazyLock::new(|| known(Kind::Timestamp, TIMESTAMPS.map(str::to_owned)));
    static ZONED: LazyLock<Vec<Format>> =
        LazyLock::new(|| known(Kind::Timestamptz, TIMESTAMPS.map(str::to_owned)));
    match kind {
        Kind::Time => &TIME,
        Kind::Timestamp => &LOCAL,
        Kind::Timestamptz => &ZONED,
        _ => &[],
    }
}

/// Those of some formats that fit a kind.
fn known(kind: Kind, formats: impl IntoIterator<Item = String>) -> Vec<Format> {
    let parsed = formats.into_iter().filter_map(|format| Format::parse(&format).ok());
    parsed.filter(|format| format.fits(kind).is_ok()).collect()
}

/// The word of a format that is a number, by how many digits it has today.
fn number(text: &str) -> Option<&'static str> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole.len() {
        1 if whole == "0" => Some("excel"),
        5 => Some("excel"),
        9..=10 => Some("epoch_s"),
        12..=13 => Some("epoch_ms"),
        15..=16 => Some("epoch_us"),
        18..=19 => Some("epoch_ns"),
        _ => None,
    }
}
