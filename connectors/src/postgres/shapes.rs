//! The shapes of lines: each is kept once, and sources and dead letters name it by its number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::manifest::{ColumnsAbsent, Manifest};
use tidegate_core::shape::Shape;
use tokio::sync::OnceCell;
use tokio_postgres::Row;

use super::{Error, Postgres};

/// The shapes of so many sources are remembered.
const SOURCES_MAX: usize = 100_000;
/// How often another may keep the same shape at the same moment.
const TRIES: u32 = 5;

/// What a process has learned of the shapes that are kept.
#[derive(Default)]
pub(super) struct Shapes {
    known: Mutex<Known>,
    /// Of each dataset, the number of the shape that lines without a header have now.
    own: OnceCell<Vec<i64>>,
    /// Of each dataset, whether sources may lack columns of it.
    may_lack: OnceCell<Vec<bool>>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<(String, Shape), i64>,
    shapes: HashMap<i64, Arc<Shape>>,
    of_sources: HashMap<u64, Option<i64>>,
}

impl Shapes {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that is done under the lock can stop half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Postgres {
    /// The number of a shape of a dataset's lines, which is kept from now on.
    pub(super) async fn shape_number(&self, dataset: &str, shape: &Shape) -> Result<i64, Error> {
        let key = (dataset.to_owned(), shape.clone());
        if let Some(number) = self.inner.shapes.known().numbers.get(&key) {
            return Ok(*number);
        }
        let number = find(&self.connection().await?, dataset, shape).await?;
        let mut known = self.inner.shapes.known();
        known.numbers.insert(key, number);
        known.shapes.insert(number, Arc::new(shape.clone()));
        Ok(number)
    }

    /// Of each dataset, the number of the shape that lines without a header have now.
    pub(super) async fn own_shapes(&self) -> Result<&[i64], Error> {
        let find = async || {
            let manifest = &self.inner.manifest;
            let mut numbers = Vec::with_capacity(manifest.datasets.len());
            for dataset in &manifest.datasets {
                numbers.push(self.shape_number(&dataset.name, &Shape::of(manifest, dataset)).await?);
            }
            Ok::<_, Error>(numbers)
        };
        Ok(self.inner.shapes.own.get_or_try_init(find).await?)
    }

    /// The shapes of these numbers.
    pub(super) async fn shapes(
        &self,
        numbers: impl Iterator<Item = Option<i64>>,
    ) -> Result<HashMap<i64, Arc<Shape>>, Error> {
        let (mut found, mut missing) = (HashMap::new(), Vec::new());
        {
            let known = self.inner.shapes.known();
            for number in numbers.flatten() {
                match known.shapes.get(&number) {
                    Some(shape) => drop(found.insert(number, shape.clone())),
                    None => missing.push(number),
                }
            }
        }
        if !missing.is_empty() {
            let sql = include_str!("../../../sql/queries/shapes.sql");
            let rows = self.connection().await?.query(sql, &[&missing]).await?;
            let mut known = self.inner.shapes.known();
            for row in &rows {
                let (number, shape) = (row.get(0), Arc::new(shape_of(row)));
                known.shapes.insert(number, shape.clone());
                found.insert(number, shape);
            }
        }
        Ok(found)
    }

    /// The shape of a number, if there is such.
    pub(super) async fn shape(&self, number: Option<i64>) -> Result<Option<Arc<Shape>>, Error> {
        Ok(self.shapes([number].into_iter()).await?.into_values().next())
    }

    /// The shape of the source of an identity, if it is known and not complete.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn shape_of_incomplete(&self, identity: &[u8]) -> Result<Option<Arc<Shape>>, Error> {
        let sql = include_str!("../../../sql/queries/known_shape.sql");
        let row = self.connection().await?.query_opt(sql, &[&identity]).await?;
        self.shape(row.and_then(|row| row.get(0))).await
    }

