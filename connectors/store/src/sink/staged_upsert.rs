//! The staged upsert: writes rows through a staging table, with every trigger and constraint of the table.
//!
//! The newest position of a key wins. Without a key every line inserts a row. If Postgres refuses a row of a part, the
//! part is halved until it is small. A small part is written row by row, on the server, so that thousands of refusals
//! cost no more than their number. Refused rows are set aside; the others are applied.
//!
//! **What Postgres reports as written is compared with what was sent.** Each line inserts a row, updates one, or is
//! superseded by a newer line that holds the key. A line that did none of these was left out by a trigger. Its part
//! is rolled back and halved too, until the line is found.

mod one_by_one;

use deadpool_postgres::Transaction;
use tidegate_core::ledger::CHUNK_LINES;
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;
use tidegate_postgres::PgError;
use tidegate_postgres::error::{PgErrorKind, is_about_values, postgres_kind};
use tidegate_postgres::table::TableSql;

use super::batch::{DatasetRows, UnwrittenRow, Verdicts};
use super::copy::copy;
use crate::ledger::{ChunkWrites, Writes};
use crate::statement::{self, Columns};
use one_by_one::row_by_row;

const STAGE: &str = "pg_temp.tidegate_stage";
/// A part of at most so many rows is not halved when it fails, but written row by row.
const ROW_BY_ROW_MAX: usize = 512;

/// The source and the target of the rows that are written.
struct Upsert<'a> {
    dataset: &'a Dataset,
    table: &'a TableSql,
    rows: &'a DatasetRows,
    /// Whether `xmax` of a written row tells that the row is new. In a partitioned table it does not.
    tells: bool,
}

/// Writes the accepted rows. Rows that Postgres refuses are set aside, except those that violate a foreign key, which
/// are returned: the rows that they reference may be written later.
pub(super) async fn write(
    tx: &mut Transaction<'_>,
    dataset: &Dataset,
    table: &TableSql,
    rows: &DatasetRows,
    verdicts: &mut Verdicts,
) -> Result<Vec<UnwrittenRow>, PgError> {
    tx.batch_execute(&create_stage(table)).await?;
    // A deferred constraint must be checked with its row, and not at the commit.
    tx.batch_execute("set constraints all immediate").await?;
    let sql = "select relkind <> 'p' from pg_class where oid = to_regclass($1)";
    let tells = statement::query_one(&*tx, sql, &[&table.name]).await?.get(0);
    let writer = Upsert { dataset, table, rows, tells };
    let merge = writer.merge();
    let accepted = std::mem::take(&mut verdicts.accepted);
    let mut orphans = Vec::new();
    let mut parts = vec![&accepted[..]];
    while let Some(part) = parts.pop() {
        if writer.try_part(tx, &merge, part, verdicts).await? {
            continue;
        }
        if part.len() > ROW_BY_ROW_MAX {
            let (first, second) = part.split_at(part.len() / 2);
            parts.extend([second, first]);
        } else {
            orphans.extend(row_by_row(tx, &writer, part, verdicts).await?);
        }
    }
    // A row may reference a row of its own table that another part has written meanwhile.
    while !orphans.is_empty() {
        let before = verdicts.accepted.len();
        let again: Vec<u32> =
            std::mem::take(&mut orphans).iter().map(|orphan: &UnwrittenRow| orphan.row).collect();
        orphans = row_by_row(tx, &writer, &again, verdicts).await?;
        if verdicts.accepted.len() == before {
            break;
        }
    }
    // Rows may reference each other, so that none of them can be written first. They are tried together.
    if orphans.len() > 1 {
        let together: Vec<u32> = orphans.iter().map(|orphan| orphan.row).collect();
        if writer.try_part(tx, &merge, &together, verdicts).await? {
            orphans.clear();
        }
    }
    tx.batch_execute(&format!("drop table {STAGE}")).await?;
    Ok(orphans)
}

