//! `tidegate view`: shows metric views, explains them, and brings the database's views to what their files say.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use tidegate_engine::patiently;
use tidegate_node::Settings;
use tidegate_node::alone::alone;
use tidegate_postgres::relation::ColumnKind::{Boolean, Json, Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_store::{Store, prepare};
use tidegate_views::{
    Action, Explanation, RegisteredView, RowQuery, ViewKind, ViewStep, ViewStore, explain, read, unknown,
    upkeep,
};
use tracing::info;

use crate::Failure;
use crate::cli::{Format, Global, output, progress, settings, signals, verify};

/// Flags of `view`.
#[derive(Debug, Args)]
#[command(
    subcommand_negates_reqs = true,
    override_usage = "tidegate view [OPTIONS] <NAME>\n       tidegate view [OPTIONS] <COMMAND>",
    after_help = "\
Examples:
  tidegate view departments_above_mean --where year=2021 --format csv
  tidegate view list                              what there is, and how fresh
  tidegate view explain hires_by_quarter          how it is kept exact, or why it cannot be
  tidegate view apply --dry-run                   what the next start does about changed files
  tidegate view verify                            each view against its query computed afresh
  tidegate view refresh                           materialized views, now

'tidegate view NAME' is short for 'tidegate view show NAME', which also shows a view that is called
like one of the commands."
)]
pub struct ViewArguments {
    /// What to do [default: show]
    #[command(subcommand)]
    pub command: Option<ViewCommand>,
    /// The view to show
    #[arg(required = true)]
    pub name: Option<String>,
    /// Only rows where a column has a value; may be given more than once
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_filter)]
    pub filters: Vec<(String, String)>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// What to do with the views.
#[derive(Debug, Subcommand)]
pub enum ViewCommand {
    /// The rows of a view
    Show {
        /// The view
        name: String,
        /// Only rows where a column has a value; may be given more than once
        #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_filter)]
        filters: Vec<(String, String)>,
    },
    /// All views: what they are, what they read, how fresh they are
    List,
    /// What a view is, why, and how it is kept; what the next start does to it
    #[command(after_help = "\
Examples:
  tidegate view explain hires_by_quarter    the store behind it, and the query that reads it
  tidegate view explain                     all views
  tidegate view explain --format json       the same for machines")]
    Explain {
        /// The view [default: all]
        name: Option<String>,
    },
    /// Bring the views of the database to what the files say, as the start of a run does
    #[command(after_help = "\
Examples:
  tidegate view apply --dry-run    the plan; changes nothing, and a running pipeline does not mind
  tidegate view apply              make, rebuild, replace and drop views while no run is active
  tidegate view apply --cascade    the same, and drop what others have built on a view that has to go

Readers of a view go on reading while it is rebuilt. A dry run exits with 1 if others have built on a
view that has to go, as applying would.")]
    Apply {
        /// Only show the plan
        #[arg(long)]
        dry_run: bool,
        /// Drop what others have built on a view that has to be dropped
        #[arg(long)]
        cascade: bool,
    },
    /// Compare views with their queries computed afresh, and stores with their tables
    #[command(after_help = "\
It reads one snapshot, locks and changes nothing. Exits with 1 if a view or a store differs. A
refreshed view is not compared: it is as old as its last refresh, which is noted.")]
    Verify {
        /// The views [default: all]
        names: Vec<String>,
    },
    /// Refresh materialized views now, while the pipeline runs or rests
    Refresh {
        /// The views [default: all that are refreshed]
        names: Vec<String>,
    },
}

fn parse_filter(text: &str) -> Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or("write column=value, for example year=2021")?;
    Ok((column.to_owned(), value.to_owned()))
}

