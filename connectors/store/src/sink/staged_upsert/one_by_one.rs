//! Writes rows one by one, on the server, each in a subtransaction of its own. Rows that Postgres refuses are set
//! aside.

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::ledger::Fate;
use tidegate_core::split::Fields;
use tidegate_postgres::PgError;
use tidegate_postgres::error::may_be_a_rows_sql;

use super::{Upsert, insert_into, on_conflict};
use crate::ledger::Writes;
use crate::sink::batch::{UnwrittenRow, Verdicts};

/// The SQLSTATE of a foreign key violation.
const FOREIGN_KEY: &str = "23503";
/// The states of a row that Postgres did not refuse. A refused row has its SQLSTATE in the same column.
const INSERTED: &str = "inserted";
const UPDATED: &str = "updated";
const SUPERSEDED: &str = "superseded";
const LEFT_OUT: &str = "left out";

/// Writes rows one by one. Rows that Postgres refuses are set aside, except those that violate a foreign key, which
/// are returned: they may be tried again.
pub(super) async fn row_by_row(
    tx: &Transaction<'_>,
    writer: &Upsert<'_>,
    part: &[u32],
    verdicts: &mut Verdicts,
) -> Result<Vec<UnwrittenRow>, PgError> {
    let Upsert { dataset, rows, .. } = writer;
    tx.batch_execute(&function(writer)).await?;
    let lines = || part.iter().map(|row| &rows.lines[*row as usize]);
    let sources: Vec<i64> = lines().map(|row| row.position.source as i64).collect();
    let numbers: Vec<i64> = lines().map(|row| row.position.line as i64).collect();
    let mut split = Fields::default();
    let mut values: Vec<Option<String>> = Vec::with_capacity(part.len() * dataset.columns.len());
    for row in lines() {
        let text = rows.split(row, &mut split);
        values.extend((0..dataset.columns.len()).map(|column| {
            let value = String::from_utf8_lossy(split.get(column, text)).into_owned();
            // An empty text is in quotes.
            (!value.is_empty() || split.is_literal(column)).then_some(value)
        }));
    }
    let told = tx
        .query("select * from pg_temp.tidegate_row_by_row($1, $2, $3)", &[&sources, &numbers, &values])
        .await?;
    let mut orphans = Vec::new();
    for (row, told) in part.iter().zip(&told) {
        let (state, repeated) = (told.get(1), u64::from(told.get::<_, bool>(2)));
        let writes = match state {
            INSERTED => Writes { inserted: 1, updated: 0, repeated },
            UPDATED => Writes { inserted: 0, updated: 1, repeated },
            SUPERSEDED => Writes { inserted: 0, updated: 0, repeated },
            LEFT_OUT => {
                verdicts.set_aside.push(left_out(*row, writer));
                continue;
            }
            FOREIGN_KEY => {
                orphans.push(refused(*row, told));
                continue;
            }
            state => {
                verdicts.refusals.add(state, told.get(3));
                verdicts.set_aside.push(refused(*row, told));
                continue;
            }
        };
        verdicts.accepted.push(*row);
        verdicts.writes.add(rows.lines[*row as usize].position, writes);
    }
    Ok(orphans)
}

fn refused(row: u32, told: &tokio_postgres::Row) -> UnwrittenRow {
    let detail: &str = told.get(4);
    let detail = if detail.is_empty() { String::new() } else { format!("; {detail}") };
    let message = format!("Postgres refused the row: {}{detail}", told.get::<_, &str>(3));
    let column = Some(told.get::<_, &str>(5)).filter(|column| !column.is_empty());
    let reasons = vec![Reason::new(Code::ConstraintViolation, column, message, b"")];
    UnwrittenRow { row, fate: Fate::Rejected, reasons, awaits: None }
}

