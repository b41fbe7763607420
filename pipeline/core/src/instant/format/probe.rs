//! Whether two formats of a column read one text differently.

use super::{Format, Moment};
use crate::instant::zone::Zone;
use crate::instant::{Instant, SECOND};
use crate::kind::Kind;

/// Days whose parts could be taken for one another.
const DAYS: [(i64, i64, i64); 12] = [
    (2001, 2, 3),
    (2003, 2, 1),
    (2010, 11, 12),
    (2012, 10, 11),
    (2021, 7, 27),
    (1999, 12, 31),
    (1970, 1, 1),
    (1987, 6, 5),
    (2024, 2, 29),
    (1970, 1, 2),
    (2031, 12, 30),
    (2068, 12, 9),
];

/// Hour, minute and second of times whose parts could be taken for one another.
const TIMES: [(i64, i64, i64); 8] = [
    (0, 0, 0),
    (1, 2, 3),
    (13, 14, 15),
    (12, 30, 45),
    (9, 8, 0),
    (23, 0, 0),
    // As fractions of a day these are 0.25 and 0.5.
    (6, 0, 0),
    (12, 0, 0),
];

/// A text that two formats read differently.
#[derive(Debug)]
pub(crate) struct Clash {
    /// The text.
    pub(crate) text: String,
    /// The first format and what it reads, and the second one.
    pub(crate) readings: [(String, String); 2],
}

/// How ISO 8601, which is read besides the formats, is called.
const ISO: &str = "ISO 8601, which is read besides";

/// Finds a text that two of `formats`, or one of them and ISO 8601, read differently, where local times are of `zone`.
pub(crate) fn clash(kind: Kind, formats: &[Format], zone: Option<&Zone>) -> Option<Clash> {
    let all: Vec<Option<&Format>> = formats.iter().map(Some).chain([None]).collect();
    let samples = samples(kind);
    all.iter().enumerate().find_map(|(i, first)| {
        let others = all.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| *other);
        let mut pairs = others.map(|second| (*first, second));
        pairs.find_map(|(first, second)| {
            let texts = samples.iter().flat_map(|sample| texts(kind, first, *sample));
            texts.into_iter().find_map(|text| differ(kind, zone, first, second, text))
        })
    })
}

fn samples(kind: Kind) -> Vec<Instant> {
    let days = if kind == Kind::Time { &DAYS[6..7] } else { &DAYS[..] };
    let times = if kind == Kind::Date { &TIMES[..1] } else { &TIMES[..] };
    let all = days.iter().flat_map(|day| times.iter().map(move |time| (day, time)));
    let samples = all.filter_map(|((year, month, day), (hour, minute, second))| {
        Instant::of(*year, *month, *day, ((hour * 60 + minute) * 60 + second) * SECOND)
    });
    samples.collect()
}

fn texts(kind: Kind, format: Option<&Format>, instant: Instant) -> Vec<String> {
    let Some(format) = format else { return vec![instant.text(kind)] };
    let unpadded = match format {
        Format::Strptime(parts) => parts.write_unpadded(instant),
        _ => None,
    };
    format.write(kind, instant).into_iter().chain(unpadded).collect()
}

fn read(kind: Kind, zone: Option<&Zone>, format: Option<&Format>, text: &str) -> Option<Instant> {
    let reading = match format {
        Some(format) => format.read(kind, text.as_bytes()).ok()?,
        None => match Instant::parse_local(kind, text.as_bytes()).ok()? {
            (instant, true) => Moment::Instant(instant),
            (local, false) => Moment::Local(local),
        },
    };
    reading.in_zone(zone).ok()
}

fn differ(
    kind: Kind,
    zone: Option<&Zone>,
    first: Option<&Format>,
    second: Option<&Format>,
    text: String,
) -> Option<Clash> {
    let (one, other) = (read(kind, zone, first, &text)?, read(kind, zone, second, &text)?);
    let name = |format: Option<&Format>| match format {
        Some(format) => format!("\"{format}\""),
        None => ISO.to_owned(),
    };
    let readings = [(name(first), one.text(kind)), (name(second), other.text(kind))];
    (one != other).then_some(Clash { text, readings })
}
