//! Inputs: everything that a detector can be told.

use super::position::{Position, TopicPartition};
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
