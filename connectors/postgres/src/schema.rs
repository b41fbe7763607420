//! Tidegate's own schema in a database, and the identity of the pipeline there.

use std::pin::pin;

use deadpool_postgres::GenericClient;
use tidegate_core::failpoint::Failpoint;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::database::{Connection, Database};
use crate::error::{self, PgError};
use crate::session::{SIGN_OF_LIFE, TransactionMode, end_with_us};
use crate::table::has_relation;

mod migrations {
    refinery::embed_migrations!("../../sql/migrations");
}

/// The oldest version that works, as `server_version_num`. Since Postgres 15 `session_replication_role` can be
/// granted.
pub const SERVER_VERSION_MIN: i32 = 150_000;

/// Brings Tidegate's own schema up to date, and binds the database to this pipeline. Returns the pipeline's identity
/// in this database, which is different in every database.
///
/// # Errors
///
/// If the server is too old, the database's encoding is not UTF8, or the database belongs to another pipeline.
pub async fn migrate(database: &Database) -> Result<Uuid, PgError> {
    let mut connection = database.connection().await?;
    let row = connection
        .query_one(
            "select current_setting('server_version_num')::integer, current_setting('server_encoding')",
            &[],
        )
        .await?;
    if row.get::<_, i32>(0) < SERVER_VERSION_MIN {
        return Err(PgError::halt("the server is older than Postgres 15, the first that Tidegate supports"));
    }
    if row.get::<_, &str>(1) != "UTF8" {
        return Err(PgError::halt("the database's encoding is not UTF8; create one with encoding 'UTF8'"));
    }
    // One process migrates at a time. The lock belongs to a transaction: behind a pooler a session, with its lock,
    // may be given to another client.
    let mut locking = database.connection().await?;
    let lock = database.begin(&mut locking, TransactionMode::Write).await?;
    end_with_us(&lock).await?;
    lock.batch_execute("select pg_advisory_xact_lock(hashtext('tidegate.migrate'))").await?;
    let mut migrating = pin!(migrate_locked(database, &mut connection));
    let migrated = loop {
        match tokio::time::timeout(SIGN_OF_LIFE, &mut migrating).await {
            Ok(migrated) => break migrated,
            Err(_) => lock.batch_execute("").await?, // or the watchdog would take this session for lost
        }
    };
    lock.commit().await?;
    migrated
}

async fn migrate_locked(database: &Database, connection: &mut Connection) -> Result<Uuid, PgError> {
    if !is_up_to_date(connection).await? {
        let takes_time = !database.is_pooled();
        if takes_time {
            // A migration may rewrite or index large tables, which may exceed a timeout of the role.
            connection.batch_execute("set statement_timeout = 0").await?;
        }
        bring_up_to_date(connection).await?;
        if takes_time {
            connection.batch_execute("reset statement_timeout").await?;
        }
    }
    let name = &database.manifest().pipeline;
    let sql = "insert into tidegate.pipeline (name) values ($1) on conflict do nothing";
    connection.execute(sql, &[name]).await?;
    let row = connection.query_one("select name, identity from tidegate.pipeline", &[]).await?;
    let found: String = row.get(0);
    if found != *name {
        return Err(PgError::halt(format!(
            "the database holds the pipeline '{found}', the manifest is of '{name}'; a database holds one \
             pipeline: use another database"
        )));
    }
    Failpoint::DatabaseMigrated.pass()?;
    Ok(row.get(1))
}

/// Returns the pipeline's identity, if [`migrate`] has run.
pub async fn identity(database: &Database) -> Result<Option<Uuid>, PgError> {
    let connection = database.connection().await?;
    if !has_relation(&connection, "tidegate.pipeline").await? {
        return Ok(None);
    }
    let row = connection.query_opt("select identity from tidegate.pipeline", &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Returns whether Tidegate's schema is the one of this version. If it is, the role needs no right to change it.
pub async fn is_up_to_date(client: &impl GenericClient) -> Result<bool, PgError> {
    if !has_relation(client, "tidegate.migrations").await? {
        return Ok(false);
    }
    let rows =
        client.query("select version, checksum from tidegate.migrations order by version", &[]).await?;
    let applied: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let runner = migrations::migrations::runner();
    let known = runner.get_migrations().iter();
    let mut known: Vec<_> =
        known.map(|migration| (migration.version(), migration.checksum().to_string())).collect();
    known.sort_unstable();
    Ok(applied == known)
}

async fn bring_up_to_date(connection: &mut Connection) -> Result<(), PgError> {
    let there = "select to_regnamespace('tidegate') is not null";
    if !connection.query_one(there, &[]).await?.get::<_, bool>(0) {
        connection.batch_execute("create schema if not exists tidegate").await?;
    }
    migrations::migrations::runner()
        .set_migration_table_name("tidegate.migrations")
        .run_async(&mut ***connection)
        .await
        .map(drop)
        .map_err(|error| {
            // The text of refinery's error does not include Postgres's message.
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            let said: Option<&tokio_postgres::Error> = causes.filter_map(|cause| cause.downcast_ref()).next();
            let what = said.map_or_else(|| error.to_string(), error::describe);
            let advice = match said.and_then(|said| said.code()) {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    "; start once as the role that made it and owns it, others may go on then"
                }
                _ => "",
            };
            PgError::halt(format!("Tidegate's schema cannot be brought up to date: {what}{advice}"))
        })
}

/// Takes a connection to a database that `tidegate run` has prepared. Fails if no pipeline has run in the database.
pub async fn prepared_connection(database: &Database) -> Result<Connection, PgError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached("select to_regclass('tidegate.views') is not null").await?;
    if connection.query_one(&statement, &[]).await?.get(0) {
        return Ok(connection);
    }
    Err(PgError::halt("no pipeline has run in this database; 'tidegate run' prepares it"))
}
