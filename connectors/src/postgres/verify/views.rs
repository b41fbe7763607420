//! The views, against their queries computed afresh.

use tokio_postgres::types::Type;

use super::super::table::{TableSql, quoted};
use super::super::views::{Registered, maintained, registered, set_search_path, unknown};
use super::super::{Error, error};
use super::{Audit, Check, LISTED_MAX, Verdict};

impl Audit<'_> {
    /// The check `views`, of the views of these names, or of all if there are none.
    pub(super) async fn views(&self, names: &[String]) -> Result<Check, Error> {
        let mut check = Check::new("views");
        set_search_path(self.tx, self.manifest).await?;
        let views = registered(self.tx).await?;
        if let Some(name) = names.iter().find(|name| !views.iter().any(|view| view.name() == **name)) {
            let known: Vec<&str> = views.iter().map(Registered::name).collect();
            return Err(unknown(name, &known));
        }
        let is_asked_for =
            |view: &&Registered| names.is_empty() || names.iter().any(|name| name == view.name());
        for store in maintained(self.tx, self.manifest).await? {
            let is_its = |view: &Registered| view.store.as_deref() == Some(store.name());
            if names.is_empty() || views.iter().filter(is_asked_for).any(is_its) {
                let table = TableSql::new(&self.manifest.datasets[store.dataset]).name;
                let (kept, afresh) = store.as_kept_and_afresh(&table);
                let what = format!("the store {}", store.name());
                self.compare(&what, "groups", &kept, &afresh, &mut check).await?;
            }
        }
        for view in views.iter().filter(is_asked_for) {
            let found = self.tx.query_one("select to_regclass($1) is not null", &[&view.relation()]).await?;
            if !found.get::<_, bool>(0) {
                check.violation(None, format!("{} is missing", view.name()));
            } else if view.is_refreshed() {
                let at = view.refreshed_at.as_deref().unwrap_or("an unknown time");
                check.note(
                    None,
                    format!("{} is of {at} UTC, when it was refreshed: it is not compared", view.name()),
                );
            } else {
                let kept = format!("select * from {}", view.relation());
                self.compare(view.name(), "rows", &kept, &view.afresh(&views), &mut check).await?;
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
    ) -> Result<(), Error> {
        let columns = self.comparable_columns(kept).await?;
        // At least one row, for the counts.
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
            Error::halt(format!("{what} cannot be computed afresh: {}", error::describe(&error)))
        })?;
        let mut listed = 0;
        for row in &rows {
            if let Some(how) = row.get::<_, Option<&str>>(0) {
                let value: &str = row.get(1);
                check.violation(None, format!("{how} in {what}: {value}"));
                listed += 1;
            }
        }
        let count = |i| rows.first().map_or(0, |row| row.get::<_, i64>(i) as u64);
        check.unlisted(Verdict::Violation, count(2) - listed);
        check.checked(count(3), format!("{unit} of {what}"));
        (self.watch)(check.name, count(3));
        Ok(())
    }

    /// The columns of a query; as texts, those whose values Postgres cannot compare.
    async fn comparable_columns(&self, query: &str) -> Result<String, Error> {
        let statement = self.tx.prepare(query).await?;
        let columns = statement.columns().iter().map(|column| {
            let name = quoted(column.name());
            let as_text = matches!(*column.type_(), Type::JSON | Type::XML);
            if as_text { format!("{name}::text as {name}") } else { name }
        });
        Ok(columns.collect::<Vec<_>>().join(", "))
    }
}
