//! The place of a record: topic, partition and offset.

/// The number of a record in its partition, from 0.
///
/// Offsets only grow, but not always by one: if a log has lost records, the offsets between are left out.
pub type Offset = u64;

/// The name of a partition in messages.
pub(crate) fn place(topic: &str, partition: u32) -> String {
    format!("topic '{topic}', partition {partition}")
}
