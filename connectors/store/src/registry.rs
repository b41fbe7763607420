//! The registry: sources and their numbers, readers' offsets.

use std::sync::Arc;

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::contract::{self, ConsumerOffset, Offsets};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Chunk;
use tidegate_core::registry::{Arrival, ArrivalRole, KeysNeeded, Registration, Registry, identity_of};
use tidegate_core::shape::Shape;
use tidegate_core::split::SkippedLines;
use tidegate_postgres::{Database, PgError};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use crate::source_kind::SourceKind;
use crate::statement::{self, Columns, bigints};
use crate::store::Store;
use crate::{generated_keys, leases, ledger, reloads, shapes};

/// Waits for other transactions that register sources, so that the next number is one more than the last.
pub(super) const LOCK_SOURCES: &str = "lock table tidegate.sources in share row exclusive mode";

/// One of so many accepted lines of a source may repeat a key without a warning.
const REPEATED_MAX: u64 = 100;

/// A source as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSource {
    /// The number of the source.
    pub source: u64,
    /// The dataset it belongs to.
    pub dataset: String,
    /// The kind of input.
    pub kind: SourceKind,
    /// The name of the input.
    pub name: String,
    /// The identity, which no other source has. See [`identity_of`].
    pub identity: Vec<u8>,
    /// The size in bytes.
    pub bytes: Option<u64>,
    /// The number of lines, once the source was read to its end.
    pub lines: Option<u64>,
    /// Whether every line is accounted for.
    pub complete: bool,
    /// The number of its lines that the ledger holds; 0 if the source is complete.
    pub held: u64,
    /// For a file, the hash of its dataset, name, content and division into lines, which all deliveries of the file
    /// share.
    pub fingerprint: Option<Vec<u8>>,
    /// The first generated key of its lines, if they need some.
    pub first_key: Option<i64>,
}

/// Registers a file, or finds the source that it already is, which is then *resumed under that number*.
async fn register(store: &Store, file: Arrival<'_>) -> Result<Registration, PgError> {
    let shape = shapes::number_of(store, file.dataset, file.shape).await?;
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    tx.batch_execute(LOCK_SOURCES).await?;
    let known = known_file(&tx, &file).await?;
    let its_shape: Option<i64> = known.as_ref().and_then(|row| row.get(4));
    let mut registration = match known {
        Some(row) => Registration {
            source: row.number(0),
            lines: row.number_opt(1),
            complete: row.get(2),
            known: true,
            identity: row.get(3),
            shape: None,
            first_key: row.get(5),
        },
        None => new_file(store, &tx, &file, shape).await?,
    };
    if let (Some(keys), None, false) = (file.keys, registration.first_key, registration.complete) {
        // The source was lost and registered again, or was registered before files had generated keys.
        let first = generated_keys::first_key(store, &tx, file.dataset, keys).await?;
        let sql = "update tidegate.sources set first_key = $2 where source = $1";
        tx.execute(sql, &[&(registration.source as i64), &first]).await?;
        registration.first_key = Some(first);
    }
    if let (Some(KeysNeeded::Numbers { lines, .. }), Some(first), true, false) =
        (file.keys, registration.first_key, registration.known, registration.complete)
    {
        // A recovery that did not know the number of lines has kept no keys for them.
        generated_keys::keep(store, &tx, file.dataset, first, lines as i64).await?;
    }
    if registration.known && its_shape.is_none() {
        // The source was lost, and registered again by a process that did not know its shape.
        let sql = "update tidegate.sources set shape = $2 where source = $1";
        tx.execute(sql, &[&(registration.source as i64), &shape]).await?;
    }
    if let ArrivalRole::Reload(reload) = file.role
        && !registration.known
    {
        reloads::enter(&tx, reload, registration.source).await?;
    }
    tx.commit().await?;
    drop(connection);
    if registration.known {
        registration.shape = shapes::find(store, its_shape).await?;
    }
    Failpoint::SourceRegistered.pass()?;
    Ok(registration)
}

/// Returns all sources, in the order of their numbers. If topics are embedded, complete sources that are no files are
/// left out, since there may be very many, except the last source and those whose number or identity is `noted`
/// elsewhere.
pub async fn list<'a>(
    database: &Database,
    noted: impl Iterator<Item = (u64, &'a [u8])>,
) -> Result<Vec<RegisteredSource>, PgError> {
    let sql = include_str!("../../../sql/queries/registered_sources.sql");
    let (numbers, identities): (Vec<i64>, Vec<&[u8]>) =
        noted.map(|(source, identity)| (source as i64, identity)).unzip();
    let all = database.manifest().fluvio.is_some();
    let rows = database.connection().await?.query(sql, &[&numbers, &identities, &all]).await?;
    let registered = |row: &Row| {
        Ok::<_, PgError>(RegisteredSource {
            source: row.number(0),
            dataset: row.get(1),
            kind: row.try_get(2)?,
            name: row.get(3),
            identity: row.get(4),
            bytes: row.number_opt(5),
            lines: row.number_opt(6),
            complete: row.get(7),
            held: row.number_opt(8).unwrap_or_default(),
            fingerprint: row.get(9),
            first_key: row.get(10),
        })
    };
    rows.iter().map(registered).collect()
}

