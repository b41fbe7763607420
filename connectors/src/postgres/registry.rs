//! The registry: sources and their numbers, readers' offsets.

use std::sync::Arc;

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::contract::{self, Consumed, Offsets};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::{Chunk, chunk_of};
use tidegate_core::shape::Shape;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{Error, Postgres, reloads};
use crate::csv::again::identity_of;
use crate::csv::{Arrival, Role};

/// Waits for whoever registers at the moment, so that the next number is one more than the last.
pub(super) const LOCK_SOURCES: &str = "lock table tidegate.sources in share row exclusive mode";

/// Of so many accepted lines of a source one may repeat a key without a word.
const REPEATED_MAX: u64 = 100;

/// A source as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its number, which orders sources.
    pub source: u64,
    /// How many lines it has, once it was read to its end.
    pub lines: Option<u64>,
    /// Whether every line is accounted for.
    pub complete: bool,
    /// Whether it was registered before.
    pub known: bool,
    /// What makes it one and the same.
    pub identity: Vec<u8>,
    /// Of one that was, how its text was read then.
    pub shape: Option<Arc<Shape>>,
}

/// A source as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its number.
    pub source: u64,
    /// The dataset it belongs to.
    pub dataset: String,
    /// What kind of input it is, as `tidegate.sources` says it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What makes it one and the same.
    pub identity: Vec<u8>,
    /// Its size.
    pub bytes: Option<u64>,
    /// How many lines it has, once it was read to its end.
    pub lines: Option<u64>,
    /// Whether every line is accounted for.
    pub complete: bool,
    /// How many lines the ledger holds; 0 if the source is complete.
    pub held: u64,
    /// Of a file: what it has in common with other deliveries of the same.
    pub fingerprint: Option<Vec<u8>>,
}

/// What kind of input a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A file of the landing folder.
    File,
    /// A file that was sent over HTTP.
    Upload,
    /// Rows that were sent over HTTP.
    Request,
    /// Rows of a backup, or of another tool's Avro file.
    Restore,
}

impl SourceKind {
    /// The word in `tidegate.sources`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Upload => "upload",
            Self::Request => "request",
            Self::Restore => "restore",
        }
    }
}

