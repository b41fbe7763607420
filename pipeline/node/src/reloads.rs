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
    for Reload { reload, old_source, dataset, kind, name, content, bytes, generated_keys, source, .. } in open
    {
        let found = settings.manifest.dataset(&dataset).filter(|_| kind == SourceKind::File);
        let index = match found {
            None => Err(format!(
                "source {old_source}, a '{kind}' of '{dataset}', is not a file of a dataset of the manifest"
            )),
            // A reload that has its new source is finished, whatever the manifest says by now.
            Some((_, definition)) if definition.is_keyless() && source.is_none() => Err(format!(
                "the rows of '{dataset}' have no key, so the lines of source {old_source} would not replace their rows \
                 but insert each once more"
            )),
            Some((index, _)) => Ok(index),
        };
        let dataset = match index {
            Ok(index) => index,
            Err(why) => {
                warn!(reload, "a source is not read again: {why}");
                reloads::refuse(store, reload, &why).await?;
                continue;
            }
        };
        ingest_queue.read_again(QueuedReload {
            reload,
            old_source,
            dataset,
            name,
            content,
            bytes,
            generated_keys,
            source,
        });
    }
    Ok(is_any_open)
}
