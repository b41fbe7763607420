//! Query results for display: rows of texts, whatever the types of their columns.

use deadpool_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use crate::error::PgError;
use crate::table::quoted;

/// A query result for display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows, one text for each column; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Relation {
    /// Drops a column of numbers if all of them are 0, for display.
    pub fn without_zeros(self, column: &str) -> Self {
        self.without(column, |number| number == Some("0"))
    }

    /// Drops a column if all its cells are `idle`, for display.
    pub fn without(mut self, column: &str, idle: impl Fn(Option<&str>) -> bool) -> Self {
        let Some(place) = self.columns.iter().position(|its| its.name == column) else { return self };
        if self.rows.iter().all(|row| idle(row[place].as_deref())) {
            self.columns.remove(place);
            self.rows.iter_mut().for_each(|row| drop(row.remove(place)));
        }
        self
    }
}

/// A column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// How the texts of the column are to be read.
    pub kind: ColumnKind,
}

/// How the texts of a column are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// As text.
    Text,
    /// As a number, exact.
    Number,
    /// As `true` or `false`.
    Boolean,
    /// As JSON.
    Json,
}

impl Column {
    /// A column.
    pub fn new(name: &str, kind: ColumnKind) -> Self {
        Self { name: name.to_owned(), kind }
    }
}

/// Runs a query and returns its result as texts.
pub async fn read(
    connection: &impl GenericClient,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Relation, PgError> {
    let statement = connection.prepare(sql).await?;
    let columns: Vec<Column> = statement
        .columns()
        .iter()
        .map(|column| Column::new(column.name(), kind_of(column.type_())))
        .collect();
    let texts: Vec<String> = columns.iter().map(|c| format!("r.{}::text", quoted(&c.name))).collect();
    let wrapped = format!("select {} from ({sql}) as r", texts.join(", "));
    let rows = connection.query(&wrapped, parameters).await?;
    let width = columns.len();
    let rows = rows.iter().map(|row| (0..width).map(|i| row.get(i)).collect()).collect();
    Ok(Relation { columns, rows })
}

fn kind_of(kind: &Type) -> ColumnKind {
    match *kind {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
            ColumnKind::Number
        }
        Type::BOOL => ColumnKind::Boolean,
        Type::JSON | Type::JSONB => ColumnKind::Json,
        _ => ColumnKind::Text,
    }
}