/// Returns the largest number that was given to a source; 0 if none was.
pub async fn largest(database: &Database) -> Result<u64, PgError> {
    let sql = "select coalesce(max(source), 0) from tidegate.sources";
    let row = database.connection().await?.query_one(sql, &[]).await?;
    Ok(row.number(0))
}

/// Registers sources again that Postgres has lost, in the order given. Each gets its own number, or the next free one
/// if another source has that number by now. For a source that Postgres still knows, the number of its lines is
/// noted. Their generated keys are given to no other source. All readers' offsets are set to the start, so that readers
/// read again all that is on the topics, including the lines of these sources. All of this is one transaction. Fails if
/// another process has taken the leases over.
pub async fn restore(store: &Store, lost: &[RegisteredSource]) -> Result<(), PgError> {
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    tx.batch_execute(LOCK_SOURCES).await?;
    let statement = tx.prepare(include_str!("../../../sql/queries/restore_source.sql")).await?;
    for known in lost {
        let RegisteredSource { dataset, kind, name, identity, fingerprint, first_key, .. } = known;
        let number = |value: u64| value as i64;
        let (source, bytes, lines) = (number(known.source), known.bytes.map(number), known.lines.map(number));
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&source, dataset, &kind.as_str(), name, identity, &bytes, &lines, fingerprint, first_key];
        tx.execute(&statement, &parameters).await?;
        if let Some((first, lines)) = first_key.zip(lines) {
            generated_keys::keep(store, &tx, dataset, first, lines).await?;
        }
    }
    tx.execute("update tidegate.offsets set next = 0", &[]).await?;
    Ok(tx.commit().await?)
}

/// Marks those of the given sources complete whose every line has a place in the ledger. Returns them; a source that
/// is complete already is returned again.
pub async fn complete(store: &Store, sources: &[u64]) -> Result<Vec<u64>, PgError> {
    let sql = include_str!("../../../sql/queries/complete_sources.sql");
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    let rows = tx.query(sql, &[&bigints(sources)]).await?;
    tx.commit().await?;
    if !rows.is_empty() {
        Failpoint::SourceCompleted.pass()?;
    }
    rows.iter().for_each(|row| warn_of_repeated_keys(store, row));
    Ok(rows.iter().map(|row| row.number(0)).collect())
}

