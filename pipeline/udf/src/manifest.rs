//! The part of a manifest that the functions of one dataset need.
//!
//! The text that Arroyo compiles holds a manifest in the manifest's own grammar, so that the only reader of manifests
//! reads it too. The environment's variables are replaced when it is written. Only what validation needs is written:
//! no folder, no database, no cluster. A secret of the environment can therefore be in the text only if it is part of
//! a rule.

use std::fmt::Write;

use tidegate_core::manifest::{
    Bound, Column, Csv, Dataset, DefaultValue, Kind, Manifest, Reading, Reference, Rules,
};
use tidegate_core::printable::in_quotes;
use tidegate_core::syntax::{Delimiter, Dialect};

/// The manifest of one dataset: its columns, rules, references and dialect. A dataset that it references is included
/// with its key, the other columns that are referenced, and nothing else.
///
/// Line ends and characters that are not ASCII are escaped, so that the text can be part of any source file.
pub fn minimal(manifest: &Manifest, dataset: &Dataset) -> String {
    let mut out = format!("pipeline: {}\ndatasets:\n", quoted(&manifest.pipeline));
    let mut parents: Vec<usize> = dataset.references.iter().map(|reference| reference.dataset).collect();
    parents.sort_unstable();
    parents.dedup();
    for index in parents {
        let parent = &manifest.datasets[index];
        if parent.name != dataset.name {
            begin(&mut out, parent);
            out.push_str("    columns:\n");
            let to = dataset.references.iter().filter(|reference| reference.dataset == index);
            let mut columns: Vec<usize> =
                to.flat_map(|reference| &reference.to).chain(&parent.key).copied().collect();
            columns.sort_unstable();
            columns.dedup();
            for column in columns {
                // A line that references the column does not depend on the column's rules.
                let (rules, reading) = (Rules::default(), Reading::default());
                let plain = Column { rules, reading, ..parent.columns[column].clone() };
                self::column(&mut out, &Csv::default(), &plain, None);
            }
        }
    }
    begin(&mut out, dataset);
    csv(&mut out, &dataset.csv);
    out.push_str("    columns:\n");
    for (i, column) in dataset.columns.iter().enumerate() {
        let alone = dataset.references.iter().find(|reference| reference.columns == [i]);
        self::column(&mut out, &dataset.csv, column, alone.map(|reference| target(manifest, reference)));
    }
    references(&mut out, manifest, dataset);
    out
}

fn begin(out: &mut String, dataset: &Dataset) {
    let key = match dataset.single_key() {
        Some(key) => quoted(&key.name),
        None if dataset.is_keyless() => "none".to_owned(),
        None => names(dataset, &dataset.key),
    };
    push(out, format_args!("  {}:\n    key: {key}\n", name(&dataset.name)));
}

/// The references of several columns. The others are written in their column.
fn references(out: &mut String, manifest: &Manifest, dataset: &Dataset) {
    let several = || dataset.references.iter().filter(|reference| reference.columns.len() > 1);
    if several().next().is_none() {
        return;
    }
    out.push_str("    references:\n");
    for reference in several() {
        let (columns, to) = (names(dataset, &reference.columns), quoted(&target(manifest, reference)));
        push(out, format_args!("      - {{columns: {columns}, to: {to}}}\n"));
    }
}

/// What a reference leads to: a dataset, for its key, or a column of a dataset.
fn target(manifest: &Manifest, reference: &Reference) -> String {
    let parent = &manifest.datasets[reference.dataset];
    match reference.to == parent.key {
        true => parent.name.clone(),
        false => format!("{}.{}", parent.name, parent.names(&reference.to)),
    }
}

/// Names of columns as a YAML list.
fn names(dataset: &Dataset, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|column| quoted(&dataset.columns[*column].name)).collect();
    format!("[{}]", names.join(", "))
}

