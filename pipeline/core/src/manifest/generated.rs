//! Keys for rows that bring none.

/// How the key of a row that brings none is made, before its line is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// A UUID of version 7, which grows with time.
    Uuid,
    /// The next whole number of a sequence.
    Sequence {
        /// The first one.
        start: i64,
    },
}
