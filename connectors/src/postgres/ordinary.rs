//! The ordinary way to write rows: through a staging table, with every trigger and constraint of the table.
//!
//! The newest position of a key wins. A batch with a row that Postgres refuses is halved until the part is
//! small, and that is written row by row, on the server, so that even thousands of refusals cost no more
//! than their number. What is refused is set aside; the rest is applied.
//!
//! **What Postgres reports as written is held against what was sent.** Each line inserts a row, updates one, or is
//! superseded by a newer line that holds the key. A line that did none of it was left out by a trigger: its part is
//! rolled back and halved too, until it is found.

mod one_by_one;

use deadpool_postgres::Transaction;
use tidegate_core::ledger::CHUNK_LINES;
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;

use super::Error;
use super::batch::{Rows, SetAside, Verdicts};
use super::cheap::copy;
use super::error::{Kind, is_about_values, postgres_kind};
use super::ledger::{ChunkWrites, Writes};
use super::table::TableSql;
use one_by_one::row_by_row;

const STAGE: &str = "pg_temp.tidegate_stage";
/// A part of so few rows is not halved again when it fails.
const ROW_BY_ROW_MAX: usize = 512;

/// What rows are written from, and how.
struct Writer<'a> {
    dataset: &'a Dataset,
    table: &'a TableSql,
    rows: &'a Rows,
    /// Whether a row that was written tells by itself that it is new. One of a partitioned table does not.
    tells: bool,
}

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
    let kind = tx.prepare_cached("select relkind <> 'p' from pg_class where oid = to_regclass($1)").await?;
    let tells = tx.query_one(&kind, &[&table.name]).await?.get(0);
    let writer = Writer { dataset, table, rows, tells };
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
    // A row may reference a row of its own table that another part has brought by now.
    while !orphans.is_empty() {
        let before = verdicts.accepted.len();
        let again: Vec<u32> =
            std::mem::take(&mut orphans).iter().map(|orphan: &SetAside| orphan.row).collect();
        orphans = row_by_row(tx, &writer, &again, verdicts).await?;
        if verdicts.accepted.len() == before {
            break;
        }
    }
    // Rows may reference each other: none of them can be the first.
    if orphans.len() > 1 {
        let together: Vec<u32> = orphans.iter().map(|orphan| orphan.row).collect();
        if writer.try_part(tx, &merge, &together, verdicts).await? {
            orphans.clear();
        }
    }
    verdicts.set_aside.append(&mut orphans);
    tx.batch_execute(&format!("drop table {STAGE}")).await?;
    Ok(())
}

