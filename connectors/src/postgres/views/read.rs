//! The rows of a view: those that somebody asks for, in the order asked for.
//!
//! Names of columns become SQL only after they were found among the view's own, and quoted; values are parameters,
//! and each was read as its column's type before the view is asked. So what a client got wrong is told apart
//! from what went wrong here.

use deadpool_postgres::Transaction;
use tokio_postgres::types::{Kind, ToSql, Type};

use super::super::error::Kind as ErrorKind;
use super::super::report::{self, Relation};
use super::super::table::quoted;
use super::super::{Error, How, Postgres};
use super::unknown;

/// Which rows of a view, in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Those whose columns have these values.
    pub filters: Vec<(String, String)>,
    /// By these columns; what is equal in all of them by the others. None leaves the view's own order.
    pub order: Vec<Order>,
    /// At most so many; `None` for all.
    pub limit: Option<u32>,
    /// Behind so many.
    pub offset: u64,
}

/// A column to order by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub column: String,
    /// Whether the largest come first.
    pub descending: bool,
}

/// Some rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Relation,
    /// Whether there are more behind them.
    pub more: bool,
}

/// Why the rows of a view are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is no such view.
    #[error(transparent)]
    NoView(Error),
    /// A column or a value that was asked for does not fit the view.
    #[error("{message}")]
    Unfit {
        /// The column that was named.
        column: String,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// Postgres could not be asked, or not in time.
    #[error(transparent)]
    Postgres(#[from] Error),
}

impl From<tokio_postgres::Error> for Unreadable {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl std::str::FromStr for Order {
    type Err = std::convert::Infallible;

    /// `column`, or `-column` for the largest first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (column, descending) = match text.strip_prefix('-') {
            Some(column) => (column, true),
            None => (text, false),
        };
        Ok(Self { column: column.to_owned(), descending })
    }
}

impl Postgres {
    /// The rows of a view.
    ///
    /// # Errors
    ///
    /// If there is no such view or column, or a value is not of its type.
    pub async fn view_rows(&self, name: &str, asked: &Rows) -> Result<Page, Unreadable> {
        let mut connection = self.prepared_connection().await?;
        let tx = self.begin(&mut connection, How::Read).await?;
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
            // One more, which tells whether there are more.
            sql.push_str(&format!(" limit {}", u64::from(limit) + 1));
        }
        if asked.offset > 0 {
            let offset = asked.offset.min(i64::MAX as u64);
            sql.push_str(&format!(" offset {offset}"));
        }
        let values: Vec<&(dyn ToSql + Sync)> =
            asked.filters.iter().map(|(_, value)| value as &(dyn ToSql + Sync)).collect();
        let mut rows = report::relation(&tx, &sql, &values).await?;
        let limit = asked.limit.map_or(usize::MAX, |limit| limit as usize);
        let more = rows.rows.len() > limit;
        rows.rows.truncate(limit);
        Ok(Page { rows, more })
    }
}

/// The relation of a view, as SQL names it.
async fn relation_of(tx: &Transaction<'_>, name: &str) -> Result<String, Unreadable> {
    let rows = tx.query("select name, schema from tidegate.views order by name", &[]).await?;
    let found = rows.iter().find(|row| row.get::<_, &str>(0) == name);
    let Some(found) = found else {
        let names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        return Err(Unreadable::NoView(unknown(name, &names)));
    };
    Ok(format!("{}.{}", quoted(found.get(1)), quoted(name)))
}

/// The type of a column by which rows can be told apart and ordered.
fn comparable<'a>(view: &str, columns: &[(&str, &'a Type)], column: &str) -> Result<&'a Type, Unreadable> {
    let unfit = |message| Err(Unreadable::Unfit { column: column.to_owned(), message });
    let Some((_, kind)) = columns.iter().find(|(name, _)| *name == column) else {
        let known: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        return unfit(format!("view '{view}' has no column '{column}'; it has: {}", known.join(", ")));
    };
    if !is_comparable(kind) {
        return unfit(format!("column '{column}' is of type {kind}, whose values are not compared"));
    }
    Ok(kind)
}

/// Whether values of a type have an order. Of the types that a view of plain columns has, these have none.
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

/// Reads a value as its column's type, and does no more with it.
async fn read_as(tx: &Transaction<'_>, column: &str, value: &str, kind: &Type) -> Result<(), Unreadable> {
    let sql = format!("select $1::text::{} is null", type_sql(kind));
    let error = match tx.query_one(&sql, &[&value]).await {
        Ok(_) => return Ok(()),
        Err(error) => Error::from(error),
    };
    if error.kind() != ErrorKind::Row {
        return Err(error.into());
    }
    let shown: String = value.chars().take(100).collect();
    let message =
        format!("'{}' is no value of column '{column}', which is of type {kind}", shown.escape_debug());
    Err(Unreadable::Unfit { column: column.to_owned(), message })
}

/// By what was asked for, and what is equal there by all other columns, so that pages neither repeat a row nor
/// leave one out.
fn order_sql(view: &str, columns: &[(&str, &Type)], asked: &[Order]) -> Result<String, Unreadable> {
    if asked.is_empty() {
        return Ok(String::new());
    }
    let mut terms = Vec::new();
    for Order { column, descending } in asked {
        comparable(view, columns, column)?;
        terms.push(format!("{}{}", quoted(column), if *descending { " desc" } else { "" }));
    }
    let is_asked = |name: &str| asked.iter().any(|order| order.column == name);
    let others = columns.iter().filter(|(name, kind)| !is_asked(name) && is_comparable(kind));
    terms.extend(others.map(|(name, _)| quoted(name)));
    Ok(format!(" order by {}", terms.join(", ")))
}
