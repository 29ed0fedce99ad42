//! Checkpoints and redo: how a partition goes on elsewhere as if it had never stopped.
//!
//! The input topic is the log, and the detector is a deterministic function of it. So state need not be written at every
//! commit: a *checkpoint* is the state of a partition between two records, and a *redo* hands the records since then in once
//! more.
//!
//! **A checkpoint is of one moment.** Instruments of a partition are coupled (shocks fold their alerts, a total per hour
//! lowers their thresholds, the clock ends their alerts), and a redo from snapshots of many moments would have to know what
//! each instrument was told by the others in between. So all snapshots of a checkpoint show the same moment, its *cut*. They
//! are not written at once: [`Detector::take_snapshots`] gives out as many bytes as the caller has room for, and an
//! instrument that is about to change before its turn is turned into bytes just before (copy on write). An instrument that
//! has not changed since its last snapshot is not written at all. While a checkpoint is written, the one before stays whole,
//! because each instrument's snapshots alternate between two keys.
//!
//! **Redo.** From the cut to the committed offset every record is handed in as ever; nothing it leads to is given out, and
//! its verdict is [`Outcome::Redone`]. Since all state is as it was at the cut, and the same inputs follow, the state at the
//! committed offset is the same, bit for bit. From there on all is given out.
//!
//! **What the log does not say** is told by [`Effect::Outside`]: steps of the clock that the wall clock made, stamps that were
//! not believed, models. Redo applies the first two where they stood. A model is a parameter: whoever restores hands the
//! checkpoint's model in first, and later ones at their offsets. An instrument that is restored under another model than
//! that of its snapshot goes through a swap.
//!
//! # What must be durable, and when
//!
//! 1. `Outside` effects, no later than the commit of an offset beyond theirs and the alerts that follow them.
//! 2. Snapshots, no earlier than the commit of their cut's offset (a checkpoint begun at the end of a batch is complete no
//!    earlier than that batch's commit, in one transaction with it or later), in the order given. The partition's is the last.
//! 3. Then [`Detector::finish_checkpoint`]; or, if the write has failed, [`Detector::drop_checkpoint`]. Outside effects with
//!    offsets below the finished cut may go.

use std::collections::VecDeque;

use super::*;
use crate::pipeline::budget::Budget;
use crate::pipeline::clock::Clock;
use crate::pipeline::partition::{Checkpoint, Redo};
use crate::pipeline::position::{NextOffset, Offset, TopicPartition};
use crate::pipeline::shock::Shocks;
use crate::pipeline::snapshot::{Cut, Kind, Outside, Snapshot, SnapshotError, SnapshotKey, Told, decode, encode};

/// What a partition remembers beside its instruments.
#[derive(Serialize, Deserialize)]
struct Whole<C, S, B> {
    cut: Cut,
    looked_in: Option<i64>,
    clock: C,
    shocks: S,
    budget: B,
    model: Option<ModelVersion>,
    instruments: usize,
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The records from here on are to be handed in.
    pub seek: NextOffset,
    /// The model at work at that offset.
    pub model: Option<ModelVersion>,
    /// Instruments whose state is there.
    pub instruments: usize,
}

impl Detector {
    /// Begins a checkpoint of a partition at its next offset. False, and nothing happens, in the midst of a batch or of a
    /// redo, while another checkpoint of it is under way, or when nothing has been handed in.
    pub fn begin_checkpoint(&mut self, at: TopicPartition) -> bool {
        let model = self.model_version();
        let is_between_batches = self.pending.is_empty();
        let Some(partition) = self.partitions.iter_mut().find(|partition| partition.at == at) else {
            return false;
        };
        let Some(next) = partition.next() else {
            return false;
        };
        if !is_between_batches || partition.redo.is_some() || partition.checkpoint.is_some() {
            return false;
        }
        let cut = Cut {
            at: next,
            outside: partition.told,
        };
        let own = Whole {
            cut,
            looked_in: partition.looked_in,
            clock: &partition.clock,
            shocks: &partition.shocks,
            budget: &partition.budget,
            model,
            instruments: partition.by_name.len(),
        };
        let own = encode(Kind::Partition, &own);
        let mut members = Vec::new();
        for slot in partition.by_name.values() {
            if let Some(instrument) = &mut self.slots[*slot]
                && std::mem::take(&mut instrument.mark.is_changed)
            {
                instrument.mark.is_due = true;
                members.push(*slot);
            }
        }
        partition.checkpoint = Some(Checkpoint::new(cut, own, members));
        true
    }

