//! The offline driver: a `for` loop over recorded lines that runs the daemon's detector in virtual time.

use crate::pipeline::detector::{Detector, DetectorConfig, Effects, Input, Record};
use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use crate::pipeline::score::Model;
use crate::pipeline::time::ArrivalTime;

/// Lines handed in before what is due is scored: enough to fill a batch.
const BATCH_LINES: usize = 512;

/// A detector fed from memory; each feed stands on a partition of its own.
pub struct Driver {
    detector: Detector,
    next_offsets: Vec<i64>,
    waiting: usize,
    /// What the inputs so far have led to; the caller takes from it what it needs and clears it.
    pub effects: Effects,
}

impl Driver {
    /// Makes a driver.
    ///
    /// # Errors
    /// A text that names the key when the configuration makes no sense.
    pub fn new(config: DetectorConfig) -> Result<Self, String> {
        let detector = Detector::new(config)?;
        Ok(Driver {
            detector,
            next_offsets: Vec::new(),
            waiting: 0,
            effects: Effects::default(),
        })
    }

    /// Puts a model to work.
    pub fn swap(&mut self, model: Model) {
        self.detector
            .handle(ArrivalTime(0), Input::Model(model), &mut self.effects);
    }

    /// Hands in one line of feed number `feed`, as a record that arrived at `arrival_time`.
    pub fn line(&mut self, feed: usize, line: &[u8], arrival_time: ArrivalTime) {
        if self.next_offsets.len() <= feed {
            self.next_offsets.resize(feed + 1, 0);
        }
        let at = TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(feed as i32),
        };
        let position = Position {
            at,
            offset: Offset(self.next_offsets[feed]),
        };
        self.next_offsets[feed] += 1;
        let record = Record {
            position,
            arrival_time,
            key: None,
            payload: Some(line),
        };
        self.detector
            .handle(arrival_time, Input::Record(record), &mut self.effects);
        self.waiting += 1;
        if self.waiting >= BATCH_LINES {
            self.end_batch();
        }
    }

    /// Scores what is due and decides.
    pub fn end_batch(&mut self) {
        self.waiting = 0;
        self.detector
            .handle(ArrivalTime(0), Input::EndOfBatch, &mut self.effects);
    }
}
