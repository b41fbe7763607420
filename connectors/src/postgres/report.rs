//! What the commands show: relations of texts, for any output format.

use deadpool_postgres::GenericClient;
use tidegate_core::position::Position;
use tokio_postgres::types::{ToSql, Type};

use super::filter::{CONDITIONS, LetterFilter};
use super::table::quoted;
use super::{Connection, Error, How, Postgres};

/// A result to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Relation {
    /// Without a column of numbers that are all 0, for people.
    pub fn without_zeros(mut self, column: &str) -> Self {
        let Some(place) = self.columns.iter().position(|its| its.name == column) else { return self };
        if self.rows.iter().all(|row| row[place].as_deref() == Some("0")) {
            self.columns.remove(place);
            self.rows.iter_mut().for_each(|row| drop(row.remove(place)));
        }
        self
    }
}

/// A column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How its texts are to be read.
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

const SOURCES: &str = "select source, dataset, name, lines, accepted, inserted, updated, superseded, uncounted, rejected, waiting, discarded, \
    greatest(coalesce(lines, accepted + rejected + waiting + discarded) \
        - accepted - rejected - waiting - discarded, 0) as in_flight, \
    completed_at is not null as complete";

impl Postgres {
    /// All sources, with what became of their lines.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn sources(&self) -> Result<Relation, Error> {
        let receipts = include_str!("../../../sql/queries/receipts.sql");
        let sql = format!("{SOURCES} from ({receipts}) as receipts order by source");
        let (sources, dataset, before) = (None::<Vec<i64>>, None::<&str>, None::<i64>);
        self.relation(&sql, &[&sources, &dataset, &before, &i64::MAX]).await
    }

    /// Dead letters before a position, newest first, a row for each reason that the filter means: at most `limit`
    /// letters. Those that are healed, replayed or discarded only if `closed_too` or the filter asks for them.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn dead_letters(
        &self,
        filter: &LetterFilter,
        closed_too: bool,
        after: Option<Position>,
        limit: i64,
    ) -> Result<Relation, Error> {
        let newest = Position::new(i64::MAX as u64, i64::MAX as u64);
        let before = after.unwrap_or(newest);
        let (source, line) = (before.source as i64, before.line as i64);
        let closed_too = closed_too || filter.status.is_some();
        let sql = format!(
            "select source, line, dataset, status, reason ->> 'code' as code, reason ->> 'column' as column, \
             reason ->> 'message' as message, text \
             from (select * from tidegate.dead_letters as d where {CONDITIONS} \
             and ($12::boolean or d.status in ('rejected', 'waiting', 'claimed')) \
             and (d.source, d.line) < ($13::bigint, $14::bigint) order by source desc, line desc limit $11) as d \
             cross join lateral jsonb_array_elements(reasons) as reason \
             where ($2::text is null or reason ->> 'code' = $2) and ($3::text is null or reason ->> 'column' = $3) \
             order by source desc, line desc"
        );
        self.relation(&sql, &filter.parameters(None).with(&[&limit, &closed_too, &source, &line])).await
    }

    /// One dead letter, whole; no row if the line is none.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn dead_letter(&self, source: u64, line: u64) -> Result<Relation, Error> {
        let sql = "select d.source, line, d.dataset, s.name, stage, status, attempt, text, \
                   array_to_string(shapes.columns, ',') as text_columns, d.bytes, length, blake3, reasons, d.dropped, \
                   d.created_at, d.updated_at \
                   from tidegate.dead_letters as d left join tidegate.sources as s on s.source = d.source \
                   left join tidegate.shapes on shapes.shape = d.shape \
                   where d.source = $1 and line = $2";
        self.relation(sql, &[&(source as i64), &(line as i64)]).await
    }

    /// Dead letters counted by dataset, status and reason; a letter with two reasons counts for both.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn dead_letter_summary(&self, filter: &LetterFilter) -> Result<Relation, Error> {
        let sql = format!(
            "select dataset, status, reason ->> 'code' as code, reason ->> 'column' as column, count(*) as lines \
             from tidegate.dead_letters as d cross join lateral jsonb_array_elements(reasons) as reason \
             where {CONDITIONS} \
             group by 1, 2, 3, 4 order by 1, 2, 5 desc, 3, 4"
        );
        self.relation(&sql, &filter.parameters(None).with(&[])).await
    }

    /// The latest jobs that move dead letters, newest first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn move_jobs(&self, limit: i64) -> Result<Relation, Error> {
        let jobs = include_str!("../../../sql/queries/move_jobs.sql").replace("{condition}", "true");
        let sql = format!(
            "select job, kind, state, lines, lines_left as left, accepted, superseded, rejected, waiting, discarded, \
             passed_over, asked_by as by, note, filter, asked_at, done_at from ({jobs}) as jobs \
             order by job desc limit $1"
        );
        self.relation(&sql, &[&limit]).await
    }

    /// A connection to a database that a run has prepared.
    pub(super) async fn prepared_connection(&self) -> Result<Connection, Error> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached("select to_regclass('tidegate.views') is not null").await?;
        if connection.query_one(&statement, &[]).await?.get(0) {
            return Ok(connection);
        }
        Err(Error::halt("no pipeline has run in this database; 'tidegate run' prepares it"))
    }

    async fn relation(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Relation, Error> {
        let mut connection = self.prepared_connection().await?;
        let tx = self.begin(&mut connection, How::Read).await?;
        let shown = relation(&tx, sql, parameters).await?;
        tx.commit().await?;
        Ok(shown)
    }
}

/// Runs a query and gives its result as texts.
pub(super) async fn relation(
    connection: &impl GenericClient,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Relation, Error> {
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
