//! Formats that name their parts as `strptime` does, read and written by jiff.

use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

use super::{Moment, Wrong, checked};
use crate::instant::zone::{Zone, civil};
use crate::instant::{Instant, Misfit, SECOND};
use crate::kind::Kind;

/// The longest such format. No date needs more.
const BYTES_MAX: usize = 128;

/// Below this year, `%Y` would take the two digits of `21` for the year 21.
const YEAR_MIN: i64 = 1000;

/// A format that names its parts as `strptime` does: `%d/%m/%Y`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strptime {
    text: String,
    /// The format as jiff has it. Two if it has `%z`, which stands for `+0200` and `+02:00`.
    variants: Vec<String>,
    /// The letters of its parts.
    parts: String,
    /// Where numbers adjoin: how far the digits of a text must be divided as the format means it.
    adjoining: Adjoining,
}

/// Numbers of a format between which nothing, or nothing but blanks, stands. A part takes one digit where it may have two,
/// so `%H%M` would read 130 as 13:00.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Adjoining {
    /// For each run of such numbers, its digits, and whether a fraction of any length belongs to it.
    runs: Vec<(usize, bool)>,
    /// How many times numbers are divided by blanks alone.
    blanks: usize,
}

impl Strptime {
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if text.len() > BYTES_MAX {
            return Err(("the format is too long".into(), format!("a format has at most {BYTES_MAX} bytes")));
        }
        let (parts, adjoining) = (parts_of(text)?, Adjoining::of(text));
        let plain = text.replace("%Z", "%Q");
        let with_colon = plain.replace("%z", "%:z");
        let variants = if with_colon == plain { vec![plain] } else { vec![plain, with_colon] };
        Ok(Self { text: text.to_owned(), variants, parts, adjoining })
    }

    /// The format as the manifest writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn has(&self, parts: &str) -> bool {
        self.parts.contains(|part| parts.contains(part))
    }

    /// Whether the format says all parts of a kind, and no other ones.
    pub(super) fn fits(&self, kind: Kind) -> Result<(), Wrong> {
        let text = &self.text;
        let misplaced = [
            (DATE, kind == Kind::Time, "a day", "remove the day, or choose the type timestamp"),
            (
                TIME,
                kind == Kind::Date,
                "a time, which a date would lose",
                "choose the type timestamp; where the time is always midnight, write it out: 00:00:00",
            ),
            (
                ZONE,
                kind != Kind::Timestamptz,
                "an offset or a zone, which the type would lose",
                "choose the type timestamptz",
            ),
        ];
        if let Some((_, _, what, hint)) = misplaced.iter().find(|(parts, is, ..)| *is && self.has(parts)) {
            return Err((format!("\"{text}\" has {what}, and the type is {kind}"), (*hint).into()));
        }
        let needs_day = kind != Kind::Time;
        let has_day = (self.has(MONTH) && self.has("deDF")) || self.has("j") || self.has("GgVUW");
        let lacks = [
            (needs_day && !self.has("YyDFGg"), "the year, %Y or %y"),
            (needs_day && !has_day, "the month and the day, like %m and %d"),
            // A day alone is its midnight.
            ((kind == Kind::Time || self.has(TIME)) && !self.has("HkTRIl"), "the hour, %H or %I"),
            (kind != Kind::Date && self.has("Il") && !self.has("pP"), "%p, which tells morning from evening"),
            (self.has("pP") && !self.has("Il"), "%I, the hour that %p belongs to; %H is one of 24"),
        ];
        if let Some((_, what)) = lacks.iter().find(|(lacks, _)| *lacks) {
            return Err((format!("\"{text}\" lacks {what}"), format!("a {kind} needs it; add it")));
        }
        // Days that no other day is written like, of both centuries.
        let samples = [(2021, 7, 27), (1985, 12, 31)].map(|(year, month, day)| {
            Instant::of(year, month, day, (16 * 60 + 2) * 60 * SECOND).unwrap_or(Instant::new(0, 0))
        });
        let is_read = |sample: &Instant| {
            let again = self.write(*sample).map(|text| self.read(kind, text.as_bytes()));
            let Some(Ok(Moment::Local(read) | Moment::Instant(read))) = again else { return false };
            !needs_day || read.days() == sample.days()
        };
        if samples.iter().all(is_read) {
            return Ok(());
        }
        let hint =
            "write the parts of the day and the time once each, from the largest known to the smallest";
        Err((format!("\"{text}\" does not read what it writes"), hint.into()))
    }

    #[inline]
    pub(super) fn read(&self, kind: Kind, text: &[u8]) -> Result<Moment, Misfit> {
        if !self.adjoining.fits(text) {
            return Err(Misfit::Form);
        }
        for variant in &self.variants {
            if let Ok(time) = BrokenDownTime::parse(variant, text) {
                return if is_clamped(variant, text, &time) {
                    Err(Misfit::Form)
                } else {
                    self.value(kind, text, &time)
                };
            }
        }
        Err(Misfit::Form)
    }

    fn value(&self, kind: Kind, text: &[u8], time: &BrokenDownTime) -> Result<Moment, Misfit> {
        let mut nanoseconds = 0;
        if kind != Kind::Date {
            let time = time.to_time().map_err(|_| Misfit::Form)?;
            let seconds =
                (i64::from(time.hour()) * 60 + i64::from(time.minute())) * 60 + i64::from(time.second());
            nanoseconds = seconds * SECOND + i64::from(time.subsec_nanosecond());
        }
        if kind == Kind::Time {
            return Ok(Moment::Local(Instant::new(0, nanoseconds)));
        }
        let date = time.to_date().map_err(|_| Misfit::Form)?;
        let (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
        let is_short = (year < YEAR_MIN && self.has("YFG") && !says_number(text, year, 4))
            || (self.has("yD") && !says_number(text, year % 100, 2));
        if is_short {
            return Err(Misfit::Form);
        }
        let local = Instant::of(year, month, day, nanoseconds).ok_or(Misfit::Range)?;
        if kind != Kind::Timestamptz {
            return checked(kind, local).map(Moment::Local);
        }
        if let Some(offset) = time.offset() {
            let instant = local.minus(i64::from(offset.seconds()) * SECOND);
            return checked(kind, instant).map(Moment::Instant);
        }
        match time.iana_time_zone() {
            Some(name) => {
                let zone = Zone::behind_a_time(name).ok_or(Misfit::Form)?;
                zone.utc(local).map(Moment::Instant).map_err(Misfit::Local)
            }
            None => Ok(Moment::Local(local)),
        }
    }

    /// Writes an instant in UTC. `None` beyond the year 9999.
    pub(super) fn write(&self, instant: Instant) -> Option<String> {
        write(self.variants.first()?, instant)
    }

    /// As [`Strptime::write`], with numbers that are not padded by zeros, as many programs write them.
    pub(super) fn write_unpadded(&self, instant: Instant) -> Option<String> {
        let mut format = self.variants.first()?.clone();
        for part in ["d", "m", "H", "I"] {
            format = format.replace(&format!("%{part}"), &format!("%-{part}"));
        }
        write(&format, instant)
    }
}

