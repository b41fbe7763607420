//! A pipeline's manifest and flags, with paths that can be opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::shape;
use tidegate_store::Store;
use tidegate_topics::{Broker, Embedded, Fluvio};
use tidegate_views::View;
use uuid::Uuid;

use crate::Failure;

/// The largest view file that is read.
const VIEW_BYTES_MAX: u64 = 256 * 1024;

/// A pipeline's manifest and flags, with paths that can be opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// The folder of the manifest.
    pub folder: PathBuf,
    /// The landing folder.
    pub landing: PathBuf,
    /// The folder of the views.
    pub views: PathBuf,
    /// The data directory, with topics and identity.
    pub data_dir: PathBuf,
    /// The URL of the database, if one was given.
    pub database_url: Option<String>,
}

impl Settings {
    /// Reads the views of the folder; none if the folder is missing. Fails if a file cannot be read, is too long or holds
    /// a faulty view. The message names its path.
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

    /// Opens the manifest's topics. Embedded topics are in `directory`.
    pub fn topics(&self, directory: &Path) -> Result<Broker, Failure> {
        Ok(match &self.manifest.fluvio {
            Some(fluvio) => Broker::Fluvio(Fluvio::open(fluvio, &self.folder)?),
            None => Broker::Embedded(Embedded::open(directory, Default::default())?),
        })
    }

    /// Opens the database, with `owner` as the owner of leases. Fails if no URL was given, or it cannot be read.
    pub fn database(&self, owner: Uuid) -> Result<Store, Failure> {
        Ok(Store::new(self.url()?, self.manifest.clone(), owner)?)
    }

    /// Opens the same database for read-only queries. Fails as [`Settings::database`].
    pub fn readers(&self, of: &Store) -> Result<Store, Failure> {
        Ok(of.readers(self.url()?)?)
    }

    /// The fingerprints of the lines on the topics, by dataset.
    pub(crate) fn lines_fingerprint(&self) -> String {
        let of = |dataset: &Dataset| format!("{} {:?}", dataset.name, shape::fingerprints(dataset));
        self.manifest.datasets.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// The fingerprint of what all nodes of a shared pipeline must have in common: the cluster, the rules for lines, the
    /// views.
    pub(crate) fn config_fingerprint(&self, views: &[View]) -> String {
        let mut hash = blake3::Hasher::new();
        let mut views: Vec<(&str, &str)> =
            views.iter().map(|view| (&view.name[..], &view.definition[..])).collect();
        views.sort_unstable();
        for part in views.into_iter().flat_map(|(name, text)| [name, text]) {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let manifest = &self.manifest;
        for Dataset { name, table, csv, columns, key, references, .. } in &manifest.datasets {
            hash.update(format!("{:?}", (name, table, csv, columns, key, references)).as_bytes());
        }
        hash.update(&manifest.max_record_bytes.to_le_bytes());
        let cluster = manifest.fluvio.as_ref().map(|fluvio| (&fluvio.endpoint, &fluvio.profile));
        format!("{cluster:?}, {} partitions, {}", manifest.partitions(), hash.finalize().to_hex())
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
