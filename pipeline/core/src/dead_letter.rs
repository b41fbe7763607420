//! A line that is not in its table, with all the reasons why.

use std::borrow::Cow;
use std::time::SystemTime;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::position::Position;
use crate::split::TooLong;

/// Why a line was not accepted. The texts are stable: users filter and count by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The line has more or fewer fields than the dataset has columns.
    WrongColumnCount,
    /// A required field is empty.
    MissingValue,
    /// Not an integer.
    InvalidInteger,
    /// Not a number.
    InvalidNumber,
    /// Not a timestamp, or no day of the calendar.
    InvalidTimestamp,
    /// Not a date.
    InvalidDate,
    /// Not a time of day.
    InvalidTime,
    /// Not a boolean.
    InvalidBoolean,
    /// Not a UUID.
    InvalidUuid,
    /// Not JSON.
    InvalidJson,
    /// Below or above what the type or the rules allow.
    OutOfRange,
    /// Shorter than `min_length`.
    TooShort,
    /// Longer than `max_length` or the type allows.
    TooLong,
    /// Not among `one_of`.
    NotAllowed,
    /// Does not match `pattern`.
    PatternMismatch,
    /// No row has the key that is referenced: the line waits for it.
    UnknownReference,
    /// Longer than `max_record_bytes`.
    RecordTooLong,
    /// Not UTF-8.
    InvalidUtf8,
    /// A NUL, or a quote that never closes.
    InvalidCharacter,
    /// Postgres refused the row.
    ConstraintViolation,
    /// A trigger of the table left the row out, without an error.
    LeftOut,
}

impl Code {
    /// All codes, in the order of the documentation.
    pub const ALL: [Self; 21] = [
        Self::WrongColumnCount,
        Self::MissingValue,
        Self::InvalidInteger,
        Self::InvalidNumber,
        Self::InvalidTimestamp,
        Self::InvalidDate,
        Self::InvalidTime,
        Self::InvalidBoolean,
        Self::InvalidUuid,
        Self::InvalidJson,
        Self::OutOfRange,
        Self::TooShort,
        Self::TooLong,
        Self::NotAllowed,
        Self::PatternMismatch,
        Self::UnknownReference,
        Self::RecordTooLong,
        Self::InvalidUtf8,
        Self::InvalidCharacter,
        Self::ConstraintViolation,
        Self::LeftOut,
    ];

    /// Its text, which is stable.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongColumnCount => "wrong_column_count",
            Self::MissingValue => "missing_value",
            Self::InvalidInteger => "invalid_integer",
            Self::InvalidNumber => "invalid_number",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::InvalidDate => "invalid_date",
            Self::InvalidTime => "invalid_time",
            Self::InvalidBoolean => "invalid_boolean",
            Self::InvalidUuid => "invalid_uuid",
            Self::InvalidJson => "invalid_json",
            Self::OutOfRange => "out_of_range",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::NotAllowed => "not_allowed",
            Self::PatternMismatch => "pattern_mismatch",
            Self::UnknownReference => "unknown_reference",
            Self::RecordTooLong => "record_too_long",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidCharacter => "invalid_character",
            Self::ConstraintViolation => "constraint_violation",
            Self::LeftOut => "left_out",
        }
    }
}

/// One reason against a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of reason.
    pub code: Code,
    /// The column it is about, if it is about one.
    pub column: Option<String>,
    /// The reason in words.
    pub message: String,
    /// The field as it was, its first [`VALUE_CHARS`] characters.
    pub value: String,
}

/// How many characters of a field a reason repeats.
pub const VALUE_CHARS: usize = 256;

impl Reason {
    /// A reason about `column`, whose field held `value`.
    pub fn new(code: Code, column: Option<&str>, message: impl Into<String>, value: &[u8]) -> Self {
        let value = String::from_utf8_lossy(value).replace('\0', "\u{fffd}");
        let value = match value.char_indices().nth(VALUE_CHARS) {
            Some((end, _)) => value[..end].to_owned(),
            None => value,
        };
        Self { code, column: column.map(str::to_owned), message: message.into(), value }
    }
}

/// What a dead letter is when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something is wrong with the line itself.
    Rejected,
    /// Its only fault is a reference that does not exist yet.
    Waiting,
}

/// A stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The source connector. Its dead letters are no text, or too long.
    Source,
    /// The transform.
    Transform,
    /// The sink.
    Sink,
}

impl Stage {
    /// All, in the order of the stream.
    pub const ALL: [Self; 3] = [Self::Source, Self::Transform, Self::Sink];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        }
    }

    /// Reads what [`Stage::as_str`] gave.
    pub fn parse(text: &str) -> Self {
        match text {
            "source" => Self::Source,
            "sink" => Self::Sink,
            _ => Self::Transform,
        }
    }
}

