//! The ordinary way to write rows: through a staging table, with every trigger and constraint of the table.
//!
//! The newest position of a key wins. A batch with a row that Postgres refuses is halved until the part is
//! small, and that is written row by row, on the server, so that even thousands of refusals cost no more
//! than their number. What is refused is set aside; the rest is applied.

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Dataset;
use tidegate_core::split::{Dialect, Fields};

use super::Error;
use super::batch::{Rows, SetAside, Verdicts};
use super::cheap::copy;
use super::error::{Kind, postgres_kind};
use super::table::TableSql;

const STAGE: &str = "pg_temp.tidegate_stage";
/// A part of so few rows is not halved again when it fails.
const ROW_BY_ROW_MAX: usize = 512;
/// SQLSTATE of a foreign key that fails.
const FOREIGN_KEY: &str = "23503";

/// Writes the accepted rows; those that Postgres refuses are set aside.
pub(super) async fn write(
    tx: &mut Transaction<'_>,
    dataset: &Dataset,
    table: &TableSql,
    rows: &Rows,
    verdicts: &mut Verdicts,
) -> Result<(), Error> {
    // With the table's own checks, so that each row meets them, and not the newest of a key alone.
    tx.batch_execute(&format!(
        "create temporary table tidegate_stage (like {} including constraints including defaults \
         including generated) on commit drop",
        table.name
    ))
    .await?;
    // What Postgres would refuse only at the commit is to be refused with its row.
    tx.batch_execute("set constraints all immediate").await?;
    let merge = merge_statement(dataset, table);
    let accepted = std::mem::take(&mut verdicts.accepted);
    let mut orphans = Vec::new();
    let mut parts = vec![&accepted[..]];
    while let Some(part) = parts.pop() {
        let mut savepoint = tx.savepoint("part").await?;
        match write_part(&mut savepoint, &merge, table, rows, part).await {
            Ok(()) => {
                savepoint.commit().await?;
                verdicts.accepted.extend_from_slice(part);
            }
            Err(Error::Postgres(error)) if postgres_kind(&error) == Kind::Row => {
                savepoint.rollback().await?;
                // Else all that follows would run inside it, and rows not bear the transaction's own number.
                tx.batch_execute("release savepoint part").await?;
                if part.len() > ROW_BY_ROW_MAX {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                } else {
                    orphans.extend(row_by_row(tx, dataset, table, rows, part, verdicts).await?);
                }
            }
            Err(error) => return Err(error),
        }
    }
    // A row may reference a row of its own table that another part has brought by now.
    while !orphans.is_empty() {
        let before = verdicts.accepted.len();
        let again: Vec<u32> =
            std::mem::take(&mut orphans).iter().map(|orphan: &SetAside| orphan.row).collect();
        orphans = row_by_row(tx, dataset, table, rows, &again, verdicts).await?;
        if verdicts.accepted.len() == before {
            break;
        }
    }
    // Rows may reference each other: none of them can be the first.
    if orphans.len() > 1 {
        let together: Vec<u32> = orphans.iter().map(|orphan| orphan.row).collect();
        let mut savepoint = tx.savepoint("part").await?;
        match write_part(&mut savepoint, &merge, table, rows, &together).await {
            Ok(()) => {
                savepoint.commit().await?;
                verdicts.accepted.extend(together);
                orphans.clear();
            }
            Err(Error::Postgres(error)) if postgres_kind(&error) == Kind::Row => {
                savepoint.rollback().await?;
                tx.batch_execute("release savepoint part").await?;
            }
            Err(error) => return Err(error),
        }
    }
    verdicts.set_aside.append(&mut orphans);
    tx.batch_execute(&format!("drop table {STAGE}")).await?;
    Ok(())
}

