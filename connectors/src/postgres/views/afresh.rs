//! Views computed afresh, from the tables alone: what an audit holds the kept ones against.

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;

use super::super::Error;
use super::super::table::quoted;
use super::apply::{dataset_named, has_run};
use super::store::{Store, StoreSpec};
use super::{Kind, Maintained, View};

/// A view as the database has it.
pub(in crate::postgres) struct Registered {
    view: View,
    /// Where its relation is.
    schema: String,
    kind: String,
    /// The store that it reads.
    pub(in crate::postgres) store: Option<String>,
    /// When it was refreshed, in words.
    pub(in crate::postgres) refreshed_at: Option<String>,
}

/// The views of the database, each behind those that it reads.
pub(in crate::postgres) async fn registered(tx: &Transaction<'_>) -> Result<Vec<Registered>, Error> {
    let rows = tx.query(include_str!("../../../../sql/queries/views.sql"), &[]).await?;
    let views = rows.iter().map(|row| {
        Ok(Registered {
            view: View::parse(row.get("name"), row.get("definition")).map_err(Error::halt)?,
            schema: row.get("schema"),
            kind: row.get("kind"),
            store: row.get("store"),
            refreshed_at: row.get("refreshed"),
        })
    });
    views.collect()
}

/// The stores of the database, but for those of datasets that the manifest does not know any more.
pub(in crate::postgres) async fn maintained(
    tx: &Transaction<'_>,
    manifest: &Manifest,
) -> Result<Vec<Maintained>, Error> {
    let mut stores = Vec::new();
    if !has_run(tx).await? {
        return Ok(stores);
    }
    for row in tx.query("select name, spec from tidegate.view_stores order by name", &[]).await? {
        let name: String = row.get(0);
        let spec = serde_json::from_value::<StoreSpec>(row.get(1));
        let spec = spec.map_err(|error| Error::halt(format!("the store {name} cannot be read: {error}")))?;
        let dataset = dataset_named(manifest, &spec.dataset);
        stores.extend(dataset.map(|dataset| Maintained::new(dataset, Store { name, spec })));
    }
    Ok(stores)
}

impl Registered {
    pub(in crate::postgres) fn name(&self) -> &str {
        &self.view.name
    }

    /// Its relation, quoted.
    pub(in crate::postgres) fn relation(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.view.name))
    }

    pub(in crate::postgres) fn is_refreshed(&self) -> bool {
        self.kind == Kind::Refreshed.name()
    }

    /// Its query, over the tables and refreshed views alone: the other `views` that it reads are computed.
    pub(in crate::postgres) fn afresh(&self, views: &[Self]) -> String {
        let before = views.iter().take_while(|other| other.view != self.view);
        let others: Vec<String> = before
            .filter(|other| !other.is_refreshed())
            .map(|other| format!("{} as ({}\n)", quoted(&other.view.name), other.view.select))
            .collect();
        if others.is_empty() {
            return self.view.select.clone();
        }
        format!("with {} select * from ({}\n) as afresh", others.join(", "), self.view.select)
    }
}
