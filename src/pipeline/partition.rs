//! Everything the detector remembers of one input partition but its instruments themselves.
//!
//! Nothing here depends on another partition, so that no decision depends on which worker has which partitions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::alert::AlertConfig;
use super::budget::Budget;
use super::clock::Clock;
use super::instrument::Instrument;
use super::position::{NextOffset, Offset, TopicPartition};
use super::shock::Shocks;
use super::snapshot::{Cut, Kind, Outside, Snapshot, SnapshotKey, Told, encode};
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
    pub looked_in: Option<i64>,
    /// How much it has been told from outside.
    pub told: u64,
    /// The offset of its last whole checkpoint.
    pub saved: Option<NextOffset>,
    /// The checkpoint under way.
    pub checkpoint: Option<Checkpoint>,
    /// The redo under way.
    pub redo: Option<Redo>,
}

/// A checkpoint of which not everything is written.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub cut: Cut,
    /// The partition's own snapshot, until it is given out.
    pub own: Option<Vec<u8>>,
    /// Slots of the instruments that are in it.
    pub members: Vec<usize>,
    /// How many of these have had their turn.
    visited: usize,
    /// Snapshots of instruments that changed before their turn.
    pub kept: Vec<Snapshot>,
}

impl Checkpoint {
    pub fn new(cut: Cut, own: Vec<u8>, members: Vec<usize>) -> Self {
        Checkpoint {
            cut,
            own: Some(own),
            members,
            visited: 0,
            kept: Vec::new(),
        }
    }

    /// Gives the snapshot of the next instrument whose turn it is.
    pub fn next_due(&mut self, slots: &mut [Option<Instrument>]) -> Option<Snapshot> {
        while let Some(slot) = self.members.get(self.visited) {
            self.visited += 1;
            if let Some(instrument) = slots[*slot].as_mut().filter(|instrument| instrument.mark.is_due) {
                return Some(self.snapshot(instrument));
            }
        }
        None
    }

    fn snapshot(&self, instrument: &mut Instrument) -> Snapshot {
        instrument.mark.is_due = false;
        let side = instrument.mark.side ^ 1;
        Snapshot {
            key: SnapshotKey::Instrument {
                name: Arc::clone(&instrument.name),
                side,
            },
            bytes: encode(Kind::Instrument, &(self.cut, side, &*instrument)),
        }
    }
}

/// A redo of which not everything is done.
#[derive(Debug)]
pub(super) struct Redo {
    /// What is below this was given out before.
    pub until: NextOffset,
    /// What was told from outside meanwhile.
    pub outside: VecDeque<Outside>,
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
            told: 0,
            saved: None,
            checkpoint: None,
            redo: None,
        }
    }

    /// Goes on from the memory of a checkpoint.
    pub fn recall(&mut self, cut: Cut, looked_in: Option<i64>, clock: Clock, shocks: Shocks, budget: Budget) {
        self.next = Some(cut.at);
        self.saved = Some(cut.at);
        self.told = cut.outside;
        self.looked_in = looked_in;
        self.clock = self.clock.clone().recall(clock);
        self.shocks.recall(shocks, self.at);
        self.budget = self.budget.clone().recall(budget);
    }

    /// Takes note that the partition is told something from outside before its next record.
    pub fn tell(&mut self, told: Told) -> Option<Outside> {
        let outside = Outside {
            at: self.next?,
            number: self.told,
            told,
        };
        self.told += 1;
        Some(outside)
    }

    /// Takes out what the redo was told next, if that was at this offset or before.
    pub fn next_outside(&mut self, at: NextOffset) -> Option<Outside> {
        let outside = self.redo.as_mut()?.outside.pop_front_if(|outside| outside.at <= at)?;
        self.told = outside.number + 1;
        Some(outside)
    }

    /// Must be called before an instrument changes: keeps its snapshot if a checkpoint waits for it.
    pub fn touch(&mut self, instrument: &mut Instrument) {
        if instrument.mark.is_due
            && let Some(checkpoint) = &mut self.checkpoint
        {
            let snapshot = checkpoint.snapshot(instrument);
            checkpoint.kept.push(snapshot);
        }
        instrument.mark.is_changed = true;
    }

    /// Gives the checkpoint under way up.
    pub fn drop_checkpoint(&mut self, slots: &mut [Option<Instrument>]) {
        let members = self
            .checkpoint
            .take()
            .map_or_else(Vec::new, |checkpoint| checkpoint.members);
        for slot in members {
            if let Some(instrument) = &mut slots[slot] {
                instrument.mark.is_due = false;
                instrument.mark.is_changed = true;
            }
        }
    }

    /// Tells whether a record at this offset has not been applied.
    pub fn is_new(&self, offset: Offset) -> bool {
        self.next.is_none_or(|next| offset.0 >= next.0)
    }

    /// Tells whether something ends at this time by the clock alone.
    pub fn would_end(&self, now: ArrivalTime, slots: &[Option<Instrument>]) -> bool {
        let is_silent = |slot: &usize| {
            let instrument = slots[*slot].as_ref();
            instrument.is_some_and(|instrument| instrument.episode.is_silent(now, self.silence_nanos))
        };
        self.looked_in != Some(now.0.div_euclid(NANOS_PER_SEC))
            && (self.shocks.would_end(now) || self.open.values().any(is_silent))
    }

    /// Moves the next offset; false when the record was applied before.
    pub fn advance(&mut self, offset: Offset) -> bool {
        let is_new = self.is_new(offset);
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
