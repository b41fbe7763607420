//! Values that are not text: read in the column's own forms, checked against the bounds, and written in canonical form
//! if they are not in a form that Postgres reads.

use std::cmp::Ordering;

use super::column::ColumnCheck;
use super::notation::write_number;
use super::{Violation, literal};
use crate::dead_letter::Code;
use crate::instant::format::Moment;
use crate::instant::{Instant, Misfit, loose};
use crate::manifest::{Bound, Kind};

/// Reads a value. Appends its canonical form if the value itself is not in one.
#[inline]
pub(super) fn read(check: &ColumnCheck, value: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    let kind = check.column.kind;
    match kind {
        Kind::SmallInt | Kind::Integer | Kind::BigInt => integer(check, value, out),
        Kind::Numeric { .. } | Kind::Real | Kind::Double if check.has_notation => {
            let start = out.len();
            write_number(&check.column.reading, value, out).ok_or_else(no_number)?;
            number(check, &out[start..])
        }
        Kind::Numeric { .. } | Kind::Real | Kind::Double => number(check, value),
        Kind::Boolean if check.column.reading.has_words() => boolean(check, value, out),
        Kind::Boolean => literal::boolean(value),
        Kind::Text | Kind::Varchar(_) => Ok(()),
        // Each kind by itself, so that reading is compiled for it.
        Kind::Date => instant(check, value, Kind::Date, out),
        Kind::Time => instant(check, value, Kind::Time, out),
        Kind::Timestamp => instant(check, value, Kind::Timestamp, out),
        Kind::Timestamptz => instant(check, value, Kind::Timestamptz, out),
        Kind::Uuid => literal::uuid(value),
        Kind::Jsonb => literal::json(value),
    }
}

fn no_number() -> Violation {
    Violation::new(Code::InvalidNumber, "is not a number")
}

/// Checks a number that Postgres reads.
fn number(check: &ColumnCheck, value: &[u8]) -> Result<(), Violation> {
    if let Kind::Numeric { precision, scale } = check.column.kind {
        let number = literal::numeric(value, precision, scale)?;
        return check.within(|bound| match bound {
            Bound::Decimal(limit) => number.compare_with(limit),
            _ => Ordering::Equal,
        });
    }
    let number = literal::float(value, check.column.kind)?;
    check.within(|bound| match bound {
        Bound::Float(limit) => number.partial_cmp(limit).unwrap_or(Ordering::Equal),
        _ => Ordering::Equal,
    })
}

#[inline]
fn integer(check: &ColumnCheck, value: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    let number = match literal::integer(value) {
        Ok(number) if !check.has_notation => number,
        Err(violation) if !check.has_notation && violation.code != Code::InvalidInteger => {
            return Err(violation);
        }
        _ => {
            let number = other_integer(check, value, out)?;
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            number
        }
    };
    if !check.column.kind.integers().is_some_and(|all| all.contains(&number)) {
        return Err(Violation::out_of_range_of(check.column.kind));
    }
    check.within(|bound| match bound {
        Bound::Integer(limit) => number.cmp(limit),
        _ => Ordering::Equal,
    })
}

/// Reads an integer in the column's notation, or with decimal places that are zero. `out` is left as it was.
fn other_integer(check: &ColumnCheck, value: &[u8], out: &mut Vec<u8>) -> Result<i64, Violation> {
    if !check.has_notation {
        return literal::whole(value);
    }
    let start = out.len();
    let written = write_number(&check.column.reading, value, out);
    let number = match written {
        Some(()) => literal::whole(&out[start..]),
        None => literal::whole(b""),
    };
    out.truncate(start);
    number
}

/// Reads a word of the column's own.
fn boolean(check: &ColumnCheck, value: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let is =
        |word: &String| word.eq_ignore_ascii_case(text) || (!text.is_ascii() && *word == text.to_lowercase());
    let [truths, falsehoods] = &check.words;
    let canonical = match (truths.iter().any(is), falsehoods.iter().any(is)) {
        (true, _) => "true",
        (_, true) => "false",
        _ => {
            let words: Vec<&str> = truths.iter().chain(falsehoods).map(String::as_str).collect();
            let message = format!("is not one of the words {}", words.join(", "));
            return Err(Violation::new(Code::InvalidBoolean, message));
        }
    };
    out.extend_from_slice(canonical.as_bytes());
    Ok(())
}

#[inline]
fn instant(check: &ColumnCheck, value: &[u8], kind: Kind, out: &mut Vec<u8>) -> Result<(), Violation> {
    let reading = &check.column.reading;
    let has_zone = kind == Kind::Timestamptz && reading.time_zone.is_some();
    let is_plain = reading.formats.is_empty() && !has_zone;
    let instant = match Instant::parse(kind, value) {
        Ok(instant) if is_plain => instant,
        Err(Misfit::Range) if is_plain => return Err(literal::no_instant(Misfit::Range, kind)),
        _ => {
            let instant = other_instant(check, value, kind);
            let instant = instant.map_err(|misfit| literal::no_instant(misfit, kind))?;
            instant.write(kind, out);
            instant
        }
    };
    check.within(|bound| match bound {
        Bound::Instant(limit, _) => instant.cmp(limit),
        _ => Ordering::Equal,
    })
}

/// Reads a point in time in one of the column's formats or in ISO 8601. If the column has no format, the other forms
/// that Postgres reads without ambiguity are read too.
fn other_instant(check: &ColumnCheck, value: &[u8], kind: Kind) -> Result<Instant, Misfit> {
    let reading = &check.column.reading;
    let zone = reading.time_zone.as_ref().filter(|_| kind == Kind::Timestamptz);
    let mut misfit = Misfit::Form;
    for format in &reading.formats {
        match format.read(kind, value).and_then(|moment| moment.in_zone(zone)) {
            Ok(instant) => return instant.within_years(kind),
            Err(Misfit::Form) => {}
            // That a format reads the text, but not as a value, says more than that others do not read it.
            Err(other) => misfit = other,
        }
    }
    let moment = match Instant::parse_local(kind, value) {
        Ok((instant, true)) => Moment::Instant(instant),
        Ok((local, false)) => Moment::Local(local),
        Err(Misfit::Form) if reading.formats.is_empty() => loose::parse(kind, value)?,
        Err(Misfit::Form) => return Err(misfit),
        Err(other) => return Err(other),
    };
    moment.in_zone(zone)?.within_years(kind)
}
