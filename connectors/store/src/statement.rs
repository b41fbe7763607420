//! Statements that a session prepares once, and how numbers and stages are read from their rows.

use std::fmt::Display;

use deadpool_postgres::GenericClient;
use tidegate_core::dead_letter::Stage;
use tidegate_core::position::Position;
use tidegate_postgres::PgError;
use tidegate_postgres::stored::UnknownWord;
use tokio_postgres::Row;
use tokio_postgres::row::RowIndex;
use tokio_postgres::types::ToSql;

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

pub(super) async fn query(
    client: &impl GenericClient,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, PgError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, parameters).await?)
}

pub(super) async fn query_one(
    client: &impl GenericClient,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Row, PgError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_one(&statement, parameters).await?)
}

pub(super) async fn query_opt(
    client: &impl GenericClient,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Option<Row>, PgError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, parameters).await?)
}

/// Runs a statement. Returns the number of rows that it changed.
pub(super) async fn execute(
    client: &impl GenericClient,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<u64, PgError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.execute(&statement, parameters).await?)
}

/// The columns of a row in the types that they have here. Postgres stores numbers that are never negative as
/// `bigint`.
pub(super) trait Columns {
    fn number(&self, column: impl RowIndex + Display) -> u64;
    fn number_opt(&self, column: impl RowIndex + Display) -> Option<u64>;
    /// The position in the columns `source` and `line`.
    fn position(&self) -> Position;
    /// The stage in the column `stage`.
    fn stage(&self) -> Result<Stage, PgError>;
}

impl Columns for Row {
    fn number(&self, column: impl RowIndex + Display) -> u64 {
        self.get::<_, i64>(column) as u64
    }

    fn number_opt(&self, column: impl RowIndex + Display) -> Option<u64> {
        self.get::<_, Option<i64>>(column).map(|number| number as u64)
    }

    fn position(&self) -> Position {
        Position::new(self.number("source"), self.number("line"))
    }

    fn stage(&self) -> Result<Stage, PgError> {
        let word: &str = self.get("stage");
        let unknown = || PgError::halt(UnknownWord { word: word.to_owned(), of: "Stage" }.to_string());
        Stage::parse(word).ok_or_else(unknown)
    }
}

/// Numbers as Postgres stores them.
pub(super) fn bigints(numbers: &[u64]) -> Vec<i64> {
    numbers.iter().map(|number| *number as i64).collect()
}

/// Positions as Postgres stores them: sources and lines.
pub(super) fn position_columns(positions: impl Iterator<Item = Position>) -> (Vec<i64>, Vec<i64>) {
    positions.map(|position| (position.source as i64, position.line as i64)).unzip()
}
