//! Everything the detector remembers of one input partition but its instruments themselves.
//!
//! Nothing here depends on another partition, so that no decision depends on which worker has which partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::alert::AlertConfig;
use super::budget::Budget;
use super::clock::Clock;
use super::position::{NextOffset, Offset, TopicPartition};
use super::shock::Shocks;
use super::time::{ArrivalTime, NANOS_PER_SEC};

/// The state of one partition.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub at: TopicPartition,
    /// The offset of the first record that has not been applied; none before the first record.
    next: Option<NextOffset>,
    pub clock: Clock,
    /// Slot of each instrument.
    pub by_name: HashMap<Arc<str>, usize>,
    /// Number → slot of the instruments that have an alert open.
    pub open: BTreeMap<usize, usize>,
    pub shocks: Shocks,
    pub budget: Budget,
    silence_nanos: i64,
    /// The second in which silent instruments were last looked for.
    looked_in: Option<i64>,
}

impl PartitionState {
    /// Makes the state of a partition of which nothing has been seen.
    pub fn new(at: TopicPartition, alerts: &AlertConfig, stride: u32, stamp_ahead_secs_max: u64) -> Self {
        let silence_nanos = alerts.silence_secs.saturating_mul(NANOS_PER_SEC as u64);
        PartitionState {
            at,
            next: None,
            clock: Clock::new(stamp_ahead_secs_max),
            by_name: HashMap::new(),
            open: BTreeMap::new(),
            shocks: Shocks::new(alerts),
            budget: Budget::new(&alerts.allowance(stride)),
            silence_nanos: i64::try_from(silence_nanos).unwrap_or(i64::MAX),
            looked_in: None,
        }
    }

    /// Moves the next offset; false when the record was applied before.
    pub fn advance(&mut self, offset: Offset) -> bool {
        let is_new = self.next.is_none_or(|next| offset.0 >= next.0);
        if is_new {
            self.next = Some(offset.next());
        }
        is_new
    }

    /// Gives the offset of the first record that has not been applied; none before the first record.
    pub fn next(&self) -> Option<NextOffset> {
        self.next
    }

    /// Gives how long an instrument with an open alert may be silent (nanoseconds, > 0).
    pub fn silence_nanos(&self) -> i64 {
        self.silence_nanos
    }

    /// Tells whether it is time to look for silent instruments: once a second is often enough, and by the partition's clock
    /// it is the same second however records were cut into batches.
    pub fn is_time_to_look(&mut self, now: ArrivalTime) -> bool {
        let second = now.0.div_euclid(NANOS_PER_SEC);
        self.looked_in.replace(second) != Some(second)
    }
}
