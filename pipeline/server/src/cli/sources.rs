//! `tidegate sources`.

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_core::ledger::Effects;
use tidegate_core::split::SkippedLines;
use tidegate_postgres::relation::ColumnKind::{Boolean, Json, Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_store::{Receipt, receipts};

use crate::Failure;

use crate::cli::{Format, Global, output, reload, settings};

/// `sources`.
#[derive(Clone, Debug, Args)]
pub struct SourcesArguments {
    /// What to do [default: show all]
    #[command(subcommand)]
    pub command: Option<SourcesCommand>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// What to do with sources.
#[derive(Clone, Debug, Subcommand)]
pub enum SourcesCommand {
    /// Read sources again, each as a new one, from their files in done/
    #[command(after_help = "\
Examples:
  tidegate sources reload 7        the file of source 7 once more, by the manifest as it is now
  tidegate sources reload 7 8 9    some more, in this order

The running pipeline does it; if none runs, this command runs it until it is idle. The new source is the newest: its
rows replace those of others with the same keys. Exits with 1 if a file in done/ is gone, or is not what was read.")]
    Reload(ReloadArguments),
}

/// `sources reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArguments {
    /// Their numbers, as 'tidegate sources' shows them
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<u64>,
    /// Who asks [default: the user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs `tidegate sources`.
pub async fn command(global: &Global, arguments: &SourcesArguments) -> Result<(), Failure> {
    if let Some(SourcesCommand::Reload(reload)) = &arguments.command {
        return reload::command(global, reload, arguments.format).await;
    }
    let (_, store) = settings::load_with_store(global)?;
    let receipts = receipts::all(&store).await?;
    let shown = match arguments.format {
        Format::Table => relation(&receipts, SkippedLines::to_string)
            .without_zeros("uncounted")
            .without("skipped", |rules| rules.is_none()),
        Format::Csv | Format::Json => relation(&receipts, |skipped| output::jsonb_text(&json!(skipped))),
    };
    output::write(&shown, arguments.format).await
}

/// The receipts as rows. `skipped` writes how many lines are no records.
fn relation(receipts: &[Receipt], skipped: impl Fn(&SkippedLines) -> String) -> Relation {
    let numbers = ["lines", "accepted", "inserted", "updated", "superseded", "uncounted"];
    let numbers = numbers.into_iter().chain(["rejected", "waiting", "discarded", "in_flight"]);
    let mut columns = vec![("source", Number), ("dataset", Text), ("name", Text)];
    columns.extend(numbers.map(|name| (name, Number)));
    columns.extend([("skipped", Json), ("complete", Boolean)]);
    let rows = receipts.iter().map(|receipt| {
        let Receipt { source, dataset, name, lines, effects, .. } = receipt;
        let Effects { inserted, updated, superseded, uncounted } = effects;
        let [accepted, rejected, waiting, discarded] = receipt.fates;
        let in_flight = receipt.in_flight().unwrap_or_default();
        json!([
            source,
            dataset,
            name,
            lines,
            accepted,
            inserted,
            updated,
            superseded,
            uncounted,
            rejected,
            waiting,
            discarded,
            in_flight,
            receipt.skipped.as_ref().filter(|skipped| !skipped.is_empty()).map(&skipped),
            receipt.complete(),
        ])
    });
    output::relation(&columns, rows)
}
