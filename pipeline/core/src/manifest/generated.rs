//! Keys for rows that have none.

/// How the key of a row that has none is generated, before its line is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// A UUID of version 7, which grows with time.
    Uuid,
    /// The next integer of a sequence.
    Sequence {
        /// The first integer.
        start: i64,
    },
}
