//! The views, against their queries computed afresh.

use tokio_postgres::types::Type;

use super::super::table::quoted;
use super::super::views::registered;
use super::super::{Error, error};
use super::{Audit, Check, LISTED_MAX, Verdict};

impl Audit<'_> {
    /// The check `views`.
    pub(super) async fn views(&self) -> Result<Check, Error> {
        let mut check = Check::new("views");
        let views = registered(self.tx).await?;
        for view in &views {
            self.tx.batch_execute(&format!("set local search_path = {}", quoted(&view.schema))).await?;
            if let Some(store) = view.store(self.tx, self.manifest).await? {
                let what = format!("the store of {}", view.name());
                let (kept, afresh) = store.as_kept_and_afresh();
                self.compare(&what, "groups", &kept, &afresh, &mut check).await?;
            }
            let found = self.tx.query_one("select to_regclass($1) is not null", &[&view.relation()]).await?;
            if found.get(0) {
                let kept = format!("select * from {}", view.relation());
                self.compare(view.name(), "rows", &kept, &view.afresh(&views), &mut check).await?;
            } else {
                check.violation(None, format!("{} is missing", view.name()));
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
