//! `tidegate check`: whether the pipeline can run, and what is missing. It changes nothing.

use std::path::Path;

use serde_json::json;
use tidegate_core::manifest::Manifest;
use tidegate_files::UnregisteredFile;
use tidegate_node::Settings;
use tidegate_postgres::relation::ColumnKind::Text;
use tidegate_store::inspect::{self, Grade, Inspection};
use tidegate_topics::Topics;
use tidegate_views::{Explanation, View, explain};
use uuid::Uuid;

use crate::Failure;
use crate::cli::{Format, FormatArguments, Global, output, settings, view};

/// How many files of the landing folder are opened at most.
const FILES_LOOKED_INTO: usize = 1000;

/// Runs `tidegate check`.
pub async fn command(global: &Global, arguments: &FormatArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    let mut findings = vec![Inspection::new(
        "manifest",
        Grade::Good,
        format!("pipeline '{}', {} datasets", settings.manifest.pipeline, settings.manifest.datasets.len()),
    )];
    let views = settings.load_views();
    findings.push(match &views {
        Ok(views) => {
            Inspection::new("views", Grade::Good, format!("{} in {}", views.len(), settings.views.display()))
        }
        Err(failure) => Inspection::new("views", Grade::Fault, failure.message.clone()),
    });
    findings.extend(landing(&settings));
    findings.extend(cluster(&settings).await);
    match database(&settings, views.unwrap_or_default()).await {
        Ok(found) => findings.extend(found),
        Err(failure) => findings.push(Inspection::new("database", Grade::Fault, failure.message)),
    }
    report(&findings, arguments.format).await
}

/// Findings about the database and about the views in it.
async fn database(settings: &Settings, views: Vec<View>) -> Result<Vec<Inspection>, Failure> {
    let store = settings.database(Uuid::nil())?;
    let mut findings = inspect::database(&store).await?;
    // Views are explained in the pipeline's database, over its tables.
    if !findings.iter().any(|finding| finding.grade == Grade::Fault) {
        match explain::explain(&store, &views).await {
            Ok((explained, steps)) => {
                findings.extend(explained.iter().map(view));
                findings.extend(inspect::view_steps(&store, &explained, &steps).await?);
            }
            Err(error) => {
                let message = format!("in {}: {error}", settings.views.display());
                findings.push(Inspection::new("views", Grade::Fault, message));
            }
        }
    }
    Ok(findings)
}

fn view(view: &Explanation) -> Inspection {
    let grade = if view.reason.is_some() { Grade::Warning } else { Grade::Good };
    Inspection::new(format!("view {}", view.name), grade, view::in_a_line(view))
}

async fn report(findings: &[Inspection], format: Format) -> Result<(), Failure> {
    let rows = findings.iter().map(|finding| {
        let grade = match finding.grade {
            Grade::Good => "ok",
            Grade::Warning => "warning",
            Grade::Fault => "fault",
        };
        json!([finding.subject, grade, finding.message])
    });
    let columns = ["subject", "result", "message"].map(|name| (name, Text));
    output::write(&output::relation(&columns, rows), format).await?;
    match findings.iter().filter(|finding| finding.grade == Grade::Fault).count() {
        0 => Ok(()),
        faults => Err(Failure::new(format!("{faults} of {} checks found a fault", findings.len()))),
    }
}

/// A finding about the cluster that holds the topics: whether it answers. `None` if topics are embedded.
async fn cluster(settings: &Settings) -> Option<Inspection> {
    settings.manifest.fluvio.as_ref()?;
    let listed = async { Ok::<_, Failure>(settings.topics(&settings.data_dir)?.list().await?) };
    Some(match listed.await {
        Ok(there) => {
            let ours = settings.manifest.topics();
            let found = ours.iter().filter(|topic| there.contains(topic)).count();
            let message =
                format!("the cluster answers; {found} of {} are there, a start creates the rest", ours.len());
            Inspection::new("topics", Grade::Good, message)
        }
        Err(failure) => Inspection::new("topics", Grade::Fault, failure.message),
    })
}

fn landing(settings: &Settings) -> Vec<Inspection> {
    let folder = &settings.landing;
    let at = folder.display();
    let finding = |grade, message: String| Inspection::new("landing folder", grade, message);
    if !folder.exists() {
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return vec![match writable(parent) {
            true => finding(Grade::Good, format!("{at} is missing: run will create it")),
            false => finding(
                Grade::Fault,
                format!("{at} is missing and cannot be created in {}", parent.display()),
            ),
        }];
    }
    if !writable(folder) {
        let message = format!("{at} cannot be written to: files could not be moved to done/");
        return vec![finding(Grade::Fault, message)];
    }
    let mut matching = 0;
    let mut findings = Vec::new();
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for name in names.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name()) {
        let name = name.to_string_lossy();
        match settings.manifest.dataset_of_file(&name) {
            Some((dataset, _)) => {
                matching += 1;
                if matching <= FILES_LOOKED_INTO {
                    findings.extend(file(&folder.join(name.as_ref()), dataset, &settings.manifest));
                }
            }
            None if name.starts_with('.') => {}
            None => {
                let message = format!("{name} matches no dataset and will be left alone");
                findings.push(finding(Grade::Warning, message));
            }
        }
    }
    findings.insert(0, finding(Grade::Good, format!("{at}, {matching} files to ingest")));
    findings
}

/// A finding if the beginning of a file shows a fault that keeps it from being read as intended.
fn file(path: &Path, dataset: usize, manifest: &Manifest) -> Option<Inspection> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let warning =
        |message: String| Inspection::new("landing folder", Grade::Warning, format!("{name}: {message}"));
    let file = UnregisteredFile { path, name: &name, dataset, syntax: None };
    match file.shape(manifest) {
        Ok(Err(fault)) => return Some(warning(format!("it will be refused: {fault}"))),
        Ok(Ok(_)) => {}
        Err(error) => return Some(warning(format!("it cannot be read: {error}"))),
    }
    let names = tidegate_files::names_the_columns(path, dataset, manifest).unwrap_or(false);
    names.then(|| warning(tidegate_files::FIRST_LINE_OF_NAMES.to_owned()))
}

fn writable(folder: &Path) -> bool {
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
}
