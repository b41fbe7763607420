//! The shapes of lines: each is stored once, and sources and dead letters refer to it by its number.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::{GenericClient, Transaction};
use serde::{Deserialize, Serialize};
use tidegate_core::manifest::{Column, ColumnsAbsent, Manifest};
use tidegate_core::shape::{Form, Shape};
use tidegate_core::syntax::{Delimiter, Syntax};
use tidegate_postgres::{Database, PgError};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::state::ShapesByForm;
use crate::statement::{self, Columns};
use crate::store::Store;

/// The number of sources beyond which the cache of their shapes is cleared.
const SOURCES_MAX: usize = 100_000;
/// The maximum number of tries to store a shape while other transactions store the same one.
const TRIES: u32 = 5;

/// Returns the number of a shape of a dataset's lines. Stores the shape if it is new.
pub(super) async fn number_of(store: &Store, dataset: &str, shape: &Shape) -> Result<i64, PgError> {
    let key = (dataset.to_owned(), shape.clone());
    if let Some(number) = store.inner.shapes.stored().numbers.get(&key) {
        return Ok(*number);
    }
    let number = find_or_insert(&store.connection().await?, dataset, shape).await?;
    let mut stored = store.inner.shapes.stored();
    stored.numbers.insert(key, number);
    stored.shapes.insert(number, Arc::new(shape.clone()));
    Ok(number)
}

/// For each dataset, the numbers of the shapes that its lines on topics have under the manifest.
pub(super) async fn own(store: &Store) -> Result<&[ShapesByForm], PgError> {
    let find = async || {
        let manifest = store.manifest();
        let mut numbers = Vec::with_capacity(manifest.datasets.len());
        for dataset in &manifest.datasets {
            let mut by_form = ShapesByForm::default();
            for form in Form::ALL {
                let shape = Shape::in_form(manifest, dataset, form);
                by_form[form as usize] = number_of(store, &dataset.name, &shape).await?;
            }
            numbers.push(by_form);
        }
        Ok::<_, PgError>(numbers)
    };
    Ok(store.inner.shapes.own.get_or_try_init(find).await?)
}

/// Returns the shapes with these numbers.
pub async fn by_number(
    store: &Store,
    numbers: impl Iterator<Item = Option<i64>>,
) -> Result<HashMap<i64, Arc<Shape>>, PgError> {
    let (mut found, mut missing) = (HashMap::new(), Vec::new());
    {
        let stored = store.inner.shapes.stored();
        for number in numbers.flatten() {
            match stored.shapes.get(&number) {
                Some(shape) => drop(found.insert(number, shape.clone())),
                None => missing.push(number),
            }
        }
    }
    if !missing.is_empty() {
        let sql = include_str!("../../../sql/queries/shapes.sql");
        let rows = store.connection().await?.query(sql, &[&missing]).await?;
        let mut stored = store.inner.shapes.stored();
        for row in &rows {
            let (number, shape) = (row.get(0), Arc::new(shape_of(row)?));
            stored.shapes.insert(number, shape.clone());
            found.insert(number, shape);
        }
    }
    Ok(found)
}

/// Returns the shape that each row names in its column `shape`.
pub(super) async fn of_rows(store: &Store, rows: &[Row]) -> Result<Vec<Option<Arc<Shape>>>, PgError> {
    let number = |row: &Row| row.get::<_, Option<i64>>("shape");
    let shapes = by_number(store, rows.iter().map(number)).await?;
    Ok(rows.iter().map(|row| shapes.get(&number(row)?).cloned()).collect())
}

/// Returns the shape with a number, if there is one.
pub async fn find(store: &Store, number: Option<i64>) -> Result<Option<Arc<Shape>>, PgError> {
    Ok(by_number(store, [number].into_iter()).await?.into_values().next())
}

/// Returns the shape of the newest source that has the fingerprint `identity` and is not complete, if there is one.
pub(super) async fn of_incomplete(store: &Store, identity: &[u8]) -> Result<Option<Arc<Shape>>, PgError> {
    let sql = include_str!("../../../sql/queries/known_shape.sql");
    let row = store.connection().await?.query_opt(sql, &[&identity]).await?;
    find(store, row.and_then(|row| row.get(0))).await
}

/// Returns the shapes of sources. A source whose shape is not known is left out.
pub(super) async fn of_sources(store: &Store, sources: &[u64]) -> Result<HashMap<u64, Arc<Shape>>, PgError> {
    let unknown: Vec<i64> = {
        let stored = store.inner.shapes.stored();
        let unknown = sources.iter().filter(|source| !stored.of_sources.contains_key(*source));
        unknown.map(|source| *source as i64).collect()
    };
    if !unknown.is_empty() {
        let sql = include_str!("../../../sql/queries/shapes_of_sources.sql");
        let rows = store.connection().await?.query(sql, &[&unknown]).await?;
        let mut stored = store.inner.shapes.stored();
        if stored.of_sources.len() > SOURCES_MAX {
            stored.of_sources.clear();
        }
        for row in &rows {
            stored.of_sources.insert(row.number(0), row.get(1));
        }
    }
    let numbers: Vec<(u64, i64)> = {
        let stored = store.inner.shapes.stored();
        let number = |source: &u64| Some((*source, (*stored.of_sources.get(source)?)?));
        sources.iter().filter_map(number).collect()
    };
    let shapes = by_number(store, numbers.iter().map(|(_, number)| Some(*number))).await?;
    Ok(numbers.into_iter().filter_map(|(source, of)| Some((source, shapes.get(&of)?.clone()))).collect())
}

