//! What the landing folder asks of the registry and the ledger.

use std::future::Future;

use tidegate_core::contract::Error;
use tidegate_core::ledger::Chunk;

use crate::postgres::{Postgres, Registration, SourceKind};

/// Numbers sources and knows what became of their lines. Every call may be made again after an error.
pub trait Registry: Send + Sync {
    /// Registers a file, or finds it if its identity is known: *resume under that number*.
    fn register(
        &self,
        dataset: &str,
        name: &str,
        identity: &[u8],
        bytes: u64,
    ) -> impl Future<Output = Result<Registration, Error>> + Send;

    /// Notes how many lines a source has.
    fn finish(&self, source: u64, lines: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Of the given sources, those whose every line has newly found its place in the ledger.
    fn complete(&self, sources: &[u64]) -> impl Future<Output = Result<Vec<u64>, Error>> + Send;

    /// The chunk of the ledger that covers `line` of a source.
    fn ledger_chunk(&self, source: u64, line: u64) -> impl Future<Output = Result<Chunk, Error>> + Send;
}

impl Registry for Postgres {
    async fn register(
        &self,
        dataset: &str,
        name: &str,
        identity: &[u8],
        bytes: u64,
    ) -> Result<Registration, Error> {
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
