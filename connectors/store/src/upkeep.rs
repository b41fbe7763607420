//! The upkeep of views after the commits, under the pipeline's leases.

use std::sync::atomic::Ordering;

use tidegate_core::failpoint::Failpoint;
use tidegate_postgres::PgError;
use tidegate_views::MaintainedStore;

use crate::leases;
use crate::store::Store;

/// The number of changes that a view's store may gather before they are folded.
const UNFOLDED_MAX: i64 = 20_000;

/// Folds the changes of the views whose stores have gathered many.
pub(super) async fn fold_views(store: &Store) -> Result<(), PgError> {
    for view in store.views() {
        let count = format!("select count(*) from {}", view.store.table());
        let rows: i64 = store.connection().await?.query_one(&count, &[]).await?.get(0);
        if rows > view.folded.load(Ordering::Relaxed) * 2 + UNFOLDED_MAX {
            fold(store, view).await?;
        }
    }
    Ok(())
}

/// Folds all visible changes, however few they are.
#[cfg(feature = "testing")]
pub async fn fold_all(store: &Store) -> Result<(), PgError> {
    for view in store.views() {
        fold(store, view).await?;
    }
    Ok(())
}

async fn fold(store: &Store, view: &MaintainedStore) -> Result<(), PgError> {
    let mut connection = store.connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    let Some(rows) = tidegate_views::upkeep::fold(&tx, view).await? else { return Ok(()) };
    Failpoint::ViewFolded.pass()?;
    tx.commit().await?;
    view.folded.store(i64::try_from(rows).unwrap_or(i64::MAX), Ordering::Relaxed);
    Ok(())
}
