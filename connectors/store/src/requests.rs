//! Requests: input over HTTP or from a backup, registered together with its lines.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Transaction;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::registry::hash_of;
use tidegate_core::shape::Shape;
use tidegate_postgres::{Database, PgError, TransactionMode};

use crate::registry::LOCK_SOURCES;
use crate::source_kind::SourceKind;
use crate::statement::{self, Columns, bigints};
use crate::store::Store;
use crate::{leases, shapes};

/// A request to register one or more sources, all of them or none.
#[derive(Clone, Debug)]
pub struct Request {
    /// The identity. A request that did not name itself by an idempotency key has an identity that no other request
    /// has.
    pub identity: [u8; 32],
    /// BLAKE3 of the content that was sent.
    pub content: [u8; 32],
    /// What the sender said about the content, such as its delimiter. Empty if the manifest says it all.
    pub parameters: Vec<u8>,
    /// The sources that it becomes, one for each of its datasets.
    pub sources: Vec<NewSource>,
}

impl Request {
    /// What a later request of the same identity must have in common with this one: content and parameters.
    fn digest(&self) -> [u8; 32] {
        if self.parameters.is_empty() {
            return self.content;
        }
        hash_of(&[&self.content, &self.parameters])
    }
}

/// A source of a [`Request`].
#[derive(Clone, Debug)]
pub struct NewSource {
    /// The name of its dataset.
    pub dataset: String,
    /// The kind of input.
    pub kind: SourceKind,
    /// The name that users see.
    pub name: String,
    /// The size in bytes.
    pub bytes: u64,
    /// The number of lines, if they have been counted.
    pub lines: Option<u64>,
    /// The lines, if Postgres stores them.
    pub text: Option<Bytes>,
    /// The first of the keys that lines without a key get: see `tidegate.sources`.
    pub first_key: Option<i64>,
    /// The shape of its text.
    pub shape: Shape,
}

/// The result of registering a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request is new. The numbers of its sources, in its order.
    New(Vec<u64>),
    /// The request was registered before. The numbers of its sources, in its order.
    Known(Vec<u64>),
    /// A request with the same identity and other content or parameters was registered before.
    Another,
}

impl Answer {
    /// Returns the numbers of the sources that the request became.
    pub fn sources(&self) -> &[u64] {
        match self {
            Self::New(sources) | Self::Known(sources) => sources,
            Self::Another => &[],
        }
    }
}

/// A registered source that is not complete and is no file of the landing folder.
#[derive(Clone, Debug)]
pub struct IncompleteSource {
    /// The number of the source.
    pub source: u64,
    /// The name of its dataset.
    pub dataset: String,
    /// The name that users see.
    pub name: String,
    /// The identity, which no other source has.
    pub identity: Vec<u8>,
    /// BLAKE3 of the content that was sent.
    pub content: Vec<u8>,
    /// The number of lines, if it is known.
    pub lines: Option<u64>,
    /// The lines, if Postgres stores them.
    pub text: Option<Bytes>,
    /// The first of the keys that lines without a key get: see `tidegate.sources`.
    pub first_key: Option<i64>,
    /// The shape that its text had when it was registered.
    pub shape: Option<Arc<Shape>>,
}

