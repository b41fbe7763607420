//! A syntax as the keys of `csv` in the manifest.

use encoding_rs::UTF_8;
use serde_json::Value;

use super::{Delimiter, Pattern, Syntax};

impl Syntax {
    /// The settings that differ from the defaults, each as its key in `csv` and its value. Places of fixed width are
    /// settings of columns, and not among them.
    pub fn settings(&self) -> Vec<(&'static str, Value)> {
        let Self { encoding, dialect, header, skip_lines, comment, skip, record, .. } = self;
        let is_fixed = matches!(dialect.delimiter, Delimiter::Widths(_));
        let character = |byte: u8| Value::from(char::from(byte).to_string());
        let flag = |is: bool| is.then_some(Value::Bool(true));
        let patterns: Vec<Value> = skip.iter().map(|pattern| pattern.as_str().into()).collect();
        let settings = [
            ("encoding", (*encoding != UTF_8).then(|| encoding.name().to_lowercase().into())),
            ("delimiter", delimiter(&dialect.delimiter)),
            (
                "quote",
                match dialect.quote {
                    Some(b'"') => None,
                    Some(quote) => Some(character(quote)),
                    None => (!is_fixed).then(|| "none".into()),
                },
            ),
            ("escape", dialect.escape.filter(|escape| !dialect.c_escapes || *escape != b'\\').map(character)),
            ("escapes", dialect.c_escapes.then(|| "c".into())),
            ("trim", flag(dialect.trim && !is_fixed)),
            ("header", flag(*header)),
            ("skip_lines", (*skip_lines > 0).then(|| (*skip_lines).into())),
            ("comment", comment.clone().map(Value::from)),
            ("record", record.as_ref().map(|pattern: &Pattern| pattern.as_str().into())),
            (
                "skip",
                match patterns.len() {
                    0 | 1 => patterns.into_iter().next(),
                    _ => Some(patterns.into()),
                },
            ),
            ("trailing_delimiter", flag(self.trailing_delimiter)),
            ("short_rows", self.pads.then(|| "pad".into())),
        ];
        settings.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

fn delimiter(delimiter: &Delimiter) -> Option<Value> {
    match delimiter {
        Delimiter::Byte(b',') | Delimiter::Widths(_) => None,
        Delimiter::Byte(byte) => Some(char::from(*byte).to_string().into()),
        Delimiter::Text(text) => Some(text.as_str().into()),
        Delimiter::Whitespace => Some("whitespace".into()),
    }
}
