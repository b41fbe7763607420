//! Work under all leases of a pipeline, while no other process may run it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::contract;
use tidegate_engine::patiently;
use tidegate_postgres::schema;
use tidegate_store::{Holder, Store, leases};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Failure;
use crate::data_dir::DataDir;
use crate::settings::Settings;

/// How often a lease is renewed within its duration.
const RENEWALS: u32 = 3;
/// How long a run that has ended waits for Postgres to release its leases.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// Does `work` while no other process runs the pipeline: with its data directory and under its leases. Fails if another
/// process runs the pipeline, the data directory belongs to another database, or `work` fails.
pub async fn alone<T>(
    settings: &Settings,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&Store) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let me = holder();
    let data_dir = DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &me, false)?;
    let store = settings.database(data_dir.owner())?;
    let database = patiently(stop, async || schema::migrate(&store).await).await?;
    data_dir.assert_of(database)?;
    leased(&store, &me, false, stop, work(&store)).await
}

/// Does `work` under the pipeline's leases. Renews them meanwhile and releases them at the end. Fails if another process
/// holds the leases or takes them over, or `work` fails.
pub async fn leased<T>(
    store: &Store,
    me: &Holder,
    take_over: bool,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let lease = store.manifest().lease;
    patiently(stop, async || leases::acquire(store, me, lease, take_over).await).await?;
    let renewing = tokio::spawn(renew(store.clone(), lease, stop.clone()));
    let result = work.await;
    let lost = renewing.is_finished();
    renewing.abort();
    let _ = tokio::time::timeout(RELEASE_WITHIN, leases::release(store)).await;
    if lost && let Ok(failure) = renewing.await {
        return Err(failure);
    }
    result
}

/// This process, as other processes see it as a holder of leases.
pub fn holder() -> Holder {
    let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned());
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Holder {
        host: host.unwrap_or_else(|_| "unknown".to_owned()),
        pid: std::process::id(),
        started: started.as_secs_f64(),
    }
}

/// Renews the leases while the run lasts. Returns only on an error that a retry cannot mend. If Postgres is away, the
/// run need not stop: if another process has taken over meanwhile, the next commit fails.
async fn renew(store: Store, lease: Duration, stop: CancellationToken) -> Failure {
    loop {
        tokio::time::sleep(lease / RENEWALS).await;
        if let Err(error) = leases::renew(&store, lease).await.map_err(contract::Error::from) {
            warn!("the leases were not renewed: {error}");
            if !error.retry {
                stop.cancel();
                return Failure::new(error);
            }
        }
    }
}
