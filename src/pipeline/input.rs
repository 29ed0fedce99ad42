//! Inputs: everything that a detector can be told.

use super::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use super::score::Model;
use super::time::ArrivalTime;

/// One record as it was polled.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it stands.
    pub position: Position,
    /// Its stamp.
    pub arrival_time: ArrivalTime,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Makes a record of a line of a recording, which has no place in Kafka.
    pub fn of_line(line: &'a [u8]) -> Self {
        let at = TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(0),
        };
        Record {
            position: Position { at, offset: Offset(0) },
            arrival_time: ArrivalTime(0),
            key: None,
            payload: Some(line),
        }
    }
}

/// What the detector can be told.
pub enum Input<'a> {
    /// A record was polled.
    Record(Record<'a>),
    /// No more records are at hand: score what is due, and decide.
    EndOfBatch,
    /// Time has passed, whether or not records came.
    Time {
        /// Partitions of which every record there is has been handed in: their clocks follow the wall clock.
        idle: &'a [TopicPartition],
    },
    /// A new model takes over.
    Model(Model),
    /// These partitions belong to someone else now.
    Revoked(&'a [TopicPartition]),
}
