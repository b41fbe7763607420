//! Keys for lines of a file that came without one. Each key is a function of the source and the line, so that a
//! line gets the same key however often it is read.

use tidegate_core::manifest::{Dataset, Generated};
use uuid::Builder;

/// How the keys of a source are generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneratedKeys {
    /// This number for the first line, the next number for the second line, and so on, whether the line needs a key
    /// or not.
    From(i64),
    /// A UUID of version 7 for each line.
    Uuid {
        /// The identity of an upload; of a file of the landing folder a hash of its dataset, name and content, which is
        /// the same if the file is read again as another source.
        identity: [u8; 32],
        /// When the source came, in milliseconds since 1970.
        millis: u64,
    },
}

impl GeneratedKeys {
    /// Returns the keys of a source of a dataset, beginning with `first`, as `tidegate.sources` keeps it. `identity` is
    /// that of [`GeneratedKeys::Uuid`].
    pub fn of_source(dataset: &Dataset, identity: [u8; 32], first: i64) -> Option<Self> {
        Some(match dataset.generated()?.1 {
            Generated::Sequence { .. } => Self::From(first),
            Generated::Uuid => Self::Uuid { identity, millis: first.unsigned_abs() },
        })
    }

    /// Returns the key of a line, counted from 1.
    pub(super) fn of(&self, line: u64) -> String {
        match self {
            Self::From(first) => first.saturating_add_unsigned(line - 1).to_string(),
            Self::Uuid { identity, millis } => {
                // The line comes before the hash, so that keys are ordered as lines are.
                let mut random = [0; 10];
                random[..5].copy_from_slice(&line.to_be_bytes()[3..]);
                let hash = blake3::Hasher::new().update(identity).update(&line.to_le_bytes()).finalize();
                random[5..].copy_from_slice(&hash.as_bytes()[..5]);
                Builder::from_unix_timestamp_millis(*millis, &random).into_uuid().to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_key_and_keys_order_as_lines() {
        assert_eq!(GeneratedKeys::From(7).of(1), "7");
        assert_eq!(GeneratedKeys::From(7).of(3), "9");
        let keys = GeneratedKeys::Uuid { identity: [1; 32], millis: 1_700_000_000_000 };
        let made: Vec<String> = (1..=70_000).map(|line| keys.of(line)).collect();
        assert!(
            made.windows(2).all(|pair| pair[0] < pair[1]),
            "they order as their lines, and none is there twice"
        );
        assert!(made.iter().all(|key| key.as_bytes()[14] == b'7'));
        assert_eq!(keys.of(5), made[4]);
        let other = GeneratedKeys::Uuid { identity: [2; 32], millis: 1_700_000_000_000 };
        assert_ne!(other.of(5), made[4]);
    }
}
