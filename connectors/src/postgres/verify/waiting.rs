//! Waiting lines that nothing keeps waiting.
//!
//! What a line lacked is in `awaits`; healing writes it anew when it looks at the line in vain. A row that waits
//! itself is not there, so lines that wait for each other alone are not looked for.

use std::time::{Duration, Instant};

use super::super::{Connection, Error, Postgres};
use super::{Check, Watch, at};

/// So many lines are looked at again.
const LOOKED_AT_MAX: usize = 100_000;
/// How often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lines by position, in the columns that SQL takes.
type Lines = (Vec<i64>, Vec<i64>);

/// The check `waiting`. Each look is a snapshot of its own.
pub(super) async fn check(
    postgres: &Postgres,
    heal_within: Duration,
    watch: &Watch<'_>,
) -> Result<Check, Error> {
    let mut check = Check::new("waiting");
    let connection = postgres.connection().await?;
    let sql = "select count(*) from tidegate.dead_letters where status = 'waiting'";
    let waiting: i64 = connection.query_one(sql, &[]).await?.get(0);
    check.checked(waiting as u64, "waiting lines");
    watch(check.name, waiting as u64);
    let begun = Instant::now();
    let mut ready = look(postgres, &connection, None).await?;
    while !ready.0.is_empty() {
        if !is_running(&connection).await? {
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
        ready = look(postgres, &connection, Some(&ready)).await?;
        watch(check.name, ready.0.len() as u64);
    }
    Ok(check)
}

/// Whether some process may commit to this pipeline.
async fn is_running(connection: &Connection) -> Result<bool, Error> {
    let sql = "select exists (select from tidegate.leases where expires_at > now())";
    Ok(connection.query_one(sql, &[]).await?.get(0))
}

/// The lines that have all they lacked, among those `before`.
async fn look(postgres: &Postgres, connection: &Connection, before: Option<&Lines>) -> Result<Lines, Error> {
    let (sources, lines) = before.map_or((None, None), |(sources, lines)| (Some(sources), Some(lines)));
    let mut ready = Lines::default();
    for (dataset, sql) in ready_statements(postgres) {
        let room = (LOOKED_AT_MAX - ready.0.len()) as i64;
        for row in connection.query(&sql, &[&dataset, &sources, &lines, &room]).await? {
            ready.0.push(row.get(0));
            ready.1.push(row.get(1));
        }
    }
    Ok(ready)
}

/// For each dataset with references, the query for its lines that have all they lacked.
fn ready_statements(postgres: &Postgres) -> Vec<(&str, String)> {
    let inner = &postgres.inner;
    let of_dataset = inner.manifest.datasets.iter().filter_map(|dataset| {
        let references = dataset.columns.iter().filter_map(|column| Some((column, column.references?)));
        let conditions: Vec<String> = references
            .map(|(column, parent)| {
                let awaited = format!("awaits ->> '{}'", column.name.replace('\'', "''"));
                let parent = &inner.tables[parent];
                format!(
                    "and ({awaited} is null \
                     or exists (select from {} as parent where parent.{} = ({awaited})::{}))",
                    parent.name, parent.key, parent.key_type
                )
            })
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