fn write(format: &str, instant: Instant) -> Option<String> {
    let zoned = civil(instant)?.to_zoned(TimeZone::UTC).ok()?;
    strtime::format(format, &zoned).ok()
}

/// Whether second 60 of a text was read as 59.
fn is_clamped(format: &str, text: &[u8], time: &BrokenDownTime) -> bool {
    let count = |text: &[u8]| memchr::memmem::find_iter(text, b"59").count();
    time.second() == Some(59)
        && time.to_string(format).is_ok_and(|written| count(written.as_bytes()) > count(text))
}

/// Whether a text has a year in all its digits.
fn says_number(text: &[u8], year: i64, digits: usize) -> bool {
    memchr::memmem::find(text, format!("{year:0digits$}").as_bytes()).is_some()
}

impl Adjoining {
    fn of(format: &str) -> Self {
        let pieces = pieces_of(format);
        let numbers = pieces.split(|piece| !matches!(piece, Piece::Number(_) | Piece::Fraction));
        let run = |numbers: &[Piece]| {
            let digits =
                numbers.iter().map(|piece| if let Piece::Number(digits) = piece { *digits } else { 0 });
            (digits.sum(), numbers.contains(&Piece::Fraction))
        };
        let runs = numbers.filter(|numbers| numbers.len() > 1).map(run).collect();
        let divided = |three: &&[Piece]| matches!(three, [Piece::Number(_), Piece::Blank, Piece::Number(_)]);
        Self { runs, blanks: pieces.windows(3).filter(divided).count() }
    }