/// Returns those of the given sources that are complete and were files, each with its dataset and the number of bytes
/// read.
pub async fn files_read(database: &Database, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, PgError> {
    let sql = include_str!("../../../sql/queries/files_read.sql");
    let rows = database.connection().await?.query(sql, &[&bigints(sources)]).await?;
    Ok(rows.iter().map(|row| (row.number(0), row.get(1), row.number(2))).collect())
}

/// Warns about a complete source if so many of its lines repeat a key that the column may be no key.
fn warn_of_repeated_keys(database: &Database, row: &Row) {
    let [accepted, repeated] = [4, 5].map(|i| row.number_opt(i).unwrap_or_default());
    let kind: Option<SourceKind> = row.try_get(2).ok();
    if repeated * REPEATED_MAX <= accepted || kind == Some(SourceKind::Request) {
        return;
    }
    let (source, name) = (row.get::<_, i64>(0), row.get::<_, &str>(3));
    let Some((_, dataset)) = database.manifest().dataset(row.get(1)) else { return };
    let (key, dataset) = (dataset.names(&dataset.key), &dataset.name);
    tracing::warn!(
        source,
        accepted,
        repeated,
        "in '{}' {repeated} of {accepted} accepted lines repeat a key, and the newest line of each key has its row: is \
         '{key}' the key of dataset '{dataset}'?",
        name.escape_debug()
    );
}

/// Returns the source that a file is, by the rule of [`ArrivalRole`].
async fn known_file(tx: &Transaction<'_>, file: &Arrival<'_>) -> Result<Option<Row>, PgError> {
    let of = "select source, lines, completed_at is not null, identity, shape, first_key \
              from tidegate.sources where source = $1";
    let above = match file.role {
        ArrivalRole::Delivery => 0,
        ArrivalRole::Behind(source) => source as i64,
        ArrivalRole::Lost(source) => return Ok(tx.query_opt(of, &[&(source as i64)]).await?),
        ArrivalRole::Reload(reload) => {
            let source: Option<i64> = reloads::entered(tx, reload).await?;
            return Ok(tx.query_opt(of, &[&source]).await?);
        }
    };
    let sql = include_str!("../../../sql/queries/find_file.sql");
    Ok(tx.query_opt(sql, &[&file.dataset, &file.name, &&file.fingerprint[..], &above]).await?)
}

/// Registers a file under the next number.
async fn new_file(
    store: &Store,
    tx: &Transaction<'_>,
    file: &Arrival<'_>,
    shape: i64,
) -> Result<Registration, PgError> {
    let Arrival { dataset, name, fingerprint, content, bytes, .. } = *file;
    let first_key = match file.keys {
        Some(keys) => match of_reloaded(tx, file.role).await? {
            Some(first) => Some(first),
            None => Some(generated_keys::first_key(store, tx, dataset, keys).await?),
        },
        None => None,
    };
    let sql = include_str!("../../../sql/queries/next_source.sql");
    let row = tx.query_one(sql, &[&&fingerprint[..]]).await?;
    let (source, came_before): (i64, bool) = (row.get(0), row.get(1));
    let identity = identity_of(fingerprint, source as u64, came_before);
    let sql = include_str!("../../../sql/queries/register_file.sql");
    let (fingerprint, bytes) = (&fingerprint[..], bytes as i64);
    let parameters: [&(dyn ToSql + Sync); 9] =
        [&source, &dataset, &name, &fingerprint, &&identity[..], &&content[..], &bytes, &shape, &first_key];
    tx.execute(sql, &parameters).await?;
    Ok(Registration {
        source: source as u64,
        lines: None,
        complete: false,
        known: false,
        identity: identity.to_vec(),
        shape: None,
        first_key,
    })
}

/// Returns the first generated key of a source that is read again, so that its lines get the keys that they had.
async fn of_reloaded(tx: &Transaction<'_>, role: ArrivalRole) -> Result<Option<i64>, PgError> {
    let ArrivalRole::Reload(reload) = role else { return Ok(None) };
    let sql = "select first_key from tidegate.sources \
               where source = (select old_source from tidegate.reloads where reload = $1)";
    let row = tx.query_opt(sql, &[&(reload as i64)]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

impl Offsets for Store {
    async fn offsets(&self, reader: &str) -> Result<Vec<ConsumerOffset>, contract::Error> {
        let sql = "select topic, partition, next from tidegate.offsets where reader = $1";
        let connection = self.connection().await?;
        let rows = connection.query(sql, &[&reader]).await.map_err(PgError::from)?;
        let consumed = rows.iter().map(|row| ConsumerOffset {
            topic: row.get(0),
            partition: row.get::<_, i32>(1) as u32,
            next: row.number(2),
        });
        Ok(consumed.collect())
    }

    async fn store(&self, reader: &str, consumed: &[ConsumerOffset]) -> Result<(), contract::Error> {
        let mut connection = self.connection().await?;
        let tx = leases::fenced(self, &mut connection).await?;
        store_offsets(&tx, reader, consumed).await?;
        Ok(tx.commit().await.map_err(PgError::from)?)
    }
}

/// Stores the offsets of `reader`. In a transaction, they are stored with what the transaction commits.
pub(super) async fn store_offsets(
    client: &impl GenericClient,
    reader: &str,
    consumed: &[ConsumerOffset],
) -> Result<(), PgError> {
    let topics: Vec<&str> = consumed.iter().map(|c| c.topic.as_str()).collect();
    let partitions: Vec<i32> = consumed.iter().map(|c| c.partition as i32).collect();
    let next: Vec<i64> = consumed.iter().map(|c| c.next as i64).collect();
    let sql = include_str!("../../../sql/queries/store_offsets.sql");
    statement::execute(client, sql, &[&reader, &topics, &partitions, &next]).await?;
    Ok(())
}

impl Registry for Store {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, contract::Error> {
        Ok(register(self, file).await?)
    }

    async fn shape(&self, fingerprint: &[u8; 32]) -> Result<Option<Arc<Shape>>, contract::Error> {
        Ok(shapes::of_incomplete(self, fingerprint).await?)
    }

    async fn finish(
        &self,
        source: u64,
        lines: u64,
        skipped: Option<&SkippedLines>,
    ) -> Result<(), contract::Error> {
        let sql = "update tidegate.sources set lines = $2, skipped = coalesce($3, skipped) \
                   where source = $1 and completed_at is null";
        leases::execute(self, sql, &[&(source as i64), &(lines as i64), &skipped.map(Json)]).await?;
        Ok(Failpoint::SourceFinished.pass().map_err(PgError::from)?)
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, contract::Error> {
        Ok(complete(self, sources).await?)
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, contract::Error> {
        Ok(files_read(self, sources).await?)
    }

    async fn await_file(&self, source: u64) -> Result<(), contract::Error> {
        let sql = "update tidegate.sources set awaited = true where source = $1 and completed_at is null";
        leases::execute(self, sql, &[&(source as i64)]).await?;
        Ok(())
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), contract::Error> {
        Ok(reloads::refuse(self, reload, why).await?)
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, contract::Error> {
        Ok(ledger::chunk(&self.connection().await?, source, line).await?)
    }
}
