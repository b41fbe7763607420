//! The check `references`, of all rows, whichever application wrote them.

use tidegate_postgres::PgError;
use tidegate_postgres::key::KeySql;
use tidegate_postgres::table::table_name;

use crate::audit::{Audit, at};
use crate::check::{Check, LISTED_MAX, Verdict};

impl Audit<'_> {
    /// Runs the check `references`.
    pub(super) async fn references(&self) -> Result<Check, PgError> {
        let mut check = Check::new("references");
        for (first, dataset) in self.manifest.tables() {
            let table = &self.tables[first];
            for reference in &dataset.references {
                let own = KeySql::new(dataset, &reference.columns);
                let parent = &self.manifest.datasets[reference.dataset];
                let its = KeySql::new(parent, &reference.to);
                // A row with a missing value in one of the columns references nothing.
                let are_there: Vec<String> =
                    own.columns.iter().map(|name| format!("child.{name} is not null")).collect();
                let are_there = are_there.join(" and ");
                let sql = format!("select count(*) from {} as child where {are_there}", table.name);
                let values: i64 = self.tx.query_one(&sql, &[]).await?.get(0);
                let values_of: Vec<String> = own.columns.iter().map(|name| format!("child.{name}")).collect();
                let sql = format!(
                    "select _source, _line, {}, count(*) over () from {} as child \
                     where {are_there} and not exists (select from {} as parent where {}) \
                     order by _source, _line limit {LISTED_MAX}",
                    own.text_of("child"),
                    table.name,
                    table_name(parent),
                    its.is("parent", &values_of)
                );
                let broken = self.tx.query(&sql, &[]).await?;
                let what = format!("{}.{}", dataset.name, reference.name(dataset));
                let parent = &parent.name;
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