    /// Appends snapshots of the checkpoint under way until they hold `bytes_max` bytes or more, or all are out. True when all
    /// are out; the partition's own is the last then.
    pub fn take_snapshots(&mut self, at: TopicPartition, bytes_max: usize, out: &mut Vec<Snapshot>) -> bool {
        let partition = self.partitions.iter_mut().find(|partition| partition.at == at);
        let Some(checkpoint) = partition.and_then(|partition| partition.checkpoint.as_mut()) else {
            return false;
        };
        let mut bytes = 0;
        while bytes < bytes_max {
            let snapshot = checkpoint.kept.pop().or_else(|| checkpoint.next_due(&mut self.slots));
            let Some(snapshot) = snapshot else {
                if let Some(own) = checkpoint.own.take() {
                    out.push(Snapshot {
                        key: SnapshotKey::Partition,
                        bytes: own,
                    });
                }
                return true;
            };
            bytes += snapshot.bytes.len();
            out.push(snapshot);
        }
        false
    }

    /// Takes note that all snapshots of the checkpoint under way are durable.
    pub fn finish_checkpoint(&mut self, at: TopicPartition) {
        if let Some(partition) = self.partitions.iter_mut().find(|partition| partition.at == at)
            && let Some(checkpoint) = partition.checkpoint.take_if(|checkpoint| checkpoint.own.is_none())
        {
            partition.saved = Some(checkpoint.cut.at);
            for slot in checkpoint.members {
                if let Some(instrument) = &mut self.slots[slot] {
                    instrument.mark.side ^= 1;
                }
            }
        }
    }

    /// Gives the checkpoint under way up: its snapshots could not be written. The one before it still holds.
    pub fn drop_checkpoint(&mut self, at: TopicPartition) {
        if let Some(partition) = self.partitions.iter_mut().find(|partition| partition.at == at) {
            partition.drop_checkpoint(&mut self.slots);
        }
    }

    /// Gives the offset from which a redo of a partition would begin: that of its last whole checkpoint.
    pub fn redo_from(&self, at: TopicPartition) -> Option<NextOffset> {
        let partition = self.partitions.iter().find(|partition| partition.at == at)?;
        partition.saved
    }

