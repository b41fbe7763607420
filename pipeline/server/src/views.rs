//! `tidegate view`: shows metric views, says what they are, and brings the database to what their files say.

use std::time::Duration;

use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::views::{Action, Explanation, InDatabase, Kind, Rows, Step, unknown};
use tracing::info;
use uuid::Uuid;

use crate::cli::{Format, Global, ViewArguments, ViewCommand};
use crate::data_dir::DataDir;
use crate::settings::Settings;
use crate::{Failure, output, run, verify, watch};

/// `tidegate view`.
///
/// # Errors
///
/// If there is no such view, it cannot be what its file says, or the database cannot be asked.
pub async fn command(global: &Global, arguments: &ViewArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let format = arguments.format;
    let Some(command) = &arguments.command else {
        let name = arguments.name.as_deref().unwrap_or_default(); // required without a command
        return show(&settings, name, &arguments.filters, format).await;
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
        ViewCommand::Show { name, filters } => show(&settings, name, filters, format).await,
        ViewCommand::List => list(&settings, format).await,
        ViewCommand::Explain { name } => explain(&settings, name.as_deref(), format).await,
        ViewCommand::Apply { dry_run: true, cascade } => plan(&settings, *cascade, format).await,
        ViewCommand::Apply { dry_run: false, cascade } => apply(&settings, *cascade, format).await,
        ViewCommand::Verify { names } => {
            let postgres = settings.database(Uuid::nil())?;
            verify::audit(format, async |watch| postgres.verify_views(names, watch).await).await
        }
        ViewCommand::Refresh { names } => refresh(&settings, names, format).await,
    }
}

async fn show(
    settings: &Settings,
    name: &str,
    filters: &[(String, String)],
    format: Format,
) -> Result<(), Failure> {
    let asked = Rows { filters: filters.to_vec(), ..Rows::default() };
    output::write(&settings.database(Uuid::nil())?.view_rows(name, &asked).await?.rows, format).await
}

/// All views of the folder, and those that only the database has.
async fn list(settings: &Settings, format: Format) -> Result<(), Failure> {
    let postgres = settings.database(Uuid::nil())?;
    let (explained, steps) = postgres.explain_views(&settings.load_views()?).await?;
    let there = postgres.views().await?;
    let refreshed_at = |name: &str| there.iter().find(|view| view.name == name)?.refreshed_at.clone();
    let columns = ["name", "kind", "reads", "refresh", "refreshed_at", "next_start"];
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    for view in &explained {
        rows.push(vec![
            Some(view.name.clone()),
            Some(view.kind.name().to_owned()),
            Some(several(&all_read(view), format)?),
            view.refresh.map(|every| format!("every {}", humantime::format_duration(every))),
            refreshed_at(&view.name),
            Some(view.step.action.name().to_owned()),
        ]);
    }
    for InDatabase { name, kind, reads, refreshed_at, .. } in &there {
        if let Some(step) = steps.iter().find(|step| step.view == *name && step.kind.is_none()) {
            let action = step.action.name().to_owned();
            let reads = Some(several(reads, format)?);
            rows.push(vec![
                Some(name.clone()),
                Some(kind.clone()),
                reads,
                None,
                refreshed_at.clone(),
                Some(action),
            ]);
        }
    }
    rows.sort();
    let mut columns = columns.map(|name| Column::new(name, ColumnKind::Text)).to_vec();
    columns[2].kind = ColumnKind::Json;
    output::write(&Relation { columns, rows }, format).await
}

/// Several names in one field.
fn several(names: &[impl AsRef<str> + serde::Serialize], format: Format) -> Result<String, Failure> {
    Ok(match format {
        Format::Json => serde_json::to_string(names)?,
        _ => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    })
}

/// The tables and views that a view reads.
fn all_read(view: &Explanation) -> Vec<&str> {
    view.datasets.iter().chain(&view.reads).map(String::as_str).collect()
}

async fn explain(settings: &Settings, name: Option<&str>, format: Format) -> Result<(), Failure> {
    let postgres = settings.database(Uuid::nil())?;
    let (mut explained, _) = postgres.explain_views(&settings.load_views()?).await?;
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
            output::print(&output::shown(&texts.join("\n")))
        }
        format => output::write(&fields(&explained)?, format).await,
    }
}

