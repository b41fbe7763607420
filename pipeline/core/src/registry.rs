//! What a source of files requires of the registry and the ledger, and what identifies a file.

use std::future::Future;
use std::sync::Arc;

use crate::contract::Error;
use crate::ledger::Chunk;
use crate::shape::Shape;
use crate::split::SkippedLines;

/// A file to register.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The dataset that the file belongs to.
    pub dataset: &'a str,
    /// The file's name without the folder.
    pub name: &'a str,
    /// One hash of the file's dataset, name and content, and of the settings that divide the content into lines.
    pub fingerprint: &'a [u8; 32],
    /// BLAKE3 of the content.
    pub content: &'a [u8; 32],
    /// The size in bytes.
    pub bytes: u64,
    /// The role in which the file comes.
    pub role: ArrivalRole,
    /// The shape of the file's text.
    pub shape: &'a Shape,
    /// The keys that its lines need, if any of them may lack its own.
    pub keys: Option<KeysNeeded>,
}

/// The generated keys that a source needs, because some of its lines lack their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysNeeded {
    /// UUIDs.
    Uuid,
    /// Numbers of the dataset's sequence.
    Numbers {
        /// The first number of the sequence.
        start: i64,
        /// How many lines the source has. Each of them has a number, whether it needs it or not.
        lines: u64,
    },
}

/// The role in which a file comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalRole {
    /// A delivery. It continues the newest source of its dataset and name if that has its fingerprint, or an awaited
    /// source of its fingerprint. Otherwise it is a new source.
    Delivery,
    /// A delivery that does not continue this source or an older one: this source was closed before the end of the
    /// file.
    Behind(u64),
    /// The file of this source, whose lines are lost.
    Lost(u64),
    /// A new source in any case, once for this reload.
    Reload(u64),
}

/// Numbers sources, and knows the fates of their lines. Every call may be retried after an error.
pub trait Registry: Send + Sync {
    /// Registers a file under a new number, or finds the source that the file continues.
    fn register(&self, file: Arrival<'_>) -> impl Future<Output = Result<Registration, Error>> + Send;

    /// The shape of a file's text at its registration, if a source with this identity exists and is not complete.
    fn shape(&self, fingerprint: &[u8; 32])
    -> impl Future<Output = Result<Option<Arc<Shape>>, Error>> + Send;

    /// Stores how many lines a source has, and how many lines of its file are no records, if that is known.
    fn finish(
        &self,
        source: u64,
        lines: u64,
        skipped: Option<&SkippedLines>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Those of `sources` that are complete: the ledger has every line of them.
    fn complete(&self, sources: &[u64]) -> impl Future<Output = Result<Vec<u64>, Error>> + Send;

    /// Those of `sources` that are complete and were files, with their datasets and how many bytes were read.
    fn files_read(
        &self,
        sources: &[u64],
    ) -> impl Future<Output = Result<Vec<(u64, String, u64)>, Error>> + Send;

    /// Marks a source that lacks lines and whose file is gone as awaited: its file continues the source when it comes
    /// again.
    fn await_file(&self, source: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores why a source cannot be read again for a reload.
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

    async fn finish(&self, source: u64, lines: u64, skipped: Option<&SkippedLines>) -> Result<(), Error> {
        R::finish(self, source, lines, skipped).await
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

/// A source as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The source's number. Numbers order sources.
    pub source: u64,
    /// How many lines the source has. `None` until it was read to its end.
    pub lines: Option<u64>,
    /// Whether every line of the source is accounted for.
    pub complete: bool,
    /// Whether the source was registered before.
    pub known: bool,
    /// The identity of the source.
    pub identity: Vec<u8>,
    /// The shape of the source's text at its registration, if it was registered before.
    pub shape: Option<Arc<Shape>>,
    /// The first generated key of its lines, if they need some: a number of the dataset's sequence, or for UUIDs the
    /// time in milliseconds since 1970.
    pub first_key: Option<i64>,
}

/// The identity of a source: a hash that no other source has.
pub type Identity = [u8; 32];

/// The identity of a file that becomes source number `source`. It is the file's fingerprint, unless an earlier source
/// of this content has that as its identity (`came_before`).
pub fn identity_of(fingerprint: &Identity, source: u64, came_before: bool) -> Identity {
    if came_before { hash_of(&[fingerprint, b"again", &source.to_le_bytes()]) } else { *fingerprint }
}

/// Stands for the fingerprint of a file that has the content of `source`, if `source` was closed before the end of
/// the file and was registered before version 8 of the schema.
pub fn identity_behind(of: &Identity, source: u64) -> Identity {
    hash_of(&[of, &source.to_le_bytes()])
}

/// BLAKE3 over the parts, each preceded by its length.
pub fn hash_of(parts: &[&[u8]]) -> Identity {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
