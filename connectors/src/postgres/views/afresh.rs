//! Views computed afresh, from the tables alone: what an audit holds the kept ones against.

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;

use super::super::Error;
use super::super::table::quoted;
use super::{Maintained, View, describe, in_order, with_store};

/// A view as the database has it.
pub(in crate::postgres) struct Registered {
    view: View,
    /// Where its relation is, and what its query names.
    pub(in crate::postgres) schema: String,
}

/// The views of the database, each behind those that it is made of.
pub(in crate::postgres) async fn registered(tx: &Transaction<'_>) -> Result<Vec<Registered>, Error> {
    let rows = tx.query("select name, definition, schema from tidegate.views", &[]).await?;
    let parse = |row: &tokio_postgres::Row| View::parse(row.get(0), row.get(1)).map_err(Error::halt);
    let views = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let schema_of = |view: &View| {
        let row = rows.iter().find(|row| row.get::<_, &str>(0) == view.name);
        row.map(|row| row.get(2)).unwrap_or_default()
    };
    Ok(in_order(views)?.into_iter().map(|view| Registered { schema: schema_of(&view), view }).collect())
}

impl Registered {
    pub(in crate::postgres) fn name(&self) -> &str {
        &self.view.name
    }

    /// Its relation, quoted.
    pub(in crate::postgres) fn relation(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.view.name))
    }

    /// What the sink keeps up to date for it; `None` if it has no store.
    pub(in crate::postgres) async fn store(
        &self,
        tx: &Transaction<'_>,
        manifest: &Manifest,
    ) -> Result<Option<Maintained>, Error> {
        match &self.view.store {
            Some(store) => Ok(Some(describe(tx, manifest, &self.view, store).await?)),
            None => Ok(None),
        }
    }

    /// Its query over the tables alone: stores, and the `views` of its schema that it is made of, are
    /// computed.
    pub(in crate::postgres) fn afresh(&self, views: &[Self]) -> String {
        let others = views.iter().take_while(|other| other.view != self.view);
        let others = others.filter(|other| other.schema == self.schema);
        let others: Vec<String> = others
            .map(|other| format!("{} as ({}\n)", quoted(&other.view.name), other.over_store(views)))
            .collect();
        let own = self.over_store(views);
        if others.is_empty() {
            return own;
        }
        format!("with {} select * from ({own}\n) as afresh", others.join(", "))
    }

    /// Its query, with the store's query in place of the store.
    fn over_store(&self, views: &[Self]) -> String {
        let query = without_end(&self.view.query);
        let owner = views.iter().find(|other| self.view.store_of.as_ref() == Some(&other.view.name));
        match owner.and_then(|owner| owner.view.store.as_ref()) {
            Some(store) => with_store(&store.query, query),
            None => query.to_owned(),
        }
    }
}

/// A query without the semicolon that may end it, nor the comments behind that: to be put into another.
fn without_end(mut query: &str) -> &str {
    loop {
        query = query.trim_end();
        let line = query.rfind('\n').map_or(0, |end| end + 1);
        let comment = query[line..].rfind("--").map(|at| line + at);
        match comment.map(|at| query[..at].trim_end()) {
            Some(before) if before.len() <= line || before.ends_with(';') => query = before,
            _ => match query.strip_suffix(';') {
                Some(before) => query = before,
                None => return query,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_loses_its_end_and_nothing_else() {
        for (query, without) in [
            ("select 1\n", "select 1"),
            ("select 1;\n\n-- done; really\n;-- all\n", "select 1"),
            ("select ';' -- one", "select ';' -- one"),
            ("-- first\nselect 1 ; ", "-- first\nselect 1"),
            ("-- nothing", ""),
        ] {
            assert_eq!(without_end(query), without, "{query}");
        }
    }
}
