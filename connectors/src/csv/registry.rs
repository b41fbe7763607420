//! What the landing folder asks of the registry and the ledger.

use std::future::Future;

use tidegate_core::contract::Error;
use tidegate_core::ledger::Chunk;

use crate::postgres::{Postgres, Registration, SourceKind};

/// A file that asks for its number.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The dataset it belongs to.
    pub dataset: &'a str,
    /// Its name without the folder.
    pub name: &'a str,
    /// What makes it one and the same source.
    pub identity: &'a [u8; 32],
    /// BLAKE3 of its content.
    pub content: &'a [u8; 32],
    /// Its size.
    pub bytes: u64,
}

/// Numbers sources and knows what became of their lines. Every call may be made again after an error.
pub trait Registry: Send + Sync {
    /// Registers a file, or finds it if its identity is known: *resume under that number*.
    fn register(&self, file: Arrival<'_>) -> impl Future<Output = Result<Registration, Error>> + Send;

    /// Notes how many lines a source has.
    fn finish(&self, source: u64, lines: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Of the given sources, those whose every line has its place in the ledger: they are complete.
    fn complete(&self, sources: &[u64]) -> impl Future<Output = Result<Vec<u64>, Error>> + Send;

    /// The chunk of the ledger that covers `line` of a source.
    fn ledger_chunk(&self, source: u64, line: u64) -> impl Future<Output = Result<Chunk, Error>> + Send;
}

impl<R: Registry> Registry for std::sync::Arc<R> {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        R::register(self, file).await
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        R::finish(self, source, lines).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        R::complete(self, sources).await
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        R::ledger_chunk(self, source, line).await
    }
}

impl Registry for Postgres {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let Arrival { dataset, name, identity, bytes, .. } = file;
        Ok(Postgres::register(self, dataset, SourceKind::File, name, identity, bytes).await?)
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        Ok(Postgres::finish(self, source, lines).await?)
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        Ok(Postgres::complete(self, sources).await?)
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        Ok(Postgres::ledger_chunk(self, source, line).await?)
    }
}
