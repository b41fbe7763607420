//! Requests: what enters over HTTP or from a backup, registered together with its lines.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Transaction;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Kind;
use tidegate_core::shape::Shape;

use super::registry::LOCK_SOURCES;
use super::table::TableSql;
use super::{Error, How, Postgres, SourceKind};

/// Something that asks to enter, as one or more sources, all of them or none.
#[derive(Clone, Debug)]
pub struct Request {
    /// What makes it one and the same. One that did not name itself has an identity that nothing else has.
    pub identity: [u8; 32],
    /// BLAKE3 of what was sent.
    pub content: [u8; 32],
    /// What it becomes, one for each of its datasets.
    pub sources: Vec<NewSource>,
}

/// A source of a [`Request`].
#[derive(Clone, Debug)]
pub struct NewSource {
    /// The name of its dataset.
    pub dataset: String,
    /// What kind of input it is.
    pub kind: SourceKind,
    /// What people know it by.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// How many lines it has, if they have been counted.
    pub lines: Option<u64>,
    /// The lines themselves, where Postgres is to keep them.
    pub text: Option<Bytes>,
    /// What the keys of lines that lack one begin with: see `tidegate.sources`.
    pub first_key: Option<i64>,
    /// How its text is read.
    pub shape: Shape,
}

/// What became of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its sources, by their numbers, in its order: new ones.
    New(Vec<u64>),
    /// The same, but it was registered before.
    Known(Vec<u64>),
    /// Something else was registered under its identity before.
    Another,
}

impl Answer {
    /// The sources that the request became.
    pub fn sources(&self) -> &[u64] {
        match self {
            Self::New(sources) | Self::Known(sources) => sources,
            Self::Another => &[],
        }
    }
}

/// A source that is registered, and not complete, and no file of the landing folder.
#[derive(Clone, Debug)]
pub struct Incomplete {
    /// Its number.
    pub source: u64,
    /// The name of its dataset.
    pub dataset: String,
    /// What people know it by.
    pub name: String,
    /// What makes it one and the same.
    pub identity: Vec<u8>,
    /// BLAKE3 of what was sent.
    pub content: Vec<u8>,
    /// How many lines it has, if that is known.
    pub lines: Option<u64>,
    /// The lines, if Postgres keeps them.
    pub text: Option<Bytes>,
    /// What the keys of lines that lack one begin with: see `tidegate.sources`.
    pub first_key: Option<i64>,
    /// How its text was read when it was registered.
    pub shape: Option<Arc<Shape>>,
}

/// The identity of a source that a request becomes for a dataset.
pub fn source_identity(request: &[u8; 32], dataset: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(request).update(dataset.as_bytes());
    *hasher.finalize().as_bytes()
}

