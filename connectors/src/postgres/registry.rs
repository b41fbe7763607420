//! The registry: sources and their numbers, readers' offsets, leases.

use tidegate_core::contract::{self, Consumed, Offsets};
use tidegate_core::ledger::{Chunk, Fate, chunk_of};
use tokio_postgres::types::ToSql;

use super::{Error, Postgres};

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
}

/// What kind of input a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A file of the landing folder.
    File,
}

impl SourceKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
        }
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: f64,
}

impl Postgres {
    /// Registers a source, or finds it if its identity is known: *resume under that number*.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked; then no number was used up.
    pub async fn register(
        &self,
        dataset: &str,
        kind: SourceKind,
        name: &str,
        identity: &[u8],
        bytes: u64,
    ) -> Result<Registration, Error> {
        let mut connection = self.connection().await?;
        let tx = connection.transaction().await?;
        // Waits for whoever registers at the moment, so that the next number is one more than the last.
        tx.batch_execute("lock table tidegate.sources in share row exclusive mode").await?;
        let bytes = bytes as i64;
        let row = tx
            .query_one(
                include_str!("../../../sql/queries/register_source.sql"),
                &[&dataset, &kind.as_str(), &name, &identity, &bytes],
            )
            .await?;
        let registration = Registration {
            source: row.get::<_, i64>(0) as u64,
            lines: row.get::<_, Option<i64>>(1).map(|lines| lines as u64),
            complete: row.get(2),
            known: row.get(3),
        };
        tx.commit().await?;
        Ok(registration)
    }

    /// Notes how many lines a source has: it was read to its end.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        let sql = "update tidegate.sources set lines = $2 where source = $1 and completed_at is null";
        self.connection().await?.execute(sql, &[&(source as i64), &(lines as i64)]).await?;
        Ok(())
    }

    /// Of the given sources, those whose every line has a place in the ledger; from now on they are complete.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let sql = include_str!("../../../sql/queries/complete_sources.sql");
        let rows = self.connection().await?.query(sql, &[&sources]).await?;
        Ok(rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect())
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

    /// Takes or renews the leases of `topics` for `seconds`, under the identity given to [`Postgres::new`].
    ///
    /// # Errors
    ///
    /// If another owner has one of them, with who and since when; or Postgres cannot be asked.
    pub async fn lease(&self, topics: &[String], me: &Holder, seconds: f64) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let tx = connection.transaction().await?;
        let pid = i64::from(me.pid);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&topics, &self.inner.owner, &me.host, &pid, &me.started, &seconds];
        let taken = tx.query(include_str!("../../../sql/queries/take_leases.sql"), &parameters).await?;
        if taken.len() == topics.len() {
            tx.commit().await?;
            return Ok(());
        }
        let sql = "select host, pid, started_at::text from tidegate.leases \
                   where topic = any($1) and owner <> $2 limit 1";
        let holder = tx.query_opt(sql, &[&topics, &self.inner.owner]).await?;
        let holder = holder.map_or_else(
            || "another process".to_owned(),
            |row| {
                let (host, pid, started): (String, i64, String) = (row.get(0), row.get(1), row.get(2));
                format!("process {pid} on {host}, started {started},")
            },
        );
        Err(Error::halt(format!(
            "{holder} runs this pipeline already; stop it, or wait {seconds:.0} s if it is dead"
        )))
    }

    /// Gives the leases back, so that whoever comes next need not wait.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn release(&self) -> Result<(), Error> {
        let sql = "update tidegate.leases set expires_at = '-infinity' where owner = $1";
        self.connection().await?.execute(sql, &[&self.inner.owner]).await?;
        Ok(())
    }

    /// How many lines of each fate a source has, in the order of [`Fate::ALL`].
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn counts(&self, source: u64) -> Result<[u64; 4], Error> {
        let sql = include_str!("../../../sql/queries/source_status.sql");
        let row = self.connection().await?.query_one(sql, &[&vec![source as i64]]).await?;
        Ok(Fate::ALL.map(|fate| row.get::<_, i64>(fate.as_str()) as u64))
    }
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
        let connection = self.connection().await?;
        Ok(store_offsets(&connection, reader, consumed).await?)
    }
}

/// Notes how far `reader` has read; in a transaction, with what it commits.
pub(super) async fn store_offsets(
    client: &impl deadpool_postgres::GenericClient,
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
