//! Results on stdout: a table for people, CSV and JSON for machines.
//!
//! What people see has no control characters; what machines read is exact.

use std::borrow::Cow;
use std::io::Write;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableComponent, Width, presets,
};
use csv_async::AsyncWriterBuilder;
use serde_json::value::RawValue;
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_core::printable::printable;

use crate::Failure;
use crate::cli::Format;

/// Writes a relation to stdout.
///
/// # Errors
///
/// If stdout cannot be written to; a reader that has gone away is no error.
pub async fn write(relation: &Relation, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table_here(relation),
        Format::Csv => csv(relation, Cells::Exact).await?,
        Format::Json => json(relation)?,
    };
    print(&text)
}

/// Writes text to stdout.
///
/// # Errors
///
/// If stdout cannot be written to; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A relation as a table for people, on the terminal that there is.
pub(crate) fn table_here(relation: &Relation) -> String {
    table(relation, terminal_columns())
}

/// How wide the terminal is; `None` where stdout is none.
fn terminal_columns() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout())
        .map(|(terminal_size::Width(columns), _)| columns.into())
}

/// Texts of a table may be broken into lines of so many characters, if it must be narrow.
const TEXT_CHARS_MIN: usize = 20;

/// Of a longer text in a narrow table the end is left out.
const TEXT_CHARS_MAX: usize = 600;

/// A relation as a table for people, within so many columns of the terminal: with texts broken into lines, or, where
/// that is too narrow, a row as lines of a name and its value.
pub fn table(relation: &Relation, columns_max: Option<usize>) -> String {
    let cell = |value: &Option<String>| shown(value.as_deref().unwrap_or_default());
    let rows: Vec<Vec<String>> = relation.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let wide = arranged(relation, &rows);
    let Some(columns_max) = columns_max.filter(|max| width_of(&wide) > *max) else {
        return format!("{wide}\n");
    };
    let short: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().map(shortened).collect()).collect();
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

/// How many columns of a terminal a table takes whose contents are so wide: with a blank on either side of each, a line
/// between two, and one at either end.
fn columns_of(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let lines = widths.len() + 1;
    widths.map(|width| width + 2).sum::<usize>() + lines
}

fn width_of(table: &Table) -> usize {
    columns_of(table.column_max_content_widths().into_iter().map(usize::from))
}

/// A table whose texts are broken so that it fits; numbers, times and names of columns never are. `None` if that leaves
/// texts too little room.
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
    // The lines between columns take what the width does not count.
    let width = (columns_max + 1).saturating_sub(rooms.len());
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    (columns_of(rooms.into_iter()) <= columns_max).then_some(table)
}

/// Each row as lines of a name and its value.
fn listed(relation: &Relation, rows: &[Vec<String>], columns_max: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_style(TableComponent::BottomBorder, '─').set_style(TableComponent::TopBorder, '─');
    // The line between the columns takes one that the width does not count.
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

/// A text that cannot move the cursor, change colours or reorder letters on the terminal it is shown on.
pub(crate) fn shown(text: &str) -> String {
    printable(text).into_owned()
}

/// How texts become cells of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    /// As they are.
    Exact,
    /// With a `'` before those that a spreadsheet would take for a formula.
    Harmless,
}

impl Cells {
    /// A text as a cell. Numbers are none: `-1` is no formula.
    fn of(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Harmless if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => {
                format!("'{text}").into()
            }
            _ => text.into(),
        }
    }
}

/// A relation as CSV, with a header.
pub(crate) async fn csv(relation: &Relation, cells: Cells) -> Result<String, Failure> {
    let mut writer = AsyncWriterBuilder::new().create_writer(Vec::new());
    // Owned, for what is lent across an await is not `Send` enough for a handler.
    let names: Vec<String> =
        relation.columns.iter().map(|column| cells.of(&column.name).into_owned()).collect();
    writer.write_record(&names).await?;
    for row in &relation.rows {
        let mut fields = Vec::with_capacity(row.len());
        for (column, value) in relation.columns.iter().zip(row) {
            let value = value.as_deref().unwrap_or_default();
            fields.push(match column.kind {
                ColumnKind::Number => value.to_owned(),
                _ => cells.of(value).into_owned(),
            });
        }
        writer.write_record(&fields).await?;
    }
    Ok(String::from_utf8(writer.into_inner().await?)?)
}

/// A relation as an array of objects.
pub(crate) fn json(relation: &Relation) -> Result<String, Failure> {
    let mut out = String::from("[");
    for (i, row) in relation.rows.iter().enumerate() {
        out.push_str(if i == 0 { "\n  " } else { ",\n  " });
        out.push_str(&object(relation, row)?);
    }
    out.push_str(if relation.rows.is_empty() { "]\n" } else { "\n]\n" });
    Ok(out)
}

/// A relation as one object a line.
///
/// # Errors
///
/// If a text is no JSON after all.
pub(crate) fn ndjson(relation: &Relation) -> Result<String, Failure> {
    let mut out = String::new();
    for row in &relation.rows {
        out.push_str(&object(relation, row)?);
        out.push('\n');
    }
    Ok(out)
}

