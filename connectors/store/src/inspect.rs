//! The findings of `tidegate check` about a database. Nothing is changed.

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Generated};
use tidegate_postgres::table::{self, TableSql, elsewhere};
use tidegate_postgres::{Database, PgError, SERVER_VERSION_MIN, TransactionMode};
use tidegate_views::{Action, Explanation, MaintainedStore, ViewStep};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::obstacles;

/// The grade of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// All is in order.
    Good,
    /// The pipeline works, but not as well as it could.
    Warning,
    /// The pipeline cannot run.
    Fault,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The object that was checked.
    pub subject: String,
    /// The grade.
    pub grade: Grade,
    /// What was found and, if that is not good, what to do.
    pub message: String,
}

impl Inspection {
    /// Creates a finding.
    pub fn new(subject: impl Into<String>, grade: Grade, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), grade, message: message.into() }
    }
}

/// Checks the server, the rights and the tables. Changes nothing.
pub async fn database(database: &Database) -> Result<Vec<Inspection>, PgError> {
    let mut connection = database.connection().await?;
    let row = connection.query_one(include_str!("../../../sql/queries/inspect_server.sql"), &[]).await?;
    let prepared: bool = row.get("prepared");
    let mut findings = vec![inspect_server(&row)];
    let unencrypted = database.unencrypted();
    findings.extend(unencrypted.map(|message| Inspection::new("connection", Grade::Warning, message)));
    let rights = rights(database, &connection, row.get("role"), prepared).await?;
    let can_look = rights.grade == Grade::Good;
    findings.push(rights);
    if !can_look {
        // Without the right to use a schema, Postgres would not even tell what is in it.
        return Ok(findings);
    }
    findings.push(pipeline(database, &connection, prepared).await?);
    let tx = database.begin(&mut connection, TransactionMode::Read).await?;
    let views = tidegate_views::maintained(&tx, database.manifest()).await?;
    tx.commit().await?;
    for (index, dataset) in database.manifest().tables() {
        let views: Vec<_> = views.iter().filter(|view| view.dataset == index).collect();
        findings.extend(table_findings(database, &connection, dataset, &views).await?);
    }
    Ok(findings)
}

/// Returns the rights that the role lacks for the changes of views that the next start makes; `None` if the start
/// makes no changes, or the role lacks none.
pub async fn view_steps(
    database: &Database,
    explained: &[Explanation],
    steps: &[ViewStep],
) -> Result<Option<Inspection>, PgError> {
    if steps.iter().all(|step| step.action == Action::Keep) {
        return Ok(None);
    }
    let connection = database.connection().await?;
    let made = explained.iter().filter(|view| view.step.action != Action::Keep);
    let followed = made.filter_map(|view| Some(view.store.as_ref()?.spec.dataset.as_str()));
    let (schema, followed) = (&database.manifest().schema, followed.collect::<Vec<_>>());
    let mut lacking = rights_lacking(database, &connection, Some(schema), &followed, false).await?;
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
        Inspection::new("rights", Grade::Fault, message)
    }))
}

async fn rights(
    database: &Database,
    client: &impl GenericClient,
    role: &str,
    prepared: bool,
) -> Result<Inspection, PgError> {
    // A schema that the role may not read may not be up to date either, but the missing right to read is reported
    // first.
    let mut lacking = rights_lacking(database, client, None, &[], !prepared).await?;
    if lacking.is_empty() && prepared && !tidegate_postgres::schema::is_up_to_date(client).await? {
        lacking = rights_lacking(database, client, None, &[], true).await?;
    }
    Ok(match lacking.is_empty() {
        true => Inspection::new("rights", Grade::Good, format!("role {role} may do what is needed")),
        false => {
            Inspection::new("rights", Grade::Fault, format!("role {role} needs: {}", lacking.join("; ")))
        }
    })
}

