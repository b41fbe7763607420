//! What a file is, by its bytes: whether it is text at all, in which encoding, and how its lines and fields are set apart.
//!
//! * [`nature`]: what its first bytes say, for whoever refuses it.
//! * `head`: its beginning, unpacked.
//! * `encoding`: bytes to text.
//! * `dialect`: what stands before the header, and between fields.

pub(super) mod nature;
pub(super) mod head;
pub(super) mod encoding;
pub(super) mod dialect;

pub use nature::Nature;