impl Postgres {
    /// Registers a file, or finds the source that it is: *resume under that number*.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked; then no number was used up.
    pub async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let shape = self.shape_number(file.dataset, file.shape).await?;
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.batch_execute(LOCK_SOURCES).await?;
        let known = known_file(&tx, &file).await?;
        let its_shape: Option<i64> = known.as_ref().and_then(|row| row.get(4));
        let mut registration = match known {
            Some(row) => Registration {
                source: row.get::<_, i64>(0) as u64,
                lines: row.get::<_, Option<i64>>(1).map(|lines| lines as u64),
                complete: row.get(2),
                known: true,
                identity: row.get(3),
                shape: None,
            },
            None => new_file(&tx, &file, shape).await?,
        };
        if registration.known && its_shape.is_none() {
            // It was lost, and registered again by who did not know.
            let sql = "update tidegate.sources set shape = $2 where source = $1";
            tx.execute(sql, &[&(registration.source as i64), &shape]).await?;
        }
        if let Role::Reload(reload) = file.role
            && !registration.known
        {
            reloads::enter(&tx, reload, registration.source).await?;
        }
        tx.commit().await?;
        drop(connection);
        if registration.known {
            registration.shape = self.shape(its_shape).await?;
        }
        Failpoint::SourceRegistered.pass()?;
        Ok(registration)
    }

    /// Notes how many lines a source has: it was read to its end.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        let sql = "update tidegate.sources set lines = $2 where source = $1 and completed_at is null";
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.execute(sql, &[&(source as i64), &(lines as i64)]).await?;
        tx.commit().await?;
        Ok(Failpoint::SourceFinished.pass()?)
    }

    /// All sources, in the order of their numbers. Where topics are embedded, of those that are complete and no files,
    /// which may be very many, only the last source and the ones with a number or an identity that is `noted` elsewhere.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn registered<'a>(
        &self,
        noted: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<Vec<Registered>, Error> {
        let number = |value: i64| value as u64;
        let sql = include_str!("../../../sql/queries/registered_sources.sql");
        let (numbers, identities): (Vec<i64>, Vec<&[u8]>) =
            noted.map(|(source, identity)| (source as i64, identity)).unzip();
        let all = self.inner.manifest.fluvio.is_some();
        let rows = self.connection().await?.query(sql, &[&numbers, &identities, &all]).await?;
        let registered = rows.iter().map(|row| Registered {
            source: number(row.get(0)),
            dataset: row.get(1),
            kind: row.get(2),
            name: row.get(3),
            identity: row.get(4),
            bytes: row.get::<_, Option<i64>>(5).map(number),
            lines: row.get::<_, Option<i64>>(6).map(number),
            complete: row.get(7),
            held: row.get::<_, Option<i64>>(8).map_or(0, number),
            fingerprint: row.get(9),
        });
        Ok(registered.collect())
    }

    /// The largest number that was given to a source; 0 if none was.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn largest_source(&self) -> Result<u64, Error> {
        let sql = "select coalesce(max(source), 0) from tidegate.sources";
        let row = self.connection().await?.query_one(sql, &[]).await?;
        Ok(row.get::<_, i64>(0) as u64)
    }

    /// Registers sources again that Postgres has lost, in the order given: each under its number, or at the end
    /// if another has that by now. Of those that it knows it is told how many lines they have. Where readers stood
    /// is forgotten, so that they read again all that is on the topics, lines of these sources among it. All of
    /// it happens or nothing.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or another process has taken the leases over.
    pub async fn restore(&self, lost: &[Registered]) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.batch_execute(LOCK_SOURCES).await?;
        let statement = tx.prepare(include_str!("../../../sql/queries/restore_source.sql")).await?;
        for Registered { source, dataset, kind, name, identity, bytes, lines, fingerprint, .. } in lost {
            let number = |value: u64| value as i64;
            let (source, bytes, lines) = (number(*source), bytes.map(number), lines.map(number));
            let parameters: [&(dyn ToSql + Sync); 8] =
                [&source, dataset, kind, name, identity, &bytes, &lines, fingerprint];
            tx.execute(&statement, &parameters).await?;
        }
        tx.execute("update tidegate.offsets set next = 0", &[]).await?;
        Ok(tx.commit().await?)
    }

    /// Of the given sources, those whose every line has a place in the ledger; from now on they are complete,
    /// and this says so as often as it is asked.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let sql = include_str!("../../../sql/queries/complete_sources.sql");
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        let rows = tx.query(sql, &[&sources]).await?;
        tx.commit().await?;
        if !rows.is_empty() {
            Failpoint::SourceCompleted.pass()?;
        }
        rows.iter().for_each(|row| self.warn_of_repeated_keys(row));
        Ok(rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect())
    }

    /// Notes that a source lacks lines and its file is gone: whoever brings it goes on with the source.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn await_file(&self, source: u64) -> Result<(), Error> {
        let sql = "update tidegate.sources set awaited = true where source = $1 and completed_at is null";
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.execute(sql, &[&(source as i64)]).await?;
        Ok(tx.commit().await?)
    }

    /// Of the given sources those that are complete and were files, with their datasets and how many bytes were read.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let sql = include_str!("../../../sql/queries/files_read.sql");
        let rows = self.connection().await?.query(sql, &[&sources]).await?;
        let number = |value: i64| value as u64;
        Ok(rows.iter().map(|row| (number(row.get(0)), row.get(1), number(row.get(2)))).collect())
    }

    /// Warns of a source that is complete by now if so many of its lines repeat a key that it may be no key.
    fn warn_of_repeated_keys(&self, row: &Row) {
        let counted = |i| row.get::<_, Option<i64>>(i).unwrap_or_default() as u64;
        let (accepted, repeated) = (counted(4), counted(5));
        let kind: Option<&str> = row.get(2);
        if repeated * REPEATED_MAX <= accepted || kind == Some(SourceKind::Request.as_str()) {
            return;
        }
        let (source, name) = (row.get::<_, i64>(0), row.get::<_, &str>(3));
        let Some((_, dataset)) = self.inner.manifest.dataset(row.get(1)) else { return };
        let (key, dataset) = (&dataset.key_column().name, &dataset.name);
        tracing::warn!(
            source,
            accepted,
            repeated,
            "in '{}' {repeated} of {accepted} accepted lines repeat a key, and the newest line of each key has its row: is \
             '{key}' the key of dataset '{dataset}'?",
            name.escape_debug()
        );
    }

    /// The chunk of the ledger that covers `line` of a source.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked or the ledger cannot be read.
    pub async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        let keys: (Vec<i64>, Vec<i64>) = (vec![source as i64], vec![chunk_of(line) as i64]);
        let sql = include_str!("../../../sql/queries/read_ledger.sql");
        let row = self.connection().await?.query_opt(sql, &[&keys.0, &keys.1]).await?;
        row.map_or_else(|| Ok(Chunk::default()), |row| super::ledger::decode(&row))
    }

    /// How many lines of each fate a source has, in the order of [`Fate::ALL`](tidegate_core::ledger::Fate::ALL).
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn counts(&self, source: u64) -> Result<[u64; 4], Error> {
        Ok(self.receipts_of(&[source]).await?.pop().map_or([0; 4], |receipt| receipt.fates))
    }
}