/// A row with all fields for each view.
fn fields(explained: &[Explanation]) -> Result<Relation, Failure> {
    let text = |name| Column::new(name, ColumnKind::Text);
    let json = |name| Column::new(name, ColumnKind::Json);
    let columns = vec![
        text("name"),
        text("kind"),
        text("reason"),
        json("datasets"),
        json("views"),
        json("store"),
        Column::new("refresh_seconds", ColumnKind::Number),
        json("unique_columns"),
        text("query"),
        text("action"),
        text("why"),
        json("dependents"),
    ];
    let rows = explained.iter().map(|view| {
        let store = view.store.as_ref().map(|store| {
            serde_json::json!({
                "table": format!("tidegate.{}", store.name),
                "dataset": store.dataset,
                "keys": store.keys,
                "sums": store.sums,
                "conditions": store.conditions,
            })
        });
        Ok(vec![
            Some(view.name.clone()),
            Some(view.kind.name().to_owned()),
            view.reason.clone(),
            Some(serde_json::to_string(&view.datasets)?),
            Some(serde_json::to_string(&view.reads)?),
            store.map(|store| store.to_string()),
            view.refresh.map(|every| every.as_secs_f64().to_string()),
            (view.kind == Kind::Refreshed).then(|| serde_json::to_string(&view.unique)).transpose()?,
            Some(view.query.clone()),
            Some(view.step.action.name().to_owned()),
            Some(view.step.why.clone()),
            Some(serde_json::to_string(&view.step.dependents)?),
        ])
    });
    Ok(Relation { columns, rows: rows.collect::<Result<_, serde_json::Error>>()? })
}

/// What a view is, in a few words.
pub(crate) fn in_a_line(view: &Explanation) -> String {
    let every = || humantime::format_duration(view.refresh.unwrap_or_default());
    match (view.kind, &view.store, &view.reason) {
        (Kind::Incremental, Some(store), _) => {
            format!("incremental: kept by each change to {}", store.dataset)
        }
        (Kind::Refreshed, _, Some(reason)) => format!("refreshed every {}, for {reason}", every()),
        (Kind::Refreshed, ..) => format!("refreshed every {}, as its header says", every()),
        (kind, ..) => format!("{}: a query over {}", kind.name(), all_read(view).join(", ")),
    }
}

/// What a view is and how it is kept, for people.
fn in_words(view: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", view.name, view.kind.name())];
    let mut say = |title: &str, text: &str| {
        for (i, line) in text.lines().enumerate() {
            let title = if i == 0 { title } else { "" };
            lines.push(format!("  {title:<11} {line}").trim_end().to_owned());
        }
    };
    match view.kind {
        Kind::Incremental => say("fresh", "exact at every commit, whoever writes"),
        Kind::Layered => say("fresh", "as the views that it reads, over which it is a plain view"),
        Kind::Refreshed => {
            let every = view.refresh.map(|every| humantime::format_duration(every).to_string());
            say("fresh", &format!("as of its last refresh, every {}", every.unwrap_or_default()));
            match &view.reason {
                Some(reason) => say("because", reason),
                None => say("because", "its header says so: '-- refresh: ...'"),
            }
        }
    }
    say("reads", &all_read(view).join(", "));
    if let Some(store) = &view.store {
        say(
            "store",
            &format!("tidegate.{}: changes of {}, added up when it is read", store.name, store.dataset),
        );
        say("rows", &store.conditions.join("\nand "));
        say("keys", &store.keys.join("\n"));
        say("sums", &store.sums.join("\n"));
    }
    if view.kind == Kind::Refreshed {
        match view.unique.is_empty() {
            false => say(
                "concurrent",
                &format!(
                    "yes: readers go on during a refresh, for its rows are told apart by {}",
                    view.unique.join(", ")
                ),
            ),
            true => say(
                "concurrent",
                "no: readers wait during a refresh. Group by columns that are selected, or \
                select distinct ones, so that\nthe query says what tells its rows apart",
            ),
        }
    }
    say("query", &view.query);
    say("next start", &what_next(&view.step));
    lines.join("\n") + "\n"
}

