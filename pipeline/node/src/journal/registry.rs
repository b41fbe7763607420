//! [`JournaledRegistry`]: the registry of Postgres together with the journal.

use std::sync::Arc;

use tidegate_core::contract::Error;
use tidegate_core::ledger::Chunk;
use tidegate_core::registry::{Arrival, Registration, Registry};
use tidegate_core::shape::Shape;
use tidegate_core::split::SkippedLines;
use tidegate_postgres::PgError;
use tidegate_store::{Answer, NewSource, Request, SourceKind, Store, registry, requests, source_identity};
use tokio::sync::Mutex;

use super::{Entry, Journal, JournalLine};

/// The registry of Postgres. Each registration is noted in the journal before the caller gets it.
pub struct JournaledRegistry {
    store: Store,
    journal: Journal,
    /// Held by one registration at a time, so that the journal has the numbers in order.
    turn: Mutex<()>,
}

impl JournaledRegistry {
    /// Combines the registry of `store` with a journal that has everything a start needs to know of the registered
    /// sources.
    pub fn new(store: Store, journal: Journal) -> Self {
        Self { store, journal, turn: Mutex::default() }
    }

    /// Registers requests in order. New sources are in the journal when this returns.
    pub async fn register_requests(&self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let _turn = self.turn.lock().await;
        self.assert_not_behind().await?;
        let answers = requests::register(&self.store, requests).await?;
        self.note_requests(requests, answers.iter().map(Answer::sources)).await?;
        Ok(answers)
    }

    /// The sources of each of these requests that was registered. They are in the journal when this returns.
    pub async fn sources_of(&self, requests: &[Request]) -> Result<Vec<Vec<u64>>, Error> {
        let _turn = self.turn.lock().await;
        let sources = requests::sources_of(&self.store, requests).await?;
        self.note_requests(requests, sources.iter().map(Vec::as_slice)).await?;
        Ok(sources)
    }

    /// Notes the sources of requests, unless the journal has them.
    async fn note_requests<'a>(
        &self,
        requests: &[Request],
        became: impl Iterator<Item = &'a [u64]>,
    ) -> Result<(), Error> {
        let mut events = Vec::new();
        let mut largest = self.journal.largest();
        for (request, sources) in requests.iter().zip(became) {
            for (new, source) in request.sources.iter().zip(sources) {
                if *source > largest {
                    largest = *source;
                    events.push(JournalLine::Registered(entry(*source, request, new)));
                }
            }
        }
        if !events.is_empty() {
            self.journal.note_registered(events, largest).await?;
        }
        Ok(())
    }

    /// Fails if Postgres is behind the journal, because Postgres would then give out a number again.
    async fn assert_not_behind(&self) -> Result<(), Error> {
        let (noted, largest) = (self.journal.largest(), registry::largest(&self.store).await?);
        if largest >= noted { Ok(()) } else { Err(PgError::SourceLost(noted).into()) }
    }
}

impl Registry for JournaledRegistry {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let _turn = self.turn.lock().await;
        self.assert_not_behind().await?;
        let registration = Registry::register(&self.store, file).await?;
        let Registration { source, lines, complete, known, ref identity, first_key, .. } = registration;
        if source > self.journal.largest() {
            let entry = Entry {
                source,
                dataset: file.dataset.to_owned(),
                kind: SourceKind::File,
                name: file.name.to_owned(),
                identity: identity.clone(),
                bytes: Some(file.bytes),
                content: Some(hex::encode(file.content)),
                fingerprint: file.fingerprint.to_vec(),
                first_key,
                lines,
                complete,
            };
            self.journal.note_registered(vec![JournalLine::Registered(entry)], source).await?;
        } else if !known {
            return Err(PgError::SourceLost(source).into());
        } else if complete {
            self.journal.note(vec![JournalLine::Completed { source }], true).await?;
        }
        Ok(registration)
    }

    async fn shape(&self, identity: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        Registry::shape(&self.store, identity).await
    }

    async fn finish(&self, source: u64, lines: u64, skipped: Option<&SkippedLines>) -> Result<(), Error> {
        Registry::finish(&self.store, source, lines, skipped).await?;
        self.journal.note(vec![JournalLine::Finished { source, lines }], false).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let complete = Registry::complete(&self.store, sources).await?;
        if !complete.is_empty() {
            let events = complete.iter().map(|source| JournalLine::Completed { source: *source });
            self.journal.note(events.collect(), true).await?;
        }
        Ok(complete)
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        Registry::files_read(&self.store, sources).await
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        Registry::await_file(&self.store, source).await
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), Error> {
        Registry::refuse_reload(&self.store, reload, why).await
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        Registry::ledger_chunk(&self.store, source, line).await
    }
}

fn entry(source: u64, request: &Request, new: &NewSource) -> Entry {
    Entry {
        source,
        dataset: new.dataset.clone(),
        kind: new.kind,
        name: new.name.clone(),
        identity: source_identity(&request.identity, &new.dataset).to_vec(),
        bytes: Some(new.bytes),
        content: Some(hex::encode(request.content)),
        fingerprint: Vec::new(),
        first_key: new.first_key,
        lines: new.lines,
        complete: false,
    }
}
