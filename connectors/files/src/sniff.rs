//! Detects the format of a file by its bytes: whether it is text at all, its encoding, and its delimiters.

pub(super) mod nature;
pub(super) mod head;
pub(super) mod encoding;
pub(super) mod dialect;
mod division;
mod odd_lines;
mod fixed_width;

pub(super) use division::RECORD_BYTES_MAX;

pub use nature::Nature;