    /// The shapes of sources; none where it is not known.
    pub(super) async fn shapes_of_sources(&self, sources: &[u64]) -> Result<HashMap<u64, Arc<Shape>>, Error> {
        let unknown: Vec<i64> = {
            let known = self.inner.shapes.known();
            let unknown = sources.iter().filter(|source| !known.of_sources.contains_key(*source));
            unknown.map(|source| *source as i64).collect()
        };
        if !unknown.is_empty() {
            let sql = include_str!("../../../sql/queries/shapes_of_sources.sql");
            let rows = self.connection().await?.query(sql, &[&unknown]).await?;
            let mut known = self.inner.shapes.known();
            if known.of_sources.len() > SOURCES_MAX {
                known.of_sources.clear();
            }
            for row in &rows {
                known.of_sources.insert(row.get::<_, i64>(0) as u64, row.get(1));
            }
        }
        let numbers: Vec<(u64, i64)> = {
            let known = self.inner.shapes.known();
            let number = |source: &u64| Some((*source, (*known.of_sources.get(source)?)?));
            sources.iter().filter_map(number).collect()
        };
        let shapes = self.shapes(numbers.iter().map(|(_, number)| Some(*number))).await?;
        Ok(numbers.into_iter().filter_map(|(source, of)| Some((source, shapes.get(&of)?.clone()))).collect())
    }

    /// Of each dataset, whether its sources may lack columns that it has now. Sources that come later lack none, unless
    /// the manifest allows that.
    pub(super) async fn may_lack(&self) -> Result<&[bool], Error> {
        let look = async || {
            let manifest = &self.inner.manifest;
            let mut may: Vec<bool> = manifest
                .datasets
                .iter()
                .map(|dataset| dataset.csv.columns_absent == ColumnsAbsent::Null)
                .collect();
            let sql = include_str!("../../../sql/queries/shapes.sql");
            for row in self.connection().await?.query(sql, &[&None::<Vec<i64>>]).await? {
                if let Some((dataset, _)) = manifest.dataset(row.get("dataset")) {
                    may[dataset] |= !lacks(&shape_of(&row), manifest, dataset).is_empty();
                }
            }
            Ok::<_, Error>(may)
        };
        Ok(self.inner.shapes.may_lack.get_or_try_init(look).await?)
    }

    /// Gives sources and dead letters of before there were shapes the one that the manifest has now.
    pub(super) async fn adopt_shapes(&self, tx: &Transaction<'_>) -> Result<(), Error> {
        let sql = "select exists (select from tidegate.sources where shape is null) \
                   or exists (select from tidegate.dead_letters where shape is null)";
        if !tx.query_one(sql, &[]).await?.get::<_, bool>(0) {
            return Ok(());
        }
        let manifest = &self.inner.manifest;
        for dataset in &manifest.datasets {
            // Under which rules their lines were judged nobody knows.
            let of_lines = Shape { rules: String::new(), ..Shape::of(manifest, dataset) };
            let of_sources = Shape { header: dataset.csv.header, ..of_lines.clone() };
            let (of_sources, of_lines) =
                (find(tx, &dataset.name, &of_sources).await?, find(tx, &dataset.name, &of_lines).await?);
            let sql = "update tidegate.sources set shape = case kind when 'request' then $3::bigint else $2 end \
                       where dataset = $1 and shape is null";
            tx.execute(sql, &[&dataset.name, &of_sources, &of_lines]).await?;
            let sql = "update tidegate.dead_letters set shape = $2 where dataset = $1 and shape is null";
            tx.execute(sql, &[&dataset.name, &of_lines]).await?;
        }
        Ok(())
    }
}

/// The columns of a dataset, other than its key, that a shape lacks.
pub(super) fn lacks(shape: &Shape, manifest: &Manifest, dataset: usize) -> Vec<usize> {
    let dataset = &manifest.datasets[dataset];
    let columns = dataset.columns.iter().enumerate();
    let lacked = columns.filter(|(i, column)| *i != dataset.key && !shape.has(&column.name));
    lacked.map(|(i, _)| i).collect()
}

async fn find(client: &impl GenericClient, dataset: &str, shape: &Shape) -> Result<i64, Error> {
    let Shape { columns, header, null, rules, .. } = shape;
    let (delimiter, quote) = (char::from(shape.delimiter).to_string(), char::from(shape.quote).to_string());
    let statement = client.prepare_cached(include_str!("../../../sql/queries/find_shape.sql")).await?;
    for _ in 0..TRIES {
        let row = client
            .query_opt(&statement, &[&dataset, columns, header, &delimiter, &quote, null, rules])
            .await?;
        if let Some(row) = row {
            return Ok(row.get(0));
        }
    }
    Err(Error::halt("the shape of a dataset's lines cannot be kept in tidegate.shapes"))
}

fn shape_of(row: &Row) -> Shape {
    let byte = |name: &str| row.get::<_, &str>(name).bytes().next().unwrap_or_default();
    Shape {
        columns: row.get("columns"),
        header: row.get("header"),
        delimiter: byte("delimiter"),
        quote: byte("quote"),
        null: row.get("null_text"),
        rules: row.get("rules"),
    }
}