fn left_out(row: u32, writer: &Upsert<'_>) -> UnwrittenRow {
    let message = format!(
        "a trigger of the table {} left the row out: Postgres reports no error and no row written",
        writer.table.name
    );
    let reasons = vec![Reason::new(Code::LeftOut, None, message, b"")];
    UnwrittenRow { row, fate: Fate::Rejected, reasons, awaits: None }
}

/// The definition of a function that merges rows one by one. It returns for each row its index, its state, whether it
/// repeats a key of its source, and, of an error, message, detail and column. Its third argument holds the values of
/// all rows, one row after another.
///
/// If a trigger left a row out, its other effects for that row are rolled back too.
fn function(writer: &Upsert<'_>) -> String {
    let Upsert { dataset, table, .. } = writer;
    let width = dataset.columns.len();
    let field = |column: usize| {
        let kind = dataset.columns[column].kind.sql();
        format!("tidegate_row_by_row.fields[(own.n - 1) * {width} + {}]::{kind}", column + 1)
    };
    let position = || ["own.source".to_owned(), "own.line".to_owned()];
    let columns = (0..width).filter(|column| !table.left_out.contains(column)).map(&field);
    let written: Vec<String> = position().into_iter().chain(columns).collect();
    let values: Vec<String> = (0..width).map(field).collect();
    let key_values: Vec<String> = match table.is_keyless {
        true => position().to_vec(),
        false => dataset.key.iter().map(|column| values[*column].clone()).collect(),
    };
    let is_its = table.key.is("held", &key_values);
    // Without a key no line replaces a row, so the table is not searched for one.
    let before = match table.is_keyless {
        true => "own.before := null;".to_owned(),
        false => {
            format!("select max(held._source) into own.before from {} as held where {is_its};", table.name)
        }
    };
    let is_new = if writer.tells { "held.xmax = 0" } else { "own.before is null" };
    format!(
        "create or replace function pg_temp.tidegate_row_by_row(sources bigint[], numbers bigint[], fields text[]) \
         returns table (i integer, state text, repeated boolean, message text, detail text, about text) \
         language plpgsql as $tidegate$ \
         #variable_conflict use_column\n\
         <<own>> declare n integer; source bigint; line bigint; before bigint; is_new boolean; \
         is_here boolean; is_newer boolean; is_left_out boolean; \
         begin for m in 1 .. cardinality(sources) loop \
         own.n := m; own.source := sources[m]; own.line := numbers[m]; own.is_left_out := false; \
         repeated := false; message := ''; detail := ''; about := ''; \
         begin \
         {before} \
         {insert} select {written} {on_conflict} returning {is_new} into own.is_new; \
         if found then \
         state := case when own.is_new then '{INSERTED}' else '{UPDATED}' end; \
         repeated := not own.is_new and coalesce(own.before = own.source, false); \
         else \
         select coalesce(bool_or((held._source, held._line) = (own.source, own.line)), false), \
         coalesce(bool_or((held._source, held._line) > (own.source, own.line)), false), \
         coalesce(bool_or(held._source = own.source and held._line > own.line), false) \
         into own.is_here, own.is_newer, tidegate_row_by_row.repeated \
         from {name} as held where {is_its}; \
         own.is_left_out := not (own.is_here or own.is_newer); \
         if own.is_left_out then raise exception 'left out'; end if; \
         state := case when own.is_here then '{INSERTED}' else '{SUPERSEDED}' end; \
         end if; \
         exception when others or assert_failure then \
         repeated := false; \
         get stacked diagnostics state = returned_sqlstate, message = message_text, \
         detail = pg_exception_detail, about = column_name; \
         if own.is_left_out then state := '{LEFT_OUT}'; \
         elsif not ({may_be_a_rows}) then raise; end if; \
         end; \
         tidegate_row_by_row.i := m; return next; \
         end loop; end $tidegate$",
        name = table.name,
        insert = insert_into(table),
        written = written.join(", "),
        on_conflict = on_conflict(dataset, table),
        may_be_a_rows = may_be_a_rows_sql(),
    )
}
