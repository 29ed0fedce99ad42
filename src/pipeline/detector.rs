//! The detector: the one owner of all state about instruments, and the one place that decides.
//!
//! State belongs to a partition: its clock, its instruments, their shocks and budget. An instrument is a name on one
//! partition; the same name on another partition is another instrument.
//!
//! `handle` takes a closed [`Input`] and appends to [`Effects`]; there is no clock, no I/O, no logging and no randomness
//! in it. Records are taken in one by one; what is due is scored as one batch at [`Input::EndOfBatch`]; then the ticks
//! are judged in the order they arrived, so that the alerts do not depend on how the records were cut into batches.

mod intake;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{AlertConfig, Cause, Mode};
use super::batch::Batch;
use super::decode::{DecodeConfig, Decoder};
pub use super::effect::{DeadLetter, Effect, Effects};
use super::guard::{Finding, GuardConfig};
pub use super::input::{Input, Record};
use super::instrument::Instrument;
use super::partition::PartitionState;
use super::position::TopicPartition;
use super::score::{Model, ModelVersion};
use super::snapshot::Told;
use super::tick::Tick;
use super::time::ArrivalTime;
pub use super::verdict::{Outcome, Verdict};

/// What the detector is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorConfig {
    /// Names of the input topics, for alert ids, in the order of their [`super::position::TopicIndex`].
    pub topics: Vec<String>,
    /// How records are read.
    pub decode: DecodeConfig,
    /// Which guards run.
    pub guards: GuardConfig,
    /// When alerts open, change and end.
    pub alerts: AlertConfig,
    /// Bounds and stride.
    pub limits: LimitConfig,
}

/// Bounds and stride of the detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Rows between two scored windows of an instrument (rows, > 0); 1 scores every tick.
    pub stride: u32,
    /// Instruments kept per worker (> 0); ticks of further ones are counted and not looked at.
    pub instruments_max: usize,
    /// Rows of an instrument before the first is scored, so that its levels mean something (rows, ≥ 0).
    pub warm_up_rows: u32,
    /// Rows kept per instrument (rows, > 0): the longest lookback that a model can have here.
    pub rows_kept: usize,
    /// A record's stamp that lies further ahead of the wall clock is not believed (seconds, ≥ 0).
    pub stamp_ahead_secs_max: u64,
}

/// What the detector looks like from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DetectorStatus {
    /// Instruments that it remembers.
    pub instruments: usize,
    /// Those among them that the model has a calibration for.
    pub scoring: usize,
    /// Those that it has none for yet.
    pub learning: usize,
    /// Most rows that one of these has shown (rows, ≥ 0).
    pub learning_rows_max: u32,
    /// Alerts that are open: a shock's is one, and those folded into it are none.
    pub open_alerts: usize,
    /// The model at work.
    pub model_version: Option<ModelVersion>,
}

/// A record whose verdict waits for the end of its batch.
struct Pending {
    verdict: Verdict,
    /// Its partition, by index.
    partition: usize,
    /// The time by that partition's clock.
    now: ArrivalTime,
    /// Whether what it leads to was given out before.
    is_redone: bool,
    /// What it says; nothing when the record is none of ours.
    tick: Option<PendingTick>,
}

/// A tick that guards and features have seen.
struct PendingTick {
    /// Slot of its instrument.
    slot: usize,
    cause: Cause,
    finding: Option<Finding>,
    /// Place of its evidence in the batch.
    scored: Option<usize>,
}

/// Decides what each tick means.
pub struct Detector {
    config: DetectorConfig,
    /// Taken out while it reads a record, since what it reads goes to the rest of the detector.
    decoder: Option<Box<Decoder>>,
    model: Option<Model>,
    /// In the order in which they were first seen (a handful per worker).
    partitions: Vec<PartitionState>,
    slots: Vec<Option<Instrument>>,
    free: Vec<usize>,
    batch: Batch,
    pending: Vec<Pending>,
}

