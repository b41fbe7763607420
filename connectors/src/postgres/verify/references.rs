//! References, whoever wrote the rows.

use super::super::Error;
use super::super::table::TableSql;
use super::{Audit, Check, LISTED_MAX, Verdict, at};

impl Audit<'_> {
    /// The check `references`.
    pub(super) async fn references(&self) -> Result<Check, Error> {
        let mut check = Check::new("references");
        for (dataset, table) in self.manifest.datasets.iter().zip(self.tables) {
            for (column, name) in dataset.columns.iter().zip(&table.columns) {
                let Some(parent) = column.references else { continue };
                let what = format!("{}.{}", dataset.name, column.name);
                let parent = (self.manifest.datasets[parent].name.as_str(), &self.tables[parent]);
                self.reference(table, name, &what, parent, &mut check).await?;
            }
        }
        Ok(check)
    }

    async fn reference(
        &self,
        table: &TableSql,
        column: &str,
        what: &str,
        (parent, parent_table): (&str, &TableSql),
        check: &mut Check,
    ) -> Result<(), Error> {
        let TableSql { name, .. } = table;
        let TableSql { name: parent_name, key, .. } = parent_table;
        let sql = format!("select count({column}) from {name}");
        let values: i64 = self.tx.query_one(&sql, &[]).await?.get(0);
        let sql = format!(
            "select _source, _line, {column}::text, count(*) over () from {name} as child \
             where {column} is not null \
             and not exists (select from {parent_name} as parent where parent.{key} = child.{column}) \
             order by _source, _line limit {LISTED_MAX}"
        );
        let broken = self.tx.query(&sql, &[]).await?;
        for row in &broken {
            let (source, line, value): (i64, i64, &str) = (row.get(0), row.get(1), row.get(2));
            let position = (source > 0).then(|| at(source, line));
            check.violation(position, format!("{what} is '{value}', but {parent} has no such row"));
        }
        let all: i64 = broken.first().map_or(0, |row| row.get(3));
        check.unlisted(Verdict::Violation, all as u64 - broken.len() as u64);
        check.checked(values as u64, format!("values of {what}, for {parent}"));
        (self.watch)(check.name, values as u64);
        Ok(())
    }
}
