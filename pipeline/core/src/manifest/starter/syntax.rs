//! The keys of `csv` that describe how a file is written.

use serde_json::Value;

use super::names::{quoted, quoted_list};
use super::{DatasetGuess, Sample};
use crate::manifest::limits::COLUMNS_MAX;
use crate::syntax::Delimiter;

/// The settings of `csv`, each as a key and its value in YAML. What is the default is left out.
pub(super) fn settings(guess: &DatasetGuess<'_>) -> Vec<(&'static str, String)> {
    let Sample { layout, .. } = guess.sample;
    let mut syntax = layout.syntax.clone();
    if by_place(guess.sample).is_some() {
        (syntax.header, syntax.skip_lines) = (false, layout.first_lines);
    }
    let encoding = layout.encoding.clone().map(|label| ("encoding", label));
    let of_syntax = syntax.settings().into_iter().map(|(key, value)| (key, in_yaml(key, &value)));
    let mut settings: Vec<_> = encoding.into_iter().chain(of_syntax).collect();
    match &guess.nulls.shared()[..] {
        [] => {}
        [one] => settings.push(("null", quoted(one))),
        several => settings.push(("null", quoted_list(several))),
    }
    if guess.nulls.quoted {
        settings.push(("quoted_null", "true".into()));
    }
    if layout.width > COLUMNS_MAX {
        settings.push(("columns_unknown", "ignore".into()));
    }
    settings
}

/// The value of a setting in YAML. Words of the grammar need no quotes, and texts have some.
fn in_yaml(key: &str, value: &Value) -> String {
    match value {
        Value::String(word) if is_word(key, word) => word.clone(),
        Value::String(text) => quoted(text),
        Value::Array(texts) => {
            let texts: Vec<String> = texts.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            quoted_list(&texts)
        }
        other => other.to_string(),
    }
}

fn is_word(key: &str, text: &str) -> bool {
    matches!(
        (key, text),
        ("delimiter", "whitespace") | ("quote", "none") | ("escapes", "c") | ("short_rows", "pad")
    )
}

/// Why the columns are taken by their place and not by the names in the header, if they are.
pub(super) fn by_place(sample: &Sample) -> Option<&'static str> {
    let header = sample.header.as_ref()?;
    // Names are read without the blanks around them.
    let is_twice =
        |(index, name): (usize, &String)| header[..index].iter().any(|its| its.trim() == name.trim());
    if matches!(sample.layout.syntax.dialect.delimiter, Delimiter::Widths(_)) {
        return None;
    }
    if sample.odd.short_header {
        return Some("the header has one name less than lines have fields, as R writes it");
    }
    header.iter().enumerate().any(is_twice).then_some("the header has a name twice")
}
