//! A pipeline's store in a database for tests.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::manifest::Manifest;
use tidegate_store::{Holder, Store, leases};
use uuid::Uuid;

/// Opens the store of a new process.
///
/// # Panics
///
/// If the manifest has faults.
pub fn open(url: &str, manifest: &str) -> Store {
    of_owner(url, manifest, Uuid::new_v4())
}

/// Opens the store of a process that has the identity `owner`.
///
/// # Panics
///
/// If the manifest has faults.
pub fn of_owner(url: &str, manifest: &str, owner: Uuid) -> Store {
    let manifest = Manifest::parse(manifest, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    Store::new(url, Arc::new(manifest), owner).unwrap_or_else(|error| panic!("{error}"))
}

/// Acquires all leases of the pipeline for longer than a test takes, so that the store can commit.
///
/// # Panics
///
/// If Postgres cannot be queried.
pub async fn take_leases(store: &Store) {
    let me = Holder { host: "test".into(), pid: 1, started: 0.0 };
    let acquired = leases::acquire(store, &me, Duration::from_secs(600), true).await;
    acquired.unwrap_or_else(|error| panic!("the leases cannot be acquired: {error}"));
}
