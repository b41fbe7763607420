//! The ordinary way to write rows: through a staging table, with every trigger and constraint of the table.
//!
//! The newest position of a key wins. A row that Postgres refuses is found by halving the batch, and set
//! aside; the rest is applied.

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Dataset;
use tokio_postgres::error::SqlState;

use super::Error;
use super::batch::{Rows, SetAside, Verdicts};
use super::cheap::copy;
use super::error::{Kind, postgres_kind};
use super::table::TableSql;

const STAGE: &str = "pg_temp.tidegate_stage";

/// Writes the accepted rows; those that Postgres refuses are set aside. Gives those of them whose foreign
/// key failed.
pub(super) async fn write(
    tx: &mut Transaction<'_>,
    dataset: &Dataset,
    table: &TableSql,
    rows: &Rows,
    verdicts: &mut Verdicts,
) -> Result<Vec<u32>, Error> {
    // With the table's own checks, so that each row meets them, and not the newest of a key alone.
    tx.batch_execute(&format!(
        "create temporary table tidegate_stage (like {} including constraints including defaults \
         including generated) on commit drop",
        table.name
    ))
    .await?;
    let merge = merge_statement(dataset, table);
    let accepted = std::mem::take(&mut verdicts.accepted);
    let mut orphans = Vec::new();
    write_halving(tx, &merge, table, rows, &accepted, verdicts, &mut orphans).await?;
    // A row may reference a row of its own table that another half has brought by now.
    while !orphans.is_empty() {
        let (before, retried) = (verdicts.accepted.len(), std::mem::take(&mut orphans));
        for row in retried.iter().map(|orphan: &SetAside| orphan.row) {
            write_halving(tx, &merge, table, rows, &[row], verdicts, &mut orphans).await?;
        }
        if verdicts.accepted.len() == before {
            break;
        }
    }
    let foreign = orphans.iter().map(|orphan| orphan.row).collect();
    verdicts.set_aside.append(&mut orphans);
    tx.batch_execute(&format!("drop table {STAGE}")).await?;
    Ok(foreign)
}

/// Writes `part`, and where that fails each half of it, down to the rows that Postgres refuses: those whose
/// foreign key fails into `orphans`, the others set aside.
async fn write_halving(
    tx: &mut Transaction<'_>,
    merge: &str,
    table: &TableSql,
    rows: &Rows,
    part: &[u32],
    verdicts: &mut Verdicts,
    orphans: &mut Vec<SetAside>,
) -> Result<(), Error> {
    let mut halves = vec![part];
    while let Some(part) = halves.pop() {
        let mut savepoint = tx.savepoint("part").await?;
        match write_part(&mut savepoint, merge, table, rows, part).await {
            Ok(()) => {
                savepoint.commit().await?;
                verdicts.accepted.extend_from_slice(part);
            }
            Err(Error::Postgres(error)) if postgres_kind(&error) == Kind::Row => {
                savepoint.rollback().await?;
                match part {
                    [row] if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => {
                        orphans.push(refused(*row, &error));
                    }
                    [row] => verdicts.set_aside.push(refused(*row, &error)),
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        halves.extend([second, first]);
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    tx.batch_execute(&format!("set constraints all immediate; truncate {STAGE}")).await?;
    Ok(())
}

/// **The newest position wins**: a row is written only if its position is newer than the row's own.
fn merge_statement(dataset: &Dataset, table: &TableSql) -> String {
    let columns = table.copy_columns();
    let changes: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != dataset.key)
        .map(|(_, column)| format!("{column} = excluded.{column}, "))
        .collect();
    format!(
        "insert into {name} as held ({columns}) \
         select distinct on ({key}) {columns} from {STAGE} order by {key}, _source desc, _line desc \
         on conflict ({key}) do update set {changes}_source = excluded._source, _line = excluded._line \
         where (held._source, held._line) < (excluded._source, excluded._line)",
        name = table.name,
        key = table.key,
        changes = changes.concat(),
    )
}

fn refused(row: u32, error: &tokio_postgres::Error) -> SetAside {
    let (message, column) = match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|detail| format!("; {detail}")).unwrap_or_default();
            (format!("Postgres refused the row: {}{detail}", db.message()), db.column())
        }
        None => (format!("Postgres refused the row: {error}"), None),
    };
    let reasons = vec![Reason::new(Code::ConstraintViolation, column, message, b"")];
    SetAside { row, fate: Fate::Rejected, reasons, awaits: None }
}
