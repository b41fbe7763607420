//! A view in the database, and the comparison with its query.

use futures_util::future;
use tidegate_store::{Store, prepare};
use tidegate_views::{View, ViewKind, explain};
use tokio_postgres::{Client, Error, Row};

use super::database::describe;
use super::query::Query;

/// How what is compared comes to be.
#[derive(Clone, Copy)]
pub(crate) enum Made {
    /// By Tidegate.
    Kept,
    /// As plain views of the select: shows that it is no matter of chance what it gives.
    Plain,
    /// As tables that nobody maintains: shows that differences are found.
    Frozen,
}

pub(crate) struct Relation {
    query: Query,
    /// With its schema, quoted.
    name: String,
    /// What it showed last.
    last: Option<Vec<String>>,
    has_changed: bool,
}

impl Relation {
    /// Makes the views of queries, in a database that has the tables.
    pub(crate) async fn make_all(
        sink: &Store,
        reader: &Client,
        queries: Vec<Query>,
        made: Made,
    ) -> Result<Vec<Self>, String> {
        let mut views = Vec::new();
        for query in &queries {
            let of_query = |error: String| format!("{error}\n\nview {}:\n{}", query.name, query.select);
            let create = |what| format!("create {what} \"{}\" as {}", query.name, query.select);
            let sql = match made {
                Made::Kept => {
                    views.push(View::parse(&query.name, &query.file()).map_err(of_query)?);
                    continue;
                }
                Made::Plain => create("view"),
                Made::Frozen => create("table"),
            };
            reader.batch_execute(&sql).await.map_err(|error| of_query(describe(&error)))?;
        }
        prepare::prepare(sink, &views).await.map_err(|error| error.to_string())?;
        let explained = explain::explain(sink, &views).await.map_err(|error| error.to_string())?.0;
        if let Some(other) = explained.into_iter().find(|explained| explained.kind != ViewKind::Incremental) {
            return Err(format!(
                "view {} is not incremental: {:?}\n{}",
                other.name, other.reason, other.query
            ));
        }
        let mut relations = Vec::new();
        for query in queries {
            relations.push(Self::find(reader, query).await?);
        }
        Ok(relations)
    }

    async fn find(reader: &Client, query: Query) -> Result<Self, String> {
        let fault = |what: String| format!("{what}\n\nview {}:\n{}", query.name, query.select);
        let sql = "select quote_ident(nspname) || '.' || quote_ident(relname) from pg_class \
                   join pg_namespace on pg_namespace.oid = relnamespace \
                   where relname = $1 and relkind in ('r', 'v') and nspname <> 'tidegate'";
        let found = reader.query_opt(sql, &[&query.name]).await.unwrap();
        // One that was not taken for incremental is a materialized view.
        let name: String = found.ok_or_else(|| fault("the view is not incremental".to_owned()))?.get(0);
        let kept = columns(reader, &format!("select * from {name}")).await;
        let afresh = columns(reader, &query.select).await;
        if kept != afresh {
            return Err(fault(format!("the view has the columns {kept}, its query {afresh}")));
        }
        Ok(Self { query, name, last: None, has_changed: false })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn select(&self) -> &str {
        &self.query.select
    }

    /// Whether it has not always shown the same.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Compares the view with its query, and gives whether they show something else than last.
    pub(crate) async fn follow(&mut self, client: &Client) -> Result<bool, String> {
        let shown = self.compare(client).await.map_err(|error| describe(&error))??;
        let is_new = self.last.as_ref().is_some_and(|last| *last != shown);
        self.has_changed |= is_new;
        self.last = Some(shown);
        Ok(is_new)
    }

    /// Compares a view with its query; gives what both show.
    pub(crate) async fn compare(&self, client: &Client) -> Result<Result<Vec<String>, String>, Error> {
        let Query { name, select, is_ordered } = &self.query;
        let [kept, afresh] = [
            format!("select row(v.*)::text from {} as v", self.name),
            format!("select row(v.*)::text from (\n{select}\n) as v"),
        ];
        let (kept, afresh) = future::try_join(client.query(&kept, &[]), client.query(&afresh, &[])).await?;
        let texts = |rows: Vec<Row>| -> Vec<String> { rows.iter().map(|row| row.get(0)).collect() };
        let (mut kept, mut afresh) = (texts(kept), texts(afresh));
        if !is_ordered {
            kept.sort_unstable();
            afresh.sort_unstable();
        }
        if kept == afresh {
            return Ok(Ok(afresh));
        }
        let (kept, afresh) = (kept.join("\n  "), afresh.join("\n  "));
        Ok(Err(format!(
            "view {name} differs from its query\n{select}\n\nthe view:\n  {kept}\nits query:\n  {afresh}"
        )))
    }
}

/// The names and types of what a query gives.
async fn columns(client: &Client, sql: &str) -> String {
    let statement = client.prepare(sql).await.unwrap();
    let columns = statement.columns().iter().map(|column| format!("{} {}", column.name(), column.type_()));
    columns.collect::<Vec<_>>().join(", ")
}