/// Runs `tidegate view`.
pub async fn command(global: &Global, arguments: &ViewArguments) -> Result<(), Failure> {
    let (settings, store) = settings::load_with_store(global)?;
    let (settings, store, format) = (&settings, &store, arguments.format);
    let Some(command) = &arguments.command else {
        let name = arguments.name.as_deref().unwrap_or_default(); // required without a command
        return show(store, name, &arguments.filters, format).await;
    };
    if let Some(name) = &arguments.name {
        return Err(Failure::usage(format!(
            "'{name}' stands before a command; write 'tidegate view {name}', or the command first"
        )));
    }
    if !arguments.filters.is_empty() {
        return Err(Failure::usage(
            "--where is for the rows of a view: 'tidegate view NAME --where year=2021'",
        ));
    }
    match command {
        ViewCommand::Show { name, filters } => show(store, name, filters, format).await,
        ViewCommand::List => list(settings, store, format).await,
        ViewCommand::Explain { name } => explain(settings, store, name.as_deref(), format).await,
        ViewCommand::Apply { dry_run: true, cascade } => plan(settings, store, *cascade, format).await,
        ViewCommand::Apply { dry_run: false, cascade } => apply(settings, *cascade, format).await,
        ViewCommand::Verify { names } => {
            verify::audit(format, async |watch| tidegate_verify::run_views(store, names, watch).await).await
        }
        ViewCommand::Refresh { names } => refresh(store, names, format).await,
    }
}

async fn show(
    store: &Store,
    name: &str,
    filters: &[(String, String)],
    format: Format,
) -> Result<(), Failure> {
    let filtered = RowQuery { filters: filters.to_vec(), ..RowQuery::default() };
    output::write(&read::rows(store, name, &filtered).await?.rows, format).await
}

/// Prints all views of the folder, and those that exist only in the database.
async fn list(settings: &Settings, store: &Store, format: Format) -> Result<(), Failure> {
    let (explained, steps) = explain::explain(store, &settings.load_views()?).await?;
    let there = explain::in_database(store).await?;
    let refreshed_at = |name: &str| there.iter().find(|view| view.name == name)?.refreshed_at.clone();
    let mut rows = Vec::new();
    for view in &explained {
        let refresh = view.refresh.map(|every| format!("every {}", humantime::format_duration(every)));
        let reads = several(&all_read(view), format);
        let (kind, next) = (view.kind.name(), view.step.action.name());
        rows.push(json!([view.name, kind, reads, refresh, refreshed_at(&view.name), next]));
    }
    for RegisteredView { name, kind, reads, refreshed_at, .. } in &there {
        if let Some(step) = steps.iter().find(|step| step.view == *name && step.kind.is_none()) {
            let reads = several(reads, format);
            rows.push(json!([name, kind, reads, null, refreshed_at, step.action.name()]));
        }
    }
    let texts = ["refresh", "refreshed_at", "next_start"].map(|name| (name, Text));
    let columns = [("name", Text), ("kind", Text), ("reads", Json)].into_iter().chain(texts);
    let mut relation = output::relation(&columns.collect::<Vec<_>>(), rows);
    relation.rows.sort();
    output::write(&relation, format).await
}

/// Several names in one field.
fn several(names: &[impl AsRef<str> + Serialize], format: Format) -> Value {
    match format {
        Format::Json => json!(names),
        _ => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ").into(),
    }
}

/// The tables and views that a view reads.
fn all_read(view: &Explanation) -> Vec<&str> {
    view.datasets.iter().chain(&view.reads).map(String::as_str).collect()
}

async fn explain(
    settings: &Settings,
    store: &Store,
    name: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let (mut explained, _) = explain::explain(store, &settings.load_views()?).await?;
    if let Some(name) = name {
        let known: Vec<&str> = explained.iter().map(|view| view.name.as_str()).collect();
        if !known.contains(&name) {
            return Err(unknown(name, &known).into());
        }
        explained.retain(|view| view.name == name);
    }
    match format {
        Format::Table => {
            let texts: Vec<String> = explained.iter().map(in_words).collect();
            output::print(output::shown(&texts.join("\n")))
        }
        format => output::write(&fields(&explained), format).await,
    }
}

