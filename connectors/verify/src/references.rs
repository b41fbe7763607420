//! The check `references`, of all rows, whichever application wrote them.

use tidegate_postgres::PgError;
use tidegate_postgres::table::TableSql;

use crate::audit::{Audit, at};
use crate::check::{Check, LISTED_MAX, Verdict};

impl Audit<'_> {
    /// Runs the check `references`.
    pub(super) async fn references(&self) -> Result<Check, PgError> {
        let mut check = Check::new("references");
        for (dataset, table) in self.manifest.datasets.iter().zip(self.tables) {
            for (column, name) in dataset.columns.iter().zip(&table.columns) {
                let Some(parent) = column.references else { continue };
                let sql = format!("select count({name}) from {}", table.name);
                let values: i64 = self.tx.query_one(&sql, &[]).await?.get(0);
                let TableSql { name: parent_name, key, .. } = &self.tables[parent];
                let sql = format!(
                    "select _source, _line, {name}::text, count(*) over () from {} as child \
                     where {name} is not null \
                     and not exists (select from {parent_name} as parent where parent.{key} = child.{name}) \
                     order by _source, _line limit {LISTED_MAX}",
                    table.name
                );
                let broken = self.tx.query(&sql, &[]).await?;
                let what = format!("{}.{}", dataset.name, column.name);
                let parent = &self.manifest.datasets[parent].name;
                for row in &broken {
                    let (source, line, value): (i64, i64, &str) = (row.get(0), row.get(1), row.get(2));
                    let position = (source > 0).then(|| at(source, line));
                    check.violation(position, format!("{what} is '{value}', but {parent} has no such row"));
                }
                let all: i64 = broken.first().map_or(0, |row| row.get(3));
                check.unlisted(Verdict::Violation, all as u64 - broken.len() as u64);
                check.checked(values as u64, format!("values of {what}, for {parent}"));
                (self.watch)(check.name, values as u64);
            }
        }
        Ok(check)
    }
}