/// The dialect of lines on a raw topic. Whether a file has a header matters to what is said of a line with more or fewer
/// fields.
fn csv(out: &mut String, csv: &Csv) {
    let Dialect { delimiter, quote, escape, c_escapes, trim } = &csv.syntax.dialect;
    let character = |byte: u8| quoted(&char::from(byte).to_string());
    let delimiter = match delimiter {
        Delimiter::Byte(byte) => character(*byte),
        Delimiter::Text(text) => quoted(text),
        Delimiter::Whitespace => "whitespace".to_owned(),
        // Lines of fixed width are mapped before they come here.
        Delimiter::Widths(_) => character(b','),
    };
    let quote = quote.map_or("none".to_owned(), character);
    let mut settings = vec![format!("delimiter: {delimiter}"), format!("quote: {quote}")];
    settings.extend(escape.map(|escape| format!("escape: {}", character(escape))));
    settings.extend(c_escapes.then(|| "escapes: c".to_owned()));
    settings.extend(trim.then(|| "trim: true".to_owned()));
    settings.extend(csv.syntax.header.then(|| "header: true".to_owned()));
    if !csv.null.is_empty() {
        settings.push(format!("null: {}", list(&csv.null)));
    }
    let is_standard = (&csv.syntax.dialect, &csv.null) == (&Dialect::STANDARD, &Vec::new());
    if !is_standard || csv.syntax.header {
        push(out, format_args!("    csv: {{{}}}\n", settings.join(", ")));
    }
}

fn column(out: &mut String, csv: &Csv, column: &Column, references: Option<String>) {
    push(out, format_args!("      {}: {{type: {}", name(&column.name), quoted(&column.kind.to_string())));
    if column.optional {
        out.push_str(", optional: true");
    }
    if let Some(to) = references {
        push(out, format_args!(", references: {}", quoted(&to)));
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
        push(out, format_args!(", one_of: {}", list(allowed)));
    }
    // What the dataset's settings would give the column otherwise.
    if column.reading.nulls.is_empty() && !csv.null.is_empty() {
        out.push_str(", null: \"\"");
    }
    if !column.reading.trim && csv.syntax.dialect.trim && !column.kind.is_text() {
        out.push_str(", trim: false");
    }
    reading(out, column);
    out.push_str("}\n");
}

/// How the texts of a column are read. What the dataset's `csv` says is written there too, except the null markers.
fn reading(out: &mut String, column: &Column) {
    let Reading { nulls, formats, time_zone, thousands, strip, true_words, false_words, .. } =
        &column.reading;
    let Reading { quoted_null, empty_is_text, trim, decimal, accounting, default, .. } = &column.reading;
    let formats: Vec<String> = formats.iter().map(ToString::to_string).collect();
    let lists = [
        ("null", nulls),
        ("format", &formats),
        ("strip", strip),
        ("true", true_words),
        ("false", false_words),
    ];
    for (key, texts) in lists.into_iter().filter(|(_, texts)| !texts.is_empty()) {
        push(out, format_args!(", {key}: {}", list(texts)));
    }
    for (key, _) in [("quoted_null", quoted_null), ("trim", trim), ("accounting", accounting)]
        .iter()
        .filter(|(_, is)| **is)
    {
        push(out, format_args!(", {key}: true"));
    }
    if *empty_is_text {
        out.push_str(", empty: text");
    }
    let mark = |mark: char| mark.to_string();
    let is_local = column.kind == Kind::Timestamptz || *default == Some(DefaultValue::Now);
    let texts = [
        ("time_zone", time_zone.as_ref().filter(|_| is_local).map(|zone| zone.name().to_owned())),
        ("decimal", (*decimal != Reading::default().decimal).then(|| mark(*decimal))),
        ("thousands", thousands.map(mark)),
        ("default", default.as_ref().map(default_text)),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            push(out, format_args!(", {key}: {}", quoted(&text)));
        }
    }
}

fn default_text(default: &DefaultValue) -> String {
    match default {
        DefaultValue::Constant(value) => value.clone(),
        DefaultValue::Now => "now".to_owned(),
        DefaultValue::Table => "table".to_owned(),
    }
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
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
