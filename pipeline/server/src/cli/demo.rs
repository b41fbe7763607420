//! `tidegate demo`: the whole pipeline over a copy of the example.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_engine::Until;
use tidegate_node::Settings;
use tidegate_postgres::private::{Server, ServerOptions};
use tidegate_store::filter::{self, LetterFilter};
use tidegate_views::{RowQuery, read};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::Failure;
use crate::cli::dead_letters::relations;
use crate::cli::{Global, output, run, settings};

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Keep the private Postgres up until Ctrl-C, to look around in it
    #[arg(long)]
    pub hold: bool,
}

/// The files of the example (`examples/company` and `sql/views`), with their paths below the demo's folder.
const EXAMPLE: [(&str, &[u8]); 6] = [
    ("landing/departments.csv", include_bytes!("../../../../examples/company/landing/departments.csv")),
    ("landing/jobs.csv", include_bytes!("../../../../examples/company/landing/jobs.csv")),
    (
        "landing/hired_employees.csv",
        include_bytes!("../../../../examples/company/landing/hired_employees.csv"),
    ),
    ("sql/views/hires_by_quarter.sql", include_bytes!("../../../../sql/views/hires_by_quarter.sql")),
    ("sql/views/hires_by_department.sql", include_bytes!("../../../../sql/views/hires_by_department.sql")),
    (
        "sql/views/departments_above_mean.sql",
        include_bytes!("../../../../sql/views/departments_above_mean.sql"),
    ),
];
const MANIFEST: &str = include_str!("../../../../examples/company/tidegate.yaml");
/// The manifest's line that names the folder of views: in the repository, and in the copy.
const VIEWS: (&str, &str) = ("views: ../../sql/views", "views: sql/views");
/// The year whose metrics are shown.
const YEAR: &str = "2021";
/// How many rows of a metric are shown.
const ROWS_SHOWN: usize = 12;

/// Runs `tidegate demo`.
pub async fn command(global: &Global, arguments: &DemoArguments) -> Result<(), Failure> {
    let data_dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from(".tidegate"));
    // If the command runs as root, the private Postgres runs as another user, who must be able to reach its folder. The
    // other content of the data directory is private by itself.
    DirBuilder::new().recursive(true).mode(0o711).create(&data_dir)?;
    let company = data_dir.join("company");
    write_example(&company)?;
    let server = match &global.database_url {
        Some(_) => None,
        None => Some(private_server(&data_dir).await?),
    };
    let url = global.database_url.clone().or_else(|| server.as_ref().map(Server::url));
    let settings = settings::load(&Global {
        config: company.join("tidegate.yaml"),
        database_url: url.clone(),
        data_dir: Some(company.join(".tidegate")),
        landing: None,
        verbose: global.verbose,
    })?;
    let shown = show(&settings).await;
    let is_private = server.is_some();
    if shown.is_ok() && arguments.hold && is_private {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let url = url.unwrap_or_default();
        output::print(format!(
            "\nThe database stays up until Ctrl-C. In another terminal:\n\n  export DATABASE_URL={url}\n"
        ))?;
        next_steps(&company)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    if let Some(server) = server {
        server.stop().await?;
    }
    shown?;
    if !arguments.hold {
        output::print(match is_private {
            true => "\nWhat to try next: 'tidegate demo --hold' keeps the database up to look around in:\n",
            false => "\nWhat to try next:\n",
        })?;
        next_steps(&company)?;
    }
    Ok(())
}

async fn private_server(data_dir: &Path) -> Result<Server, Failure> {
    let options = ServerOptions {
        dir: data_dir.join("postgres"),
        cache: Some(data_dir.join("postgres-binaries")),
        ..ServerOptions::default()
    };
    Ok(Server::start(options).await?)
}

/// Writes the copy anew. The pipeline recognises files that it has ingested before by their content.
fn write_example(company: &Path) -> Result<(), Failure> {
    for (name, bytes) in EXAMPLE {
        let path = company.join(name);
        if let Some(folder) = path.parent() {
            tidegate_node::data_dir::private_dir(folder)?;
        }
        std::fs::write(path, bytes)?;
    }
    std::fs::write(company.join("tidegate.yaml"), MANIFEST.replace(VIEWS.0, VIEWS.1))?;
    Ok(())
}

async fn show(settings: &Settings) -> Result<(), Failure> {
    let outcome = run::pipeline(settings, Until::Idle, false).await?;
    let store = settings.database(Uuid::nil())?;
    output::print("What came in, and what became of it:\n")?;
    output::print(output::table_here(&outcome.datasets.clone().without_zeros("uncounted")))?;
    // The message about passed-over files is left out, because the demo itself has written these files again.
    output::print(format!("{}\n", outcome.in_words()))?;
    output::print("\nDead letters by reason:\n")?;
    let counts = filter::count(&store, &LetterFilter::default()).await?;
    output::print(output::table_here(&relations::counts(&counts)?))?;
    let year = RowQuery { filters: vec![("year".to_owned(), YEAR.to_owned())], ..RowQuery::default() };
    for (view, title) in [
        ("hires_by_quarter", "Hires by department, job and quarter"),
        ("departments_above_mean", "Departments that hired more than the mean"),
    ] {
        let mut relation = read::rows(&store, view, &year).await?.rows;
        let more = relation.rows.len().saturating_sub(ROWS_SHOWN);
        relation.rows.truncate(ROWS_SHOWN);
        output::print(format!("\n{title}, {YEAR}:\n{}", output::table_here(&relation)))?;
        if more > 0 {
            output::print(format!("... and {more} more rows\n"))?;
        }
    }
    Ok(())
}

fn next_steps(company: &Path) -> Result<(), Failure> {
    let manifest = company.join("tidegate.yaml");
    output::print(format!(
        "  export TIDEGATE_CONFIG={}\n\
         \x20 tidegate dead-letters list --code missing_value   the lines that were refused, and why\n\
         \x20 tidegate view hires_by_quarter --where year=2022 --format csv\n\
         \x20 tidegate run                                      then drop a CSV file into {}\n",
        manifest.display(),
        company.join("landing").display()
    ))
}
