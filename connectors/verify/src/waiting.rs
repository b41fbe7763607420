//! The check `waiting`: finds waiting lines whose references all exist.
//!
//! The column `awaits` holds the references that a line lacked. Healing rewrites it whenever it tries the line
//! without success. A waiting row is not in its table, so lines that wait only for each other are not found.

use std::time::{Duration, Instant};

use tidegate_postgres::PgError;
use tidegate_store::awaited::AwaitedSql;
use tidegate_store::{Store, moves};

use crate::audit::{Watch, at};
use crate::check::Check;

/// The maximum number of lines that are looked at again.
const LOOKED_AT_MAX: usize = 100_000;
/// The interval at which they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Positions of lines as two columns, the form in which SQL takes them: sources and line numbers.
type Positions = (Vec<i64>, Vec<i64>);

/// Runs the check `waiting`. Each look has a snapshot of its own.
pub(super) async fn check(store: &Store, heal_within: Duration, watch: &Watch<'_>) -> Result<Check, PgError> {
    let mut check = Check::new("waiting");
    let sql = "select count(*) from tidegate.dead_letters where status = 'waiting'";
    let waiting: i64 = store.connection().await?.query_one(sql, &[]).await?.get(0);
    check.checked(waiting as u64, "waiting lines");
    watch(check.name, waiting as u64);
    let begun = Instant::now();
    let mut ready = look(store, None).await?;
    while !ready.0.is_empty() {
        if !moves::is_running(store).await? {
            check.counted(ready.0.len() as u64, "lines have all they waited for: the next run heals them");
            return Ok(check);
        }
        if begun.elapsed() >= heal_within {
            for (source, line) in ready.0.iter().zip(&ready.1) {
                let message = format!("has had all it waited for since {} s", begun.elapsed().as_secs());
                check.violation(at(*source, line), message);
            }
            return Ok(check);
        }
        tokio::time::sleep(LOOK_EVERY.min(heal_within)).await;
        ready = look(store, Some(&ready)).await?;
        watch(check.name, ready.0.len() as u64);
    }
    Ok(check)
}

/// Returns the waiting lines whose references all exist; with `before`, only lines of that list.
async fn look(store: &Store, before: Option<&Positions>) -> Result<Positions, PgError> {
    let connection = store.connection().await?;
    let (sources, lines) = before.map(|(sources, lines)| (sources, lines)).unzip();
    let mut ready = Positions::default();
    for (dataset, sql) in ready_statements(store) {
        let room = (LOOKED_AT_MAX - ready.0.len()) as i64;
        for row in connection.query(&sql, &[&dataset, &sources, &lines, &room]).await? {
            ready.0.push(row.get(0));
            ready.1.push(row.get(1));
        }
    }
    Ok(ready)
}

/// Returns, for each dataset with references, the query for its waiting lines whose references all exist.
fn ready_statements(store: &Store) -> Vec<(&str, String)> {
    let manifest = store.manifest();
    let of_dataset = manifest.datasets.iter().enumerate().filter_map(|(index, dataset)| {
        let awaited = dataset.references.iter().map(|reference| AwaitedSql::new(manifest, index, reference));
        let conditions: Vec<String> = awaited
            .map(|AwaitedSql { value, exists }| format!("and ({value} is null or {exists})"))
            .collect();
        (!conditions.is_empty()).then(|| {
            let sql = format!(
                "select source, line from tidegate.dead_letters \
                 where dataset = $1 and status = 'waiting' and awaits <> '{{}}' \
                 and ($2::bigint[] is null or (source, line) in (select * from unnest($2, $3::bigint[]))) {} \
                 order by source, line limit $4",
                conditions.join(" ")
            );
            (dataset.name.as_str(), sql)
        })
    });
    of_dataset.collect()
}
