//! What Postgres knows of a line: the source it came with, what became of it, and the row of its key.
//!
//! Times are texts, RFC 3339 in UTC with microseconds, so that they compare as they stand.

use std::sync::Arc;

use serde_json::Value;
use tidegate_core::dead_letter::{Reason, Stage};
use tidegate_core::ledger::{Fate, chunk_of};
use tidegate_core::position::Position;
use tidegate_core::shape::Shape;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::error::is_about_values;
use super::moves::Move;
use super::{Error, How, Postgres};

/// How many dead letters are read at once. A text may be `max_record_bytes` long.
const LETTERS_AT_ONCE: i32 = 64;

/// When a row was committed, where the server keeps that. What is frozen has no time, but an error.
const WRITTEN_AT: &str = "case when current_setting('track_commit_timestamp') = 'on' and xmin::text::bigint > 2 \
    then to_char(pg_xact_commit_timestamp(xmin) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') end";

/// A source, as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedSource {
    /// Its number.
    pub source: u64,
    /// The dataset that it was meant for.
    pub dataset: String,
    /// The name of its file.
    pub name: String,
    /// What it has in common with other deliveries of the same.
    pub fingerprint: Vec<u8>,
    /// How large it is, if that is known.
    pub bytes: Option<u64>,
    /// How many lines it has, once it was read to its end.
    pub lines: Option<u64>,
    /// When it was registered.
    pub registered_at: String,
    /// When every line was found accounted for.
    pub completed_at: Option<String>,
    /// How its text was read.
    pub shape: Option<Arc<Shape>>,
}

/// Which sources are wanted: those of which all that is given is true.
#[derive(Clone, Copy, Debug, Default)]
pub struct WhichSources<'a> {
    /// Of this number.
    pub source: Option<u64>,
    /// Of this name.
    pub name: Option<&'a str>,
    /// Of this dataset.
    pub dataset: Option<&'a str>,
}

/// What became of a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracedLine {
    /// The set of the ledger that holds it; none while it is in flight.
    pub fate: Option<Fate>,
    /// The dead letter that it is, or was.
    pub letter: Option<TracedLetter>,
    /// What somebody did with it, oldest first.
    pub moves: Vec<Move>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedLetter {
    /// `rejected`, `waiting`, `claimed`, `healed`, `replayed` or `discarded`.
    pub status: String,
    /// Who made it.
    pub stage: Stage,
    /// How often it was replayed.
    pub attempt: i32,
    /// The line, if it is text.
    pub text: Option<String>,
    /// The line in base64, if it is no text.
    pub bytes: Option<String>,
    /// All that is, or was at last, against it.
    pub reasons: Vec<Reason>,
    /// When it was made.
    pub created_at: String,
    /// When it changed last.
    pub updated_at: String,
    /// Whether it changed since it was made.
    pub changed: bool,
    /// How its text is read.
    pub shape: Option<Arc<Shape>>,
    /// What it held of columns that the manifest did not have any more when it was accepted.
    pub dropped: Option<Value>,
}

/// The row of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedRow {
    /// The line that it is of; `None` if another application wrote it.
    pub position: Option<Position>,
    /// When it was written last, where the server keeps that (`track_commit_timestamp`).
    pub written_at: Option<String>,
    /// The columns whose value is another than was asked for.
    pub differing: Vec<String>,
}

impl Postgres {
    /// The sources that are wanted, oldest first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or no pipeline has run there.
    pub async fn trace_sources(&self, which: WhichSources<'_>) -> Result<Vec<TracedSource>, Error> {
        let sql = include_str!("../../../sql/queries/trace_sources.sql");
        let source = which.source.map(|source| i64::try_from(source).unwrap_or(i64::MAX));
        let connection = self.prepared_connection().await?;
        let rows = connection.query(sql, &[&source, &which.name, &which.dataset]).await?;
        drop(connection);
        let shapes = self.shapes(rows.iter().map(|row| row.get("shape"))).await?;
        let shape =
            |row: &Row| row.get::<_, Option<i64>>("shape").and_then(|shape| shapes.get(&shape).cloned());
        Ok(rows.iter().map(|row| TracedSource { shape: shape(row), ..traced_source(row) }).collect())
    }

