//! What `tidegate check` finds out about a database, without changing it.

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Generated};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::table::TableSql;
use super::views::{self, Action, Explanation, Maintained, Step};
use super::{Error, How, Postgres, SERVER_VERSION_MIN, elsewhere, table};

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

/// What a start prepares in the database, besides tables.
#[derive(Clone, Copy, Default)]
struct Preparation<'a> {
    /// The schema of views that it makes.
    views: Option<&'a str>,
    /// The datasets whose tables these follow.
    followed: &'a [&'a str],
    /// Whether it makes or changes Tidegate's own schema.
    own: bool,
}

impl Postgres {
    /// Looks at the server, the rights and the tables; changes nothing.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked at all.
    pub async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        let mut connection = self.connection().await?;
        let row = connection.query_one(include_str!("../../../sql/queries/inspect_server.sql"), &[]).await?;
        let prepared: bool = row.get("prepared");
        let mut findings = vec![inspect_server(&row)];
        let rights = self.inspect_rights(&connection, row.get("role"), prepared).await?;
        let can_look = rights.grade == Grade::Good;
        findings.push(rights);
        if !can_look {
            // Without the right to look into a schema Postgres would not even say what is there.
            return Ok(findings);
        }
        findings.push(self.inspect_pipeline(&connection, prepared).await?);
        let tx = self.begin(&mut connection, How::Read).await?;
        let views = views::maintained(&tx, &self.inner.manifest).await?;
        tx.commit().await?;
        for (index, dataset) in self.inner.manifest.datasets.iter().enumerate() {
            let views: Vec<_> = views.iter().filter(|view| view.dataset == index).collect();
            findings.extend(self.inspect_table(&connection, dataset, &views).await?);
        }
        Ok(findings)
    }

    /// What the role needs for the changes of views that the next start makes; `None` if it makes none, or may.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn inspect_view_steps(
        &self,
        explained: &[Explanation],
        steps: &[Step],
    ) -> Result<Option<Finding>, Error> {
        if steps.iter().all(|step| step.action == Action::Keep) {
            return Ok(None);
        }
        let connection = self.connection().await?;
        let made = explained.iter().filter(|view| view.step.action != Action::Keep);
        let followed = made.filter_map(|view| Some(view.store.as_ref()?.dataset.as_str()));
        let preparation = Preparation {
            views: Some(&self.inner.manifest.schema),
            followed: &followed.collect::<Vec<_>>(),
            own: false,
        };
        let mut lacking = self.rights_lacking(&connection, preparation).await?;
        let changed: Vec<&str> = steps
            .iter()
            .filter(|step| !matches!(step.action, Action::Keep | Action::Create))
            .map(|step| step.view.as_str())
            .collect();
        if !changed.is_empty() {
            let sql = include_str!("../../../sql/queries/inspect_view_owners.sql");
            let rows = connection.query(sql, &[&changed]).await?;
            lacking.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        Ok((!lacking.is_empty()).then(|| {
            let message = format!(
                "the next start makes or changes views, for which the role needs: {}; or start once as a role that may",
                lacking.join("; ")
            );
            Finding::new("rights", Grade::Fault, message)
        }))
    }

    async fn inspect_rights(
        &self,
        client: &impl GenericClient,
        role: &str,
        prepared: bool,
    ) -> Result<Finding, Error> {
        // What may not be read may not be up to date, but that right is found lacking first.
        let mut lacking =
            self.rights_lacking(client, Preparation { own: !prepared, ..Preparation::default() }).await?;
        if lacking.is_empty() && prepared && !super::is_up_to_date(client).await? {
            lacking =
                self.rights_lacking(client, Preparation { own: true, ..Preparation::default() }).await?;
        }
        Ok(match lacking.is_empty() {
            true => Finding::new("rights", Grade::Good, format!("role {role} may do what is needed")),
            false => {
                Finding::new("rights", Grade::Fault, format!("role {role} needs: {}", lacking.join("; ")))
            }
        })
    }

    /// The statements that give the role what it lacks.
    async fn rights_lacking(
        &self,
        client: &impl GenericClient,
        preparation: Preparation<'_>,
    ) -> Result<Vec<String>, Error> {
        let datasets = &self.inner.manifest.datasets;
        let named = |dataset: &'_ Dataset| (dataset.table.schema.clone(), dataset.table.name.clone());
        let (schemas, names): (Vec<String>, Vec<String>) = datasets.iter().map(named).unzip();
        let is_followed = |dataset: &&Dataset| preparation.followed.contains(&dataset.name.as_str());
        let followed: (Vec<String>, Vec<String>) = datasets.iter().filter(is_followed).map(named).unzip();
        let keys = datasets.iter().flat_map(|dataset| {
            let parents = dataset.columns.iter().filter_map(|column| column.references);
            parents.map(|parent| (named(dataset), named(&datasets[parent])))
        });
        let (children, parents): (Vec<_>, Vec<_>) = keys.unzip();
        let children: (Vec<String>, Vec<String>) = children.into_iter().unzip();
        let parents: (Vec<String>, Vec<String>) = parents.into_iter().unzip();
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &schemas,
            &names,
            &preparation.views,
            &preparation.own,
            &followed.0,
            &followed.1,
            &children.0,
            &children.1,
            &parents.0,
            &parents.1,
        ];
        let sql = include_str!("../../../sql/queries/inspect_rights.sql");
        let rows = client.query(sql, &parameters).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn inspect_pipeline(&self, client: &impl GenericClient, prepared: bool) -> Result<Finding, Error> {
        if !prepared {
            return Ok(Finding::new("pipeline", Grade::Good, "the database is new: run will prepare it"));
        }
        let name: Option<String> =
            client.query_opt("select name from tidegate.pipeline", &[]).await?.map(|row| row.get(0));
        let wanted = &self.inner.manifest.pipeline;
        Ok(match name {
            Some(name) if name != *wanted => Finding::new(
                "pipeline",
                Grade::Fault,
                format!("the database holds the pipeline '{name}'; use another database for '{wanted}'"),
            ),
            _ => Finding::new("pipeline", Grade::Good, format!("the database is of pipeline '{wanted}'")),
        })
    }

    async fn inspect_table(
        &self,
        connection: &super::Connection,
        dataset: &Dataset,
        views: &[&Maintained],
    ) -> Result<Vec<Finding>, Error> {
        let manifest = &self.inner.manifest;
        let subject = format!("table {}", dataset.table.name);
        if let Some(moving) = elsewhere::move_of(connection, dataset).await? {
            return Ok(vec![Finding::new(subject, Grade::Fault, moving)]);
        }
        let place = format!("{}.{}", dataset.table.schema, dataset.table.name);
        let Some(differences) = table::differences(connection, manifest, dataset).await? else {
            let message = format!("{place} is missing: run will create it");
            return Ok(vec![Finding::new(subject, Grade::Good, message)]);
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
        let mut findings =
            vec![Finding::new(subject.clone(), Grade::Good, format!("{place} fits the manifest")), cheap];
        findings.extend(inspect_publications(connection, dataset, subject).await?);
        findings.extend(self.inspect_generated(connection, dataset).await?);
        Ok(findings)
    }

    /// Whether keys that are generated come to one that is there already: they go on behind all of them then.
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
                "{} has a row with the key {largest}, and the next key that is generated is {next}: where keys are taken \
                 already, the next come behind {largest}; if somebody else counts on there, set 'generated: {{start: N}}' \
                 of {} to a number that he does not reach",
                dataset.table.name, key.name
            );
            Finding::new(format!("generated keys of {}", dataset.name), Grade::Warning, message)
        }))
    }
}

