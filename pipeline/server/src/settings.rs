//! What flags, environment and manifest come to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::views::View;
use tidegate_core::manifest::Manifest;
use tidegate_topics::{Broker, Embedded, Fluvio};
use uuid::Uuid;

use crate::Failure;
use crate::cli::Global;

/// The largest view file that is read.
const VIEW_BYTES_MAX: u64 = 256 * 1024;

/// A pipeline as its manifest and the flags say, with paths that can be opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// The folder of the manifest.
    pub folder: PathBuf,
    /// The folder that is watched.
    pub landing: PathBuf,
    /// The folder of the views.
    pub views: PathBuf,
    /// Where topics and identity are kept.
    pub data_dir: PathBuf,
    /// The database, if one was given.
    pub database_url: Option<String>,
}

impl Settings {
    /// Reads the manifest.
    ///
    /// # Errors
    ///
    /// All faults of the manifest, with file, line and column.
    pub fn load(global: &Global) -> Result<Self, Failure> {
        let file = global.config.display();
        let text = std::fs::read_to_string(&global.config).map_err(|error| {
            Failure::usage(format!(
                "cannot read the manifest '{file}': {error}; name one with --config, or write one with \
                 'tidegate init'"
            ))
        })?;
        let manifest = Manifest::parse(&text, &|name| std::env::var(name).ok())
            .map_err(|faults| Failure::usage(faults.render(&file.to_string())))?;
        let beside = global.config.parent().unwrap_or(Path::new(""));
        Ok(Self {
            landing: global.landing.clone().unwrap_or_else(|| beside.join(&manifest.landing)),
            views: beside.join(&manifest.views),
            folder: beside.to_owned(),
            data_dir: global.data_dir.clone().unwrap_or_else(|| beside.join(".tidegate")),
            database_url: global.database_url.clone(),
            manifest: Arc::new(manifest),
        })
    }

    /// The views of the folder; none if there is no such folder.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, with its path.
    pub fn load_views(&self) -> Result<Vec<View>, Failure> {
        let entries = match std::fs::read_dir(&self.views) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| of_file(&self.views, &error))?,
        };
        let mut views = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden || path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            if std::fs::metadata(&path)?.len() > VIEW_BYTES_MAX {
                return Err(of_file(&path, &format!("is longer than {VIEW_BYTES_MAX} bytes")));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| of_file(&path, &error))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            views.push(View::parse(&name, &text).map_err(|fault| of_file(&path, &fault))?);
        }
        Ok(views)
    }

    /// The topics that the manifest chose: in `directory`, if they are embedded.
    ///
    /// # Errors
    ///
    /// If they cannot be opened.
    pub(crate) fn topics(&self, directory: &Path) -> Result<Broker, Failure> {
        Ok(match &self.manifest.fluvio {
            Some(fluvio) => Broker::Fluvio(Fluvio::open(fluvio, &self.folder)?),
            None => Broker::Embedded(Embedded::open(directory, Default::default())?),
        })
    }

    /// The database, for whoever `owner` is.
    ///
    /// # Errors
    ///
    /// If none was given or its url cannot be read.
    pub fn database(&self, owner: Uuid) -> Result<Postgres, Failure> {
        Ok(Postgres::new(self.url()?, self.manifest.clone(), owner)?)
    }

    /// The same database for who only reads.
    ///
    /// # Errors
    ///
    /// As [`Settings::database`].
    pub fn readers(&self, of: &Postgres) -> Result<Postgres, Failure> {
        Ok(of.readers(self.url()?)?)
    }

    fn url(&self) -> Result<&str, Failure> {
        self.database_url.as_deref().ok_or_else(|| {
            Failure::usage(
                "no database was given; set DATABASE_URL or --database-url to postgres://user@host:5432/name \
                 ('tidegate demo' starts a Postgres of its own)",
            )
        })
    }
}

fn of_file(path: &Path, fault: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{}: {fault}", path.display()))
}