impl Writer<'_> {
    /// Writes some rows together; `false`, and nothing done, where Postgres refuses one of them or a trigger leaves
    /// one out.
    async fn try_part(
        &self,
        tx: &mut Transaction<'_>,
        merge: &str,
        part: &[u32],
        verdicts: &mut Verdicts,
    ) -> Result<bool, Error> {
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
            Err(Error::Postgres(error)) if postgres_kind(&error) == Kind::Row => {
                savepoint.rollback().await?;
                if !error.code().is_some_and(|state| is_about_values(state.code())) {
                    // Without a row, what the statement lacks is refused all the same: then it is no row's error.
                    tx.query(merge, &[]).await?;
                }
            }
            Err(error) => return Err(error),
        }
        // Else all that follows would run inside it, and rows not bear the transaction's own number.
        tx.batch_execute("release savepoint part").await?;
        Ok(false)
    }

    /// Gives what the rows wrote, each entry of the chunk that its position stands for; `None` where one of them
    /// was left out.
    async fn write_part(
        &self,
        tx: &mut Transaction<'_>,
        merge: &str,
        part: &[u32],
    ) -> Result<Option<Vec<(Position, Writes)>>, Error> {
        copy(tx, STAGE, &self.table.copy_columns(), self.rows, part).await?;
        let mut writes = Vec::new();
        for row in tx.query(merge, &[]).await? {
            let [inserted, updated, repeated] = [2, 3, 4].map(|i| row.get::<_, i64>(i) as u64);
            // Where a trigger has changed the position, it is of no line that was sent.
            let Some(position) = first_of_chunk(&row) else { return Ok(None) };
            writes.push((position, Writes { inserted, updated, repeated }));
        }
        let written: u64 = writes.iter().map(|(_, writes)| writes.inserted + writes.updated).sum();
        if written < part.len() as u64 {
            for row in tx.query(&self.account(), &[]).await? {
                let [here, repeated, left_out] = [2, 3, 4].map(|i| row.get::<_, i64>(i) as u64);
                let Some(position) = first_of_chunk(&row).filter(|_| left_out == 0) else { return Ok(None) };
                let its = writes.iter().filter(|(of, _)| *of == position);
                let told: u64 = its.map(|(_, writes)| writes.inserted + writes.updated).sum();
                // A trigger has stored rows in another table that this one shows, as its child.
                let inserted = here.saturating_sub(told);
                writes.push((position, Writes { inserted, updated: 0, repeated }));
            }
        }
        tx.batch_execute(&format!("truncate {STAGE}")).await?;
        Ok(self.is_plausible(part, &writes).then_some(writes))
    }

    /// Whether no chunk has more rows written than lines sent, as where a trigger changes positions.
    fn is_plausible(&self, part: &[u32], writes: &[(Position, Writes)]) -> bool {
        let mut written = ChunkWrites::default();
        writes.iter().for_each(|(position, writes)| written.add(*position, *writes));
        written.fits(&part.iter().map(|row| self.rows.lines[*row as usize].position).collect())
    }

    /// Merges the newest line of each key, and counts what was written by source and chunk: inserted, updated, and of
    /// these the rows that were of the same source before.
    fn merge(&self) -> String {
        let Self { table, .. } = self;
        // Read in the statement's snapshot: as the row was before. An aggregate, lest the table be read as a whole.
        let before = format!(
            "(select max(before._source) from {} as before where before.{key} = written.key)",
            table.name,
            key = table.key
        );
        let (is_new, before) = match self.tells {
            true => ("held.xmax = 0", format!("case when not is_new then {before} end")),
            false => ("null::boolean", before),
        };
        format!(
            "with written as ({insert} select distinct on ({key}) {columns} from {STAGE} \
             order by {key}, _source desc, _line desc {on_conflict} \
             returning held._source as source, (held._line - 1) / {CHUNK_LINES} as chunk, held.{key} as key, \
             {is_new} as is_new), \
             told as materialized (select source, chunk, is_new, {before} as before from written) \
             select source, chunk, count(*) filter (where coalesce(is_new, before is null)), \
             count(*) filter (where not coalesce(is_new, before is null)), count(*) filter (where before = source) \
             from told group by source, chunk",
            insert = insert_into(table),
            key = table.key,
            columns = table.written_columns(),
            on_conflict = on_conflict(self.dataset, table),
        )
    }

    /// After a merge, what became of the lines of the stage by source and chunk: how many hold the row of their key,
    /// how many a newer line of their own source has superseded, and how many neither they nor a newer line hold.
    fn account(&self) -> String {
        format!(
            "with seen as (select sent._source, sent._line, \
             coalesce(bool_or((held._source, held._line) = (sent._source, sent._line)), false) as here, \
             coalesce(bool_or((held._source, held._line) > (sent._source, sent._line)), false) as superseded, \
             coalesce(bool_or(held._source = sent._source and held._line > sent._line), false) as repeated \
             from {STAGE} as sent left join {} as held on held.{key} = sent.{key} \
             group by sent._source, sent._line) \
             select _source, (_line - 1) / {CHUNK_LINES}, count(*) filter (where here), \
             count(*) filter (where repeated and not here), count(*) filter (where not here and not superseded) \
             from seen group by 1, 2",
            self.table.name,
            key = self.table.key,
        )
    }
}

/// The first line of the chunk in columns 0 and 1 of a row.
fn first_of_chunk(row: &tokio_postgres::Row) -> Option<Position> {
    let source = u64::try_from(row.get::<_, Option<i64>>(0)?).ok()?;
    let chunk = u64::try_from(row.get::<_, Option<i64>>(1)?).ok()?;
    Some(Position::new(source, chunk * CHUNK_LINES + 1))
}

fn insert_into(table: &TableSql) -> String {
    format!("insert into {} as held ({})", table.name, table.written_columns())
}

/// **The newest position wins**: a row is written only if its position is newer than the row's own.
fn on_conflict(dataset: &Dataset, table: &TableSql) -> String {
    let columns = table.columns.iter().enumerate().filter(|(i, _)| *i != dataset.key);
    let change = |(i, column): (usize, &String)| match table.left_out.contains(&i) {
        true => format!("{column} = null, "),
        false => format!("{column} = excluded.{column}, "),
    };
    let changes: String = columns.map(change).collect();
    format!(
        "on conflict ({}) do update set {changes}_source = excluded._source, _line = excluded._line \
         where (held._source, held._line) < (excluded._source, excluded._line)",
        table.key
    )
}