    /// Whether the digits of a text are divided as the format means it.
    fn fits(&self, text: &[u8]) -> bool {
        let mut digits = text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
        let mut has_run = |(length, is_open): &(usize, bool)| {
            digits.any(|run| {
                run[0].is_ascii_digit() && (run.len() == *length || (*is_open && run.len() > *length))
            })
        };
        self.runs.iter().all(&mut has_run) && (self.blanks == 0 || blanks_between_digits(text) >= self.blanks)
    }
}

/// How many runs of blanks in a text have digits at both ends.
fn blanks_between_digits(text: &[u8]) -> usize {
    let mut kinds = text.chunk_by(|a, b| a.is_ascii_whitespace() == b.is_ascii_whitespace()).peekable();
    let (mut count, mut ends_with_digit) = (0, false);
    while let Some(part) = kinds.next() {
        if part[0].is_ascii_whitespace() {
            let begins_with_digit = kinds.peek().is_some_and(|next| next[0].is_ascii_digit());
            count += usize::from(ends_with_digit && begins_with_digit);
        } else {
            ends_with_digit = part.last().is_some_and(u8::is_ascii_digit);
        }
    }
    count
}

/// A piece of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// A number of so many digits.
    Number(usize),
    /// Digits, as many as there are.
    Fraction,
    Blank,
    Other,
}

/// The pieces of a format. Blanks that follow each other are one.
fn pieces_of(format: &str) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), format.chars());
    while let Some(c) = rest.next() {
        let mut has_point = false;
        let mut is_letter = |c: &char| {
            has_point |= *c == '.';
            c.is_ascii_alphabetic() || *c == '%'
        };
        let part = if c == '%' { rest.find(&mut is_letter) } else { None };
        pieces.push(match part {
            Some('Y' | 'G') => Piece::Number(4),
            Some('j') => Piece::Number(3),
            Some('m' | 'd' | 'e' | 'y' | 'g' | 'H' | 'k' | 'I' | 'l' | 'M' | 'S' | 'U' | 'W' | 'V') => {
                Piece::Number(2)
            }
            Some('u' | 'w') => Piece::Number(1),
            Some('f' | 'N') if !has_point => Piece::Fraction,
            None if c.is_whitespace() => Piece::Blank,
            _ => Piece::Other,
        });
    }
    pieces.dedup_by(|next, before| (*next, *before) == (Piece::Blank, Piece::Blank));
    pieces
}

const DATE: &str = "YymBbhdejDFUWGgVuwAa";
const MONTH: &str = "mbBhDF";
const TIME: &str = "HkIlMSfNpPTR";
const ZONE: &str = "zQZ";
const BLANK: &str = "nt%";

/// The letters of the parts of a format. Flags and widths of strftime may stand before a letter.
fn parts_of(text: &str) -> Result<String, Wrong> {
    let mut parts = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            continue;
        }
        let is_flag = |c: &char| matches!(c, '_' | '-' | '^' | '#' | ':' | '.') || c.is_ascii_digit();
        let part = rest.find(|c| !is_flag(c));
        match part {
            Some(part) if [DATE, TIME, ZONE, BLANK].iter().any(|known| known.contains(part)) => {
                parts.push(part)
            }
            Some('s') => {
                return Err((
                    "\"%s\" is no part of a format here".into(),
                    "write \"format: epoch_s\"".into(),
                ));
            }
            part => {
                let part = part.map_or_else(|| "%".to_owned(), |part| format!("%{part}"));
                let hint = "parts are %Y %y %m %b %B %d %j %H %I %p %M %S %f %z %Z and the like; %% is a percent sign";
                return Err((format!("\"{part}\" is no part of a format"), hint.into()));
            }
        }
    }
    Ok(parts)
}
