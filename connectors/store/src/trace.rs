//! What Postgres knows of a line: its source, its fate, and the row of its key.
//!
//! Times are texts, RFC 3339 in UTC with microseconds, so that they compare as they stand.

use std::sync::Arc;

use tidegate_core::dead_letter::Stage;
use tidegate_core::ledger::Fate;
use tidegate_core::position::Position;
use tidegate_core::shape::Shape;
use tidegate_postgres::error::is_about_values;
use tidegate_postgres::{Database, PgError, TransactionMode, schema};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::filter::{self, KeptLetter};
use crate::moves::{self, Move};
use crate::statement::Columns;
use crate::store::Store;
use crate::{ledger, shapes};

/// The number of dead letters that are read at once. Each text may be `max_record_bytes` long.
const LETTERS_AT_ONCE: i32 = 64;

/// The commit time of a row, if the server keeps commit timestamps. For a frozen row Postgres would raise an error,
/// so the time is null.
const WRITTEN_AT: &str = "case when current_setting('track_commit_timestamp') = 'on' and xmin::text::bigint > 2 \
    then to_char(pg_xact_commit_timestamp(xmin) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') end";

/// A registered source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedSource {
    /// The number of the source.
    pub source: u64,
    /// The dataset.
    pub dataset: String,
    /// The name of its file.
    pub name: String,
    /// The fingerprint, which all deliveries of the same file share; the identity of a source that is no file.
    pub fingerprint: Vec<u8>,
    /// The size in bytes, if it is known.
    pub bytes: Option<u64>,
    /// The number of lines, once the source was read to its end.
    pub lines: Option<u64>,
    /// When it was registered.
    pub registered_at: String,
    /// When every line was found accounted for.
    pub completed_at: Option<String>,
    /// The shape of its text.
    pub shape: Option<Arc<Shape>>,
    /// The first generated key of its lines, if it has some.
    pub first_key: Option<i64>,
}

/// A filter on sources. A source matches if it meets every condition that is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceFilter<'a> {
    /// The number of the source.
    pub source: Option<u64>,
    /// The name of its file.
    pub name: Option<&'a str>,
    /// The name of its dataset.
    pub dataset: Option<&'a str>,
}

/// The fate of a line, with its history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracedLine {
    /// The set of the ledger that holds the line; `None` while it is in flight.
    pub fate: Option<Fate>,
    /// The dead letter that the line is or was.
    pub letter: Option<TracedLetter>,
    /// The moves of that letter, oldest first.
    pub moves: Vec<Move>,
}

/// A dead letter with the shape of its text.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedLetter {
    /// The letter.
    pub kept: KeptLetter,
    /// The shape of its text.
    pub shape: Option<Arc<Shape>>,
}

/// The row of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedRow {
    /// The position of the line that it holds; `None` if another application wrote it.
    pub position: Option<Position>,
    /// When it was written last, if the server keeps commit timestamps (`track_commit_timestamp`).
    pub written_at: Option<String>,
    /// The columns whose values differ from those given by the caller.
    pub differing: Vec<String>,
}

/// Returns the sources that match a filter, oldest first. Fails if no pipeline has run on the database.
pub async fn sources(store: &Store, which: SourceFilter<'_>) -> Result<Vec<TracedSource>, PgError> {
    let sql = include_str!("../../../sql/queries/trace_sources.sql");
    let source = which.source.map(|source| i64::try_from(source).unwrap_or(i64::MAX));
    let connection = schema::prepared_connection(store).await?;
    let rows = connection.query(sql, &[&source, &which.name, &which.dataset]).await?;
    drop(connection);
    let shapes = shapes::of_rows(store, &rows).await?;
    let source = |(row, shape): (&Row, Option<Arc<Shape>>)| TracedSource {
        source: row.number("source"),
        dataset: row.get("dataset"),
        name: row.get("name"),
        fingerprint: row.get("fingerprint"),
        bytes: row.number_opt("bytes"),
        lines: row.number_opt("lines"),
        shape,
        first_key: row.get("first_key"),
        registered_at: row.get("registered_at"),
        completed_at: row.get("completed_at"),
    };
    Ok(rows.iter().zip(shapes).map(source).collect())
}

