//! The detector: the one owner of all state about instruments, and the one place that decides.
//!
//! `handle` takes a closed [`Input`] and appends to [`Effects`]; there is no clock, no I/O, no logging and no randomness
//! in it. Records are taken in one by one; what is due is scored as one batch at [`Input::EndOfBatch`]; then the ticks
//! are judged in the order they arrived, so that the alerts do not depend on how the records were cut into batches.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertConfig, AlertKind, AlertState, Arm, Cause, Mode, Observation};
use super::batch::Batch;
use super::budget::{self, Budget};
use super::decode::{DecodeConfig, Decoder, TickError};
use super::guard::{Finding, GuardConfig};
use super::instrument::Instrument;
use super::position::{NextOffset, Position, TopicPartition};
use super::row_evidence::RowEvidence;
use super::score::{Model, ModelVersion};
use super::shock::Shocks;
use super::time::{ArrivalTime, EventTime, NANOS_PER_SEC};
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
}

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
    Time,
    /// A new model takes over.
    Model(Model),
    /// These partitions belong to someone else now.
    Revoked(&'a [TopicPartition]),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Publish a revision of an alert.
    Alert(Alert),
    /// Send the record that was just handed in to the dead-letter topic.
    DeadLetter(DeadLetter),
    /// Everything below this offset is applied; it may be committed once all effects before it are acknowledged.
    Commit(TopicPartition, NextOffset),
}

/// Why a record is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record stands.
    pub position: Position,
    /// Label under which it is counted.
    pub reason: &'static str,
    /// What was wrong, for people.
    pub detail: String,
}

/// What one or more inputs led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// What is to be done, in this order.
    pub actions: Vec<Effect>,
    /// One verdict per record, in the order they were handed in.
    pub verdicts: Vec<Verdict>,
}

impl Effects {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.verdicts.clear();
    }
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
    /// Slot of its instrument; `None` when the record is none of ours.
    slot: Option<usize>,
    cause: Cause,
    finding: Option<Finding>,
    /// Place of its evidence in the batch.
    scored: Option<usize>,
}

/// Decides what each tick means.
pub struct Detector {
    config: DetectorConfig,
    decoder: Decoder,
    budget: Budget,
    shocks: Shocks,
    model: Option<Model>,
    slots: Vec<Option<Instrument>>,
    free: Vec<usize>,
    by_name: HashMap<Arc<str>, usize>,
    /// Next offset per partition, in the order partitions were first seen (a handful per worker).
    applied: Vec<(TopicPartition, NextOffset)>,
    batch: Batch,
    pending: Vec<Pending>,
}

impl Detector {
    /// Makes a detector that knows no instrument and no model.
    ///
    /// # Errors
    /// A text that names the key when the decoding cannot be set up.
    pub fn new(config: DetectorConfig) -> Result<Self, String> {
        let decoder = Decoder::new(&config.decode)?;
        Ok(Detector {
            budget: Budget::new(&config.alerts, config.limits.stride),
            shocks: Shocks::new(&config.alerts),
            config,
            decoder,
            model: None,
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            applied: Vec::new(),
            batch: Batch::default(),
            pending: Vec::new(),
        })
    }

    /// Takes one input in and appends what it leads to. `now` is the arrival time up to which the caller has heard of
    /// everything; only [`Input::Time`] looks at it.
    pub fn handle(&mut self, now: ArrivalTime, input: Input<'_>, effects: &mut Effects) {
        match input {
            Input::Record(record) => self.take_record(&record, effects),
            Input::EndOfBatch => self.end_batch(effects),
            Input::Time => {
                self.end_batch(effects);
                self.resolve_silent(now, effects);
            }
            Input::Model(model) => {
                self.end_batch(effects);
                self.swap(model);
            }
            Input::Revoked(partitions) => {
                self.end_batch(effects);
                self.forget(partitions);
            }
        }
    }

    /// Tells what the detector looks like.
    pub fn status(&self) -> DetectorStatus {
        let learning = || {
            self.instruments()
                .filter(|instrument| instrument.mode == Mode::Learning)
        };
        DetectorStatus {
            instruments: self.by_name.len(),
            scoring: self.by_name.len() - learning().count(),
            learning: learning().count(),
            learning_rows_max: learning().map(|instrument| instrument.rows_seen).max().unwrap_or(0),
            open_alerts: usize::from(self.shocks.is_standing())
                + self
                    .slots
                    .iter()
                    .flatten()
                    .filter(|instrument| instrument.episode.is_open() && !instrument.part.is_folded())
                    .count(),
            model_version: self.model_version(),
        }
    }

