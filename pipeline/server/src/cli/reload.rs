//! `tidegate sources reload`: reads a source again, as a new source, from its file in `done/`.
//!
//! The command stores a requested reload in Postgres, and a running pipeline takes it up. The source of the landing
//! folder reads the file under a new number. The transaction that gives the number also marks the reload as done, so a
//! reload that was killed resumes.

use serde_json::json;
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_postgres::schema;
use tidegate_store::reloads::{self, Reload};
use tidegate_store::{KeyUse, Receipt, TaskState, receipts};
use tracing::info;

use crate::Failure;
use crate::cli::requester::requester;
use crate::cli::restore::{RequestState, until_accounted};
use crate::cli::sources::ReloadArguments;
use crate::cli::{Format, Global, output, settings};

/// Runs `tidegate sources reload`.
pub async fn command(global: &Global, arguments: &ReloadArguments, format: Format) -> Result<(), Failure> {
    let (settings, store) = settings::load_with_store(global)?;
    schema::migrate(&store).await?;
    let by = requester(arguments.by.as_deref());
    let mut lines = 0;
    for source in &arguments.sources {
        let receipt = receipts::of_sources(&store, &[*source]).await?.pop();
        let receipt = receipt.ok_or_else(|| Failure::new(format!("there is no source {source}")))?;
        if let Some(why) = tidegate_node::reloads::refusal(&receipt) {
            return Err(Failure::new(why));
        }
        lines += receipt.lines.unwrap_or(0);
    }
    let mut asked = Vec::new();
    for source in &arguments.sources {
        if let KeyUse::Known(Some(reload)) = reloads::ask(&store, *source, &by, None).await? {
            info!(reload, source, "the source is to be read again");
            asked.push(reload);
        }
    }
    let reloads = async || {
        let mut reloads = Vec::new();
        for reload in &asked {
            reloads.extend(reloads::find(&store, *reload).await?);
        }
        Ok::<_, Failure>(reloads)
    };
    let what = "reload";
    let receipts =
        until_accounted(&settings, &store, what, lines, async || Ok(state_of(&reloads().await?))).await?;
    let reloads = reloads().await?;
    output::write(&relation(&reloads, &receipts), format).await?;
    let refused: Vec<_> = reloads.into_iter().filter_map(|reload| reload.error).collect();
    if refused.is_empty() { Ok(()) } else { Err(Failure::new(refused.join("; "))) }
}

/// The state of several reloads as one.
fn state_of(reloads: &[Reload]) -> RequestState {
    if reloads.iter().any(|reload| reload.state == TaskState::Asked) {
        return RequestState::Asked;
    }
    let sources: Vec<u64> = reloads.iter().filter_map(|reload| reload.source).collect();
    let refused: Vec<&str> = reloads.iter().filter_map(|reload| reload.error.as_deref()).collect();
    if sources.is_empty() { RequestState::Failed(refused.join("; ")) } else { RequestState::Entered(sources) }
}

/// A row for each reload, with the new source.
fn relation(reloads: &[Reload], receipts: &[Receipt]) -> Relation {
    let columns = ["source", "new_source", "lines", "accepted", "rejected", "waiting", "discarded"];
    let mut columns: Vec<_> = columns.map(|name| (name, Number)).to_vec();
    columns.splice(2..2, [("dataset", Text), ("name", Text)]);
    let rows = reloads.iter().map(|reload| {
        let receipt = receipts.iter().find(|receipt| Some(receipt.source) == reload.source);
        let lines = receipt.and_then(|receipt| receipt.lines);
        let fate = |fate: usize| receipt.map(|receipt| receipt.fates[fate]);
        let Reload { old_source, source, dataset, name, .. } = reload;
        json!([old_source, source, dataset, name, lines, fate(0), fate(1), fate(2), fate(3)])
    });
    output::relation(&columns, rows)
}