/// Returns the fate and the history of a line. Its number counts from 1.
pub async fn line(store: &Store, position: Position) -> Result<TracedLine, PgError> {
    let mut connection = schema::prepared_connection(store).await?;
    let tx = store.begin(&mut connection, TransactionMode::Snapshot).await?;
    let fate = ledger::chunk(&tx, position.source, position.line).await?.fate(position.line);
    let kept = filter::find_in(&tx, position).await?;
    tx.commit().await?;
    drop(connection);
    let letter = match kept {
        Some(kept) => Some(TracedLetter { shape: shapes::find(store, kept.shape).await?, kept }),
        None => None,
    };
    let moves = if letter.is_some() { moves::of_line(store, position).await? } else { Vec::new() };
    Ok(TracedLine { fate, letter, moves })
}

/// Returns whether values, one for each column of a dataset's key, are of the columns' types.
pub async fn is_key(database: &Database, dataset: usize, values: &[String]) -> Result<bool, PgError> {
    let types = database.tables()[dataset].key.types.iter().enumerate();
    let values_sql: Vec<String> = types.map(|(i, kind)| format!("(${}::text)::{kind}", i + 1)).collect();
    let sql = format!("select {}", values_sql.join(", "));
    let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Read).await?;
    match tx.query_one(&sql, &parameters).await {
        Ok(_) => Ok(true),
        Err(error) if error.code().is_some_and(|state| is_about_values(state.code())) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns the row of a key, which has a value for each of its columns. If `values` are given, one for each column, the
/// row is compared with them. Fails if the key or a value is not of its column's type.
pub async fn row(
    database: &Database,
    dataset: usize,
    key: &[String],
    values: Option<&[Option<String>]>,
) -> Result<Option<TracedRow>, PgError> {
    let table = &database.tables()[dataset];
    let columns = &database.manifest().datasets[dataset].columns;
    let mut parameters: Vec<&(dyn ToSql + Sync)> = key.iter().map(|value| value as _).collect();
    let key_values: Vec<String> = (1..=key.len()).map(|i| format!("${i}::text")).collect();
    let mut differing = Vec::new();
    for (i, value) in values.unwrap_or_default().iter().enumerate() {
        parameters.push(value);
        let (column, kind, parameter) = (&table.columns[i], columns[i].kind.sql(), parameters.len());
        differing
            .push(format!("case when {column} is distinct from (${parameter}::text)::{kind} then {i} end"));
    }
    let sql = format!(
        "select _source, _line, {WRITTEN_AT} as written_at, \
         array_remove(array[{}]::integer[], null) as differing from {} as held where {}",
        differing.join(", "),
        table.name,
        table.key.is("held", &key_values)
    );
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Read).await?;
    let row = tx.query_opt(&sql, &parameters).await?;
    tx.commit().await?;
    Ok(row.map(|row| {
        let (source, line): (i64, i64) = (row.get(0), row.get(1));
        let differing: Vec<i32> = row.get("differing");
        TracedRow {
            position: (source > 0 && line > 0).then_some(Position::new(source as u64, line as u64)),
            written_at: row.get("written_at"),
            differing: differing.iter().map(|i| columns[*i as usize].name.clone()).collect(),
        }
    }))
}

/// Returns the values of the key of the row that holds a line, as Postgres spells them: the position, if there is no
/// key. Reads the whole table: no index covers positions, unless there is no key.
pub async fn row_of(
    database: &Database,
    dataset: usize,
    position: Position,
) -> Result<Option<Vec<String>>, PgError> {
    let table = &database.tables()[dataset];
    let texts: Vec<String> = table.key.columns.iter().map(|column| format!("{column}::text")).collect();
    let sql = format!(
        "select array[{}] from {} where _source = $1 and _line = $2 limit 1",
        texts.join(", "),
        table.name
    );
    let (source, line) = (position.source as i64, position.line as i64);
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Read).await?;
    let key = tx.query_opt(&sql, &[&source, &line]).await?.map(|row| row.get(0));
    tx.commit().await?;
    Ok(key)
}

/// Calls `look` for every dead letter of a dataset, oldest position first, with its position, its stage, its text and
/// the shape of the text.
pub async fn letters(
    store: &Store,
    dataset: &str,
    mut look: impl FnMut(Position, Stage, Option<&str>, Option<&Shape>),
) -> Result<(), PgError> {
    let sql = "select source, line, stage, text, shape from tidegate.dead_letters where dataset = $1 \
               order by source, line";
    let mut connection = store.connection().await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    let portal = tx.bind(sql, &[&dataset]).await?;
    loop {
        let rows = tx.query_portal(&portal, LETTERS_AT_ONCE).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for (row, shape) in rows.iter().zip(shapes::of_rows(store, &rows).await?) {
            look(row.position(), row.stage()?, row.get("text"), shape.as_deref());
        }
    }
}
