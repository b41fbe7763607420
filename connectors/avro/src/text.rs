//! A value of an Avro file as text, in the form that lines have and that Postgres reads.

use apache_avro::types::Value;
use num_bigint::BigInt;
use tidegate_core::manifest::{Instant, Kind};

const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// Returns the text of a value; `None` for null. `scale` is the number of digits after the point of a decimal.
///
/// # Errors
///
/// If no column can have the value, such as a list.
pub(super) fn text(value: Value, scale: usize) -> Result<Option<String>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Union(_, value) => return text(*value, scale),
        Value::Boolean(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Long(number) => number.to_string(),
        Value::Float(number) => float(f64::from(number), &format!("{number:?}")),
        Value::Double(number) => float(number, &format!("{number:?}")),
        Value::String(text) | Value::Enum(_, text) => text,
        Value::Bytes(bytes) => {
            bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
        }
        Value::Decimal(decimal) => decimal_text(&BigInt::from(decimal), scale),
        Value::Uuid(uuid) => uuid.as_hyphenated().to_string(),
        Value::Date(days) => Instant::new(i64::from(days), 0).text(Kind::Date),
        Value::TimeMillis(at) => time(i64::from(at) * 1000),
        Value::TimeMicros(at) => time(at),
        Value::TimestampMillis(at) => instant(at, 1_000_000, Kind::Timestamptz),
        Value::TimestampMicros(at) => instant(at, 1000, Kind::Timestamptz),
        Value::TimestampNanos(at) => instant(at, 1, Kind::Timestamptz),
        Value::LocalTimestampMillis(at) => instant(at, 1_000_000, Kind::Timestamp),
        Value::LocalTimestampMicros(at) => instant(at, 1000, Kind::Timestamp),
        Value::LocalTimestampNanos(at) => instant(at, 1, Kind::Timestamp),
        Value::Fixed(16, bytes) => match uuid::Uuid::from_slice(&bytes) {
            Ok(uuid) => uuid.as_hyphenated().to_string(),
            Err(error) => return Err(error.to_string()),
        },
        Value::Fixed(..)
        | Value::Array(_)
        | Value::Map(_)
        | Value::Record(_)
        | Value::BigDecimal(_)
        | Value::Duration(_) => return Err("a value that no column has".to_owned()),
    }))
}

/// Returns a number's text, with Postgres's words for infinite numbers and for NaN.
fn float(number: f64, finite: &str) -> String {
    match number {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        number if number.is_nan() => "NaN".to_owned(),
        _ => finite.strip_suffix(".0").unwrap_or(finite).to_owned(),
    }
}

fn decimal_text(number: &BigInt, scale: usize) -> String {
    let digits = number.magnitude().to_string();
    let sign = if number.sign() == num_bigint::Sign::Minus { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    // At least one digit stands before the point.
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// Returns a time of day as text. Postgres also has 24:00:00, which no line may have.
fn time(microseconds: i64) -> String {
    Instant::new(0, microseconds.saturating_mul(1000)).text(Kind::Time)
}

/// Returns the instant of `at` units, of so many nanoseconds each, after 1970-01-01, as text.
fn instant(at: i64, nanoseconds: i64, kind: Kind) -> String {
    let units_per_day = DAY_MICROSECONDS * 1000 / nanoseconds;
    Instant::new(at.div_euclid(units_per_day), at.rem_euclid(units_per_day) * nanoseconds).text(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_lines_have_them() {
        let decimal = |number: i64| Value::Decimal(BigInt::from(number).to_signed_bytes_be().into());
        for (value, scale, expected) in [
            (decimal(-5), 3, "-0.005"),
            (decimal(1234), 2, "12.34"),
            (decimal(0), 2, "0.00"),
            (decimal(-7), 0, "-7"),
            (Value::Float(0.1), 0, "0.1"),
            (Value::Double(-0.0), 0, "-0"),
            (Value::Double(1e300), 0, "1e300"),
            (Value::Double(f64::NEG_INFINITY), 0, "-Infinity"),
            (Value::Date(-719_163), 0, "0001-12-31 BC"),
            (Value::TimeMicros(86_400_000_000), 0, "24:00:00"),
            (Value::TimestampMillis(-1), 0, "1969-12-31T23:59:59.999Z"),
            (Value::LocalTimestampMicros(1), 0, "1970-01-01T00:00:00.000001"),
            (Value::TimestampNanos(1_000_000_001), 0, "1970-01-01T00:00:01.000000001Z"),
            (Value::Bytes(vec![0, 255]), 0, "\\x00ff"),
            (Value::Union(1, Box::new(Value::Boolean(true))), 0, "true"),
        ] {
            assert_eq!(text(value.clone(), scale), Ok(Some(expected.to_owned())), "{value:?}");
        }
        assert_eq!(text(Value::Union(0, Box::new(Value::Null)), 0), Ok(None));
        assert!(text(Value::Array(Vec::new()), 0).is_err());
    }
}