impl Postgres {
    /// Registers requests, in their order, in one transaction. A known identity means *resume under that number*.
    /// When it returns, sources and lines are as durable as Postgres is.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked. Then nothing is registered, unless the answer to the commit was lost: asked
    /// again, it tells.
    pub async fn register_requests(&self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let mut shapes = Vec::new();
        for source in requests.iter().flat_map(|request| &request.sources) {
            shapes.push(self.shape_number(&source.dataset, &source.shape).await?);
        }
        let mut shapes = shapes.into_iter();
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        tx.batch_execute(LOCK_SOURCES).await?;
        let (mut known, largest) = known(&tx, requests).await?;
        let mut rows = Rows::default();
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let its_shapes: Vec<i64> = shapes.by_ref().take(request.sources.len()).collect();
            let answer = match known.get(&request.identity) {
                Some((content, _)) if *content != request.content => Answer::Another,
                Some((_, sources)) => Answer::Known(sources.clone()),
                None => {
                    let sources = rows.push(request, &its_shapes, largest);
                    known.insert(request.identity, (request.content, sources.clone()));
                    Answer::New(sources)
                }
            };
            answers.push(answer);
        }
        rows.insert(&tx).await?;
        tx.commit().await?;
        Failpoint::SourceRegistered.pass()?;
        Ok(answers)
    }

    /// What was registered and is not complete, but for files of the landing folder: of `among`, if that is given.
    /// In the order of the numbers.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn incomplete(&self, among: Option<&[u64]>) -> Result<Vec<Incomplete>, Error> {
        let sql = include_str!("../../../sql/queries/incomplete_requests.sql");
        let among: Option<Vec<i64>> =
            among.map(|sources| sources.iter().map(|source| *source as i64).collect());
        let rows = self.connection().await?.query(sql, &[&among]).await?;
        let shapes = self.shapes(rows.iter().map(|row| row.get("shape"))).await?;
        let incomplete = rows.iter().map(|row| Incomplete {
            shape: row.get::<_, Option<i64>>("shape").and_then(|shape| shapes.get(&shape).cloned()),
            source: row.get::<_, i64>(0) as u64,
            dataset: row.get(1),
            name: row.get(2),
            identity: row.get(3),
            content: row.get::<_, Option<Vec<u8>>>(4).unwrap_or_default(),
            lines: row.get::<_, Option<i64>>(5).map(|lines| lines as u64),
            text: row.get::<_, Option<Vec<u8>>>(6).map(Bytes::from),
            first_key: row.get(7),
        });
        Ok(incomplete.collect())
    }

    /// The sources that each of these requests has become; none of one that was not registered.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn sources_of(&self, requests: &[Request]) -> Result<Vec<Vec<u64>>, Error> {
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        // Behind whoever registers at the moment, a transaction of ours whose answer was lost among them.
        tx.batch_execute(LOCK_SOURCES).await?;
        let (mut known, _) = known(&tx, requests).await?;
        let became = |request: &Request| known.remove(&request.identity).map(|(_, sources)| sources);
        Ok(requests.iter().map(became).map(Option::unwrap_or_default).collect())
    }

    /// Takes `count` keys in a row out of a dataset's sequence, which begins at `start`. Gives the first. **No key is
    /// taken that the table has already**, whoever wrote its row: then they come behind the largest key of the table.
    /// Keys that are taken and not used are gone.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or there are no more of them.
    pub async fn take_keys(&self, dataset: &str, start: i64, count: u64) -> Result<i64, Error> {
        let sql = include_str!("../../../sql/queries/take_keys.sql");
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        let asked = count as i64;
        let mut first = tx.query_one(sql, &[&dataset, &start, &asked]).await?.get::<_, i64>(0) - asked;
        if let Some(behind) = self.key_behind(&tx, dataset, first, asked).await? {
            first = tx.query_one(sql, &[&dataset, &behind, &asked]).await?.get::<_, i64>(0) - asked;
        }
        tx.commit().await?;
        Ok(first)
    }

    /// The key behind the largest one of a dataset's table, if that has any of `count` keys from `first` on.
    async fn key_behind(
        &self,
        tx: &Transaction<'_>,
        dataset: &str,
        first: i64,
        count: i64,
    ) -> Result<Option<i64>, Error> {
        let Some((index, definition)) = self.inner.manifest.dataset(dataset) else { return Ok(None) };
        let TableSql { name: table, key, .. } = &self.inner.tables[index];
        let taken = format!(
            "select exists (select from {table} where {key} between $1::bigint and $1::bigint + ($2::bigint - 1))"
        );
        if count == 0 || !tx.query_one(&taken, &[&first, &count]).await?.get::<_, bool>(0) {
            return Ok(None);
        }
        let largest: i64 =
            tx.query_one(&format!("select max({key})::bigint from {table}"), &[]).await?.get(0);
        let most = match definition.key_column().kind {
            Kind::SmallInt => i64::from(i16::MAX),
            Kind::Integer => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        if largest.checked_add(count).is_none_or(|last| last > most) {
            return Err(Error::halt(format!(
                "there is no key left for dataset '{dataset}': {table} has rows with the key {first} or one shortly \
                 behind it, and with the key {largest}, behind which there are no {count} more; set 'generated: \
                 {{start: N}}' of {} to where a gap begins",
                definition.key_column().name
            )));
        }
        Ok(Some(largest + 1))
    }
}

