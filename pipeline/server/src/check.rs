//! `tidegate check`: whether the pipeline can run, and what is missing. It changes nothing.

use std::path::Path;

use tidegate_connectors::csv;
use tidegate_connectors::postgres::inspect::{Finding, Grade};
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::views::{Explanation, View};
use tidegate_core::manifest::Manifest;
use tidegate_topics::Topics;
use uuid::Uuid;

use crate::cli::{Format, FormatArguments, Global};
use crate::settings::Settings;
use crate::{Failure, output, views};

/// Into how many files of the landing folder it is looked.
const FILES_LOOKED_INTO: usize = 1000;

/// `tidegate check`.
///
/// # Errors
///
/// If anything keeps the pipeline from running.
pub async fn command(global: &Global, arguments: &FormatArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let mut findings = vec![Finding::new(
        "manifest",
        Grade::Good,
        format!("pipeline '{}', {} datasets", settings.manifest.pipeline, settings.manifest.datasets.len()),
    )];
    let views = settings.load_views();
    findings.push(match &views {
        Ok(views) => {
            Finding::new("views", Grade::Good, format!("{} in {}", views.len(), settings.views.display()))
        }
        Err(failure) => Finding::new("views", Grade::Fault, failure.message.clone()),
    });
    findings.extend(landing(&settings));
    findings.extend(cluster(&settings).await);
    match database(&settings, views.unwrap_or_default()).await {
        Ok(found) => findings.extend(found),
        Err(failure) => findings.push(Finding::new("database", Grade::Fault, failure.message)),
    }
    report(&findings, arguments.format).await
}

/// What is found in the database, and what it makes of the views.
async fn database(settings: &Settings, views: Vec<View>) -> Result<Vec<Finding>, Failure> {
    let postgres = settings.database(Uuid::nil())?;
    let mut findings = postgres.inspect().await?;
    // Views are made in the pipeline's database, over its tables.
    if !findings.iter().any(|finding| finding.grade == Grade::Fault) {
        match postgres.explain_views(&views).await {
            Ok((explained, steps)) => {
                findings.extend(explained.iter().map(view));
                findings.extend(postgres.inspect_view_steps(&explained, &steps).await?);
            }
            Err(error) => {
                let message = format!("in {}: {error}", settings.views.display());
                findings.push(Finding::new("views", Grade::Fault, message));
            }
        }
    }
    Ok(findings)
}

fn view(view: &Explanation) -> Finding {
    let grade = if view.reason.is_some() { Grade::Warning } else { Grade::Good };
    Finding::new(format!("view {}", view.name), grade, views::in_a_line(view))
}

async fn report(findings: &[Finding], format: Format) -> Result<(), Failure> {
    let columns = ["subject", "result", "message"].map(|name| Column::new(name, ColumnKind::Text));
    let rows = findings.iter().map(|finding| {
        let grade = match finding.grade {
            Grade::Good => "ok",
            Grade::Warning => "warning",
            Grade::Fault => "fault",
        };
        vec![Some(finding.subject.clone()), Some(grade.to_owned()), Some(finding.message.clone())]
    });
    output::write(&Relation { columns: columns.to_vec(), rows: rows.collect() }, format).await?;
    match findings.iter().filter(|finding| finding.grade == Grade::Fault).count() {
        0 => Ok(()),
        faults => Err(Failure::new(format!("{faults} of {} checks found a fault", findings.len()))),
    }
}

/// Whether the cluster answers, where one holds the topics.
async fn cluster(settings: &Settings) -> Option<Finding> {
    settings.manifest.fluvio.as_ref()?;
    let listed = async { Ok::<_, Failure>(settings.topics(&settings.data_dir)?.list().await?) };
    Some(match listed.await {
        Ok(there) => {
            let ours = settings.manifest.topics();
            let found = ours.iter().filter(|topic| there.contains(topic)).count();
            let message =
                format!("the cluster answers; {found} of {} are there, a start creates the rest", ours.len());
            Finding::new("topics", Grade::Good, message)
        }
        Err(failure) => Finding::new("topics", Grade::Fault, failure.message),
    })
}

fn landing(settings: &Settings) -> Vec<Finding> {
    let folder = &settings.landing;
    let subject = "landing folder";
    if !folder.exists() {
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return vec![match writable(parent) {
            true => Finding::new(
                subject,
                Grade::Good,
                format!("{} is missing: run will create it", folder.display()),
            ),
            false => Finding::new(
                subject,
                Grade::Fault,
                format!("{} is missing and cannot be created in {}", folder.display(), parent.display()),
            ),
        }];
    }
    if !writable(folder) {
        let message = format!("{} cannot be written to: files could not be moved to done/", folder.display());
        return vec![Finding::new(subject, Grade::Fault, message)];
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
            None => findings.push(Finding::new(
                subject,
                Grade::Warning,
                format!("{name} matches no dataset and will be left alone"),
            )),
        }
    }
    let message = format!("{}, {matching} files to ingest", folder.display());
    findings.insert(0, Finding::new(subject, Grade::Good, message));
    findings
}

/// What keeps a file from being read as it is meant, as far as its beginning shows it.
fn file(path: &Path, dataset: usize, manifest: &Manifest) -> Option<Finding> {
    let warning = |message: String| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Finding::new("landing folder", Grade::Warning, format!("{name}: {message}"))
    };
    match csv::unfit(path, dataset, manifest) {
        Ok(Some(fault)) => return Some(warning(format!("it will be refused: {fault}"))),
        Ok(None) => {}
        Err(error) => return Some(warning(format!("it cannot be read: {error}"))),
    }
    let names = csv::names_the_columns(path, dataset, manifest).unwrap_or(false);
    names.then(|| warning(csv::FIRST_LINE_OF_NAMES.to_owned()))
}

fn writable(folder: &Path) -> bool {
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
}
