//! Healing: once the rows that waiting lines reference exist, whether a line or another application wrote them, the
//! waiting lines are accepted at their own positions.

use tidegate_core::dead_letter::Event;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Fate;
use tidegate_core::position::Position;
use tidegate_postgres::{Database, PgError, TransactionMode};
use tokio_postgres::types::ToSql;

use super::batch::{BatchLetter, BatchReader, StoredState};
use super::{commit, transaction};
use crate::awaited::AwaitedSql;
use crate::shapes;
use crate::statement::{self, Columns};
use crate::store::Store;

/// The maximum number of waiting lines that one round reads.
const ROUND_LINES: i64 = 20_000;

/// Accepts all waiting lines whose references exist, and makes no moves. Returns how many left the waiting set.
pub(super) async fn waiting(store: &Store) -> Result<u64, PgError> {
    let mut total = 0;
    loop {
        let mut healed = 0;
        for dataset in waiting_datasets(store).await? {
            healed += dataset_lines(store, dataset).await?;
        }
        total += healed;
        // A healed line may be the row that other lines wait for.
        if healed == 0 {
            return Ok(total);
        }
    }
}

/// The datasets that have waiting lines, by index.
async fn waiting_datasets(database: &Database) -> Result<Vec<usize>, PgError> {
    let sql = "select datasets.i - 1 from unnest($1::text[]) with ordinality as datasets (name, i) \
               where exists (select from tidegate.dead_letters as d where d.dataset = datasets.name and d.status = 'waiting') \
               order by datasets.i";
    let names: Vec<&str> = database.manifest().datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    let rows = statement::query(&database.connection().await?, sql, &[&names]).await?;
    Ok(rows.iter().map(|row| row.number(0) as usize).collect())
}

async fn dataset_lines(store: &Store, dataset: usize) -> Result<u64, PgError> {
    if store.inner.sink.is_stopped(dataset) {
        return Ok(0);
    }
    let sql = ready_statement(store, dataset);
    let dataset_now = &store.manifest().datasets[dataset];
    let name = &dataset_now.name;
    let referencing: Vec<String> =
        dataset_now.references.iter().map(|reference| reference.name(dataset_now)).collect();
    let mut after = Position::new(0, 0);
    let mut healed = 0;
    loop {
        let mut connection = store.connection().await?;
        let tx = store.begin(&mut connection, TransactionMode::Read).await?;
        let (source, line) = (after.source as i64, after.line as i64);
        let parameters: [&(dyn ToSql + Sync); 5] = [name, &source, &line, &ROUND_LINES, &referencing];
        let rows = match statement::query(&tx, &sql, &parameters).await {
            Ok(rows) => rows,
            // One of the tables that the dataset references cannot be read.
            Err(error) if error.is_of_dataset() => {
                transaction::stop(store, dataset, &error);
                return Ok(healed);
            }
            Err(error) => return Err(error),
        };
        tx.commit().await?;
        drop(connection);
        let Some(last) = rows.last() else { return Ok(healed) };
        after = last.position();
        let shapes = shapes::of_rows(store, &rows).await?;
        let mut reader = BatchReader::new(store.manifest(), &store.inner.validators);
        for (row, shape) in rows.iter().zip(shapes) {
            let letter =
                BatchLetter::new(dataset, row.position(), row.stage()?, Event::Waiting, row.get("text"));
            let stored = StoredState { set: Fate::Waiting, attempt: row.get("attempt"), claim: None };
            reader.letter(BatchLetter { shape, stored: Some(stored), ..letter });
        }
        healed += commit::commit(store, &reader.finish()).await?.left;
        Failpoint::WaitingHealed.pass()?;
    }
}

/// The query for the waiting lines of a dataset that may heal. A line may heal in three cases. One of the references
/// that it lacked exists now. One of them is to a row of the same table, which may itself be waiting, even for this
/// line. Or the manifest has changed, and a column that it lacked is no reference any more ($5 are the manifest's
/// references).
fn ready_statement(database: &Database, dataset: usize) -> String {
    let mut conditions = vec!["awaits - $5::text[] <> '{}'".to_owned()];
    let manifest = database.manifest();
    let definition = &manifest.datasets[dataset];
    for reference in &definition.references {
        let awaited = AwaitedSql::new(manifest, dataset, reference);
        conditions.push(match reference.dataset == definition.of_table {
            true => format!("{} is not null", awaited.value),
            false => awaited.exists,
        });
    }
    format!(
        "select source, line, attempt, text, stage, shape from tidegate.dead_letters \
         where dataset = $1 and status = 'waiting' and (source, line) > ($2, $3) and ({}) \
         order by source, line limit $4",
        conditions.join(" or ")
    )
}
