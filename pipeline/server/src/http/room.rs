//! How many bytes may be in memory at once, for all who send or are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for so many bytes.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    bytes_max: usize,
}

impl Room {
    /// Room for `bytes_max`.
    pub(super) fn of(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), bytes_max })
    }

    /// A place that takes nothing yet.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place { room: self.clone(), bytes: 0 }
    }

    /// A place of so many bytes, or of all there are if that is less; `None` while there is no room for it.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        let mut place = self.place();
        place.grow(bytes.min(self.bytes_max)).then_some(place)
    }
}

/// What somebody takes of a room. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Place {
    /// Takes so many bytes more. `false` if that is more than there is room for.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.room.taken.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.room.bytes_max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
