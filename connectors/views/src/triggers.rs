//! The triggers that keep stores up to date, with one function for each table.

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::table::{quoted, table_name};

use crate::session_settings::settings;
use crate::store::ViewStore;

/// Returns the name of the trigger function of a dataset's table, quoted.
pub(super) fn function_name(dataset: &str) -> String {
    format!("tidegate.{}", quoted(&format!("change_{dataset}")))
}

/// Makes the trigger function of a table insert the changes into the table's stores.
pub(super) async fn keep_by_triggers(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    dataset: usize,
    stores: &[&ViewStore],
) -> Result<(), PgError> {
    let dataset = &manifest.datasets[dataset];
    let (function, table) = (function_name(&dataset.name), table_name(dataset));
    let settings: String =
        settings(tx, manifest).await?.iter().map(|setting| format!("set {setting} ")).collect();
    let resets = stores.iter().map(|store| format!("('{}', nextval('tidegate.view_changes'))", store.name));
    let bodies: String = stores.iter().map(|store| store.spec.trigger_body(&store.table())).collect();
    tx.batch_execute(&format!(
        "create or replace function {function}() returns trigger language plpgsql security definer \
         {settings}as {};\n\
         revoke execute on function {function} from public",
        literal(&format!(
            "\n-- Columns may be called as what plpgsql has: new, old, tg_op.\n\
         #variable_conflict use_column\nbegin\n\
         if tg_op = 'TRUNCATE' then\n\
         insert into tidegate.view_resets (store, change) values {};\n\
         return null;\n\
         end if;\n\
         {bodies}return null;\nend",
            resets.collect::<Vec<_>>().join(", "),
        )),
    ))
    .await?;
    for (event, transition) in [
        ("insert", "referencing new table as new_rows"),
        ("update", "referencing old table as old_rows new table as new_rows"),
        ("delete", "referencing old table as old_rows"),
        ("truncate", ""),
    ] {
        tx.batch_execute(&format!(
            "create or replace trigger tidegate_{event} after {event} on {table} {transition} \
             for each statement execute function {function}()"
        ))
        .await?;
    }
    Ok(())
}

/// Quotes a text as a literal of SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Drops the triggers of a dataset's function from tables that belonged to the dataset before.
pub(super) async fn drop_triggers_elsewhere(
    tx: &Transaction<'_>,
    dataset: &str,
    table: &str,
) -> Result<(), PgError> {
    let sql = "select format('drop trigger %I on %s', tgname, tgrelid::regclass) from pg_trigger \
               where tgfoid = to_regproc($1) and tgrelid <> to_regclass($2)";
    for row in tx.query(sql, &[&function_name(dataset), &table]).await? {
        tx.batch_execute(row.get(0)).await?;
    }
    Ok(())
}