/// A dead letter as it travels on the topic `dead-letters`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter<'a> {
    /// Rejected or waiting.
    pub event: Event,
    /// The source of the line.
    pub source: u64,
    /// Its number there.
    pub line: u64,
    /// The form of the record that it was: see [`Line`](crate::record::Line).
    #[serde(default)]
    pub form: u32,
    /// The dataset it was meant for.
    #[serde(borrow)]
    pub dataset: Cow<'a, str>,
    /// Who made it.
    pub stage: Stage,
    /// The line, exact; of one that is too long its beginning; null if it is no text.
    #[serde(borrow)]
    pub text: Option<Cow<'a, str>>,
    /// In base64, what Postgres cannot hold as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// Of a line that is too long, the length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Of a line that is too long, BLAKE3 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// All that is wrong with it; never empty.
    pub reasons: Vec<Reason>,
    /// When it was made, RFC 3339 in UTC.
    pub at: String,
}

impl<'a> DeadLetter<'a> {
    /// A dead letter for the line `text` at `position`, made at `now`.
    pub fn new(
        (event, stage): (Event, Stage),
        position: Position,
        dataset: &'a str,
        text: &'a [u8],
        reasons: Vec<Reason>,
        now: SystemTime,
    ) -> Self {
        let as_text = std::str::from_utf8(text).ok().filter(|text| !text.contains('\0'));
        Self {
            event,
            source: position.source,
            line: position.line,
            form: 0,
            dataset: Cow::Borrowed(dataset),
            stage,
            text: as_text.map(Cow::Borrowed),
            bytes: as_text.is_none().then(|| base64::prelude::BASE64_STANDARD.encode(text)),
            length: None,
            blake3: None,
            reasons,
            at: humantime::format_rfc3339_millis(now).to_string(),
        }
    }

    /// The dead letter of a line that is too long.
    pub fn too_long(
        position: Position,
        dataset: &'a str,
        record: &'a TooLong,
        message: String,
        now: SystemTime,
    ) -> Self {
        // The cut may go through a character.
        let prefix = match std::str::from_utf8(&record.prefix) {
            Err(e) if e.error_len().is_none() => &record.prefix[..e.valid_up_to()],
            _ => &record.prefix,
        };
        let reason = Reason::new(Code::RecordTooLong, None, message, b"");
        let made = (Event::Rejected, Stage::Source);
        Self {
            length: Some(record.length),
            blake3: Some(record.hash.to_hex().to_string()),
            ..Self::new(made, position, dataset, prefix, vec![reason], now)
        }
    }

    /// Where the line stands.
    pub fn position(&self) -> Position {
        Position::new(self.source, self.line)
    }

    /// Appends the dead letter as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("texts and numbers always become JSON");
    }

    /// Reads what [`DeadLetter::write`] wrote.
    pub fn parse(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        let letter: Self = serde_json::from_slice(json)?;
        if letter.line == 0 {
            return Err(serde::de::Error::custom("lines are counted from 1"));
        }
        Ok(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn write(letter: &DeadLetter<'_>) -> String {
        let mut json = Vec::new();
        letter.write(&mut json);
        assert_eq!(&DeadLetter::parse(&json).unwrap(), letter);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn a_dead_letter_is_json_with_the_exact_line() {
        let reasons = vec![Reason::new(Code::MissingValue, Some("name"), "name is required", b"")];
        let made = (Event::Rejected, Stage::Transform);
        let letter = DeadLetter::new(made, Position::new(3, 117), "d", b"117,,\"x\"", reasons, NOW);
        assert_eq!(
            write(&letter),
            r#"{"event":"rejected","source":3,"line":117,"form":0,"dataset":"d","stage":"transform","text":"117,,\"x\"","reasons":[{"code":"missing_value","column":"name","message":"name is required","value":""}],"at":"1970-01-01T00:00:00.000Z"}"#
        );
    }

    #[test]
    fn there_is_no_line_zero() {
        let made = (Event::Rejected, Stage::Source);
        let letter = DeadLetter::new(made, Position::new(1, 1), "d", b"", vec![], NOW);
        let json = write(&letter).replace("\"line\":1", "\"line\":0");
        assert!(DeadLetter::parse(json.as_bytes()).is_err());
    }

    #[test]
    fn what_postgres_text_cannot_hold_is_kept_in_base64() {
        for bytes in [&b"a\0b"[..], b"\xff\xfe"] {
            let made = (Event::Rejected, Stage::Source);
            let letter = DeadLetter::new(made, Position::new(1, 1), "d", bytes, vec![], NOW);
            assert_eq!(letter.text, None);
            assert!(write(&letter).contains("\"bytes\":\""));
        }
    }

    #[test]
    fn a_line_that_is_too_long_keeps_a_prefix_cut_between_characters() {
        let record = TooLong { prefix: "aé".as_bytes()[..2].to_vec(), length: 9, hash: blake3::hash(b"") };
        let letter = DeadLetter::too_long(Position::new(1, 1), "d", &record, "too long".into(), NOW);
        assert_eq!((letter.text.as_deref(), letter.length), (Some("a"), Some(9)));
    }
}
