//! Documents of JSON that say what is to be done, read without guessing: a member that is there twice is an error, for
//! one of the two was meant to count; and `5.0` is 5, since JSON knows one kind of numbers.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Beyond this a number of JSON is not every whole number.
const EXACT_MAX: f64 = 9e15;
/// How much of a name is shown that is there twice.
const NAME_CHARS_SHOWN: usize = 100;

/// Reads a document.
///
/// # Errors
///
/// If it is no JSON, has a member twice, or is not what it must be.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let Document(value) = serde_json::from_slice(text)?;
    serde_json::from_value(value)
}

struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        let is_whole = value.fract() == 0.0 && value.abs() < EXACT_MAX;
        Ok(if is_whole { (value as i64).into() } else { value.into() })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Document(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((name, Document(value))) = members.next_entry::<String, Document>()? {
            if values.contains_key(&name) {
                let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
                return Err(A::Error::custom(format!("the member '{name}' is there twice")));
            }
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_as_it_is_written_but_for_numbers_that_are_whole() {
        let text = r#"{"a": [1, 5.0, -2e1, 0.5, 1e300, true, null, "x"], "b": {"a": 18446744073709551615}}"#;
        let value: Value = read(text.as_bytes()).unwrap();
        let expected = r#"{"a":[1,5,-20,0.5,1e+300,true,null,"x"],"b":{"a":18446744073709551615}}"#;
        assert_eq!(value, serde_json::from_str::<Value>(expected).unwrap());
        for wrong in [r#"{"a": 1, "a": 1}"#, r#"{"b": [{"a": {}, "\u0061": {}}]}"#] {
            let said = read::<Value>(wrong.as_bytes()).unwrap_err().to_string();
            assert!(said.contains("the member 'a' is there twice"), "{said}");
        }
        assert!(read::<Value>("[".repeat(100_000).as_bytes()).is_err());
    }
}
