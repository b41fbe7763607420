//! Reloads: a source is read again, as a new source, from its file in `done/`.
//!
//! The source of the landing folder reads the file under a new number. The transaction that gives the number also marks
//! the reload as done. A reload that was killed resumes.

use tidegate_core::contract::Error;
use tidegate_files::QueuedReload;
use tidegate_store::reloads::{self, Reload};
use tidegate_store::{Receipt, SourceKind, Store};
use tracing::warn;

use crate::ingest_queue::IngestQueue;
use crate::settings::Settings;

/// Why a source cannot be read again, if its receipt alone tells.
pub fn refusal(receipt: &Receipt) -> Option<String> {
    let Receipt { source, kind, name, .. } = receipt;
    if *kind != SourceKind::File {
        let instead = match kind {
            SourceKind::Restore => "restore the backup once more",
            _ => "send it again under another Idempotency-Key",
        };
        return Some(format!(
            "source {source} ('{name}') is not a file, its kind is '{kind}': its lines are not kept once every one is \
             accounted for; {instead}"
        ));
    }
    (!receipt.complete()).then(|| {
        format!("source {source} ('{name}') is being read: not every line of it is accounted for yet; wait for that")
    })
}

/// Hands requested reloads, and reloads whose new source is incomplete, to this process's source. Returns whether there
/// are any.
pub(crate) async fn take_up(
    settings: &Settings,
    store: &Store,
    ingest_queue: &IngestQueue,
) -> Result<bool, Error> {
    let open = reloads::open(store).await?;
    let is_any_open = !open.is_empty();
    for Reload { reload, old_source, dataset, kind, name, content, bytes, source, .. } in open {
        let found = settings.manifest.dataset(&dataset).filter(|_| kind == SourceKind::File);
        let Some((dataset, _)) = found else {
            let why = format!(
                "source {old_source}, a '{kind}' of '{dataset}', is not a file of a dataset of the manifest"
            );
            warn!(reload, "a source is not read again: {why}");
            reloads::refuse(store, reload, &why).await?;
            continue;
        };
        ingest_queue.read_again(QueuedReload { reload, old_source, dataset, name, content, bytes, source });
    }
    Ok(is_any_open)
}
