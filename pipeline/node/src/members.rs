//! Nodes that share a pipeline over a cluster.
//!
//! Nodes share the partitions of each stage by leases in Postgres. Each node works for its share until the share
//! changes. Then the node finishes the batch in hand, gives back the partitions that now belong to another node, and
//! begins anew with the rest. A stage's own loop knows nothing of other nodes. Every transaction holds the leases of
//! the partitions that it works for.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::contract::Error;
use tidegate_core::dead_letter::Stage;
use tidegate_engine::lag_records;
use tidegate_store::{Holder, Membership, Share, Store, group};
use tidegate_topics::Broker;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Failure;
use crate::work::Generation;

/// The longest time between two heartbeats of a node. If leases are short, a lease lasts [`HEARTBEATS`] heartbeats.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
const HEARTBEATS: u32 = 3;
/// How long a heartbeat waits for the topics to report the stage's lag.
const LAG_WITHIN: Duration = Duration::from_secs(1);
/// If a stage fails `FAILURES_MAX` times in a row, each time within `FAILURES_WITHIN` of its start, the stage ends with
/// the last failure. Otherwise it starts again after `FAILURE_PAUSE`.
const FAILURES_MAX: u32 = 3;
const FAILURES_WITHIN: Duration = Duration::from_secs(30);
const FAILURE_PAUSE: Duration = Duration::from_millis(300);
/// How long a node that ends waits for Postgres to release its leases.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// A node among others that share its pipeline.
pub(crate) struct Members<'a> {
    pub(crate) store: &'a Store,
    pub(crate) topics: Arc<Broker>,
    pub(crate) holder: &'a Holder,
    /// The fingerprint of the configuration, the same for all nodes.
    pub(crate) fingerprint: String,
    pub(crate) stop: &'a CancellationToken,
}

impl Members<'_> {
    /// Works for this node's share of a stage's partitions, or for the `pinned` ones instead, until `work` ends by itself
    /// or the node is stopped. `work` must end after the batch in hand when its token is cancelled.
    pub(crate) async fn share(
        &self,
        stage: Stage,
        pinned: Option<BTreeSet<u32>>,
        work: impl AsyncFnMut(Generation) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let partitions = self.store.manifest().partitions();
        if let Some(beyond) = pinned.iter().flatten().find(|partition| **partition >= partitions) {
            return Err(Failure::usage(format!(
                "there is no partition {beyond}: the topics have {partitions}, from 0 on"
            )));
        }
        let membership = Membership {
            stage,
            holder: self.holder.clone(),
            pinned,
            config_fingerprint: self.fingerprint.clone(),
        };
        let (tell, shares) = watch::channel(Share::default());
        let at_once = Notify::new();
        let ended = tokio::select! {
            failure = self.heartbeat(&membership, &tell, &at_once) => Err(failure),
            ended = self.generations(&membership, shares, &at_once, work) => ended,
        };
        let _ = tokio::time::timeout(LEAVE_WITHIN, group::deregister(self.store, stage)).await;
        ended
    }

    /// Sends heartbeats and passes on the share that each returns. Returns only on an error that a retry cannot mend.
    async fn heartbeat(&self, me: &Membership, tell: &watch::Sender<Share>, at_once: &Notify) -> Failure {
        let manifest = self.store.manifest();
        loop {
            let held = tell.borrow().kept();
            let lag = lag_records(manifest, &*self.topics, self.store, me.stage, &held);
            // A node that cannot measure its lag is still alive, so the heartbeat goes out without the lag.
            let lag = tokio::time::timeout(LAG_WITHIN.min(manifest.lease / (2 * HEARTBEATS)), lag)
                .await
                .ok()
                .and_then(Result::ok)
                .flatten();
            match group::heartbeat(self.store, me, lag).await.map_err(Error::from) {
                Ok(share) => drop(tell.send_replace(share)),
                Err(error) if error.retry => warn!("the leases were not renewed: {error}"),
                Err(error) => return Failure::new(error),
            }
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT_EVERY.min(manifest.lease / HEARTBEATS)) => {}
                () = at_once.notified() => {}
            }
        }
    }

    /// Works for one share after another.
    async fn generations(
        &self,
        me: &Membership,
        mut shares: watch::Receiver<Share>,
        at_once: &Notify,
        mut work: impl AsyncFnMut(Generation) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let stage = me.stage;
        let mut failures = 0;
        loop {
            let share = shares.borrow_and_update().clone();
            if !share.surplus.is_empty() {
                self.give_back(stage, &share.surplus, at_once).await;
            }
            let kept = share.kept();
            if kept.is_empty() {
                debug!(stage = stage.as_str(), "no partitions, so far");
                tokio::select! {
                    changed = shares.changed() => changed?,
                    () = self.stop.cancelled() => return Ok(()),
                }
                continue;
            }
            let partitions: Vec<u32> = kept.iter().copied().collect();
            info!(stage = stage.as_str(), ?partitions, "working for partitions");
            let (stop, store) = (self.stop.child_token(), self.store.acting(stage, &partitions));
            let begun = Instant::now();
            let end_when_changed = async {
                shares.wait_for(|share| share.kept() != kept).await?;
                stop.cancel();
                pending::<Result<(), Failure>>().await // the generation ends by itself
            };
            let ended = tokio::select! {
                ended = work(Generation { partitions, store, stop: stop.clone() }) => ended,
                failed = end_when_changed => return failed,
            };
            match ended {
                _ if self.stop.is_cancelled() => return ended,
                Ok(()) if !stop.is_cancelled() => return Ok(()),
                Ok(()) => {}
                // The failure may only mean that other nodes hold this node's partitions, or held them for a moment.
                Err(failure) => {
                    failures = if begun.elapsed() > FAILURES_WITHIN { 1 } else { failures + 1 };
                    if failures == FAILURES_MAX {
                        return Err(failure);
                    }
                    warn!(stage = stage.as_str(), "beginning anew: {}", failure.message);
                    at_once.notify_one();
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }

    /// Gives back partitions that now belong to other nodes. If that fails, their leases expire.
    async fn give_back(&self, stage: Stage, surplus: &BTreeSet<u32>, at_once: &Notify) {
        info!(stage = stage.as_str(), partitions = ?surplus, "giving partitions to others");
        match group::give_back(self.store, stage, surplus).await {
            Ok(()) => at_once.notify_one(),
            Err(error) => warn!("partitions were not given back: {error}"),
        }
    }
}
