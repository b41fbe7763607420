//! Results on stdout: a table for people, CSV and JSON for machines.

use std::borrow::Cow;
use std::io::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use csv_async::AsyncWriterBuilder;
use serde_json::value::RawValue;
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};

use crate::Failure;
use crate::cli::Format;

/// Writes a relation to stdout.
///
/// # Errors
///
/// If stdout cannot be written to; a reader that has gone away is no error.
pub async fn write(relation: &Relation, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table(relation),
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

/// A relation as a table for people.
pub fn table(relation: &Relation) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(relation.columns.iter().map(|column| &column.name));
    for row in &relation.rows {
        table.add_row(row.iter().map(|value| shown(value.as_deref().unwrap_or_default())));
    }
    for (i, column) in relation.columns.iter().enumerate() {
        if column.kind == ColumnKind::Number
            && let Some(column) = table.column_mut(i)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// A text that cannot move the cursor or change colours of the terminal it is shown on.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
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
        assert_eq!(shown("a\u{1b}[31m"), "a\u{fffd}[31m");
    }
}