    /// What became of a line; its number is from 1.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked or the ledger cannot be read.
    pub async fn trace_line(&self, position: Position) -> Result<TracedLine, Error> {
        let sql = include_str!("../../../sql/queries/trace_line.sql");
        let (source, line) = (position.source as i64, position.line as i64);
        let chunk = chunk_of(position.line) as i64;
        let row = self.prepared_connection().await?.query_one(sql, &[&source, &chunk, &line]).await?;
        let shape = self.shape(row.get("shape")).await?;
        let fate = super::ledger::decode(&row)?.fate(position.line);
        let letter = row.get::<_, Option<String>>("status").map(|status| TracedLetter {
            status,
            stage: Stage::parse(row.get("stage")),
            attempt: row.get("attempt"),
            text: row.get("text"),
            bytes: row.get("bytes"),
            reasons: row.get::<_, Json<Vec<Reason>>>("reasons").0,
            created_at: row.get("created_at"),
            updated_at: row.get("updated_at"),
            changed: row.get("changed"),
            shape,
            dropped: row.get("dropped"),
        });
        let moves = if letter.is_some() { self.moves_of(position).await? } else { Vec::new() };
        Ok(TracedLine { fate, letter, moves })
    }

    /// How Postgres spells a key of a dataset; `None` if the text is no value of the key's type.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn trace_key(&self, dataset: usize, key: &str) -> Result<Option<String>, Error> {
        let sql = format!("select ($1::text)::{}::text", self.inner.tables[dataset].key_type);
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Read).await?;
        match tx.query_one(&sql, &[&key]).await {
            Ok(row) => Ok(row.get(0)),
            Err(error) if error.code().is_some_and(|state| is_about_values(state.code())) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The row of a key. Where `values` are given, one for each column, it is compared with them.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or the key or a value is not of its column's type.
    pub async fn trace_row(
        &self,
        dataset: usize,
        key: &str,
        values: Option<&[Option<String>]>,
    ) -> Result<Option<TracedRow>, Error> {
        let table = &self.inner.tables[dataset];
        let columns = &self.inner.manifest.datasets[dataset].columns;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&key];
        let mut differing = Vec::new();
        for (i, value) in values.unwrap_or_default().iter().enumerate() {
            parameters.push(value);
            let (column, kind, parameter) = (&table.columns[i], columns[i].kind.sql(), parameters.len());
            differing.push(format!(
                "case when {column} is distinct from (${parameter}::text)::{kind} then {i} end"
            ));
        }
        let sql = format!(
            "select _source, _line, {WRITTEN_AT} as written_at, \
             array_remove(array[{}]::integer[], null) as differing from {} where {} = ($1::text)::{}",
            differing.join(", "),
            table.name,
            table.key,
            table.key_type
        );
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Read).await?;
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

    /// The key of the row that is of a line, as Postgres spells it. Reads the whole table: no index has
    /// positions.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn trace_row_of(&self, dataset: usize, position: Position) -> Result<Option<String>, Error> {
        let table = &self.inner.tables[dataset];
        let sql = format!(
            "select {}::text from {} where _source = $1 and _line = $2 limit 1",
            table.key, table.name
        );
        let (source, line) = (position.source as i64, position.line as i64);
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Read).await?;
        let key = tx.query_opt(&sql, &[&source, &line]).await?.map(|row| row.get(0));
        tx.commit().await?;
        Ok(key)
    }

    /// Shows every dead letter of a dataset to `look`, oldest position first: who made it, its text, and how that is read.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn trace_letters(
        &self,
        dataset: &str,
        mut look: impl FnMut(Position, Stage, Option<&str>, Option<&Shape>),
    ) -> Result<(), Error> {
        let sql = "select source, line, stage, text, shape from tidegate.dead_letters where dataset = $1 \
                   order by source, line";
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        let portal = tx.bind(sql, &[&dataset]).await?;
        loop {
            let rows = tx.query_portal(&portal, LETTERS_AT_ONCE).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let shapes = self.shapes(rows.iter().map(|row| row.get("shape"))).await?;
            for row in &rows {
                let position = Position::new(row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64);
                let shape = row.get::<_, Option<i64>>(4).and_then(|shape| shapes.get(&shape));
                look(position, Stage::parse(row.get(2)), row.get(3), shape.map(|shape| &**shape));
            }
        }
    }
}

fn traced_source(row: &Row) -> TracedSource {
    let number = |name: &str| row.get::<_, Option<i64>>(name).map(|number| number as u64);
    TracedSource {
        source: row.get::<_, i64>("source") as u64,
        dataset: row.get("dataset"),
        name: row.get("name"),
        fingerprint: row.get("fingerprint"),
        bytes: number("bytes"),
        lines: number("lines"),
        shape: None,
        registered_at: row.get("registered_at"),
        completed_at: row.get("completed_at"),
    }
}
