//! Validation: every reason, and the canonical line.

mod canonical;
mod literals;
mod reasons;

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