fn inspect_server(row: &Row) -> Finding {
    let (version, encoding): (i32, &str) = (row.get("version_num"), row.get("encoding"));
    let fault = |message: String| Finding::new("server", Grade::Fault, message);
    if version < SERVER_VERSION_MIN || encoding != "UTF8" {
        return fault(format!(
            "version {version}, encoding {encoding}: Postgres 15 or newer with UTF8 is needed"
        ));
    }
    if row.get("standby") {
        return fault(
            "it is a standby, which only reads: name the primary in the database's url, or all of them with \
             target_session_attrs=read-write"
                .to_owned(),
        );
    }
    if row.get("reads_only") {
        return fault(format!(
            "default_transaction_read_only is on for the role, the database or the server, so nothing can be written: \
             alter role {} set default_transaction_read_only = off",
            table::quoted(row.get("role"))
        ));
    }
    Finding::new("server", Grade::Good, format!("Postgres {}", row.get::<_, &str>("version")))
}

/// Whether a table can be updated where all tables are published: that takes a primary key, or another replica identity.
async fn inspect_publications(
    client: &impl GenericClient,
    dataset: &Dataset,
    subject: String,
) -> Result<Option<Finding>, Error> {
    let sql = include_str!("../../../sql/queries/inspect_replica_identity.sql");
    let table = TableSql::new(dataset).name;
    let lacks: bool = client.query_one(sql, &[&table]).await?.get(0);
    Ok(lacks.then(|| {
        let message = format!(
            "a publication has its updates, but its rows have no replica identity, so Postgres refuses to update them: \
             alter table {table} replica identity full, or give it a primary key"
        );
        Finding::new(subject, Grade::Fault, message)
    }))
}
