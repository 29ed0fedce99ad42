//! One training: reads recent ticks back, fits or calibrates, gates, stores.

use std::ops::ControlFlow;

use crate::kafka::history::{count_back, read_back};
use crate::model::artifact::Artifact;
use crate::pipeline::decode::{Decoder, What};
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick_reader::{Gathered, TickReader};
use crate::pipeline::time::ArrivalTime;
use crate::status::TrainingPhase;
use crate::train::dataset::HeldBack;
use crate::train::fit::FitError;
use crate::train::gate;
use crate::train::progress::{Phase, Progress};
use crate::train::trainer::{TrainError, settle, train};

use super::Learner;
use super::error::LearnError;

/// Whatever is made here will be some day's champion: every model leaves rows to the gate that it has not seen.
pub(super) const HELD_BACK: HeldBack = HeldBack::CalibrationAndGate;

impl Learner {
    /// Tells whether there are enough records for a training to be worth a try.
    pub(super) fn enough_records(&mut self) -> Result<bool, LearnError> {
        if self.has_own_model() {
            return Ok(true);
        }
        let config = &self.context.config;
        let records = count_back(
            &config.kafka,
            &config.input.topics,
            self.since(),
            config.retrain.history_ticks_max,
        )?;
        // A quarter more than last time, so that a slow feed is not read over and over.
        let needed =
            (self.too_few_records + self.too_few_records / 4).max(config.training.ticks_per_instrument_min as u64);
        if records < needed {
            return Ok(false);
        }
        self.too_few_records = records;
        Ok(true)
    }

    fn since(&self) -> ArrivalTime {
        let history_ms = self.context.config.retrain.history_secs.saturating_mul(1000) as i64;
        ArrivalTime::from_millis(jiff::Timestamp::now().as_millisecond().saturating_sub(history_ms))
    }

    pub(super) fn train_and_gate(&self) -> Result<(Artifact, String), LearnError> {
        let config = &self.context.config;
        let ticks = self.read_ticks(|_| true)?.instruments;
        let version = self.next_version()?;
        let trained_at = jiff::Timestamp::now().to_string();
        let mut progress = |progress| self.follow_progress(progress);
        let held_back = HELD_BACK;
        if let (false, Some(base)) = (self.has_own_model(), &self.base) {
            let training = &config.training;
            let settled = settle(base, &ticks, training, held_back, version, &trained_at, &mut progress)?;
            self.context.store.save(&settled)?;
            return Ok((settled, "base model, calibrated to the instruments here".into()));
        }
        let challenger = train(
            &ticks,
            &config.model,
            &config.training,
            held_back,
            version,
            &trained_at,
            &mut progress,
        )?;
        let detail = match &self.champion {
            None => {
                let loss = challenger.provenance.loss_text().unwrap_or_default();
                format!("first model; {loss}")
            }
            Some(champion) => {
                let terms = gate::Terms {
                    threshold: config.alerts.threshold(),
                    held_back_share: config.training.held_back_share,
                    runs: config.training.runs,
                    seed: config.training.seed,
                };
                let mut progress = |share| {
                    self.report(TrainingPhase::Gating, share);
                    self.continue_unless_stopped()
                };
                let verdict = gate::compare(&champion.model(), &challenger.model(), &ticks, &terms, &mut progress)
                    .ok_or(TrainError::Fit(FitError::Cancelled))?;
                if !verdict.accepted() {
                    return Err(LearnError::Refused(verdict));
                }
                verdict.to_string()
            }
        };
        self.context.store.save(&challenger)?;
        Ok((challenger, detail))
    }

    /// Tells how far a model has come, and whether to go on.
    pub(super) fn follow_progress(&self, progress: Progress) -> ControlFlow<()> {
        let phase = match progress.phase {
            Phase::Preparing => TrainingPhase::Preparing,
            Phase::Fitting => TrainingPhase::Fitting,
            Phase::Calibrating => TrainingPhase::Calibrating,
        };
        self.report(phase, progress.share);
        self.continue_unless_stopped()
    }

    pub(super) fn next_version(&self) -> Result<ModelVersion, LearnError> {
        let stored = self.context.store.versions()?.last().map_or(0, |version| version.0);
        let known = self.champion.as_ref().map_or(0, |champion| champion.version.0);
        Ok(ModelVersion(stored.max(known) + 1))
    }

    /// Reads the newest ticks of the instruments that are wanted back.
    pub(super) fn read_ticks(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Gathered, LearnError> {
        let config = &self.context.config;
        let decoder = Decoder::new(&config.decode, &config.input.topics).map_err(LearnError::Decode)?;
        let mut reader = TickReader::new(config.training.tick_bounds(config.detector.instruments_max));
        let max = config.retrain.history_ticks_max;
        let mut stopped = false;
        read_back(
            &config.kafka,
            &config.input.topics,
            self.since(),
            max,
            |record, progress| {
                // What is no tick has its dead letter from the worker.
                decoder.decode(record, &mut |item| match item.what {
                    What::Tick { instrument, tick, .. } if is_wanted(instrument) => reader.push(instrument, tick),
                    What::Tick { .. } | What::Incomplete { .. } | What::Ignored | What::Bad(_) => {}
                });
                if progress.records % 4096 == 0 {
                    self.report(
                        TrainingPhase::Reading,
                        progress.records as f64 / progress.total.max(1) as f64,
                    );
                    stopped = self.continue_unless_stopped().is_break();
                }
                !stopped
            },
        )?;
        if stopped {
            return Err(TrainError::Fit(FitError::Cancelled).into());
        }
        let read = reader.finish();
        let (kept, of) = (read.thinned.kept, read.thinned.of);
        if read.thinned.is_thinned() {
            let memory_bytes_max = config.training.memory_bytes_max;
            tracing::info!(
                kept,
                of,
                memory_bytes_max,
                "the newest ticks alone are learnt from: memory holds no more"
            );
        } else {
            tracing::info!(
                kept,
                duplicates = read.duplicates,
                implausible = read.implausible,
                "ticks read for a training"
            );
        }
        Ok(read)
    }
}
