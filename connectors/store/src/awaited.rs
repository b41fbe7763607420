//! What a waiting line lacks, as SQL over `tidegate.dead_letters.awaits`: an object with the name of each reference that
//! the line lacked, and the value that it lacked there, or a list of values if the reference has several columns.

use tidegate_core::manifest::{Manifest, Reference};
use tidegate_postgres::key::KeySql;
use tidegate_postgres::table::table_name;

/// One reference of a dataset, for its waiting lines.
#[derive(Clone, Debug)]
pub struct AwaitedSql {
    /// The value that a line lacks, as `jsonb`; null if it does not lack this one.
    pub value: String,
    /// The condition that a row of the referenced table has the value.
    pub exists: String,
}

impl AwaitedSql {
    /// Returns the SQL of a reference of a dataset, by its index.
    pub fn new(manifest: &Manifest, dataset: usize, reference: &Reference) -> Self {
        let name = reference.name(&manifest.datasets[dataset]).replace('\'', "''");
        let parent = &manifest.datasets[reference.dataset];
        let key = KeySql::new(parent, &reference.to);
        let parts: Vec<String> = match reference.columns.len() {
            1 => vec![format!("awaits ->> '{name}'")],
            several => (0..several).map(|i| format!("awaits -> '{name}' ->> {i}")).collect(),
        };
        let exists = format!(
            "exists (select from {} as parent where {})",
            table_name(parent),
            key.is("parent", &parts)
        );
        Self { value: format!("awaits -> '{name}'"), exists }
    }
}
