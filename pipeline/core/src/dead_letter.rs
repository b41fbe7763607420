//! A line that is not in its table, with all the reasons why.

use std::borrow::Cow;
use std::time::SystemTime;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::position::Position;
use crate::split::TooLong;

words! {
    /// Why a line was not accepted. The texts are stable: users filter and count by them.
    #[derive(Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Code {
        /// The line has more or fewer fields than the dataset has columns.
        WrongColumnCount = "wrong_column_count",
        /// A required field is empty.
        MissingValue = "missing_value",
        /// Not an integer.
        InvalidInteger = "invalid_integer",
        /// Not a number.
        InvalidNumber = "invalid_number",
        /// Not a timestamp, or not a day of the calendar.
        InvalidTimestamp = "invalid_timestamp",
        /// Not a date.
        InvalidDate = "invalid_date",
        /// Not a time of day.
        InvalidTime = "invalid_time",
        /// Not a boolean.
        InvalidBoolean = "invalid_boolean",
        /// Not a UUID.
        InvalidUuid = "invalid_uuid",
        /// Not JSON.
        InvalidJson = "invalid_json",
        /// Below or above what the type or the rules allow.
        OutOfRange = "out_of_range",
        /// Shorter than `min_length`.
        TooShort = "too_short",
        /// Longer than `max_length` or the type allows.
        TooLong = "too_long",
        /// Not among `one_of`.
        NotAllowed = "not_allowed",
        /// Does not match `pattern`.
        PatternMismatch = "pattern_mismatch",
        /// No row has the referenced key. The line waits for it.
        UnknownReference = "unknown_reference",
        /// Longer than `max_record_bytes`.
        RecordTooLong = "record_too_long",
        /// Not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// Not in the encoding of its file, which is not UTF-8.
        InvalidEncoding = "invalid_encoding",
        /// A NUL or misplaced quotes, such as one that never closes.
        InvalidCharacter = "invalid_character",
        /// Postgres refused the row.
        ConstraintViolation = "constraint_violation",
        /// A trigger of the table left out the row, without an error.
        LeftOut = "left_out",
    }
}

/// One reason against a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of reason.
    pub code: Code,
    /// The column that the reason is about, if it is about one.
    pub column: Option<String>,
    /// The reason in words.
    pub message: String,
    /// The first [`VALUE_CHARS`] characters of the field as it was.
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

/// The status of a dead letter when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something is wrong with the line itself.
    Rejected,
    /// The line's only fault is a reference that does not exist yet.
    Waiting,
}

words! {
    /// A stage of the pipeline.
    #[derive(PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Stage {
        /// The source connector. Its dead letters are not text, or too long.
        Source = "source",
        /// The transform.
        Transform = "transform",
        /// The sink.
        Sink = "sink",
    }
}

impl Stage {
    /// Reads the text of [`Stage::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// A dead letter as a record of the topic `dead-letters`, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter<'a> {
    /// Rejected or waiting.
    pub event: Event,
    /// The source of the line.
    pub source: u64,
    /// The number of the line in its source.
    pub line: u64,
    /// The fingerprint of the record that held the line: see [`Line`](crate::record::Line).
    #[serde(default, rename = "form")]
    pub fingerprint: u32,
    /// The dataset that the line was meant for.
    #[serde(borrow)]
    pub dataset: Cow<'a, str>,
    /// The stage that made the dead letter.
    pub stage: Stage,
    /// The exact line; the beginning of a line that is too long; `None` if it is not text.
    #[serde(borrow)]
    pub text: Option<Cow<'a, str>>,
    /// The line in base64, if Postgres cannot hold it as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// The length in bytes, if the line is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// BLAKE3 of the line in hexadecimal, if the line is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// All reasons against the line; never empty.
    pub reasons: Vec<Reason>,
    /// The time at which the dead letter was made, RFC 3339 in UTC.
    pub at: String,
}

impl<'a> DeadLetter<'a> {
    /// A dead letter for the line `text` at `position`, made at `now`.
    pub fn new(
        event: Event,
        stage: Stage,
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
            fingerprint: 0,
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

    /// The dead letter of a line that is no text, made at `now`. `bytes` is the exact line.
    pub fn not_text(
        position: Position,
        dataset: &'a str,
        bytes: &[u8],
        reasons: Vec<Reason>,
        now: SystemTime,
    ) -> Self {
        Self {
            text: None,
            bytes: Some(base64::prelude::BASE64_STANDARD.encode(bytes)),
            ..Self::new(Event::Rejected, Stage::Source, position, dataset, b"", reasons, now)
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
        // The prefix may end inside a character.
        let prefix = match std::str::from_utf8(&record.prefix) {
            Err(e) if e.error_len().is_none() => &record.prefix[..e.valid_up_to()],
            _ => &record.prefix,
        };
        let reason = Reason::new(Code::RecordTooLong, None, message, b"");
        Self {
            length: Some(record.length),
            blake3: Some(record.hash.to_hex().to_string()),
            ..Self::new(Event::Rejected, Stage::Source, position, dataset, prefix, vec![reason], now)
        }
    }

    /// The position of the line.
    pub fn position(&self) -> Position {
        Position::new(self.source, self.line)
    }

    /// Appends the dead letter as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("texts and numbers always become JSON");
    }

    /// Reads the output of [`DeadLetter::write`].
    pub fn parse(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        let letter: Self = serde_json::from_slice(json)?;
        if letter.line == 0 {
            return Err(serde::de::Error::custom("lines are counted from 1"));
        }
        Ok(letter)
    }
}