/// Writes rows one by one; sets aside those that Postgres refuses, but gives those whose foreign key fails.
async fn row_by_row(
    tx: &Transaction<'_>,
    dataset: &Dataset,
    table: &TableSql,
    rows: &Rows,
    part: &[u32],
    verdicts: &mut Verdicts,
) -> Result<Vec<SetAside>, Error> {
    tx.batch_execute(&row_function(dataset, table)).await?;
    let lines = || part.iter().map(|row| &rows.lines[*row as usize]);
    let sources: Vec<i64> = lines().map(|row| row.position.source as i64).collect();
    let numbers: Vec<i64> = lines().map(|row| row.position.line as i64).collect();
    let mut split = Fields::default();
    let mut values: Vec<Option<String>> = Vec::with_capacity(part.len() * dataset.columns.len());
    for text in lines().map(|row| rows.canonical(row)) {
        split.split(text, Dialect::STANDARD).expect("a canonical line has no open quote");
        values.extend((0..dataset.columns.len()).map(|column| {
            let value = String::from_utf8_lossy(split.get(column, text)).into_owned();
            (!value.is_empty()).then_some(value)
        }));
    }
    let refused = tx
        .query("select * from pg_temp.tidegate_row_by_row($1, $2, $3)", &[&sources, &numbers, &values])
        .await?;
    let mut orphans = Vec::new();
    let mut refused = refused.iter().peekable();
    for (i, row) in (1..).zip(part) {
        match refused.next_if(|refusal| refusal.get::<_, i32>(0) == i) {
            None => verdicts.accepted.push(*row),
            Some(refusal) if refusal.get::<_, &str>(1) == FOREIGN_KEY => {
                orphans.push(set_aside(*row, refusal))
            }
            Some(refusal) => verdicts.set_aside.push(set_aside(*row, refusal)),
        }
    }
    Ok(orphans)
}

fn set_aside(row: u32, refusal: &tokio_postgres::Row) -> SetAside {
    let detail: &str = refusal.get(3);
    let detail = if detail.is_empty() { String::new() } else { format!("; {detail}") };
    let message = format!("Postgres refused the row: {}{detail}", refusal.get::<_, &str>(2));
    let column = Some(refusal.get::<_, &str>(4)).filter(|column| !column.is_empty());
    let reasons = vec![Reason::new(Code::ConstraintViolation, column, message, b"")];
    SetAside { row, fate: Fate::Rejected, reasons, awaits: None }
}

/// A function that merges rows one by one and gives the refusals: number, SQLSTATE, message, detail, column.
/// Its third argument holds the values of all rows, one after another.
fn row_function(dataset: &Dataset, table: &TableSql) -> String {
    let width = dataset.columns.len();
    let values: Vec<String> = dataset
        .columns
        .iter()
        .enumerate()
        .map(|(k, column)| format!("fields[(i - 1) * {width} + {}]::{}", k + 1, column.kind.sql()))
        .collect();
    format!(
        "create or replace function pg_temp.tidegate_row_by_row(sources bigint[], numbers bigint[], fields text[]) \
         returns table (i integer, state text, message text, detail text, about text) \
         language plpgsql as $tidegate$ \
         #variable_conflict use_column\n\
         begin for i in 1 .. cardinality(sources) loop begin \
         {} select sources[i], numbers[i], {} {}; \
         exception when others then \
         get stacked diagnostics state = returned_sqlstate, message = message_text, \
         detail = pg_exception_detail, about = column_name; \
         if left(state, 2) not in ('22', '23', '54') and state <> 'P0001' then raise; end if; \
         tidegate_row_by_row.i := i; return next; \
         end; end loop; end $tidegate$",
        insert_into(table),
        values.join(", "),
        on_conflict(dataset, table),
    )
}

async fn write_part(
    tx: &mut Transaction<'_>,
    merge: &str,
    table: &TableSql,
    rows: &Rows,
    part: &[u32],
) -> Result<(), Error> {
    copy(tx, STAGE, &table.copy_columns(), rows, part).await?;
    tx.execute(merge, &[]).await?;
    tx.batch_execute(&format!("truncate {STAGE}")).await?;
    Ok(())
}

fn merge_statement(dataset: &Dataset, table: &TableSql) -> String {
    format!(
        "{} select distinct on ({key}) {} from {STAGE} order by {key}, _source desc, _line desc {}",
        insert_into(table),
        table.copy_columns(),
        on_conflict(dataset, table),
        key = table.key,
    )
}

fn insert_into(table: &TableSql) -> String {
    format!("insert into {} as held ({})", table.name, table.copy_columns())
}

/// **The newest position wins**: a row is written only if its position is newer than the row's own.
fn on_conflict(dataset: &Dataset, table: &TableSql) -> String {
    let columns = table.columns.iter().enumerate().filter(|(i, _)| *i != dataset.key);
    let changes: String = columns.map(|(_, column)| format!("{column} = excluded.{column}, ")).collect();
    format!(
        "on conflict ({}) do update set {changes}_source = excluded._source, _line = excluded._line \
         where (held._source, held._line) < (excluded._source, excluded._line)",
        table.key
    )
}
