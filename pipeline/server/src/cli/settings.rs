//! Reads the settings from flags, environment and manifest.

use std::path::Path;
use std::sync::Arc;

use tidegate_core::manifest::Manifest;
use tidegate_node::Settings;
use tidegate_store::Store;
use tracing::warn;
use uuid::Uuid;

use crate::Failure;
use crate::cli::Global;

/// Reads the manifest. If it is faulty, the failure has all faults, with file, line and column.
pub fn load(global: &Global) -> Result<Settings, Failure> {
    let file = global.config.display();
    let text = std::fs::read_to_string(&global.config).map_err(|error| {
        Failure::usage(format!(
            "cannot read the manifest '{file}': {error}; name one with --config, or write one with \
             'tidegate init'"
        ))
    })?;
    let manifest = Manifest::parse(&text, &|name| std::env::var(name).ok())
        .map_err(|faults| Failure::usage(faults.render(&file.to_string())))?;
    manifest.deprecated.iter().for_each(|deprecated| warn!("{file}: {deprecated}"));
    let beside = global.config.parent().unwrap_or(Path::new(""));
    Ok(Settings {
        landing: global.landing.clone().unwrap_or_else(|| beside.join(&manifest.landing)),
        views: beside.join(&manifest.views),
        folder: beside.to_owned(),
        data_dir: global.data_dir.clone().unwrap_or_else(|| beside.join(".tidegate")),
        database_url: global.database_url.clone(),
        manifest: Arc::new(manifest),
    })
}

/// Reads the manifest and opens the database for a command that holds no leases.
pub(crate) fn load_with_store(global: &Global) -> Result<(Settings, Store), Failure> {
    let settings = load(global)?;
    let store = settings.database(Uuid::nil())?;
    Ok((settings, store))
}