/// A row with all fields for each view.
fn fields(explained: &[Explanation]) -> Relation {
    let columns = [
        ("name", Text),
        ("kind", Text),
        ("reason", Text),
        ("datasets", Json),
        ("views", Json),
        ("store", Json),
        ("refresh_seconds", Number),
        ("unique_columns", Json),
        ("query", Text),
        ("action", Text),
        ("why", Text),
        ("dependents", Json),
    ];
    let rows = explained.iter().map(|view| {
        let store = view.store.as_ref().map(|store| {
            json!({
                "table": format!("tidegate.{}", store.name),
                "dataset": store.spec.dataset,
                "keys": store.spec.keys,
                "sums": store.spec.aggregates(),
                "conditions": store.spec.conditions,
            })
        });
        json!([
            view.name,
            view.kind.name(),
            view.reason,
            view.datasets,
            view.reads,
            store,
            view.refresh.map(|every| every.as_secs_f64().to_string()),
            (view.kind == ViewKind::Refreshed).then_some(&view.unique),
            view.query,
            view.step.action.name(),
            view.step.why,
            view.step.dependents,
        ])
    });
    output::relation(&columns, rows)
}

/// A view's kind and the reason for it, in a few words.
pub(crate) fn in_a_line(view: &Explanation) -> String {
    match (view.kind, &view.store, &view.reason) {
        (ViewKind::Incremental, Some(store), _) => {
            format!("incremental: kept by each change to {}", store.spec.dataset)
        }
        (ViewKind::Refreshed, _, Some(reason)) => format!("refreshed every {}, for {reason}", every(view)),
        (ViewKind::Refreshed, ..) => format!("refreshed every {}, as its header says", every(view)),
        (kind, ..) => format!("{}: a query over {}", kind.name(), all_read(view).join(", ")),
    }
}

fn every(view: &Explanation) -> humantime::FormattedDuration {
    humantime::format_duration(view.refresh.unwrap_or_default())
}

/// A view's kind, its reason and how the view is kept, for people.
fn in_words(view: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", view.name, view.kind.name())];
    let mut say = |title: &str, text: &str| {
        for (i, line) in text.lines().enumerate() {
            let title = if i == 0 { title } else { "" };
            lines.push(format!("  {title:<11} {line}").trim_end().to_owned());
        }
    };
    match view.kind {
        ViewKind::Incremental => say("fresh", "exact at every commit, no matter who writes"),
        ViewKind::Layered => say("fresh", "as the views that it reads, over which it is a plain view"),
        ViewKind::Refreshed => {
            say("fresh", &format!("as of its last refresh, every {}", every(view)));
            say("because", view.reason.as_deref().unwrap_or("its header says so: '-- refresh: ...'"));
        }
    }
    say("reads", &all_read(view).join(", "));
    if let Some(ViewStore { name, spec }) = &view.store {
        say("store", &format!("tidegate.{name}: changes of {}, added up when it is read", spec.dataset));
        say("rows", &spec.conditions.join("\nand "));
        say("keys", &spec.keys.join("\n"));
        say("sums", &spec.aggregates().join("\n"));
    }
    if view.kind == ViewKind::Refreshed {
        let columns = view.unique.join(", ");
        let yes = format!("yes: readers go on during a refresh, for its rows are told apart by {columns}");
        let no = "no: readers wait during a refresh. Group by columns that are selected, or select distinct ones, so \
            that\nthe query says what tells its rows apart";
        say("concurrent", if columns.is_empty() { no } else { &yes });
    }
    say("query", &view.query);
    say("next start", &what_next(&view.step));
    lines.join("\n") + "\n"
}

fn what_next(step: &ViewStep) -> String {
    let what = match step.action {
        Action::Keep => return "keeps it as it is".to_owned(),
        Action::Create => "makes it",
        Action::Rebuild => "makes it anew, while the old one can be read",
        Action::Replace => "exchanges its query, and keeps what is stored",
        Action::Drop => "drops it",
    };
    let in_the_way = match step.dependents.is_empty() {
        true => String::new(),
        false => format!("; in the way: {}", step.dependents.join(", ")),
    };
    format!("{what}: {}{in_the_way}", step.why)
}

