//! Converts a value from Postgres's binary form to Avro's.

use num_bigint::{BigInt, Sign};

use crate::layout::AvroForm;

/// A value that its form cannot hold: a time that is infinite or out of range, or a number that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnencodableValue;

/// Postgres counts days and microseconds from 2000-01-01, Avro from 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Appends a value, or null.
///
/// # Errors
///
/// If the form cannot hold the value. Then a part of it may have been appended.
pub(super) fn value(
    form: AvroForm,
    optional: bool,
    raw: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), UnencodableValue> {
    match raw {
        // The branches of the union: null, then the form.
        None if optional => long(0, out),
        None => return Err(UnencodableValue),
        Some(raw) => {
            if optional {
                long(1, out);
            }
            present(form, raw, out)?;
        }
    }
    Ok(())
}

fn present(form: AvroForm, raw: &[u8], out: &mut Vec<u8>) -> Result<(), UnencodableValue> {
    match form {
        AvroForm::Boolean => out.push(*raw.first().ok_or(UnencodableValue)?),
        AvroForm::Int | AvroForm::Long => long(integer(raw)?, out),
        AvroForm::Float => out.extend(f32::from_be_bytes(fixed(raw)?).to_le_bytes()),
        AvroForm::Double => out.extend(f64::from_be_bytes(fixed(raw)?).to_le_bytes()),
        AvroForm::Bytes | AvroForm::String => bytes(raw, out),
        AvroForm::Jsonb => match raw {
            [1, text @ ..] => bytes(text, out),
            _ => return Err(UnencodableValue),
        },
        AvroForm::Uuid => {
            bytes(uuid::Uuid::from_bytes(fixed(raw)?).as_hyphenated().to_string().as_bytes(), out);
        }
        AvroForm::Date => {
            let days = i32::from_be_bytes(fixed(raw)?);
            let is_infinite = [i32::MIN, i32::MAX].contains(&days);
            let days = days.checked_add(EPOCH_DAYS).filter(|_| !is_infinite).ok_or(UnencodableValue)?;
            long(i64::from(days), out);
        }
        AvroForm::Time => long(integer(raw)?, out),
        AvroForm::Timestamp | AvroForm::Timestamptz => {
            let at = i64::from_be_bytes(fixed(raw)?);
            let is_infinite = [i64::MIN, i64::MAX].contains(&at);
            long(at.checked_add(EPOCH_MICROSECONDS).filter(|_| !is_infinite).ok_or(UnencodableValue)?, out);
        }
        AvroForm::Decimal { scale, .. } => bytes(&decimal(raw, scale)?.to_signed_bytes_be(), out),
    }
    Ok(())
}

/// Decodes a whole number of two, four or eight bytes.
fn integer(raw: &[u8]) -> Result<i64, UnencodableValue> {
    match raw.len() {
        2 => Ok(i64::from(i16::from_be_bytes(fixed(raw)?))),
        4 => Ok(i64::from(i32::from_be_bytes(fixed(raw)?))),
        _ => Ok(i64::from_be_bytes(fixed(raw)?)),
    }
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], UnencodableValue> {
    raw.try_into().map_err(|_| UnencodableValue)
}

/// Decodes a numeric to its unscaled number, with `scale` digits after the point. Postgres sends four decimal digits
/// in two bytes: the count of these groups, the weight of the first, the sign, the number of digits that are shown
/// after the point, and the groups.
fn decimal(raw: &[u8], scale: u16) -> Result<BigInt, UnencodableValue> {
    let mut words = raw.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    let mut word = || words.next().ok_or(UnencodableValue);
    let (count, weight, sign, _) = (word()?, word()?, word()? as u16, word()?);
    let sign = match sign {
        0x0000 => Sign::Plus,
        0x4000 => Sign::Minus,
        _ => return Err(UnencodableValue), // NaN or infinite
    };
    let mut number = BigInt::ZERO;
    for _ in 0..count {
        number = number * 10_000 + word()?;
    }
    let exponent = 4 * (i32::from(weight) - i32::from(count) + 1) + i32::from(scale);
    let power = BigInt::from(10).pow(exponent.unsigned_abs());
    let number = if exponent >= 0 {
        number * power
    } else if (&number % &power) == BigInt::ZERO {
        number / power
    } else {
        return Err(UnencodableValue);
    };
    Ok(if sign == Sign::Minus { -number } else { number })
}

fn bytes(raw: &[u8], out: &mut Vec<u8>) {
    long(raw.len() as i64, out);
    out.extend_from_slice(raw);
}

/// Appends a whole number as a zigzag varint: small numbers of either sign take few bytes.
pub(super) fn long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_lose_their_point_and_nothing_else() {
        let raw = |words: &[i32]| -> Vec<u8> {
            words.iter().flat_map(|word| (*word as u16).to_be_bytes()).collect()
        };
        // 12345.678, -0.0001, 0, 10000000000
        assert_eq!(decimal(&raw(&[3, 1, 0, 3, 1, 2345, 6780]), 3), Ok(BigInt::from(12_345_678)));
        assert_eq!(decimal(&raw(&[1, -1, 0x4000, 4, 1]), 4), Ok(BigInt::from(-1)));
        assert_eq!(decimal(&raw(&[0, 0, 0, 0]), 2), Ok(BigInt::ZERO));
        assert_eq!(decimal(&raw(&[1, 2, 0, 0, 100]), 2), Ok(BigInt::from(1_000_000_000_000i64)));
        // More digits than the scale has, and NaN.
        assert_eq!(decimal(&raw(&[1, -1, 0, 4, 1]), 3), Err(UnencodableValue));
        assert_eq!(decimal(&raw(&[0, 0, 0xc000, 0]), 2), Err(UnencodableValue));
    }
}
