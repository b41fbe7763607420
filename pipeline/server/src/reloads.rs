//! `tidegate sources reload`: a source once more, as a new one, from its file in `done/`.
//!
//! A reload is asked for in Postgres. Whoever runs the pipeline takes it up: the source of the landing folder reads the
//! file under a new number, which it gets in the transaction that notes the reload as done. So one that was killed goes
//! on where it was.

use tidegate_connectors::csv::Again;
use tidegate_connectors::postgres::reloads::{Reload, ReloadState};
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::{Before, Postgres, Receipt, SourceKind};
use tidegate_core::contract;
use tracing::{info, warn};
use uuid::Uuid;

use crate::cli::{Format, Global, ReloadArguments};
use crate::intake::Intake;
use crate::restore::{Entry, until_accounted};
use crate::settings::Settings;
use crate::{Failure, letters, output};

/// `tidegate sources reload`.
///
/// # Errors
///
/// If a source cannot be read again, the database cannot be asked, or the pipeline cannot run.
pub async fn command(global: &Global, arguments: &ReloadArguments, format: Format) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let postgres = settings.database(Uuid::nil())?;
    postgres.migrate().await?;
    let by = letters::named(arguments.by.as_deref());
    let mut lines = 0;
    for source in &arguments.sources {
        let receipt = postgres.receipts_of(&[*source]).await?.pop();
        let receipt = receipt.ok_or_else(|| Failure::new(format!("there is no source {source}")))?;
        if let Some(why) = refusal(&receipt) {
            return Err(Failure::new(why));
        }
        lines += receipt.lines.unwrap_or(0);
    }
    let mut asked = Vec::new();
    for source in &arguments.sources {
        if let Before::Became(Some(reload)) = postgres.ask_for_reload(*source, &by, None).await? {
            info!(reload, source, "the source is to be read again");
            asked.push(reload);
        }
    }
    let reloads = async || {
        let mut reloads = Vec::new();
        for reload in &asked {
            reloads.extend(postgres.reload_of(*reload).await?);
        }
        Ok::<_, Failure>(reloads)
    };
    let what = "reload";
    let receipts =
        until_accounted(&settings, &postgres, what, lines, async || Ok(entry(&reloads().await?))).await?;
    let reloads = reloads().await?;
    output::write(&relation(&reloads, &receipts), format).await?;
    let refused: Vec<_> = reloads.into_iter().filter_map(|reload| reload.error).collect();
    if refused.is_empty() { Ok(()) } else { Err(Failure::new(refused.join("; "))) }
}

/// Why a source cannot be read again, if that is known without its file.
pub(crate) fn refusal(receipt: &Receipt) -> Option<String> {
    let Receipt { source, kind, name, .. } = receipt;
    if kind != SourceKind::File.as_str() {
        let instead = match kind.as_str() {
            "restore" => "restore the backup once more",
            _ => "send it again under another Idempotency-Key",
        };
        return Some(format!(
            "source {source} ('{name}') is no file but a {kind}, whose lines are not kept once every one is accounted \
             for; {instead}"
        ));
    }
    (!receipt.complete()).then(|| {
        format!("source {source} ('{name}') is being read: not every line of it is accounted for yet; wait for that")
    })
}

/// How far reloads are, together.
fn entry(reloads: &[Reload]) -> Entry {
    if reloads.iter().any(|reload| reload.state == ReloadState::Asked) {
        return Entry::Asked;
    }
    let sources: Vec<u64> = reloads.iter().filter_map(|reload| reload.source).collect();
    let refused: Vec<&str> = reloads.iter().filter_map(|reload| reload.error.as_deref()).collect();
    if sources.is_empty() { Entry::Failed(refused.join("; ")) } else { Entry::Entered(sources) }
}

/// What the sources have become.
fn relation(reloads: &[Reload], receipts: &[Receipt]) -> Relation {
    let number = |name| Column::new(name, ColumnKind::Number);
    let text = |name| Column::new(name, ColumnKind::Text);
    let mut columns = vec![number("source"), number("new_source"), text("dataset"), text("name")];
    columns.extend(["lines", "accepted", "rejected", "waiting", "discarded"].map(number));
    let rows = reloads.iter().map(|reload| {
        let receipt = receipts.iter().find(|receipt| Some(receipt.source) == reload.source);
        let of = |count: Option<u64>| count.map(|count| count.to_string());
        let mut row = vec![of(Some(reload.old_source)), of(reload.source)];
        row.extend([&reload.dataset, &reload.name].map(|text| Some(text.clone())));
        row.push(of(receipt.and_then(|receipt| receipt.lines)));
        row.extend((0..4).map(|fate| of(receipt.map(|receipt| receipt.fates[fate]))));
        row
    });
    Relation { rows: rows.collect(), columns }
}

/// Hands over the reloads that were asked for, and those whose source is not complete, to the source that gives out all
/// lines of this process.
///
/// # Errors
///
/// If Postgres cannot be asked.
pub(crate) async fn take_up(
    settings: &Settings,
    postgres: &Postgres,
    intake: &Intake,
) -> Result<(), contract::Error> {
    for reload in postgres.open_reloads().await? {
        let Reload { reload, old_source, dataset, kind, name, content, bytes, source, .. } = reload;
        let found = settings.manifest.dataset(&dataset).filter(|_| kind == SourceKind::File.as_str());
        let Some((dataset, _)) = found else {
            let why = format!(
                "source {old_source} is no file of a dataset of the manifest, but a {kind} of '{dataset}'"
            );
            warn!(reload, "a source is not read again: {why}");
            postgres.refuse_reload(reload, &why).await?;
            continue;
        };
        intake.read_again(Again { reload, old_source, dataset, name, content, bytes, source });
    }
    Ok(())
}
