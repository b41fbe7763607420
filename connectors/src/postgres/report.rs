//! What the commands show: relations of texts, for any output format.

use tokio_postgres::types::{ToSql, Type};

use super::table::quoted;
use super::views::unknown;
use super::{Connection, Error, Postgres};

/// A result to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
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

/// Which dead letters to show.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// Of this dataset.
    pub dataset: Option<String>,
    /// With this reason.
    pub code: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// Of this source.
    pub source: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

const SOURCES: &str = "select source, dataset, name, lines, accepted, rejected, waiting, discarded, \
    greatest(coalesce(lines, accepted + rejected + waiting + discarded) \
        - accepted - rejected - waiting - discarded, 0) as in_flight, \
    completed_at is not null as complete";

impl Postgres {
    /// The rows of a view, those whose columns have the given values.
    ///
    /// # Errors
    ///
    /// If there is no such view or column, or a value is not of its type.
    pub async fn view(&self, name: &str, filters: &[(String, String)]) -> Result<Relation, Error> {
        let connection = self.prepared_connection().await?;
        let rows = connection.query("select name from tidegate.views order by name", &[]).await?;
        let names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        if !names.contains(&name) {
            return Err(unknown(name, &names));
        }
        let statement = connection.prepare(&format!("select * from {}", quoted(name))).await?;
        let mut conditions = Vec::new();
        for (i, (column, _)) in filters.iter().enumerate() {
            let Some(found) = statement.columns().iter().find(|c| c.name() == column) else {
                let names: Vec<&str> = statement.columns().iter().map(|c| c.name()).collect();
                let known = names.join(", ");
                return Err(Error::halt(format!("view '{name}' has no column '{column}'; it has: {known}")));
            };
            let kind = quoted(found.type_().name());
            conditions.push(format!("{} = ${}::text::{kind}", quoted(column), i + 1));
        }
        let condition = if conditions.is_empty() {
            String::new()
        } else {
            format!(" where {}", conditions.join(" and "))
        };
        let values: Vec<&(dyn ToSql + Sync)> =
            filters.iter().map(|(_, value)| value as &(dyn ToSql + Sync)).collect();
        self.relation(&format!("select * from {}{condition}", quoted(name)), &values).await
    }

    /// All sources, with what became of their lines.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn sources(&self) -> Result<Relation, Error> {
        let status =
            include_str!("../../../sql/queries/source_status.sql").replace("$1::bigint[]", "null::bigint[]");
        let status = status.replace("any($1)", "any(null)");
        self.relation(&format!("{SOURCES} from ({status}) as status order by source"), &[]).await
    }

    /// Dead letters, oldest position first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn dead_letters(&self, filter: &LetterFilter) -> Result<Relation, Error> {
        let sql = "select source, line, dataset, status, reason ->> 'code' as code, reason ->> 'column' as column, \
                   reason ->> 'message' as message, text \
                   from tidegate.dead_letters cross join lateral jsonb_array_elements(reasons) as reason \
                   where ($1::text is null or dataset = $1) and ($2::text is null or reason ->> 'code' = $2) \
                   and ($3::text is null or status = $3) and ($4::bigint is null or source = $4) \
                   order by source, line limit $5";
        let LetterFilter { dataset, code, status, source, limit } = filter;
        self.relation(sql, &[dataset, code, status, source, limit]).await
    }

    /// One dead letter, whole; no row if the line is none.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn dead_letter(&self, source: u64, line: u64) -> Result<Relation, Error> {
        let sql = "select d.source, line, d.dataset, s.name, stage, status, attempt, text, d.bytes, length, blake3, \
                   reasons, d.created_at, d.updated_at \
                   from tidegate.dead_letters as d left join tidegate.sources as s on s.source = d.source \
                   where d.source = $1 and line = $2";
        self.relation(sql, &[&(source as i64), &(line as i64)]).await
    }

    /// Dead letters counted by dataset, status and reason; a letter with two reasons counts for both.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn dead_letter_summary(&self) -> Result<Relation, Error> {
        let sql = "select dataset, status, reason ->> 'code' as code, reason ->> 'column' as column, count(*) as lines \
                   from tidegate.dead_letters cross join lateral jsonb_array_elements(reasons) as reason \
                   group by 1, 2, 3, 4 order by 1, 2, 5 desc, 3, 4";
        self.relation(sql, &[]).await
    }

    /// A connection to a database that a run has prepared.
    pub(super) async fn prepared_connection(&self) -> Result<Connection, Error> {
        let connection = self.connection().await?;
        let row = connection.query_one("select to_regclass('tidegate.views') is not null", &[]).await?;
        if row.get(0) {
            return Ok(connection);
        }
        Err(Error::halt("no pipeline has run in this database; 'tidegate run' prepares it"))
    }

    /// Runs a query and gives its result as texts.
    async fn relation(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Relation, Error> {
        let connection = self.prepared_connection().await?;
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