/// Returns the identity of the source that a request becomes for a dataset.
pub fn source_identity(request: &[u8; 32], dataset: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(request).update(dataset.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Registers requests, in their order, in one transaction. A request whose identity is known *resumes under its
/// numbers*. When this returns, sources and lines are as durable as Postgres is.
///
/// # Errors
///
/// If Postgres cannot be queried. Nothing is registered then, unless the answer to the commit was lost. A second call
/// returns what was registered.
pub async fn register(store: &Store, requests: &[Request]) -> Result<Vec<Answer>, PgError> {
    let mut shapes = Vec::new();
    for source in requests.iter().flat_map(|request| &request.sources) {
        shapes.push(shapes::number_of(store, &source.dataset, &source.shape).await?);
    }
    let mut shapes = shapes.into_iter();
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    tx.batch_execute(LOCK_SOURCES).await?;
    let (mut known, largest) = known(&tx, requests).await?;
    let (mut new, mut numbered) = (Vec::new(), Vec::new());
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        let its_shapes: Vec<i64> = shapes.by_ref().take(request.sources.len()).collect();
        let answer = match known.get(&request.identity) {
            Some((digest, _)) if *digest != request.digest() => Answer::Another,
            Some((_, sources)) => Answer::Known(sources.clone()),
            None => {
                let first = numbered.len();
                for (source, shape) in request.sources.iter().zip(its_shapes) {
                    let number = largest as i64 + numbered.len() as i64 + 1;
                    numbered.push(NumberedSource { number, request, source, shape });
                }
                let sources: Vec<u64> = numbered[first..].iter().map(|of| of.number as u64).collect();
                new.push((request, sources.clone()));
                known.insert(request.identity, (request.digest(), sources.clone()));
                Answer::New(sources)
            }
        };
        answers.push(answer);
    }
    insert(&tx, &new, &numbered).await?;
    tx.commit().await?;
    Failpoint::SourceRegistered.pass()?;
    Ok(answers)
}

/// Returns the registered sources that are not complete, in the order of their numbers, without files of the landing
/// folder. With `among`, returns only sources of that list.
pub async fn incomplete(store: &Store, among: Option<&[u64]>) -> Result<Vec<IncompleteSource>, PgError> {
    let sql = include_str!("../../../sql/queries/incomplete_requests.sql");
    let rows = store.connection().await?.query(sql, &[&among.map(bigints)]).await?;
    let shapes = shapes::of_rows(store, &rows).await?;
    let incomplete = rows.iter().zip(shapes).map(|(row, shape)| IncompleteSource {
        shape,
        source: row.number(0),
        dataset: row.get(1),
        name: row.get(2),
        identity: row.get(3),
        content: row.get::<_, Option<Vec<u8>>>(4).unwrap_or_default(),
        lines: row.number_opt(5),
        text: row.get::<_, Option<Vec<u8>>>(6).map(Bytes::from),
        first_key: row.get(7),
    });
    Ok(incomplete.collect())
}

/// Returns the numbers of the sources that each of these requests has become; none for a request that was not
/// registered.
pub async fn sources_of(database: &Database, requests: &[Request]) -> Result<Vec<Vec<u64>>, PgError> {
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    // The lock waits for other transactions that register sources. One of them may be this process's own, whose
    // answer was lost.
    tx.batch_execute(LOCK_SOURCES).await?;
    let (mut known, _) = known(&tx, requests).await?;
    let became = |request: &Request| known.remove(&request.identity).map(|(_, sources)| sources);
    Ok(requests.iter().map(became).map(Option::unwrap_or_default).collect())
}

/// By identity, the digest of each request and the numbers of its sources.
type KnownRequests = HashMap<[u8; 32], ([u8; 32], Vec<u64>)>;

/// Returns the requests among `requests` that were registered before, and the largest number of a source.
async fn known(tx: &Transaction<'_>, requests: &[Request]) -> Result<(KnownRequests, u64), PgError> {
    let identities: Vec<&[u8]> = requests.iter().map(|request| &request.identity[..]).collect();
    let sql = include_str!("../../../sql/queries/known_requests.sql");
    let mut known = KnownRequests::new();
    let mut largest = 0;
    for row in statement::query(tx, sql, &[&identities]).await? {
        largest = row.number(3);
        if let Some(identity) = row.get::<_, Option<&[u8]>>(0) {
            let digest =
                |bytes: &[u8]| bytes.try_into().map_err(|_| PgError::halt("a request has no BLAKE3 hash"));
            let sources = row.get::<_, Vec<i64>>(2).into_iter().map(|source| source as u64).collect();
            known.insert(digest(identity)?, (digest(row.get(1))?, sources));
        }
    }
    Ok((known, largest))
}

/// A source under its number, with the request that it is of and the number of its shape.
struct NumberedSource<'a> {
    number: i64,
    request: &'a Request,
    source: &'a NewSource,
    shape: i64,
}

/// Inserts new requests, each with the numbers of its sources, and the sources.
async fn insert(
    tx: &Transaction<'_>,
    requests: &[(&Request, Vec<u64>)],
    sources: &[NumberedSource<'_>],
) -> Result<(), PgError> {
    if requests.is_empty() {
        return Ok(());
    }
    let each = || sources.iter().map(|numbered| numbered.source);
    let identity =
        |of: &NumberedSource<'_>| source_identity(&of.request.identity, &of.source.dataset).to_vec();
    let sql = include_str!("../../../sql/queries/register_requests.sql");
    statement::execute(
        tx,
        sql,
        &[
            &sources.iter().map(|numbered| numbered.number).collect::<Vec<_>>(),
            &each().map(|source| source.dataset.as_str()).collect::<Vec<_>>(),
            &each().map(|source| source.kind.as_str()).collect::<Vec<_>>(),
            &each().map(|source| source.name.as_str()).collect::<Vec<_>>(),
            &sources.iter().map(identity).collect::<Vec<_>>(),
            &each().map(|source| source.bytes as i64).collect::<Vec<_>>(),
            &each().map(|source| source.lines.map(|lines| lines as i64)).collect::<Vec<_>>(),
            &sources.iter().map(|numbered| &numbered.request.content[..]).collect::<Vec<_>>(),
            &each().map(|source| source.text.as_deref()).collect::<Vec<_>>(),
            &each().map(|source| source.first_key).collect::<Vec<_>>(),
            &sources.iter().map(|numbered| numbered.shape).collect::<Vec<_>>(),
        ],
    )
    .await?;
    let identities: Vec<&[u8]> = requests.iter().map(|(request, _)| &request.identity[..]).collect();
    let digests: Vec<[u8; 32]> = requests.iter().map(|(request, _)| request.digest()).collect();
    let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest[..]).collect();
    // As literals of Postgres, because an array of arrays has one length for all.
    let literals = requests.iter().map(|(_, sources)| {
        format!("{{{}}}", sources.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
    });
    let literals: Vec<String> = literals.collect();
    let sql = include_str!("../../../sql/queries/keep_requests.sql");
    statement::execute(tx, sql, &[&identities, &digests, &literals]).await?;
    Ok(())
}
