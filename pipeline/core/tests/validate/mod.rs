//! Validation: every reason, and the canonical line.

mod canonical;
mod defaults;
mod hints;
mod literals;
mod notations;
mod nulls;
mod reasons;
mod times;

use std::time::{Duration, SystemTime};

use tidegate_core::manifest::Manifest;
use tidegate_core::validate::{Scratch, Validator};

/// A validator for a dataset, of which `rest` is what follows its name in the manifest.
fn validator(rest: &str) -> Validator {
    let text = format!("pipeline: p\ndatasets:\n  d:\n    key: id\n{rest}");
    let manifest = Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}\n\n{text}"));
    Validator::new(&manifest.datasets[0])
}

/// A validator for the columns `id: integer` and `v`, of that type.
fn validator_of(column: &str) -> Validator {
    validator(&format!("    columns:\n      id: integer\n      v: {column}\n"))
}

/// The reasons against a line, each as `code column: message [value]`.
fn reasons(validator: &Validator, text: impl AsRef<[u8]>) -> Vec<String> {
    let mut scratch = Scratch::default();
    let Err(reasons) = validator.check(text.as_ref(), &mut scratch) else { return Vec::new() };
    assert!(!reasons.is_empty(), "a line is refused for a reason");
    let lines = reasons.iter().map(|reason| {
        let code = serde_json::to_value(reason.code).expect("a code is JSON");
        let column = reason.column.as_deref().unwrap_or("-");
        format!(
            "{} {column}: {} [{}]",
            code.as_str().expect("a code is a text"),
            reason.message,
            reason.value
        )
    });
    lines.collect()
}

/// What a line becomes in canonical form, or the first reason against it.
fn read(validator: &Validator, text: &str) -> String {
    let mut scratch = Scratch::at(SystemTime::UNIX_EPOCH + Duration::from_millis(1_627_401_728_500));
    match validator.check(text.as_bytes(), &mut scratch) {
        Ok(row) => String::from_utf8(row.canonical.to_vec()).expect("a line that is text stays text"),
        Err(reasons) => reasons[0].message.clone(),
    }
}

/// Asserts, for a column `v` of that type, what a field becomes, or the reason against it.
fn assert_fields(column: &str, cases: &[(&str, &str)]) {
    let validator = validator_of(column);
    for (field, expected) in cases {
        let line = read(&validator, &format!("1,{field}"));
        assert_eq!(line.strip_prefix("1,").unwrap_or(&line), *expected, "{column}: {field}");
    }
}