fn object(relation: &Relation, row: &[Option<String>]) -> Result<String, Failure> {
    let mut out = String::from("{");
    for (j, (column, value)) in relation.columns.iter().zip(row).enumerate() {
        if j > 0 {
            out.push_str(", ");
        }
        out.push_str(&serde_json::to_string(&column.name)?);
        out.push_str(": ");
        out.push_str(&json_value(column, value.as_deref())?);
    }
    out.push('}');
    Ok(out)
}

fn json_value(column: &Column, value: Option<&str>) -> Result<String, Failure> {
    let Some(value) = value else { return Ok("null".to_owned()) };
    Ok(match column.kind {
        // NaN and the infinities are no JSON; as text they are.
        ColumnKind::Number | ColumnKind::Json if serde_json::from_str::<&RawValue>(value).is_ok() => {
            value.to_owned()
        }
        ColumnKind::Boolean => value.to_owned(),
        _ => serde_json::to_string(value)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation() -> Relation {
        let columns = vec![
            Column::new("year", ColumnKind::Number),
            Column::new("job", ColumnKind::Text),
            Column::new("done", ColumnKind::Boolean),
        ];
        let rows = vec![
            vec![Some("2021".into()), Some("a,\"b\"".into()), Some("true".into())],
            vec![Some("NaN".into()), None, None],
        ];
        Relation { columns, rows }
    }

    #[tokio::test]
    async fn csv_has_a_header_row() {
        assert_eq!(
            csv(&relation(), Cells::Exact).await.unwrap(),
            "year,job,done\n2021,\"a,\"\"b\"\"\",true\nNaN,,\n"
        );
    }

    #[tokio::test]
    async fn no_cell_is_a_formula_where_spreadsheets_may_read_it() {
        let columns = vec![Column::new("n", ColumnKind::Number), Column::new("=a", ColumnKind::Text)];
        let row = |n: &str, text: &str| vec![Some(n.to_owned()), Some(text.to_owned())];
        let rows = vec![
            row("-1", "-1"),
            row("1", "=1+1"),
            row("2", "@a"),
            row("3", "+a"),
            row("4", "\ta"),
            row("5", "a="),
        ];
        let relation = Relation { columns, rows };
        let expected = "n,'=a\n-1,'-1\n1,'=1+1\n2,'@a\n3,'+a\n4,'\ta\n5,a=\n";
        assert_eq!(csv(&relation, Cells::Harmless).await.unwrap(), expected);
    }

    #[test]
    fn json_is_an_array_of_objects() {
        let json = json(&relation()).unwrap();
        let expected = serde_json::json!([
            {"year": 2021, "job": "a,\"b\"", "done": true},
            {"year": "NaN", "job": null, "done": null},
        ]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), expected);
        assert_eq!(super::json(&Relation::default()).unwrap(), "[]\n");
    }

    #[test]
    fn a_table_shows_no_escape_sequence() {
        assert_eq!(shown("a\u{1b}[31m"), "a\\u{1b}[31m");
        let columns = vec![Column::new("\u{1b}[1m", ColumnKind::Text)];
        let relation = Relation { columns, rows: vec![vec![Some("b\u{202e}\u{9b}".into())]] };
        for columns_max in [None, Some(80), Some(12)] {
            let table = table(&relation, columns_max);
            assert!(!table.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{table:?}");
        }
    }

    fn wide() -> Relation {
        let number = |name| Column::new(name, ColumnKind::Number);
        let text = |name| Column::new(name, ColumnKind::Text);
        let columns = vec![number("source"), number("line"), text("dataset"), text("message"), text("text")];
        let row = |line: &str| {
            let message =
                "name is required; a line that is long enough that no terminal has room for it".to_owned();
            let values =
                ["1000001".into(), line.to_owned(), "hired_employees".into(), message, "é".repeat(3000)];
            values.map(Some).to_vec()
        };
        Relation { columns, rows: vec![row("17"), row("1234567890123")] }
    }

    #[test]
    fn a_table_fits_into_a_narrow_terminal_and_breaks_no_number() {
        for columns_max in 60..=220 {
            let table = table(&wide(), Some(columns_max));
            let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns_max, "{widest} in {columns_max}:\n{table}");
            for word in ["1000001", "1234567890123", "source", "required"] {
                assert!(table.contains(word), "'{word}' is broken in {columns_max}:\n{table}");
            }
        }
        let narrow = table(&wide(), Some(100));
        assert!(narrow.starts_with('┌'), "{narrow}");
        let listed = table(&wide(), Some(60));
        assert!(listed.contains("dataset") && !listed.starts_with('┌'), "{listed}");
    }

    #[test]
    fn a_table_that_has_room_stays_as_it_is() {
        assert_eq!(table(&relation(), Some(80)), table(&relation(), None));
        let whole = table(&wide(), None);
        assert!(whole.contains(&"é".repeat(3000)), "what is no terminal gets all of it");
    }
}
