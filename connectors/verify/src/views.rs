//! The check `views`: compares the views with their queries, computed over the tables.

use tidegate_postgres::table::{has_relation, quoted, table_name};
use tidegate_postgres::{PgError, error};
use tidegate_views::{MaintainedStore, RegisteredView, maintained, registered, set_search_path, unknown};
use tokio_postgres::types::Type;

use crate::audit::Audit;
use crate::check::{Check, LISTED_MAX, Verdict};

impl Audit<'_> {
    /// Runs the check `views`, for the views with these names, or for all views if `names` is empty.
    pub(super) async fn views(&self, names: &[String]) -> Result<Check, PgError> {
        let mut check = Check::new("views");
        set_search_path(self.tx, self.manifest).await?;
        let views = registered(self.tx).await?;
        if let Some(name) = names.iter().find(|name| !views.iter().any(|view| view.name == **name)) {
            let known: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
            return Err(unknown(name, &known));
        }
        let is_asked_for = |view: &&RegisteredView| names.is_empty() || names.contains(&view.name);
        for MaintainedStore { dataset, store, .. } in maintained(self.tx, self.manifest).await? {
            let is_its = |view: &RegisteredView| view.store.as_ref() == Some(&store.name);
            if names.is_empty() || views.iter().filter(is_asked_for).any(is_its) {
                let table = table_name(&self.manifest.datasets[dataset]);
                let (kept, afresh) = store.as_kept_and_recomputed(&table);
                let what = format!("the store {}", store.name);
                self.compare(&what, "groups", &kept, &afresh, &mut check).await?;
            }
        }
        for view in views.iter().filter(is_asked_for) {
            if !has_relation(self.tx, &view.relation()).await? {
                check.violation(None, format!("{} is missing", view.name));
            } else if view.is_refreshed() {
                let at = view.refreshed_at.as_deref().unwrap_or("an unknown time");
                let name = &view.name;
                check.note(None, format!("{name} is of {at} UTC, when it was refreshed: it is not compared"));
            } else {
                let kept = format!("select * from {}", view.relation());
                self.compare(&view.name, "rows", &kept, &view.afresh(&views)?, &mut check).await?;
            }
        }
        self.tx.batch_execute("set local search_path to default").await?;
        Ok(check)
    }

    /// Compares two queries of the same columns as multisets.
    async fn compare(
        &self,
        what: &str,
        unit: &str,
        kept: &str,
        afresh: &str,
        check: &mut Check,
    ) -> Result<(), PgError> {
        let columns = self.comparable_columns(kept).await?;
        // The query returns at least one row, for the counts.
        let sql = format!(
            "with kept as materialized (select {columns} from ({kept}\n) as kept), \
             afresh as materialized (select {columns} from ({afresh}\n) as afresh), \
             differing as ( \
                 select 'too much' as how, d::text as value \
                 from (select * from kept except all select * from afresh) as d \
                 union all \
                 select 'missing', d::text from (select * from afresh except all select * from kept) as d \
             ) \
             select how, value, (select count(*) from differing), (select count(*) from kept) \
             from (select) as one \
             left join (select * from differing order by how, value limit {LISTED_MAX}) as d on true"
        );
        let rows = self.tx.query(&sql, &[]).await;
        let rows = rows.map_err(|error| {
            PgError::halt(format!("{what} cannot be computed afresh: {}", error::describe(&error)))
        })?;
        let count = |i| rows.first().map_or(0, |row| row.get::<_, i64>(i) as u64);
        let mut unlisted = count(2);
        for row in rows.iter().filter(|row| row.get::<_, Option<&str>>(0).is_some()) {
            let (how, value): (&str, &str) = (row.get(0), row.get(1));
            check.violation(None, format!("{how} in {what}: {value}"));
            unlisted -= 1;
        }
        check.unlisted(Verdict::Violation, unlisted);
        check.checked(count(3), format!("{unit} of {what}"));
        (self.watch)(check.name, count(3));
        Ok(())
    }

    /// Returns the columns of a query. Columns whose values Postgres cannot compare are converted to text.
    async fn comparable_columns(&self, query: &str) -> Result<String, PgError> {
        let statement = self.tx.prepare(query).await?;
        let columns = statement.columns().iter().map(|column| {
            let name = quoted(column.name());
            let as_text = matches!(*column.type_(), Type::JSON | Type::XML);
            if as_text { format!("{name}::text as {name}") } else { name }
        });
        Ok(columns.collect::<Vec<_>>().join(", "))
    }
}