/// The source that a file is, by the rule of [`Role`].
async fn known_file(tx: &Transaction<'_>, file: &Arrival<'_>) -> Result<Option<Row>, Error> {
    let of = "select source, lines, completed_at is not null, identity, shape from tidegate.sources where source = $1";
    let above = match file.role {
        Role::Delivery => 0,
        Role::Behind(source) => source as i64,
        Role::Lost(source) => return Ok(tx.query_opt(of, &[&(source as i64)]).await?),
        Role::Reload(reload) => {
            let entered = reloads::entered(tx, reload).await?;
            return match entered {
                Some(source) => Ok(tx.query_opt(of, &[&source]).await?),
                None => Ok(None),
            };
        }
    };
    let sql = include_str!("../../../sql/queries/find_file.sql");
    Ok(tx.query_opt(sql, &[&file.dataset, &file.name, &&file.fingerprint[..], &above]).await?)
}

/// Registers a file under the next number.
async fn new_file(tx: &Transaction<'_>, file: &Arrival<'_>, shape: i64) -> Result<Registration, Error> {
    let Arrival { dataset, name, fingerprint, content, bytes, .. } = *file;
    let sql = include_str!("../../../sql/queries/next_source.sql");
    let row = tx.query_one(sql, &[&&fingerprint[..]]).await?;
    let (source, came_before): (i64, bool) = (row.get(0), row.get(1));
    let identity = identity_of(fingerprint, source as u64, came_before);
    let sql = include_str!("../../../sql/queries/register_file.sql");
    let (fingerprint, bytes) = (&fingerprint[..], bytes as i64);
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&source, &dataset, &name, &fingerprint, &&identity[..], &&content[..], &bytes, &shape];
    tx.execute(sql, &parameters).await?;
    Ok(Registration {
        source: source as u64,
        lines: None,
        complete: false,
        known: false,
        identity: identity.to_vec(),
        shape: None,
    })
}

impl Offsets for Postgres {
    async fn offsets(&self, reader: &str) -> Result<Vec<Consumed>, contract::Error> {
        let sql = "select topic, partition, next from tidegate.offsets where reader = $1";
        let connection = self.connection().await?;
        let rows = connection.query(sql, &[&reader]).await.map_err(Error::from)?;
        let consumed = rows.iter().map(|row| Consumed {
            topic: row.get(0),
            partition: row.get::<_, i32>(1) as u32,
            next: row.get::<_, i64>(2) as u64,
        });
        Ok(consumed.collect())
    }

    async fn store(&self, reader: &str, consumed: &[Consumed]) -> Result<(), contract::Error> {
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        store_offsets(&tx, reader, consumed).await?;
        Ok(tx.commit().await.map_err(Error::from)?)
    }
}

/// Notes how far `reader` has read; in a transaction, with what it commits.
pub(super) async fn store_offsets(
    client: &impl GenericClient,
    reader: &str,
    consumed: &[Consumed],
) -> Result<(), Error> {
    let topics: Vec<&str> = consumed.iter().map(|c| c.topic.as_str()).collect();
    let partitions: Vec<i32> = consumed.iter().map(|c| c.partition as i32).collect();
    let next: Vec<i64> = consumed.iter().map(|c| c.next as i64).collect();
    let statement = client.prepare_cached(include_str!("../../../sql/queries/store_offsets.sql")).await?;
    client.execute(&statement, &[&reader, &topics, &partitions, &next]).await?;
    Ok(())
}