/// The statements that create the staging table. It has the checks of the table, so that every row is checked, and not
/// the newest row of a key alone. Columns that are not written may be null in it, because the table fills them in.
fn create_stage(table: &TableSql) -> String {
    let create = format!(
        "create temporary table tidegate_stage (like {} including constraints including defaults \
         including generated) on commit drop",
        table.name
    );
    let nullable = |column: &usize| format!("alter column {} drop not null", table.columns[*column]);
    let nullable: Vec<String> = table.left_out.iter().map(nullable).collect();
    match nullable.is_empty() {
        true => create,
        false => format!("{create}; alter table {STAGE} {}", nullable.join(", ")),
    }
}

impl Upsert<'_> {
    /// Writes some rows together. `false`, with nothing done, if Postgres refuses one of them or a trigger leaves one
    /// out.
    async fn try_part(
        &self,
        tx: &mut Transaction<'_>,
        merge: &str,
        part: &[u32],
        verdicts: &mut Verdicts,
    ) -> Result<bool, PgError> {
        let mut savepoint = tx.savepoint("part").await?;
        match self.write_part(&mut savepoint, merge, part).await {
            Ok(Some(writes)) => {
                savepoint.commit().await?;
                verdicts.accepted.extend_from_slice(part);
                writes.into_iter().for_each(|(position, writes)| verdicts.writes.add(position, writes));
                return Ok(true);
            }
            Ok(None) => savepoint.rollback().await?,
            // Not a copy that was refused: on its connection nothing can be rolled back.
            Err(PgError::Postgres(error)) if postgres_kind(&error) == PgErrorKind::Row => {
                savepoint.rollback().await?;
                if !error.code().is_some_and(|state| is_about_values(state.code())) {
                    // If the statement is refused over no rows too, for a missing table or right for example, the
                    // error is not a row's and is returned.
                    tx.query(merge, &[]).await?;
                }
            }
            Err(error) => return Err(error),
        }
        // The savepoint is released: otherwise all later statements would run inside it, and their rows would bear
        // its subtransaction's number in place of the transaction's own.
        tx.batch_execute("release savepoint part").await?;
        Ok(false)
    }

    /// Returns what the rows wrote, an entry for each chunk of the ledger, named by a position in the chunk. `None`
    /// if one of the rows was left out.
    async fn write_part(
        &self,
        tx: &mut Transaction<'_>,
        merge: &str,
        part: &[u32],
    ) -> Result<Option<Vec<(Position, Writes)>>, PgError> {
        copy(tx, STAGE, &self.table.copy_columns(), self.rows, part).await?;
        let mut writes = Vec::new();
        for row in tx.query(merge, &[]).await? {
            let [inserted, updated, repeated] = [2, 3, 4].map(|i| row.number(i));
            // A trigger has changed the position: the row is of no line that was sent.
            let Some(position) = first_of_chunk(&row) else { return Ok(None) };
            writes.push((position, Writes { inserted, updated, repeated }));
        }
        let written: u64 = writes.iter().map(|(_, writes)| writes.inserted + writes.updated).sum();
        if written < part.len() as u64 {
            for row in tx.query(&self.account(), &[]).await? {
                let [here, repeated, left_out] = [2, 3, 4].map(|i| row.number(i));
                let Some(position) = first_of_chunk(&row).filter(|_| left_out == 0) else { return Ok(None) };
                let its = writes.iter().filter(|(of, _)| *of == position);
                let told: u64 = its.map(|(_, writes)| writes.inserted + writes.updated).sum();
                // A trigger has stored rows in a child table, which this table shows.
                let inserted = here.saturating_sub(told);
                writes.push((position, Writes { inserted, updated: 0, repeated }));
            }
        }
        tx.batch_execute(&format!("truncate {STAGE}")).await?;
        Ok(self.is_plausible(part, &writes).then_some(writes))
    }

    /// Returns whether each chunk has at most as many rows written as lines sent. A trigger that changes positions
    /// breaks that.
    fn is_plausible(&self, part: &[u32], writes: &[(Position, Writes)]) -> bool {
        let mut written = ChunkWrites::default();
        writes.iter().for_each(|(position, writes)| written.add(*position, *writes));
        written.fits(&part.iter().map(|row| self.rows.lines[*row as usize].position).collect())
    }

    /// The statement that merges the newest line of each key into the table, or inserts every line if there is no key. It
    /// returns, by source and chunk, the numbers of rows inserted, of rows updated, and of rows that held a line of the
    /// same source before.
    fn merge(&self) -> String {
        let Self { table, .. } = self;
        if table.is_keyless {
            return format!(
                "with written as ({} select {} from {STAGE} order by _source, _line \
                 returning held._source as source, (held._line - 1) / {CHUNK_LINES} as chunk) \
                 select source, chunk, count(*), 0::bigint, 0::bigint from written group by source, chunk",
                insert_into(table),
                table.written_columns(),
            );
        }
        // The subquery reads the row as it was before the statement, in the statement's snapshot. It is an aggregate,
        // because Postgres would otherwise read the whole table.
        let before = format!(
            "(select max(before._source) from {} as before where {})",
            table.name,
            table.key.is_numbered("before", "written")
        );
        let (is_new, before) = match self.tells {
            true => ("held.xmax = 0", format!("case when not is_new then {before} end")),
            false => ("null::boolean", before),
        };
        format!(
            "with written as ({insert} select distinct on ({key}) {columns} from {STAGE} \
             order by {key}, _source desc, _line desc {on_conflict} \
             returning held._source as source, (held._line - 1) / {CHUNK_LINES} as chunk, {numbered}, \
             {is_new} as is_new), \
             told as materialized (select source, chunk, is_new, {before} as before from written) \
             select source, chunk, count(*) filter (where coalesce(is_new, before is null)), \
             count(*) filter (where not coalesce(is_new, before is null)), count(*) filter (where before = source) \
             from told group by source, chunk",
            insert = insert_into(table),
            key = table.key.list(),
            numbered = table.key.list_as_numbered("held"),
            columns = table.written_columns(),
            on_conflict = on_conflict(self.dataset, table),
        )
    }

    /// The query that tells, after a merge, what became of the lines of the staging table. It returns, by source and
    /// chunk, the numbers of lines that hold the row of their key, of lines that a newer line of their own source has
    /// superseded, and of lines whose key is held by neither the line nor a newer one.
    fn account(&self) -> String {
        format!(
            "with seen as (select sent._source, sent._line, \
             coalesce(bool_or((held._source, held._line) = (sent._source, sent._line)), false) as here, \
             coalesce(bool_or((held._source, held._line) > (sent._source, sent._line)), false) as superseded, \
             coalesce(bool_or(held._source = sent._source and held._line > sent._line), false) as repeated \
             from {STAGE} as sent left join {} as held on {} \
             group by sent._source, sent._line) \
             select _source, (_line - 1) / {CHUNK_LINES}, count(*) filter (where here), \
             count(*) filter (where repeated and not here), count(*) filter (where not here and not superseded) \
             from seen group by 1, 2",
            self.table.name,
            self.table.key.is_same("held", "sent"),
        )
    }
}