/// Returns the statements that grant the rights that the role lacks for a start that creates tables and, in the
/// schema `views`, views over the tables of the datasets `followed`; with `own`, Tidegate's own schema too.
async fn rights_lacking(
    database: &Database,
    client: &impl GenericClient,
    views: Option<&str>,
    followed: &[&str],
    own: bool,
) -> Result<Vec<String>, PgError> {
    let datasets = &database.manifest().datasets;
    let named = |dataset: &'_ Dataset| (dataset.table.schema.clone(), dataset.table.name.clone());
    let (schemas, names): (Vec<String>, Vec<String>) = datasets.iter().map(named).unzip();
    let is_followed = |dataset: &&Dataset| followed.contains(&dataset.name.as_str());
    let followed: (Vec<String>, Vec<String>) = datasets.iter().filter(is_followed).map(named).unzip();
    let keys = datasets.iter().flat_map(|dataset| {
        let references = dataset.references.iter();
        references.map(|reference| (named(dataset), named(&datasets[reference.dataset])))
    });
    let (children, parents): (Vec<_>, Vec<_>) = keys.unzip();
    let children: (Vec<String>, Vec<String>) = children.into_iter().unzip();
    let parents: (Vec<String>, Vec<String>) = parents.into_iter().unzip();
    let parameters: [&(dyn ToSql + Sync); 10] = [
        &schemas,
        &names,
        &views,
        &own,
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

async fn pipeline(
    database: &Database,
    client: &impl GenericClient,
    prepared: bool,
) -> Result<Inspection, PgError> {
    if !prepared {
        return Ok(Inspection::new("pipeline", Grade::Good, "the database is new: run will prepare it"));
    }
    let name: Option<String> =
        client.query_opt("select name from tidegate.pipeline", &[]).await?.map(|row| row.get(0));
    let wanted = &database.manifest().pipeline;
    let (grade, message) = match name {
        Some(name) if name != *wanted => {
            let message =
                format!("the database holds the pipeline '{name}'; use another database for '{wanted}'");
            (Grade::Fault, message)
        }
        _ => (Grade::Good, format!("the database is of pipeline '{wanted}'")),
    };
    Ok(Inspection::new("pipeline", grade, message))
}

async fn table_findings(
    database: &Database,
    connection: &tidegate_postgres::Connection,
    dataset: &Dataset,
    views: &[&MaintainedStore],
) -> Result<Vec<Inspection>, PgError> {
    let manifest = database.manifest();
    let subject = format!("table {}", dataset.table.name);
    if let Some(moving) = elsewhere::move_of(connection, dataset).await? {
        return Ok(vec![Inspection::new(subject, Grade::Fault, moving)]);
    }
    let place = format!("{}.{}", dataset.table.schema, dataset.table.name);
    let Some(differences) = table::differences(connection, manifest, dataset).await? else {
        let message = format!("{place} is missing: run will create it");
        return Ok(vec![Inspection::new(subject, Grade::Good, message)]);
    };
    if !differences.is_empty() {
        return Ok(vec![Inspection::new(subject, Grade::Fault, differences.join("; "))]);
    }
    let obstacles = obstacles::find(connection, manifest, dataset, views).await?.join("; ");
    let (grade, direct_copy) = match obstacles.is_empty() {
        true => (Grade::Good, "rows are written by direct copy".to_owned()),
        false => (Grade::Warning, format!("rows are not written by direct copy: {obstacles}")),
    };
    let mut findings = vec![
        Inspection::new(&subject, Grade::Good, format!("{place} fits the manifest")),
        Inspection::new(&subject, grade, direct_copy),
    ];
    findings.extend(inspect_publications(connection, dataset, subject).await?);
    findings.extend(generated(connection, dataset).await?);
    Ok(findings)
}

/// Checks whether generated keys will reach a key that the table has. If they do, the next keys come after the
/// largest one.
async fn generated(
    connection: &tidegate_postgres::Connection,
    dataset: &Dataset,
) -> Result<Option<Inspection>, PgError> {
    let Some((key, Generated::Sequence { start })) = dataset.generated() else { return Ok(None) };
    let key = &dataset.columns[key];
    let mut next = start;
    // Before the first run this table does not exist.
    let there = "select to_regclass('tidegate.generated_keys') is not null";
    if connection.query_one(there, &[]).await?.get(0) {
        let sql = "select next from tidegate.generated_keys where dataset = $1";
        let taken = connection.query_opt(sql, &[&dataset.name]).await?;
        next = next.max(taken.map_or(i64::MIN, |row| row.get(0)));
    }
    let TableSql { name: table, key: column, .. } = TableSql::new(dataset);
    let column = column.list();
    let sql = format!("select max({column})::bigint from {table} where {column} >= $1::bigint");
    let largest: Option<i64> = connection.query_one(&sql, &[&next]).await?.get(0);
    Ok(largest.map(|largest| {
        let message = format!(
            "{} has a row with the key {largest}, and the next generated key is {next}: where keys are taken already, \
             the next ones follow {largest}; if another application takes keys there too, set 'generated: {{start: N}}' \
             of {} to a number that it does not reach",
            dataset.table.name, key.name
        );
        Inspection::new(format!("generated keys of {}", dataset.name), Grade::Warning, message)
    }))
}

fn inspect_server(row: &Row) -> Inspection {
    let (version, encoding): (i32, &str) = (row.get("version_num"), row.get("encoding"));
    let fault = |message: String| Inspection::new("server", Grade::Fault, message);
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
    Inspection::new("server", Grade::Good, format!("Postgres {}", row.get::<_, &str>("version")))
}

/// Checks whether a published table can be updated: that takes a primary key, or another replica identity.
async fn inspect_publications(
    client: &impl GenericClient,
    dataset: &Dataset,
    subject: String,
) -> Result<Option<Inspection>, PgError> {
    let sql = include_str!("../../../sql/queries/inspect_replica_identity.sql");
    let table = TableSql::new(dataset).name;
    let lacks: bool = client.query_one(sql, &[&table]).await?.get(0);
    Ok(lacks.then(|| {
        let message = format!(
            "a publication has its updates, but its rows have no replica identity, so Postgres refuses to update them: \
             alter table {table} replica identity full, or give it a primary key"
        );
        Inspection::new(subject, Grade::Fault, message)
    }))
}