    /// Lists the names of its instruments, each with its mode, in no order.
    pub fn names(&self) -> impl Iterator<Item = (&Arc<str>, Mode)> {
        self.instruments().map(|instrument| (&instrument.name, instrument.mode))
    }

    fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.slots.iter().flatten()
    }

    fn model_version(&self) -> Option<ModelVersion> {
        self.model.as_ref().map(|model| model.version)
    }

    fn take_record(&mut self, record: &Record<'_>, effects: &mut Effects) {
        let mut pending = Pending {
            verdict: Verdict {
                position: record.position,
                outcome: Outcome::AlreadyApplied,
                score: 0.0,
                guard: None,
                share: 0.0,
                is_above: false,
                is_folded: false,
                model_version: self.model_version(),
            },
            slot: None,
            cause: Cause {
                position: record.position,
                event_time: EventTime(0),
                arrival_time: record.arrival_time,
            },
            finding: None,
            scored: None,
        };
        if self.advance(record.position) {
            match self.take_tick(record, &mut pending) {
                Ok(outcome) => pending.verdict.outcome = outcome,
                Err(error) => {
                    pending.verdict.outcome = Outcome::Rejected;
                    effects.actions.push(Effect::DeadLetter(DeadLetter {
                        position: record.position,
                        reason: error.reason(),
                        detail: error.to_string(),
                    }));
                }
            }
        }
        self.pending.push(pending);
    }

    /// Moves the partition's next offset; false when the record was applied before.
    fn advance(&mut self, position: Position) -> bool {
        match self.applied.iter_mut().find(|(at, _)| *at == position.at) {
            Some((_, next)) if position.offset.0 < next.0 => false,
            Some((_, next)) => {
                *next = position.offset.next();
                true
            }
            None => {
                self.applied.push((position.at, position.offset.next()));
                true
            }
        }
    }

    fn take_tick(&mut self, record: &Record<'_>, pending: &mut Pending) -> Result<Outcome, TickError> {
        let decoded = self.decoder.decode(record.key, record.payload)?;
        let tick = decoded.tick;
        pending.cause.event_time = tick.event_time;
        let Some(slot) = self.slot_of(&decoded.instrument, record.position.at) else {
            return Ok(Outcome::OverCap);
        };
        let Some(instrument) = &mut self.slots[slot] else {
            return Ok(Outcome::OverCap);
        };
        let checked = instrument
            .guards
            .observe(&self.config.guards, &tick, record.arrival_time);
        pending.slot = Some(slot);
        pending.finding = checked.finding;
        if checked.is_repeated {
            return Ok(Outcome::Duplicate);
        }
        instrument.take_row(&tick);
        let Some(model) = &self.model else {
            return Ok(Outcome::NoModel);
        };
        let lookback = model.scorer.lookback();
        let (window, scales) = (&instrument.window, instrument.features.scales());
        let carried = model.scorer.state_len() > 0;
        // A carried state moves on with every row, whether or not the row is due.
        let queued = carried.then(|| self.batch.add_carried(slot, &instrument.state, window, scales));
        let is_full = carried || window.holds(lookback);
        if !is_full || instrument.rows_seen < self.config.limits.warm_up_rows {
            return Ok(Outcome::WarmUp);
        }
        instrument.rows_since_scored += 1;
        if instrument.rows_since_scored < self.config.limits.stride {
            return Ok(Outcome::BetweenStrides);
        }
        instrument.rows_since_scored = 0;
        pending.scored = queued.or_else(|| Some(self.batch.add_window(window, scales, lookback)));
        Ok(Outcome::Scored)
    }

    /// Finds or makes the slot of an instrument; `None` when there are too many.
    fn slot_of(&mut self, name: &str, home: TopicPartition) -> Option<usize> {
        if let Some(slot) = self.by_name.get(name) {
            return Some(*slot);
        }
        if self.by_name.len() >= self.config.limits.instruments_max {
            return None;
        }
        let instrument = Instrument::new(name, home, self.config.limits.rows_kept, self.model.as_ref());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_name.insert(Arc::clone(&instrument.name), slot);
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
        let mut touched: Vec<TopicPartition> = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            self.judge(&mut pending, effects);
            effects.verdicts.push(pending.verdict);
            if !touched.contains(&pending.verdict.position.at) {
                touched.push(pending.verdict.position.at);
            }
        }
        let applied = self.applied.iter().filter(|(at, _)| touched.contains(at));
        effects
            .actions
            .extend(applied.map(|(at, next)| Effect::Commit(*at, *next)));
        self.batch.clear();
    }

    /// Joins the arms into the tick's score and lets the instrument's alert take it in.
    fn judge(&mut self, pending: &mut Pending, effects: &mut Effects) {
        let Some(slot) = pending.slot else { return };
        let Some(instrument) = &mut self.slots[slot] else {
            return;
        };
        let Instrument {
            name,
            episode,
            errors,
            recent,
            pace,
            part,
            calibration,
            mode,
            ..
        } = instrument;
        let evidence = calibration
            .as_deref()
            .zip(pending.scored)
            .and_then(|(calibration, index)| RowEvidence::new(calibration, &self.batch, index, errors, recent));
        let guard_score = pending.finding.map_or(0.0, |finding| finding.surprise);
        let model_score = evidence.as_ref().map_or(0.0, |evidence| mode.temper(evidence.score()));
        let lasting = evidence
            .as_ref()
            .map_or(0.0, |evidence| mode.temper(evidence.lasting()));
        pending.verdict.score = guard_score.max(model_score);
        pending.verdict.guard = pending.finding.map(|finding| finding.guard);
        let is_repeated = pending.verdict.outcome == Outcome::Duplicate;
        if !is_repeated {
            self.budget.observe(pace, pending.cause.event_time);
        }
        pending.verdict.share = self.budget.share(pace);
        let threshold = budget::threshold(pending.verdict.share);
        pending.verdict.is_above = pending.verdict.score >= threshold;
        // A tick that came before can raise an alert; it does not count as one more quiet tick.
        if is_repeated && !pending.verdict.is_above {
            return;
        }
        // What has a name is called by it, if the guard alone would have said so too.
        let (arm, kind) = match pending.finding {
            Some(finding) if guard_score >= model_score.min(threshold) => (Arm::Guard, AlertKind::Guard(finding.guard)),
            _ => (
                evidence.as_ref().map_or(Arm::Pointwise, RowEvidence::arm),
                AlertKind::Anomaly,
            ),
        };
        let seen = Observation {
            cause: pending.cause,
            score: pending.verdict.score,
            lasting: guard_score.max(lasting),
            threshold,
            arm,
            kind,
            mode: *mode,
            model_version: evidence.as_ref().and(pending.verdict.model_version),
        };
        let topic = &self.config.topics[usize::from(pending.cause.position.at.topic.0)];
        let features = || evidence.as_ref().map_or_else(Vec::new, RowEvidence::shares);
        let revision = episode.observe(&self.config.alerts, name, topic, &seen, features);
        if let Some(evidence) = &evidence {
            evidence.follow(recent, self.config.alerts.runs(), episode.is_open());
        }
        let opened = revision.as_ref().is_some_and(|alert| alert.state == AlertState::Opened);
        let published = self.shocks.observe(slot, part, episode, &seen, revision);
        pending.verdict.is_folded = opened && part.is_folded();
        effects
            .actions
            .extend(published.into_iter().flatten().map(Effect::Alert));
    }

    fn resolve_silent(&mut self, now: ArrivalTime, effects: &mut Effects) {
        let silence = self.config.alerts.silence_secs.saturating_mul(NANOS_PER_SEC as u64) as i64;
        for instrument in self.slots.iter_mut().flatten() {
            let silent = instrument
                .episode
                .last_arrival()
                .is_some_and(|last| now.0.saturating_sub(last.0) > silence);
            if silent {
                let alert = self.shocks.end(&mut instrument.part, &mut instrument.episode);
                effects.actions.extend(alert.map(Effect::Alert));
            }
        }
        effects.actions.extend(self.shocks.end_silent(now).map(Effect::Alert));
    }

    /// Puts a model to work: weights, transforms and tails change together, between two batches. A model whose lookback
    /// is longer than the rows kept would never score; the shell refuses it before it gets here.
    fn swap(&mut self, model: Model) {
        debug_assert!(model.scorer.lookback() <= self.config.limits.rows_kept);
        let same_scorer = self
            .model
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(&old.scorer, &model.scorer));
        let model = self.model.insert(model);
        for instrument in self.slots.iter_mut().flatten() {
            instrument.follow(Some(model), same_scorer);
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.applied.retain(|(at, _)| !partitions.contains(at));
        for (slot, place) in self.slots.iter_mut().enumerate() {
            if let Some(instrument) = place.take_if(|instrument| partitions.contains(&instrument.home)) {
                self.by_name.remove(&instrument.name);
                self.budget.forget(&instrument.pace);
                self.shocks.forget(slot, &instrument.part);
                self.free.push(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests;