impl Detector {
    /// Makes a detector that knows no instrument and no model.
    ///
    /// # Errors
    /// A text that names the key when the decoding cannot be set up.
    pub fn new(config: DetectorConfig) -> Result<Self, String> {
        let decoder = Some(Box::new(Decoder::new(&config.decode, &config.topics)?));
        Ok(Detector {
            config,
            decoder,
            model: None,
            partitions: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            batch: Batch::default(),
            pending: Vec::new(),
        })
    }

    /// Takes one input in and appends what it leads to. `wall` is the wall clock's time: it bounds what a record's stamp can
    /// say, and is the time of partitions that are idle.
    pub fn handle(&mut self, wall: ArrivalTime, input: Input<'_>, effects: &mut Effects) {
        match input {
            Input::Record(record) => self.take_record(&record, wall, effects),
            Input::EndOfBatch => self.end_batch(effects),
            Input::Time { idle } => {
                self.end_batch(effects);
                self.look_at_the_wall(wall, idle, effects);
            }
            Input::Model(model) => {
                self.end_batch(effects);
                self.swap(model, effects);
            }
            Input::Revoked(partitions) => {
                self.end_batch(effects);
                self.forget(partitions);
            }
        }
    }

    /// Tells what the detector looks like.
    pub fn status(&self) -> DetectorStatus {
        let standing = self
            .partitions
            .iter()
            .filter(|partition| partition.shocks.is_standing());
        let mut status = DetectorStatus {
            instruments: self.instruments_known(),
            open_alerts: standing.count(),
            model_version: self.model_version(),
            ..DetectorStatus::default()
        };
        for instrument in self.instruments() {
            match instrument.mode {
                Mode::Scoring => status.scoring += 1,
                Mode::Learning => {
                    status.learning += 1;
                    status.learning_rows_max = status.learning_rows_max.max(instrument.rows_seen);
                }
            }
            let is_own = instrument.episode.is_open() && !instrument.membership.is_folded();
            status.open_alerts += usize::from(is_own);
        }
        status
    }

    /// Lists the names of its instruments, each with its mode, in no order.
    pub fn names(&self) -> impl Iterator<Item = (&Arc<str>, Mode)> {
        self.instruments().map(|instrument| (&instrument.name, instrument.mode))
    }

    fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.slots.iter().flatten()
    }

    /// Counts the instruments of all partitions.
    fn instruments_known(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn model_version(&self) -> Option<ModelVersion> {
        self.model.as_ref().map(|model| model.version)
    }

    /// Finds or makes the state of a partition; gives its index.
    fn partition_of(&mut self, at: TopicPartition) -> usize {
        let known = self.partitions.iter().position(|partition| partition.at == at);
        known.unwrap_or_else(|| {
            let limits = &self.config.limits;
            let state = PartitionState::new(at, &self.config.alerts, limits.stride, limits.stamp_ahead_secs_max);
            self.partitions.push(state);
            self.partitions.len() - 1
        })
    }

    /// Computes the row of a tick and puts it into the batch if it is to be scored; gives its place there.
    fn take_row(&mut self, slot: usize, tick: &Tick) -> (Outcome, Option<usize>) {
        let Some(instrument) = &mut self.slots[slot] else {
            return (Outcome::OverCap, None);
        };
        if !instrument.take_row(tick) {
            return (Outcome::Implausible, None);
        }
        let Some(model) = &self.model else {
            return (Outcome::NoModel, None);
        };
        let lookback = model.scorer.lookback();
        let (window, scales) = (&instrument.window, instrument.features.scales());
        let carried = model.scorer.state_len() > 0;
        // A carried state moves on with every row, whether or not the row is due.
        let queued = carried.then(|| self.batch.add_carried(slot, &instrument.state, window, scales));
        let is_full = carried || window.holds(lookback);
        if !is_full || instrument.rows_seen < self.config.limits.warm_up_rows {
            return (Outcome::WarmUp, None);
        }
        instrument.rows_since_scored += 1;
        if instrument.rows_since_scored < self.config.limits.stride {
            return (Outcome::BetweenStrides, None);
        }
        instrument.rows_since_scored = 0;
        let scored = queued.unwrap_or_else(|| self.batch.add_window(window, scales, lookback));
        (Outcome::Scored, Some(scored))
    }

    /// Finds or makes the slot of an instrument of a partition; `None` when there are too many.
    fn slot_of(&mut self, name: &str, partition: usize) -> Option<usize> {
        if let Some(slot) = self.partitions[partition].by_name.get(name) {
            return Some(*slot);
        }
        if self.instruments_known() >= self.config.limits.instruments_max {
            return None;
        }
        let by_name = &mut self.partitions[partition].by_name;
        let instrument = Instrument::new(name, by_name.len(), self.config.limits.rows_kept, self.model.as_ref());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        by_name.insert(Arc::clone(&instrument.name), slot);
        self.slots[slot] = Some(instrument);
        Some(slot)
    }

    fn end_batch(&mut self, effects: &mut Effects) {
        if self.pending.is_empty() {
            return;
        }
        if let (Some(model), false) = (&self.model, self.batch.is_empty()) {
            self.batch.score(&*model.scorer);
            for (slot, state) in self.batch.states() {
                if let Some(instrument) = &mut self.slots[slot] {
                    instrument.state.copy_from_slice(state);
                }
            }
        }
        let mut touched = vec![false; self.partitions.len()];
        for pending in std::mem::take(&mut self.pending) {
            let Pending {
                mut verdict,
                partition,
                now,
                is_redone,
                tick,
            } = pending;
            touched[partition] = true;
            let given_out = effects.actions.len();
            self.end_silent(partition, now, effects);
            if let Some(tick) = tick {
                self.judge(partition, tick, &mut verdict, effects);
            }
            if is_redone {
                effects.actions.truncate(given_out);
                verdict = Verdict::of(verdict.position, Outcome::Redone, verdict.model_version);
            }
            effects.verdicts.push(verdict);
        }
        (0..self.partitions.len()).for_each(|index| self.end_redo_if_due(index));
        let touched = self
            .partitions
            .iter()
            .zip(touched)
            .filter(|(partition, is_touched)| *is_touched && partition.redo.is_none());
        let commit = |(partition, _): (&PartitionState, bool)| Some(Effect::Commit(partition.at, partition.next()?));
        effects.actions.extend(touched.filter_map(commit));
        self.batch.clear();
    }

    /// Puts a model to work: weights, transforms and tails change together, between two batches. A model whose lookback
    /// is longer than the rows kept would never score; the shell refuses it before it gets here.
    fn swap(&mut self, model: Model, effects: &mut Effects) {
        debug_assert!(model.scorer.lookback() <= self.config.limits.rows_kept);
        let same_scorer = self
            .model
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(&old.scorer, &model.scorer));
        for partition in &mut self.partitions {
            partition.drop_checkpoint(&mut self.slots);
            if partition.redo.is_none()
                && let Some(outside) = partition.tell(Told::Model(model.version))
            {
                effects.actions.push(Effect::Outside(partition.at, outside));
            }
        }
        let model = self.model.insert(model);
        for instrument in self.slots.iter_mut().flatten() {
            instrument.take_over(Some(model), same_scorer);
            instrument.mark.is_changed = true;
        }
    }

    /// Forgets partitions with all that belongs to them.
    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in self.partitions.extract_if(.., |state| partitions.contains(&state.at)) {
            for slot in partition.by_name.into_values() {
                self.slots[slot] = None;
                self.free.push(slot);
            }
        }
    }
}

pub mod checkpoint;
mod judgement;
mod silence;

#[cfg(test)]
mod tests;
