//! Relations as CSV and JSON.

use std::borrow::Cow;

use csv_async::AsyncWriterBuilder;
use serde_json::value::RawValue;
use tidegate_postgres::relation::{ColumnKind, Relation};
use tidegate_store::export::harmless;

use crate::Failure;

/// How texts are written as cells of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// Unchanged.
    Exact,
    /// With a `'` before each text that a spreadsheet would take for a formula.
    Harmless,
}

impl Cells {
    /// A text as a cell. Numbers do not pass through here, because a number such as `-1` is no formula.
    fn of(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Harmless => harmless(text),
            Self::Exact => text.into(),
        }
    }
}

/// A relation as CSV, with a header.
pub async fn csv(relation: &Relation, cells: Cells) -> Result<String, Failure> {
    let mut writer = AsyncWriterBuilder::new().create_writer(Vec::new());
    // Owned texts, because borrowing them across an await would make the future of a handler not `Send`.
    let names: Vec<_> = relation.columns.iter().map(|column| cells.of(&column.name).into_owned()).collect();
    writer.write_record(&names).await?;
    for row in &relation.rows {
        let fields = relation.columns.iter().zip(row).map(|(column, value)| match column.kind {
            ColumnKind::Number => value.clone().unwrap_or_default(),
            _ => cells.of(value.as_deref().unwrap_or_default()).into_owned(),
        });
        let fields: Vec<_> = fields.collect();
        writer.write_record(&fields).await?;
    }
    Ok(String::from_utf8(writer.into_inner().await?)?)
}

/// A relation as an array of objects.
pub fn json(relation: &Relation) -> Result<String, Failure> {
    let objects: Vec<_> = relation.rows.iter().map(|row| object(relation, row)).collect::<Result<_, _>>()?;
    Ok(if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n  {}\n]\n", objects.join(",\n  ")) })
}

/// A relation as one object a line.
pub(crate) fn ndjson(relation: &Relation) -> Result<String, Failure> {
    relation.rows.iter().map(|row| Ok(object(relation, row)? + "\n")).collect()
}

fn object(relation: &Relation, row: &[Option<String>]) -> serde_json::Result<String> {
    let pairs = relation.columns.iter().zip(row).map(|(column, value)| {
        Ok(format!(
            "{}: {}",
            serde_json::to_string(&column.name)?,
            json_value(column.kind, value.as_deref())?
        ))
    });
    Ok(format!("{{{}}}", pairs.collect::<serde_json::Result<Vec<_>>>()?.join(", ")))
}

fn json_value(kind: ColumnKind, value: Option<&str>) -> serde_json::Result<String> {
    match (kind, value) {
        (_, None) => Ok("null".to_owned()),
        (ColumnKind::Boolean, Some(value)) => Ok(value.to_owned()),
        // NaN and the infinities are not valid JSON, so they are written as text.
        (ColumnKind::Number | ColumnKind::Json, Some(value))
            if serde_json::from_str::<&RawValue>(value).is_ok() =>
        {
            Ok(value.to_owned())
        }
        (_, Some(value)) => serde_json::to_string(value),
    }
}
