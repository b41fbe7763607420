//! Generated keys: numbers out of a dataset's sequence, and the first key of a source.

use std::time::{SystemTime, UNIX_EPOCH};

use deadpool_postgres::Transaction;
use tidegate_core::manifest::{Generated, Kind};
use tidegate_core::registry::KeysNeeded;
use tidegate_postgres::table::TableSql;
use tidegate_postgres::{Database, PgError};

use crate::leases;
use crate::store::Store;

/// Takes `count` consecutive keys out of a dataset's sequence, which begins at `start`. Returns the first. **No key
/// is taken that the table has already**, whichever application wrote its row: if there is one, the keys begin after
/// the largest key of the table. Keys that are taken and not used are lost. Fails if no keys are left.
pub async fn take(store: &Store, dataset: &str, start: i64, count: u64) -> Result<i64, PgError> {
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    let first = take_in(store, &tx, dataset, start, count).await?;
    tx.commit().await?;
    Ok(first)
}

/// Returns the first generated key of an upload, in a transaction of its own.
pub async fn for_upload(store: &Store, dataset: &str, needed: KeysNeeded) -> Result<i64, PgError> {
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    let first = first_key(store, &tx, dataset, needed).await?;
    tx.commit().await?;
    Ok(first)
}

/// Returns the first generated key of a source: the first number of a block of the sequence, or for UUIDs the time in
/// milliseconds since 1970.
pub(crate) async fn first_key(
    database: &Database,
    tx: &Transaction<'_>,
    dataset: &str,
    needed: KeysNeeded,
) -> Result<i64, PgError> {
    match needed {
        KeysNeeded::Numbers { start, lines } => take_in(database, tx, dataset, start, lines).await,
        KeysNeeded::Uuid => {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(since_1970.as_millis() as i64)
        }
    }
}

/// Makes a dataset's sequence begin after the keys of a source that Postgres had lost: `lines` keys from `first` on.
pub(crate) async fn keep(
    database: &Database,
    tx: &Transaction<'_>,
    dataset: &str,
    first: i64,
    lines: i64,
) -> Result<(), PgError> {
    let Some((_, definition)) = database.manifest().dataset(dataset) else { return Ok(()) };
    if let Some((_, Generated::Sequence { .. })) = definition.generated() {
        let sql = "insert into tidegate.generated_keys as k (dataset, next) values ($1, $2) \
                   on conflict (dataset) do update set next = greatest(k.next, excluded.next)";
        let next = first.saturating_add(lines);
        tx.execute(sql, &[&sequence(database, dataset), &next]).await?;
    }
    Ok(())
}

/// Returns the name of a dataset's sequence. Datasets that share a table share its sequence, which has the name of the
/// first of them.
fn sequence<'a>(database: &'a Database, dataset: &'a str) -> &'a str {
    let datasets = &database.manifest().datasets;
    datasets.iter().find(|its| its.name == dataset).map_or(dataset, |its| &datasets[its.of_table].name)
}

async fn take_in(
    database: &Database,
    tx: &Transaction<'_>,
    dataset: &str,
    start: i64,
    count: u64,
) -> Result<i64, PgError> {
    let sql = include_str!("../../../sql/queries/take_keys.sql");
    let asked = count as i64;
    let start = start.max(next_of_table(database, tx, dataset).await?);
    let dataset = sequence(database, dataset);
    let first = tx.query_one(sql, &[&dataset, &start, &asked]).await?.get::<_, i64>(0) - asked;
    match key_behind(database, tx, dataset, first, asked).await? {
        Some(behind) => Ok(tx.query_one(sql, &[&dataset, &behind, &asked]).await?.get::<_, i64>(0) - asked),
        None => Ok(first),
    }
}

/// Returns the next key of all sequences that a dataset's table has had: another dataset may have been the first of it.
async fn next_of_table(database: &Database, tx: &Transaction<'_>, dataset: &str) -> Result<i64, PgError> {
    let Some((_, definition)) = database.manifest().dataset(dataset) else { return Ok(i64::MIN) };
    let of_table = database.manifest().datasets_of_table(definition.of_table);
    let names: Vec<&str> = of_table.map(|its| its.name.as_str()).collect();
    if names.len() == 1 {
        return Ok(i64::MIN);
    }
    let sql = "select coalesce(max(next), $2) from tidegate.generated_keys where dataset = any($1)";
    Ok(tx.query_one(sql, &[&names, &i64::MIN]).await?.get(0))
}

/// Returns the key after the largest one of a dataset's table, if the table has any of `count` keys from `first` on.
async fn key_behind(
    database: &Database,
    tx: &Transaction<'_>,
    dataset: &str,
    first: i64,
    count: i64,
) -> Result<Option<i64>, PgError> {
    let Some((index, definition)) = database.manifest().dataset(dataset) else { return Ok(None) };
    let TableSql { name: table, key, .. } = &database.tables()[index];
    let key = key.list();
    let taken = format!(
        "select exists (select from {table} where {key} between $1::bigint and $1::bigint + ($2::bigint - 1))"
    );
    if count == 0 || !tx.query_one(&taken, &[&first, &count]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let largest: i64 = tx.query_one(&format!("select max({key})::bigint from {table}"), &[]).await?.get(0);
    let most = match definition.generated().map(|(index, _)| definition.columns[index].kind) {
        Some(Kind::SmallInt) => i64::from(i16::MAX),
        Some(Kind::Integer) => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    if largest.checked_add(count).is_none_or(|last| last > most) {
        return Err(PgError::halt(format!(
            "there is no key left for dataset '{dataset}': {table} has rows with the key {first} or one shortly \
             behind it, and with the key {largest}, behind which there are no {count} more; set 'generated: \
             {{start: N}}' of {} to where a gap begins",
            definition.names(&definition.key)
        )));
    }
    Ok(Some(largest + 1))
}
