//! Delta tables that the sink keeps up to date.

use std::sync::atomic::AtomicI64;

use crate::store::ViewStore;

/// A store that the sink keeps up to date.
#[derive(Debug)]
pub struct MaintainedStore {
    /// The index of the dataset whose table the store aggregates.
    pub dataset: usize,
    /// The store.
    pub store: ViewStore,
    /// How many rows the last fold left. It may be lost.
    pub folded: AtomicI64,
}

impl MaintainedStore {
    pub(crate) fn new(dataset: usize, store: ViewStore) -> Self {
        Self { dataset, store, folded: AtomicI64::new(0) }
    }
}