    /// Restores a partition from the snapshots of its last whole checkpoint, in any order; those of later checkpoints that
    /// are not whole may be among them. `committed` is the offset below which nothing is given out, `outside` what was told
    /// since, in order. Without the partition's own snapshot nothing is restored: `None`.
    ///
    /// # Errors
    /// When bytes are damaged or of another format, when snapshots are missing, or when the partition is at work already.
    /// The detector is as before then.
    pub fn restore<'a>(
        &mut self,
        at: TopicPartition,
        committed: NextOffset,
        snapshots: impl IntoIterator<Item = (&'a SnapshotKey, &'a [u8])>,
        outside: impl IntoIterator<Item = Outside>,
    ) -> Result<Option<Restored>, SnapshotError> {
        if self.partitions.iter().any(|partition| partition.at == at) {
            return Err(SnapshotError::AtWork);
        }
        let mut whole: Option<Whole<Clock, Shocks, Budget>> = None;
        let mut newest: std::collections::BTreeMap<Arc<str>, Vec<(Cut, u8, Instrument)>> = Default::default();
        for (key, bytes) in snapshots {
            match key {
                SnapshotKey::Partition => whole = Some(decode(Kind::Partition, bytes)?),
                SnapshotKey::Instrument { name, .. } => {
                    newest
                        .entry(Arc::clone(name))
                        .or_default()
                        .push(decode(Kind::Instrument, bytes)?);
                }
            }
        }
        let Some(whole) = whole else {
            return Ok(None);
        };
        if whole.cut.at > committed {
            return Err(SnapshotError::Beyond(whole.cut.at, committed));
        }
        let instruments: Vec<(u8, Instrument)> = newest
            .into_values()
            .filter_map(|of_name| {
                let of_checkpoint = of_name.into_iter().filter(|(cut, ..)| *cut <= whole.cut);
                let (_, side, instrument) = of_checkpoint.max_by_key(|(cut, ..)| *cut)?;
                Some((side, instrument))
            })
            .collect();
        if instruments.len() != whole.instruments {
            return Err(SnapshotError::Missing {
                expected: whole.instruments,
                found: instruments.len(),
            });
        }
        Ok(Some(self.install(at, committed, whole, instruments, outside)))
    }

    fn install(
        &mut self,
        at: TopicPartition,
        committed: NextOffset,
        whole: Whole<Clock, Shocks, Budget>,
        instruments: Vec<(u8, Instrument)>,
        outside: impl IntoIterator<Item = Outside>,
    ) -> Restored {
        let index = self.partition_of(at);
        let partition = &mut self.partitions[index];
        partition.recall(whole.cut, whole.looked_in, whole.clock, whole.shocks, whole.budget);
        let restored = Restored {
            seek: whole.cut.at,
            model: whole.model,
            instruments: instruments.len(),
        };
        for (side, mut instrument) in instruments {
            instrument.recall(at, side, self.config.limits.rows_kept, self.model.as_ref());
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            let partition = &mut self.partitions[index];
            partition.by_name.insert(Arc::clone(&instrument.name), slot);
            if instrument.episode.is_open() {
                partition.open.insert(instrument.number, slot);
            }
            self.slots[slot] = Some(instrument);
        }
        let outside: VecDeque<Outside> = outside
            .into_iter()
            .filter(|outside| outside.number >= whole.cut.outside)
            .collect();
        self.partitions[index].redo = Some(Redo {
            until: committed,
            outside,
        });
        self.end_redo_if_due(index);
        restored
    }

    /// Does what the redo of a partition was told from outside before the record at `offset`; gives the wall clock's time
    /// that the record's stamp is held against, if the record is redone.
    pub(super) fn redo(&mut self, index: usize, offset: Offset, effects: &mut Effects) -> Option<ArrivalTime> {
        let redo = self.partitions[index].redo.as_ref()?;
        let until = redo.until;
        if redo.outside.front().is_some_and(|outside| outside.at.0 <= offset.0) {
            // What is told takes hold between two records.
            self.end_batch(effects);
        }
        // Whatever is not told apart was believed.
        let mut wall = ArrivalTime(i64::MAX);
        while let Some(outside) = self.partitions[index].next_outside(NextOffset(offset.0)) {
            match outside.told {
                Told::Time(time) => self.redo_step(index, time),
                Told::Wall(told) if outside.at.0 == offset.0 => wall = told,
                Told::Wall(_) | Told::Model(_) => {}
            }
        }
        if offset.0 < until.0 {
            return Some(wall);
        }
        self.partitions[index].redo = None;
        None
    }

    /// Ends the redo of a partition when everything below the committed offset has been handed in.
    pub(super) fn end_redo_if_due(&mut self, index: usize) {
        let partition = &self.partitions[index];
        if let (Some(redo), Some(next)) = (&partition.redo, partition.next())
            && next >= redo.until
        {
            self.end_redo(index);
        }
    }

    /// Ends the redo of a partition.
    pub(super) fn end_redo(&mut self, index: usize) {
        while let Some(outside) = self.partitions[index].next_outside(NextOffset(i64::MAX)) {
            if let Told::Time(time) = outside.told {
                self.redo_step(index, time);
            }
        }
        self.partitions[index].redo = None;
    }

    /// Moves the clock of a partition as it was moved before. What comes of it was given out then.
    fn redo_step(&mut self, index: usize, time: ArrivalTime) {
        let mut nobody = Effects::default();
        if let Some(now) = self.partitions[index].clock.follow(time) {
            self.end_silent(index, now, &mut nobody);
        }
    }
}
