//! Results on stdout: a table for people, CSV and JSON for machines.
//!
//! Tables for people contain no control characters. Output for machines is exact.

use std::io::Write;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableComponent, Width, presets,
};
use serde::Serialize;
use serde_json::Value;
use tidegate_core::printable::printable;
use tidegate_postgres::relation::{Column, ColumnKind, Relation};

use crate::Failure;
use crate::cli::Format;
use crate::formats::{self, Cells};

/// A relation whose rows are arrays of JSON, with a value for each column.
pub(crate) fn relation(columns: &[(&str, ColumnKind)], rows: impl IntoIterator<Item = Value>) -> Relation {
    let cell = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let cells = |row: Value| row.as_array().into_iter().flatten().map(cell).collect();
    let columns = columns.iter().map(|(name, kind)| Column::new(name, *kind)).collect();
    Relation { columns, rows: rows.into_iter().map(cells).collect() }
}

/// A relation of the fields of values that have the names of these columns.
pub(crate) fn relation_of(
    columns: &[(&str, ColumnKind)],
    values: &[impl Serialize],
) -> Result<Relation, Failure> {
    let field =
        |fields: &Value, name: &str| match fields.get(name).expect("the value has the columns' fields") {
            nested @ (Value::Array(_) | Value::Object(_)) => Value::String(jsonb_text(nested)),
            plain => plain.clone(),
        };
    let row = |value| {
        let fields = serde_json::to_value(value)?;
        Ok(columns.iter().map(|(name, _)| field(&fields, name)).collect())
    };
    let rows: Vec<Value> = values.iter().map(row).collect::<Result<_, serde_json::Error>>()?;
    Ok(relation(columns, rows))
}

/// JSON as Postgres writes a `jsonb`: with blanks, the keys of objects by length.
pub(crate) fn jsonb_text(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            format!("[{}]", values.iter().map(jsonb_text).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| (name.len(), name.as_str()));
            let member =
                |(name, value)| format!("{}: {}", Value::String(String::clone(name)), jsonb_text(value));
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// Writes a relation to stdout.
pub async fn write(relation: &Relation, format: Format) -> Result<(), Failure> {
    print(match format {
        Format::Table => table_here(relation),
        Format::Csv => formats::csv(relation, Cells::Exact).await?,
        Format::Json => formats::json(relation)?,
    })
}

/// Writes text to stdout. A reader that has closed its end is no error.
pub fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A value as one object of JSON that people can read, with a line ending.
pub(crate) fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// A relation as a table for people, as wide as the terminal, or as wide as it is if stdout is no terminal.
pub(crate) fn table_here(relation: &Relation) -> String {
    let terminal = terminal_size::terminal_size_of(std::io::stdout());
    table(relation, terminal.map(|(columns, _)| columns.0.into()))
}

/// If a table must be narrow, its texts are broken into lines of at least this many characters.
const TEXT_CHARS_MIN: usize = 20;

/// In a narrow table, a text is cut after this many characters.
const TEXT_CHARS_MAX: usize = 600;

/// A relation as a table for people, at most `columns_max` columns of the terminal wide. If the table is too wide, its
/// texts are broken into lines. If that is not enough, each row becomes lines of a name and its value.
pub fn table(relation: &Relation, columns_max: Option<usize>) -> String {
    let cell = |value: &Option<String>| shown(value.as_deref().unwrap_or_default());
    let rows: Vec<Vec<_>> = relation.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let wide = arranged(relation, &rows);
    let Some(columns_max) = columns_max.filter(|max| width_of(&wide) > *max) else {
        return format!("{wide}\n");
    };
    let short: Vec<Vec<_>> = rows.into_iter().map(|row| row.into_iter().map(shortened).collect()).collect();
    match narrowed(arranged(relation, &short), relation, columns_max) {
        Some(narrow) => format!("{narrow}\n"),
        None => listed(relation, &short, columns_max),
    }
}

fn arranged(relation: &Relation, rows: &[Vec<String>]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(relation.columns.iter().map(|column| shown(&column.name)));
    for row in rows {
        table.add_row(row);
    }
    for (i, column) in relation.columns.iter().enumerate() {
        if column.kind == ColumnKind::Number
            && let Some(column) = table.column_mut(i)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The width of a table whose columns have contents of these widths: a blank on either side of each content, a line
/// between two columns, and a line at either end.
fn columns_of(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let lines = widths.len() + 1;
    widths.map(|width| width + 2).sum::<usize>() + lines
}

fn width_of(table: &Table) -> usize {
    columns_of(table.column_max_content_widths().into_iter().map(usize::from))
}

/// A table whose texts are broken so that it fits. Numbers, times and names of columns are never broken. `None` if
/// texts get too little room.
fn narrowed(mut table: Table, relation: &Relation, columns_max: usize) -> Option<Table> {
    let widths = table.column_max_content_widths();
    let mut rooms = Vec::with_capacity(widths.len());
    for (index, (column, width)) in relation.columns.iter().zip(widths).enumerate() {
        let width = usize::from(width);
        let name = column.name.chars().count();
        let room = match column.kind {
            ColumnKind::Text | ColumnKind::Json => width.min(TEXT_CHARS_MIN.max(name)),
            ColumnKind::Number | ColumnKind::Boolean => width,
        };
        let bound = Width::Fixed((room + 2) as u16);
        let constraint = match room == width {
            true => ColumnConstraint::Absolute(bound),
            false => ColumnConstraint::LowerBoundary(bound),
        };
        table.column_mut(index)?.set_constraint(constraint);
        rooms.push(room);
    }
    // The set width does not count the lines between columns.
    let width = (columns_max + 1).saturating_sub(rooms.len());
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    (columns_of(rooms.into_iter()) <= columns_max).then_some(table)
}

/// Each row as lines of a name and its value.
fn listed(relation: &Relation, rows: &[Vec<String>], columns_max: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_style(TableComponent::BottomBorder, '─').set_style(TableComponent::TopBorder, '─');
    // The set width does not count the line between the two columns.
    table.set_width(columns_max.saturating_sub(1) as u16);
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            table.add_row(Row::from(["", ""]));
        }
        for (column, value) in relation.columns.iter().zip(row) {
            table.add_row([&shown(&column.name), value]);
        }
    }
    let names = relation.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed((names + 2) as u16)));
    }
    format!("{table}\n")
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A text in a form that cannot move the terminal's cursor, change its colours or reorder letters.
pub fn shown(text: &str) -> String {
    printable(text).into_owned()
}