/// The first position of the chunk that columns 0 (source) and 1 (chunk) of a row name.
fn first_of_chunk(row: &tokio_postgres::Row) -> Option<Position> {
    let source = u64::try_from(row.get::<_, Option<i64>>(0)?).ok()?;
    let chunk = u64::try_from(row.get::<_, Option<i64>>(1)?).ok()?;
    Some(Position::new(source, chunk * CHUNK_LINES + 1))
}

fn insert_into(table: &TableSql) -> String {
    format!("insert into {} as held ({})", table.name, table.written_columns())
}

/// **The newest position wins**: an existing row is updated only if the new position is newer than its own. Without a
/// key there is no conflict: every line inserts.
fn on_conflict(dataset: &Dataset, table: &TableSql) -> String {
    if table.is_keyless {
        return String::new();
    }
    let columns = table.columns.iter().enumerate().filter(|(i, _)| !dataset.is_key(*i));
    let change = |(i, column): (usize, &String)| match table.left_out.contains(&i) {
        true if dataset.columns[i].reading.is_default_of_table() => format!("{column} = default, "),
        true => format!("{column} = null, "),
        false => format!("{column} = excluded.{column}, "),
    };
    let changes: String = columns.map(change).collect();
    format!(
        "on conflict ({}) do update set {changes}_source = excluded._source, _line = excluded._line \
         where (held._source, held._line) < (excluded._source, excluded._line)",
        table.key.list()
    )
}