fn what_next(step: &Step) -> String {
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

/// Shows what `apply` would do.
async fn plan(settings: &Settings, cascade: bool, format: Format) -> Result<(), Failure> {
    let postgres = settings.database(Uuid::nil())?;
    let steps = postgres.plan_views(&settings.load_views()?).await?;
    output::write(&relation(&steps, format)?, format).await?;
    let in_the_way: Vec<&str> = steps.iter().flat_map(|step| &step.dependents).map(String::as_str).collect();
    match (in_the_way.is_empty(), cascade) {
        (true, _) => Ok(()),
        (false, true) => {
            info!("dropped along: {}", in_the_way.join(", "));
            Ok(())
        }
        (false, false) => Err(Failure::new(format!(
            "others depend on views that have to go: {}; drop them first, or apply with --cascade, which drops them \
             along",
            in_the_way.join(", ")
        ))),
    }
}

/// Brings the database to what the files say, in the place of a run.
async fn apply(settings: &Settings, cascade: bool, format: Format) -> Result<(), Failure> {
    let views = settings.load_views()?;
    let me = run::holder();
    let data_dir =
        DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &me, false).map_err(or_restart)?;
    let postgres = settings.database(data_dir.owner())?;
    let stop = run::stop_on_signals("stopping: nothing is changed")?;
    let database = run::patiently(&stop, async || postgres.migrate().await).await?;
    data_dir.assert_of(database)?;
    let mut has_begun = false;
    let work = async {
        has_begun = true;
        run::patiently(&stop, async || postgres.apply_views(&views, cascade).await).await
    };
    let applying = watch::during("applying the views", run::leased(&postgres, &me, false, &stop, work));
    let applied = applying.await;
    let steps = applied.map_err(|failure| if has_begun { failure } else { or_restart(failure) })?;
    output::write(&relation(&steps, format)?, format).await
}

/// What else can be done where the pipeline runs.
fn or_restart(failure: Failure) -> Failure {
    let message = format!(
        "{}; where the pipeline runs, stop it first, or restart it: a start applies the views",
        failure.message
    );
    Failure { message, ..failure }
}

fn relation(steps: &[Step], format: Format) -> Result<Relation, Failure> {
    let mut columns = ["view", "action", "kind", "why", "dependents"]
        .map(|name| Column::new(name, ColumnKind::Text))
        .to_vec();
    columns[4].kind = ColumnKind::Json;
    let rows = steps.iter().map(|step| {
        Ok(vec![
            Some(step.view.clone()),
            Some(step.action.name().to_owned()),
            step.kind.map(|kind| kind.name().to_owned()),
            Some(step.why.clone()),
            Some(several(&step.dependents, format)?),
        ])
    });
    Ok(Relation { columns, rows: rows.collect::<Result<_, Failure>>()? })
}

/// Refreshes the views of these names, or all that are refreshed.
async fn refresh(settings: &Settings, names: &[String], format: Format) -> Result<(), Failure> {
    let postgres = settings.database(Uuid::nil())?;
    let names = to_refresh(&postgres, names).await?;
    let mut rows = Vec::new();
    for name in &names {
        let refreshed = watch::during("refreshing", postgres.refresh_view(name)).await?;
        let took = Duration::from_millis(refreshed.took.as_millis() as u64);
        rows.push(vec![
            Some(refreshed.view),
            Some(refreshed.concurrently.to_string()),
            Some(format!("{:.3}", took.as_secs_f64())),
        ]);
    }
    let columns = vec![
        Column::new("view", ColumnKind::Text),
        Column::new("concurrently", ColumnKind::Boolean),
        Column::new("seconds", ColumnKind::Number),
    ];
    output::write(&Relation { columns, rows }, format).await
}

/// The views to refresh, each behind those that it reads.
async fn to_refresh(postgres: &Postgres, names: &[String]) -> Result<Vec<String>, Failure> {
    let due: Vec<String> = postgres.due_views().await?.into_iter().map(|due| due.view).collect();
    let there = postgres.views().await?;
    for name in names {
        match there.iter().find(|view| view.name == *name) {
            None => {
                let known: Vec<&str> = there.iter().map(|view| view.name.as_str()).collect();
                return Err(unknown(name, &known).into());
            }
            Some(view) if view.kind != Kind::Refreshed.name() => {
                return Err(Failure::new(format!(
                    "view '{name}' is {}: there is nothing to refresh",
                    view.kind
                )));
            }
            Some(_) => {}
        }
    }
    Ok(due.into_iter().filter(|view| names.is_empty() || names.contains(view)).collect())
}
