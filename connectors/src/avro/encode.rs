//! A value as Postgres sends it in binary to the same value in Avro's binary form.

use num_bigint::{BigInt, Sign};

use super::layout::Form;

/// A value that its form cannot hold: an infinite or far point in time, a number that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

/// Postgres counts days and microseconds from 2000-01-01, Avro from 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Appends a value, or that there is none.
///
/// # Errors
///
/// If the form cannot hold it; then something may have been appended.
pub(super) fn value(form: Form, optional: bool, raw: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match raw {
        // The branches of the union: null, then the form.
        None if optional => long(0, out),
        None => return Err(Unfit),
        Some(raw) => {
            if optional {
                long(1, out);
            }
            present(form, raw, out)?;
        }
    }
    Ok(())
}

fn present(form: Form, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    match form {
        Form::Boolean => out.push(*raw.first().ok_or(Unfit)?),
        Form::Int | Form::Long => long(integer(raw)?, out),
        Form::Float => out.extend(f32::from_be_bytes(fixed(raw)?).to_le_bytes()),
        Form::Double => out.extend(f64::from_be_bytes(fixed(raw)?).to_le_bytes()),
        Form::Bytes | Form::String => bytes(raw, out),
        Form::Jsonb => match raw {
            [1, text @ ..] => bytes(text, out),
            _ => return Err(Unfit),
        },
        Form::Uuid => {
            bytes(uuid::Uuid::from_bytes(fixed(raw)?).as_hyphenated().to_string().as_bytes(), out);
        }
        Form::Date => {
            let days = i32::from_be_bytes(fixed(raw)?);
            let is_infinite = [i32::MIN, i32::MAX].contains(&days);
            let days = days.checked_add(EPOCH_DAYS).filter(|_| !is_infinite).ok_or(Unfit)?;
            long(i64::from(days), out);
        }
        Form::Time => long(integer(raw)?, out),
        Form::Timestamp | Form::Timestamptz => {
            let at = i64::from_be_bytes(fixed(raw)?);
            let is_infinite = [i64::MIN, i64::MAX].contains(&at);
            long(at.checked_add(EPOCH_MICROSECONDS).filter(|_| !is_infinite).ok_or(Unfit)?, out);
        }
        Form::Decimal { scale, .. } => bytes(&decimal(raw, scale)?.to_signed_bytes_be(), out),
    }
    Ok(())
}

/// A whole number of any width.
fn integer(raw: &[u8]) -> Result<i64, Unfit> {
    match raw.len() {
        2 => Ok(i64::from(i16::from_be_bytes(fixed(raw)?))),
        4 => Ok(i64::from(i32::from_be_bytes(fixed(raw)?))),
        _ => Ok(i64::from_be_bytes(fixed(raw)?)),
    }
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], Unfit> {
    raw.try_into().map_err(|_| Unfit)
}

/// A number without its point, of so many digits behind it. Postgres sends four decimal digits in two bytes: how
/// many of these, the weight of the first, the sign, how many digits are shown behind the point, the digits.
fn decimal(raw: &[u8], scale: u16) -> Result<BigInt, Unfit> {
    let mut words = raw.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    let mut word = || words.next().ok_or(Unfit);
    let (count, weight, sign, _) = (word()?, word()?, word()? as u16, word()?);
    let sign = match sign {
        0x0000 => Sign::Plus,
        0x4000 => Sign::Minus,
        _ => return Err(Unfit), // no number, or infinite
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
        return Err(Unfit);
    };
    Ok(if sign == Sign::Minus { -number } else { number })
}

fn bytes(raw: &[u8], out: &mut Vec<u8>) {
    long(raw.len() as i64, out);
    out.extend_from_slice(raw);
}

/// A whole number: small ones of either sign in few bytes.
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
        // More digits than the scale has, and no number.
        assert_eq!(decimal(&raw(&[1, -1, 0, 4, 1]), 3), Err(Unfit));
        assert_eq!(decimal(&raw(&[0, 0, 0xc000, 0]), 2), Err(Unfit));
    }
}