/// Returns, for each dataset, whether its sources may lack columns that it has now. Later sources lack none, unless
/// the manifest allows it.
pub(super) async fn may_lack(store: &Store) -> Result<&[bool], PgError> {
    let look = async || {
        let manifest = store.manifest();
        let mut may: Vec<bool> = manifest
            .datasets
            .iter()
            .map(|dataset| dataset.csv.columns_absent == ColumnsAbsent::Null)
            .collect();
        let sql = include_str!("../../../sql/queries/shapes.sql");
        for row in store.connection().await?.query(sql, &[&None::<Vec<i64>>]).await? {
            if let Some((dataset, _)) = manifest.dataset(row.get("dataset")) {
                may[dataset] |= !lacks(&shape_of(&row)?, manifest, dataset).is_empty();
            }
        }
        Ok::<_, PgError>(may)
    };
    Ok(store.inner.shapes.may_lack.get_or_try_init(look).await?)
}

/// Assigns the manifest's shapes to sources and dead letters that were stored before there were shapes.
pub(super) async fn adopt(database: &Database, tx: &Transaction<'_>) -> Result<(), PgError> {
    let sql = "select exists (select from tidegate.sources where shape is null) \
               or exists (select from tidegate.dead_letters where shape is null)";
    if !tx.query_one(sql, &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let manifest = database.manifest();
    for dataset in &manifest.datasets {
        // The rules under which their lines were judged are unknown.
        let of_lines = Shape { rules: String::new(), ..Shape::of(manifest, dataset) };
        let of_sources = Shape { syntax: dataset.csv.syntax.clone(), ..of_lines.clone() };
        let (of_sources, of_lines) = (
            find_or_insert(tx, &dataset.name, &of_sources).await?,
            find_or_insert(tx, &dataset.name, &of_lines).await?,
        );
        let sql = "update tidegate.sources set shape = case kind when 'request' then $3::bigint else $2 end \
                   where dataset = $1 and shape is null";
        tx.execute(sql, &[&dataset.name, &of_sources, &of_lines]).await?;
        let sql = "update tidegate.dead_letters set shape = $2 where dataset = $1 and shape is null";
        tx.execute(sql, &[&dataset.name, &of_lines]).await?;
    }
    Ok(())
}

/// The columns of a dataset, other than its key and those that come from the file itself, that a shape lacks.
pub fn lacks(shape: &Shape, manifest: &Manifest, dataset: usize) -> Vec<usize> {
    let dataset = &manifest.datasets[dataset];
    let columns = dataset.columns.iter().enumerate();
    let is_lacked =
        |i: usize, column: &Column| !dataset.is_key(i) && column.is_field() && !shape.has(&column.name);
    let lacked = columns.filter(|(i, column)| is_lacked(*i, column));
    lacked.map(|(i, _)| i).collect()
}

async fn find_or_insert(client: &impl GenericClient, dataset: &str, shape: &Shape) -> Result<i64, PgError> {
    let StoredShape { delimiter, quote, null, more } = StoredShape::of(shape);
    let Shape { columns, syntax, rules, .. } = shape;
    let sql = include_str!("../../../sql/queries/find_shape.sql");
    for _ in 0..TRIES {
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&dataset, columns, &syntax.header, &delimiter, &quote, &null, rules, &more];
        if let Some(row) = statement::query_opt(client, sql, &parameters).await? {
            return Ok(row.get(0));
        }
    }
    Err(PgError::halt("the shape of a dataset's lines cannot be kept in tidegate.shapes"))
}

/// The columns of `tidegate.shapes` that hold how a text is written.
struct StoredShape {
    delimiter: String,
    quote: String,
    null: Option<String>,
    /// What the other columns cannot hold; null if there is nothing more.
    more: Option<String>,
}

/// What [`StoredShape::more`] holds, as JSON.
#[derive(Serialize, Deserialize)]
struct MoreOfShape {
    syntax: Syntax,
    null: Vec<String>,
    canonical: bool,
}

impl StoredShape {
    fn of(shape: &Shape) -> Self {
        let Shape { syntax, null, canonical, .. } = shape;
        let is_plain = syntax.plain().is_some() && null.len() < 2 && !canonical;
        let text = |byte: u8| char::from(byte).to_string();
        // Letters show the delimiter. It is read from here only if there is nothing more.
        let delimiter = match &syntax.dialect.delimiter {
            Delimiter::Byte(byte) => text(*byte),
            Delimiter::Text(delimiter) => delimiter.clone(),
            Delimiter::Whitespace => " ".to_owned(),
            Delimiter::Widths(_) => String::new(),
        };
        let more = MoreOfShape { syntax: syntax.clone(), null: null.clone(), canonical: *canonical };
        Self {
            delimiter,
            quote: syntax.dialect.quote.map(text).unwrap_or_default(),
            null: null.first().cloned(),
            more: (!is_plain).then(|| serde_json::to_string(&more).unwrap_or_default()),
        }
    }
}

fn shape_of(row: &Row) -> Result<Shape, PgError> {
    let byte = |name: &str| row.get::<_, &str>(name).bytes().next().unwrap_or_default();
    let null: Option<String> = row.get("null_text");
    let more = match row.get::<_, Option<&str>>("more") {
        Some(more) => serde_json::from_str(more).map_err(|_| {
            PgError::halt("tidegate.shapes has a shape of a later version of Tidegate; use that version")
        })?,
        None => MoreOfShape {
            syntax: Syntax {
                header: row.get("header"),
                ..Syntax::of_bytes(byte("delimiter"), byte("quote"))
            },
            null: null.into_iter().collect(),
            canonical: false,
        },
    };
    let MoreOfShape { syntax, null, canonical } = more;
    Ok(Shape { columns: row.get("columns"), syntax, null, canonical, rules: row.get("rules") })
}