type Known = HashMap<[u8; 32], ([u8; 32], Vec<u64>)>;

/// The requests among `requests` that were registered before, and the largest number of a source.
async fn known(tx: &Transaction<'_>, requests: &[Request]) -> Result<(Known, u64), Error> {
    let identities: Vec<&[u8]> = requests.iter().map(|request| &request.identity[..]).collect();
    let statement = tx.prepare_cached(include_str!("../../../sql/queries/known_requests.sql")).await?;
    let mut known = Known::new();
    let mut largest = 0;
    for row in tx.query(&statement, &[&identities]).await? {
        largest = row.get::<_, i64>(3) as u64;
        if let Some(identity) = row.get::<_, Option<&[u8]>>(0) {
            let digest =
                |bytes: &[u8]| bytes.try_into().map_err(|_| Error::halt("a request has no BLAKE3 hash"));
            let sources = row.get::<_, Vec<i64>>(2).into_iter().map(|source| source as u64).collect();
            known.insert(digest(identity)?, (digest(row.get(1))?, sources));
        }
    }
    Ok((known, largest))
}

/// The rows of the statements that register, column by column.
#[derive(Default)]
struct Rows<'a> {
    source: Vec<i64>,
    dataset: Vec<&'a str>,
    kind: Vec<&'static str>,
    name: Vec<&'a str>,
    identity: Vec<Vec<u8>>,
    bytes: Vec<i64>,
    lines: Vec<Option<i64>>,
    content: Vec<&'a [u8]>,
    text: Vec<Option<&'a [u8]>>,
    first_key: Vec<Option<i64>>,
    shape: Vec<i64>,
    requests: Vec<&'a [u8]>,
    contents: Vec<&'a [u8]>,
    /// Of each request, as Postgres writes an array.
    sources: Vec<String>,
}

impl<'a> Rows<'a> {
    /// Adds a request. Gives the numbers of its sources, which come behind `largest`.
    fn push(&mut self, request: &'a Request, shapes: &[i64], largest: u64) -> Vec<u64> {
        let first = self.source.len();
        self.shape.extend(shapes);
        for source in &request.sources {
            self.source.push(largest as i64 + self.source.len() as i64 + 1);
            self.dataset.push(&source.dataset);
            self.kind.push(source.kind.as_str());
            self.name.push(&source.name);
            self.identity.push(source_identity(&request.identity, &source.dataset).to_vec());
            self.bytes.push(source.bytes as i64);
            self.lines.push(source.lines.map(|lines| lines as i64));
            self.content.push(&request.content);
            self.text.push(source.text.as_deref());
            self.first_key.push(source.first_key);
        }
        let sources: Vec<u64> = self.source[first..].iter().map(|source| *source as u64).collect();
        self.requests.push(&request.identity);
        self.contents.push(&request.content);
        let listed: Vec<_> = sources.iter().map(u64::to_string).collect();
        self.sources.push(format!("{{{}}}", listed.join(",")));
        sources
    }

    async fn insert(self, tx: &Transaction<'_>) -> Result<(), Error> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/register_requests.sql")).await?;
        tx.execute(
            &statement,
            &[
                &self.source,
                &self.dataset,
                &self.kind,
                &self.name,
                &self.identity,
                &self.bytes,
                &self.lines,
                &self.content,
                &self.text,
                &self.first_key,
                &self.shape,
            ],
        )
        .await?;
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/keep_requests.sql")).await?;
        tx.execute(&statement, &[&self.requests, &self.contents, &self.sources]).await?;
        Ok(())
    }
}
