//! Reads the rows of a view that a client asks for, in the order that it asks for.
//!
//! A column name becomes SQL only after it was found among the view's columns, and quoted. Values are parameters, and
//! each is parsed as its column's type before the view is read. Therefore errors of the client can be told from
//! errors of the server.

use deadpool_postgres::Transaction;
use tidegate_postgres::error::PgErrorKind;
use tidegate_postgres::relation::{self, Relation};
use tidegate_postgres::table::{qualified, quoted};
use tidegate_postgres::{Database, PgError, TransactionMode, schema};
use tokio_postgres::types::{Kind, ToSql, Type};

use crate::file::unknown;

/// The rows of a view to read, and their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowQuery {
    /// Only the rows with these values, by column.
    pub filters: Vec<(String, String)>,
    /// Order by these columns, then by all others that have an order. If empty, the view's own order.
    pub order: Vec<OrderBy>,
    /// The maximum number of rows; `None` for all.
    pub limit: Option<u32>,
    /// The number of rows to skip.
    pub offset: u64,
}

/// A column to order by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column.
    pub column: String,
    /// Whether the largest values come first.
    pub descending: bool,
}

/// Some rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPage {
    /// The rows.
    pub rows: Relation,
    /// Whether more rows follow.
    pub more: bool,
}

/// Why the rows of a view cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such view.
    #[error(transparent)]
    NoView(PgError),
    /// A column or a value of the request does not fit the view.
    #[error("{message}")]
    Unfit {
        /// The column of the request.
        column: String,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// Postgres returned an error, or did not answer in time.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl std::str::FromStr for OrderBy {
    type Err = std::convert::Infallible;

    /// Parses `column`, or `-column` for the largest first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (column, descending) = match text.strip_prefix('-') {
            Some(column) => (column, true),
            None => (text, false),
        };
        Ok(Self { column: column.to_owned(), descending })
    }
}

/// Returns the rows of a view.
///
/// # Errors
///
/// If there is no such view or column, a value is not of its column's type, or Postgres returns an error.
pub async fn rows(database: &Database, name: &str, asked: &RowQuery) -> Result<RowPage, ReadError> {
    let mut connection = schema::prepared_connection(database).await?;
    let tx = database.begin(&mut connection, TransactionMode::Read).await?;
    let relation = relation_of(&tx, name).await?;
    let statement = tx.prepare(&format!("select * from {relation}")).await?;
    let columns: Vec<(&str, &Type)> =
        statement.columns().iter().map(|column| (column.name(), column.type_())).collect();
    let mut conditions = Vec::new();
    for (i, (column, value)) in asked.filters.iter().enumerate() {
        let kind = comparable(name, &columns, column)?;
        let value_sql = format!("${}::text::{}", i + 1, type_sql(kind));
        read_as(&tx, column, value, kind).await?;
        conditions.push(format!("{} = {value_sql}", quoted(column)));
    }
    let mut sql = format!("select * from {relation}");
    if !conditions.is_empty() {
        sql.push_str(&format!(" where {}", conditions.join(" and ")));
    }
    sql.push_str(&order_sql(name, &columns, &asked.order)?);
    if let Some(limit) = asked.limit {
        // One more row tells whether more follow.
        sql.push_str(&format!(" limit {}", u64::from(limit) + 1));
    }
    if asked.offset > 0 {
        let offset = asked.offset.min(i64::MAX as u64);
        sql.push_str(&format!(" offset {offset}"));
    }
    let values: Vec<&(dyn ToSql + Sync)> =
        asked.filters.iter().map(|(_, value)| value as &(dyn ToSql + Sync)).collect();
    let mut rows = relation::read(&tx, &sql, &values).await?;
    let limit = asked.limit.map_or(usize::MAX, |limit| limit as usize);
    let more = rows.rows.len() > limit;
    rows.rows.truncate(limit);
    Ok(RowPage { rows, more })
}

/// Returns the relation of a view, quoted, with its schema.
async fn relation_of(tx: &Transaction<'_>, name: &str) -> Result<String, ReadError> {
    let rows = tx.query("select name, schema from tidegate.views order by name", &[]).await?;
    let found = rows.iter().find(|row| row.get::<_, &str>(0) == name);
    let Some(found) = found else {
        let names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        return Err(ReadError::NoView(unknown(name, &names)));
    };
    Ok(qualified(found.get(1), name))
}

/// Returns the type of a column whose values can be compared and ordered.
fn comparable<'a>(view: &str, columns: &[(&str, &'a Type)], column: &str) -> Result<&'a Type, ReadError> {
    let unfit = |message| Err(ReadError::Unfit { column: column.to_owned(), message });
    let Some((_, kind)) = columns.iter().find(|(name, _)| *name == column) else {
        let known: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        return unfit(format!("view '{view}' has no column '{column}'; it has: {}", known.join(", ")));
    };
    if !is_comparable(kind) {
        return unfit(format!("column '{column}' is of type {kind}, whose values are not compared"));
    }
    Ok(kind)
}

/// Returns whether values of a type have an order. The list has those without one, among the types that columns of a
/// view can have.
fn is_comparable(kind: &Type) -> bool {
    match kind.kind() {
        Kind::Array(element) => is_comparable(element),
        Kind::Domain(base) => is_comparable(base),
        Kind::Simple => ![
            Type::JSON,
            Type::JSONPATH,
            Type::XML,
            Type::POINT,
            Type::LINE,
            Type::LSEG,
            Type::BOX,
            Type::PATH,
            Type::POLYGON,
            Type::CIRCLE,
        ]
        .contains(kind),
        Kind::Enum(_) | Kind::Range(_) | Kind::Multirange(_) => true,
        _ => false,
    }
}

fn type_sql(kind: &Type) -> String {
    format!("{}.{}", quoted(kind.schema()), quoted(kind.name()))
}

/// Parses a value as its column's type.
async fn read_as(tx: &Transaction<'_>, column: &str, value: &str, kind: &Type) -> Result<(), ReadError> {
    let sql = format!("select $1::text::{} is null", type_sql(kind));
    let error = match tx.query_one(&sql, &[&value]).await {
        Ok(_) => return Ok(()),
        Err(error) => PgError::from(error),
    };
    if error.kind() != PgErrorKind::Row {
        return Err(error.into());
    }
    let shown: String = value.chars().take(100).collect();
    let message =
        format!("'{}' is no value of column '{column}', which is of type {kind}", shown.escape_debug());
    Err(ReadError::Unfit { column: column.to_owned(), message })
}

/// Orders by the requested columns, then by all others that have an order, so that pages neither repeat a row nor
/// leave one out.
fn order_sql(view: &str, columns: &[(&str, &Type)], asked: &[OrderBy]) -> Result<String, ReadError> {
    if asked.is_empty() {
        return Ok(String::new());
    }
    let mut terms = Vec::new();
    for OrderBy { column, descending } in asked {
        comparable(view, columns, column)?;
        terms.push(format!("{}{}", quoted(column), if *descending { " desc" } else { "" }));
    }
    let is_asked = |name: &str| asked.iter().any(|order| order.column == name);
    let others = columns.iter().filter(|(name, kind)| !is_asked(name) && is_comparable(kind));
    terms.extend(others.map(|(name, _)| quoted(name)));
    Ok(format!(" order by {}", terms.join(", ")))
}
