//! What the landing folder asks of the registry and the ledger.

use std::future::Future;
use std::sync::Arc;

use tidegate_core::contract::Error;
use tidegate_core::ledger::Chunk;
use tidegate_core::shape::Shape;

use crate::postgres::{Postgres, Registration};

/// A file that asks for its number.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The dataset it belongs to.
    pub dataset: &'a str,
    /// Its name without the folder.
    pub name: &'a str,
    /// Its dataset, its name, its content, and what decides how that is divided into lines, in one hash.
    pub fingerprint: &'a [u8; 32],
    /// BLAKE3 of its content.
    pub content: &'a [u8; 32],
    /// Its size.
    pub bytes: u64,
    /// As what it comes.
    pub role: Role,
    /// How its text is read.
    pub shape: &'a Shape,
}

/// As what a file comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As a delivery: it is the newest source of its dataset and name if that has its fingerprint, or one that is
    /// awaited; otherwise a new source.
    Delivery,
    /// The same, but not this source, nor an older one: that was closed before the end of the file.
    Behind(u64),
    /// As the file of this source, whose lines are lost.
    Lost(u64),
    /// As a new source, whatever is there, once for this reload.
    Reload(u64),
}

/// Numbers sources and knows what became of their lines. Every call may be made again after an error.
pub trait Registry: Send + Sync {
    /// Registers a file, or finds the source that it is: *resume under that number*.
    fn register(&self, file: Arrival<'_>) -> impl Future<Output = Result<Registration, Error>> + Send;

    /// How the text of a file was read when it was registered, if its identity is known and it is not complete.
    fn shape(&self, fingerprint: &[u8; 32])
    -> impl Future<Output = Result<Option<Arc<Shape>>, Error>> + Send;

    /// Notes how many lines a source has.
    fn finish(&self, source: u64, lines: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Of the given sources, those whose every line has its place in the ledger: they are complete.
    fn complete(&self, sources: &[u64]) -> impl Future<Output = Result<Vec<u64>, Error>> + Send;

    /// Of the given sources those that are complete and were files, with their datasets and how many bytes were read.
    fn files_read(
        &self,
        sources: &[u64],
    ) -> impl Future<Output = Result<Vec<(u64, String, u64)>, Error>> + Send;

    /// Notes that a source lacks lines and its file is gone: whoever brings it goes on with the source.
    fn await_file(&self, source: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Notes why a source cannot be read again for a reload.
    fn refuse_reload(&self, reload: u64, why: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// The chunk of the ledger that covers `line` of a source.
    fn ledger_chunk(&self, source: u64, line: u64) -> impl Future<Output = Result<Chunk, Error>> + Send;
}

impl<R: Registry> Registry for Arc<R> {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        R::register(self, file).await
    }

    async fn shape(&self, fingerprint: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        R::shape(self, fingerprint).await
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        R::finish(self, source, lines).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        R::complete(self, sources).await
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        R::files_read(self, sources).await
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        R::await_file(self, source).await
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), Error> {
        R::refuse_reload(self, reload, why).await
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        R::ledger_chunk(self, source, line).await
    }
}

impl Registry for Postgres {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        Ok(Postgres::register(self, file).await?)
    }

    async fn shape(&self, fingerprint: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        Ok(self.shape_of_incomplete(fingerprint).await?)
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        Ok(Postgres::finish(self, source, lines).await?)
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        Ok(Postgres::complete(self, sources).await?)
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        Ok(Postgres::files_read(self, sources).await?)
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        Ok(Postgres::await_file(self, source).await?)
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), Error> {
        Ok(Postgres::refuse_reload(self, reload, why).await?)
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        Ok(Postgres::ledger_chunk(self, source, line).await?)
    }
}
