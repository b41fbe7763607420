//! The part of a manifest that the functions of one dataset need.
//!
//! The text that Arroyo compiles holds a manifest in the manifest's own grammar, so that the only reader of manifests
//! reads it too. The environment's variables are replaced when it is written. Only what validation needs is written:
//! no folder, no database, no cluster. A secret of the environment can therefore be in the text only if it is part of
//! a rule.

use std::fmt::Write;

use tidegate_core::manifest::{Bound, Column, Csv, Dataset, Manifest, Rules};
use tidegate_core::printable::in_quotes;

/// The manifest of one dataset: its columns, rules and dialect. A dataset that it references is included with its key
/// and nothing else.
///
/// Line ends and characters that are not ASCII are escaped, so that the text can be part of any source file.
pub fn minimal(manifest: &Manifest, dataset: &Dataset) -> String {
    let mut out = format!("pipeline: {}\ndatasets:\n", quoted(&manifest.pipeline));
    let mut parents: Vec<usize> = dataset.columns.iter().filter_map(|column| column.references).collect();
    parents.sort_unstable();
    parents.dedup();
    for parent in parents.into_iter().map(|index| &manifest.datasets[index]) {
        if parent.name != dataset.name {
            let key = parent.key_column();
            begin(&mut out, parent);
            out.push_str("    columns:\n");
            // A line that references the key does not depend on the key's rules and references.
            let key = Column { references: None, rules: Rules::default(), ..key.clone() };
            self::column(&mut out, manifest, &key);
        }
    }
    begin(&mut out, dataset);
    csv(&mut out, &dataset.csv);
    out.push_str("    columns:\n");
    for column in &dataset.columns {
        self::column(&mut out, manifest, column);
    }
    out
}

fn begin(out: &mut String, dataset: &Dataset) {
    push(out, format_args!("  {}:\n    key: {}\n", name(&dataset.name), quoted(&dataset.key_column().name)));
}

/// The dialect of lines on a raw topic. Whether a file has a header does not matter there.
fn csv(out: &mut String, csv: &Csv) {
    let standard = Csv::default();
    if (csv.delimiter, csv.quote, &csv.null) == (standard.delimiter, standard.quote, &standard.null) {
        return;
    }
    let character = |byte: u8| quoted(&char::from(byte).to_string());
    let (delimiter, quote) = (character(csv.delimiter), character(csv.quote));
    push(out, format_args!("    csv: {{delimiter: {delimiter}, quote: {quote}"));
    if let Some(null) = &csv.null {
        push(out, format_args!(", null: {}", quoted(null)));
    }
    out.push_str("}\n");
}

fn column(out: &mut String, manifest: &Manifest, column: &Column) {
    push(out, format_args!("      {}: {{type: {}", name(&column.name), quoted(&column.kind.to_string())));
    if column.optional {
        out.push_str(", optional: true");
    }
    if let Some(parent) = column.references {
        push(out, format_args!(", references: {}", quoted(&manifest.datasets[parent].name)));
    }
    let Rules { min, max, min_length, max_length, pattern, one_of } = &column.rules;
    let texts = [
        ("min", min.as_ref().map(bound)),
        ("max", max.as_ref().map(bound)),
        ("min_length", min_length.map(|length| length.to_string())),
        ("max_length", max_length.map(|length| length.to_string())),
        ("pattern", pattern.as_ref().map(|pattern| pattern.as_str().to_owned())),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            push(out, format_args!(", {key}: {}", quoted(&text)));
        }
    }
    if let Some(allowed) = one_of {
        let allowed: Vec<_> = allowed.iter().map(|value| quoted(value)).collect();
        push(out, format_args!(", one_of: [{}]", allowed.join(", ")));
    }
    out.push_str("}\n");
}

/// A bound as text. A float is the shortest text that reads as the same float, and may have an exponent.
fn bound(bound: &Bound) -> String {
    match bound {
        Bound::Float(limit) => format!("{limit:?}"),
        _ => bound.to_string(),
    }
}

/// A text as a YAML scalar. In a text `${` begins a variable, and `$${` stands for `${`.
fn quoted(text: &str) -> String {
    name(&text.replace("${", "$${"))
}

/// A key as a YAML scalar. In a key `${` stands for itself.
fn name(text: &str) -> String {
    in_quotes(text, |c| !matches!(c, ' '..='~'))
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}