/// Prints what `apply` would do.
async fn plan(settings: &Settings, store: &Store, cascade: bool, format: Format) -> Result<(), Failure> {
    let steps = explain::explain(store, &settings.load_views()?).await?.1;
    output::write(&relation(&steps, format), format).await?;
    let in_the_way: Vec<&str> = steps.iter().flat_map(|step| &step.dependents).map(String::as_str).collect();
    let names = in_the_way.join(", ");
    if !in_the_way.is_empty() && !cascade {
        return Err(Failure::new(format!(
            "others depend on views that have to go: {names}; drop them first, or apply with --cascade, which drops \
             them along"
        )));
    }
    if !in_the_way.is_empty() {
        info!("dropped along: {names}");
    }
    Ok(())
}

/// Brings the database's views to what the files say, while no other process runs the pipeline.
async fn apply(settings: &Settings, cascade: bool, format: Format) -> Result<(), Failure> {
    let views = settings.load_views()?;
    let stop = signals::stop("stopping: nothing is changed")?;
    let mut has_begun = false;
    let work = async |store: &Store| {
        has_begun = true;
        Ok(patiently(&stop, async || prepare::apply_views(store, &views, cascade).await).await?)
    };
    let applied = progress::during("applying the views", alone(settings, &stop, work)).await;
    let steps = applied.map_err(|failure| match has_begun || stop.is_cancelled() {
        true => failure,
        false => or_restart(failure),
    })?;
    output::write(&relation(&steps, format), format).await
}

/// Adds to a failure what else the user can do if the pipeline runs.
fn or_restart(failure: Failure) -> Failure {
    let message = format!(
        "{}; where the pipeline runs, stop it first, or restart it: a start applies the views",
        failure.message
    );
    Failure { message, ..failure }
}

fn relation(steps: &[ViewStep], format: Format) -> Relation {
    let columns = [("view", Text), ("action", Text), ("kind", Text), ("why", Text), ("dependents", Json)];
    let rows = steps.iter().map(|ViewStep { view, action, kind, why, dependents }| {
        json!([view, action.name(), kind.map(ViewKind::name), why, several(dependents, format)])
    });
    output::relation(&columns, rows)
}

/// Refreshes the views of these names, or all refreshed views.
async fn refresh(store: &Store, names: &[String], format: Format) -> Result<(), Failure> {
    let names = to_refresh(store, names).await?;
    let mut rows = Vec::new();
    for name in &names {
        let refreshed = progress::during("refreshing", upkeep::refresh(store, name)).await?;
        let seconds = format!("{:.3}", refreshed.took.as_millis() as f64 / 1e3);
        rows.push(json!([refreshed.view, refreshed.concurrently, seconds]));
    }
    let columns = [("view", Text), ("concurrently", Boolean), ("seconds", Number)];
    output::write(&output::relation(&columns, rows), format).await
}

/// The views to refresh, each after those that it reads.
async fn to_refresh(store: &Store, names: &[String]) -> Result<Vec<String>, Failure> {
    let due: Vec<String> = upkeep::due(store).await?.into_iter().map(|due| due.view).collect();
    let there = explain::in_database(store).await?;
    for name in names {
        let Some(view) = there.iter().find(|view| view.name == *name) else {
            let known: Vec<&str> = there.iter().map(|view| view.name.as_str()).collect();
            return Err(unknown(name, &known).into());
        };
        if view.kind != ViewKind::Refreshed.name() {
            let message = format!("view '{name}' is {}: there is nothing to refresh", view.kind);
            return Err(Failure::new(message));
        }
    }
    Ok(due.into_iter().filter(|view| names.is_empty() || names.contains(view)).collect())
}
