//! What `tidegate check` finds out about a database, without changing it.

use tidegate_core::manifest::{Dataset, Generated};

use super::table::TableSql;
use super::views::{self, Maintained};
use super::{Error, Postgres, SERVER_VERSION_MIN, table};

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Good,
    /// It works, but not as well as it could.
    Warning,
    /// The pipeline cannot run so.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: String,
    /// How good it is.
    pub grade: Grade,
    /// What was found and, if it is not good, what to do.
    pub message: String,
}

impl Finding {
    /// A finding.
    pub fn new(subject: impl Into<String>, grade: Grade, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), grade, message: message.into() }
    }
}

impl Postgres {
    /// Looks at the server, the rights and the tables; changes nothing.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked at all.
    pub async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        let mut connection = self.connection().await?;
        let mut findings = Vec::new();
        let row = connection.query_one(include_str!("../../../sql/queries/inspect_server.sql"), &[]).await?;
        let (version, encoding): (i32, &str) = (row.get("version_num"), row.get("encoding"));
        findings.push(match version >= SERVER_VERSION_MIN && encoding == "UTF8" {
            true => {
                Finding::new("server", Grade::Good, format!("Postgres {}", row.get::<_, &str>("version")))
            }
            false => Finding::new(
                "server",
                Grade::Fault,
                format!("version {version}, encoding {encoding}: Postgres 15 or newer with UTF8 is needed"),
            ),
        });
        let user: &str = row.get("role");
        findings.push(match (row.get("may_create"), row.get("may_stage")) {
            (true, true) => {
                Finding::new("rights", Grade::Good, format!("role {user} may create what is needed"))
            }
            _ => Finding::new(
                "rights",
                Grade::Fault,
                format!(
                    "role {user} needs: grant create, temporary on database {} to {user}; grant create on \
                     schema {} to {user}",
                    row.get::<_, &str>("database"),
                    row.get::<_, &str>("schema")
                ),
            ),
        });
        if row.get("prepared") {
            let name: Option<String> =
                connection.query_opt("select name from tidegate.pipeline", &[]).await?.map(|row| row.get(0));
            let wanted = &self.inner.manifest.pipeline;
            findings.push(match name {
                Some(name) if name != *wanted => Finding::new(
                    "pipeline",
                    Grade::Fault,
                    format!("the database holds the pipeline '{name}'; use another database for '{wanted}'"),
                ),
                _ => Finding::new("pipeline", Grade::Good, format!("the database is of pipeline '{wanted}'")),
            });
        } else {
            findings.push(Finding::new("pipeline", Grade::Good, "the database is new: run will prepare it"));
        }
        let tx = connection.transaction().await?;
        let views = views::maintained(&tx, &self.inner.manifest).await?;
        tx.commit().await?;
        for (index, dataset) in self.inner.manifest.datasets.iter().enumerate() {
            let views: Vec<_> = views.iter().filter(|view| view.dataset == index).collect();
            findings.extend(self.inspect_table(&connection, dataset, &views).await?);
        }
        Ok(findings)
    }

    async fn inspect_table(
        &self,
        connection: &super::Connection,
        dataset: &Dataset,
        views: &[&Maintained],
    ) -> Result<Vec<Finding>, Error> {
        let manifest = &self.inner.manifest;
        let subject = format!("table {}", dataset.table.name);
        let Some(differences) = table::differences(connection, manifest, dataset).await? else {
            return Ok(vec![Finding::new(subject, Grade::Good, "is missing: run will create it")]);
        };
        if !differences.is_empty() {
            return Ok(vec![Finding::new(subject, Grade::Fault, differences.join("; "))]);
        }
        let obstacles = table::obstacles(connection, manifest, dataset, views).await?;
        let cheap = if obstacles.is_empty() {
            Finding::new(subject.clone(), Grade::Good, "rows are written the cheap way")
        } else {
            let reasons = obstacles.join("; ");
            Finding::new(
                subject.clone(),
                Grade::Warning,
                format!("rows are not written the cheap way: {reasons}"),
            )
        };
        let mut findings = vec![Finding::new(subject, Grade::Good, "fits the manifest"), cheap];
        findings.extend(self.inspect_generated(connection, dataset).await?);
        Ok(findings)
    }

    /// Whether keys that are generated come to one that is there already: its row would be overwritten.
    async fn inspect_generated(
        &self,
        connection: &super::Connection,
        dataset: &Dataset,
    ) -> Result<Option<Finding>, Error> {
        let key = dataset.key_column();
        let Some(Generated::Sequence { start }) = key.generated else { return Ok(None) };
        let mut next = start;
        // Before the first run there is no such table.
        let there = "select to_regclass('tidegate.generated_keys') is not null";
        if connection.query_one(there, &[]).await?.get(0) {
            let sql = "select next from tidegate.generated_keys where dataset = $1";
            let taken = connection.query_opt(sql, &[&dataset.name]).await?;
            next = next.max(taken.map_or(i64::MIN, |row| row.get(0)));
        }
        let TableSql { name: table, key: column, .. } = TableSql::new(dataset);
        let sql = format!("select max({column})::bigint from {table} where {column} >= $1::bigint");
        let largest: Option<i64> = connection.query_one(&sql, &[&next]).await?.get(0);
        Ok(largest.map(|largest| {
            let message = format!(
                "{} has a row with the key {largest}, and the next key that is generated is {next}: a row pushed \
                 without a key would one day take the place of one that is there; set 'generated: {{start: N}}' of \
                 {} to a number above {largest}",
                dataset.table.name, key.name
            );
            Finding::new(format!("generated keys of {}", dataset.name), Grade::Warning, message)
        }))
    }
}
