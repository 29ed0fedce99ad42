//! Where a record stands: topic, partition, offset, each a type of its own.
//!
//! Promises that an offset is never taken for a partition, nor a next offset for an offset. Knows nothing of brokers.

use serde::{Deserialize, Serialize};

/// Number of an input topic in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicIndex(pub u16);

/// Number of a partition within its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub i32);

/// Offset of one record in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// Gives the offset to read after this record: what Kafka wants committed.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

/// Offset of the first record that has not been applied yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NextOffset(pub i64);

/// One partition of one input topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The input topic.
    pub topic: TopicIndex,
    /// The partition within it.
    pub partition: Partition,
}

/// Where one record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The record's partition.
    pub at: TopicPartition,
    /// The record's offset in it.
    pub offset: Offset,
}
