//! As much of a manifest as the functions of one dataset need.
//!
//! What Arroyo compiles holds a manifest as text, in the manifest's own grammar, so that it is read by
//! the one reader there is. Variables are filled in when it is written, and nothing is written that
//! validation does not ask for: no folder, no database, no cluster. So a secret of the environment can get
//! in only if it is made part of a rule.

use std::fmt::Write;

use tidegate_core::manifest::{Bound, Column, Csv, Dataset, Manifest, Rules};

/// The manifest of a dataset alone: its columns, rules and dialect. What it references is there with its
/// key and nothing else.
///
/// All that is not ASCII is escaped, and so are the ends of lines: the text can stand in any source file.
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
            // Its rules and its own references are no matter of the line that names it.
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

/// How lines are read on a raw topic: whether a file has a header no longer matters there.
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

/// Of a float the shortest text that reads the same, which may have an exponent.
fn bound(bound: &Bound) -> String {
    match bound {
        Bound::Float(limit) => format!("{limit:?}"),
        _ => bound.to_string(),
    }
}

/// A text as a scalar of YAML. In a text `${` begins a variable, and `$${` is the text itself.
fn quoted(text: &str) -> String {
    name(&text.replace("${", "$${"))
}

/// A key as a scalar of YAML. In a key `${` is the text itself.
fn name(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => push(&mut out, format_args!("\\U{:08X}", u32::from(character))),
        }
    }
    out.push('"');
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}
