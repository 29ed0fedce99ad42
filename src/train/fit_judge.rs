//! Fitting a model with a judge: one pass over fresh copies with injected faults, all heads at once.
//!
//! The encoder reads sequences of copies, and the judge answers for every row. The judge's two nets are trained apart from
//! each other, so that their mean joins two independent opinions. Decoder and predictor learn the clean rows at the same
//! time. Knows nothing of raw ticks' meaning, calibration or gates.

use std::ops::ControlFlow;

use candle_core::{Device, Result, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::event_loss::event_loss;
use super::exposure::{SEQUENCE_ROWS, SILENT_ROWS, Sequence, Sources};
use super::fit::{FitError, Fitted, one_cycle};
use super::memory::Memory;
use super::progress::{Phase, Progress};
use crate::inject::{Catalogue, Family};
use crate::model::network::{Lesson, Network, newest_first};
use crate::model::spec::ModelSpec;
use crate::model::weights::Weights;
use crate::pipeline::feature::FEATURES;
use crate::pipeline::scaler::InputRow;

/// How a model with a judge is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposureConfig {
    /// Copies of every tick in every view of it (count, > 0), each with faults of its own.
    pub copies: usize,
    /// Families of faults that the judge is not taught, to measure how well it finds what it does not know.
    pub families_left_out: Vec<Family>,
    /// Most ticks of all copies (ticks, > 0).
    pub ticks_max: usize,
    /// Sequences in one step of the optimiser (> 0).
    pub batch_sequences: usize,
    /// Highest learning rate of the one-cycle schedule (> 0).
    pub learning_rate: f64,
    /// Share of features that one sequence does not see (0–1, 1 excluded).
    pub feature_dropout: f64,
    /// Share of the encoder's state that the judge does not see in training (0–1, 1 excluded).
    pub state_dropout: f64,
    /// Decay of the weights (≥ 0).
    pub weight_decay: f64,
    /// Weight of the decoder's and predictor's mean squared errors beside the judge's loss (≥ 0).
    pub row_weight: f64,
}

/// What the fit begins with.
pub enum Start {
    /// Weights that know nothing.
    Scratch(ModelSpec),
    /// The weights of a base model.
    From(Weights),
}

impl Start {
    /// Where the fit begins with a base model, the highest learning rate is multiplied by this (0–1). More would undo what the
    /// weights have learnt.
    const RATE_FROM_BASE: f64 = 0.3;

    fn weights(&self, seed: u64) -> Weights {
        match self {
            Start::Scratch(spec) => Weights::seeded(*spec, seed),
            Start::From(weights) => weights.clone(),
        }
    }

    fn learning_rate(&self, config: &ExposureConfig) -> f64 {
        match self {
            Start::Scratch(_) => config.learning_rate,
            Start::From(_) => config.learning_rate * Self::RATE_FROM_BASE,
        }
    }
}

/// Sequences at hand at once: a few copies of a few instruments, shuffled together. Memory may allow fewer.
const POOL_SEQUENCES: usize = 1024;
/// The model inputs of one sequence (bytes).
const SEQUENCE_BYTES: usize = SEQUENCE_ROWS * size_of::<InputRow>();

/// Share of the newest step in the running mean of the loss.
const RECENT_SHARE: f64 = 0.05;

/// Fits all heads to copies of `sources`; the loss is the mean per injected fault over about the last twenty steps.
///
/// # Errors
/// [`FitError`]; `progress` can cancel by breaking.
pub fn fit_judge(
    sources: &mut Sources<'_>,
    catalogue: &Catalogue,
    start: &Start,
    config: &ExposureConfig,
    memory: Memory,
    seed: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> std::result::Result<Fitted, FitError> {
    let mut exposing = Exposing {
        network: Network::new(&start.weights(seed), &Device::Cpu)?,
        config,
        draws: Pcg64Mcg::seed_from_u64(!seed),
    };
    let learning_rate = start.learning_rate(config);
    let parameters = ParamsAdamW {
        lr: learning_rate,
        weight_decay: config.weight_decay,
        ..ParamsAdamW::default()
    };
    if sources.is_empty() {
        return Err(FitError::NoWindows);
    }
    let mut optimiser = AdamW::new(exposing.network.variables(), parameters)?;
    let ticks = sources.ticks().saturating_mul(config.copies).min(config.ticks_max);
    let pool_sequences = memory.pooled_max(POOL_SEQUENCES, SEQUENCE_BYTES);
    let sequences_max = (ticks / (SEQUENCE_ROWS - SILENT_ROWS)).max(1);
    let mut pool = Pool::new(sources, catalogue, seed);
    let (mut learnt, mut recent) = (0_usize, None);
    while learnt < sequences_max {
        pool.fill(pool_sequences.min(sequences_max - learnt), &mut exposing.draws)?;
        // The rest of the pool is shuffled into the next one.
        let keep = pool.sequences.len() / 3;
        while pool.sequences.len() > keep && learnt < sequences_max {
            let batch = pool.take(config.batch_sequences);
            let share = learnt as f64 / sequences_max as f64;
            let report = Progress {
                phase: Phase::Fitting,
                share,
                epoch: None,
                loss: recent,
            };
            if progress(report).is_break() {
                return Err(FitError::Cancelled);
            }
            optimiser.set_learning_rate(learning_rate * one_cycle(share));
            let loss = exposing.learn(&batch, &mut optimiser)?;
            if !loss.is_finite() {
                return Err(FitError::Diverged { epoch: 1 });
            }
            learnt += batch.len();
            recent = Some(recent.map_or(loss, |recent: f64| recent + RECENT_SHARE * (loss - recent)));
        }
    }
    Ok(Fitted {
        weights: exposing.network.weights()?,
        loss: recent.unwrap_or(f64::INFINITY),
    })
}

/// Sequences of copies of all sources in turn, shuffled together.
struct Pool<'a, 'b> {
    sources: &'a mut Sources<'b>,
    catalogue: &'a Catalogue,
    seed: u64,
    /// The order of this round.
    order: Vec<usize>,
    /// Copies made so far.
    copies: usize,
    sequences: Vec<Sequence>,
}

impl<'a, 'b> Pool<'a, 'b> {
    fn new(sources: &'a mut Sources<'b>, catalogue: &'a Catalogue, seed: u64) -> Self {
        Pool {
            order: (0..sources.len()).collect(),
            sources,
            catalogue,
            seed,
            copies: 0,
            sequences: Vec::new(),
        }
    }

    /// Makes copies until there are so many sequences, and shuffles them all.
    fn fill(&mut self, wanted: usize, draws: &mut Pcg64Mcg) -> std::result::Result<(), FitError> {
        let mut barren = 0;
        while self.sequences.len() < wanted {
            let (round, place) = (self.copies / self.order.len(), self.copies % self.order.len());
            if place == 0 {
                self.order.shuffle(draws);
            }
            let seed = copy_seed(self.seed, self.copies);
            let sequences = self.sources.expose(self.order[place], self.catalogue, round, seed);
            barren = if sequences.is_empty() { barren + 1 } else { 0 };
            if barren == self.order.len() {
                return Err(FitError::NoWindows);
            }
            self.sequences.extend(sequences);
            self.copies += 1;
        }
        self.sequences.shuffle(draws);
        Ok(())
    }

    /// Takes at most so many out.
    fn take(&mut self, count: usize) -> Vec<Sequence> {
        self.sequences.split_off(self.sequences.len().saturating_sub(count))
    }
}

fn copy_seed(seed: u64, copy: usize) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(copy as u64)
}

struct Exposing<'a> {
    network: Network,
    config: &'a ExposureConfig,
    /// Draws order and masks.
    draws: Pcg64Mcg,
}

impl Exposing<'_> {
    /// Takes one step of the optimiser; gives the loss per event.
    fn learn(&mut self, batch: &[Sequence], optimiser: &mut AdamW) -> Result<f64> {
        let shape = (batch.len(), SEQUENCE_ROWS, FEATURES);
        let numbers: Vec<f32> = batch
            .iter()
            .flat_map(|sequence| sequence.inputs.as_flattened())
            .copied()
            .collect();
        let truth = Tensor::from_vec(numbers, shape, &Device::Cpu)?;
        let mask = self.mask((batch.len(), 1, FEATURES), self.config.feature_dropout)?;
        let seen = truth.broadcast_mul(&mask)?;
        let (outputs, row_loss) = self.read(batch, &seen, &truth)?;
        let asked = SEQUENCE_ROWS - SILENT_ROWS;
        let hidden = outputs.dim(2)?;
        let mask = self.mask((1, batch.len(), hidden), self.config.state_dropout)?;
        let outputs = outputs.narrow(0, SILENT_ROWS, asked)?.broadcast_mul(&mask)?;
        let rows = seen.transpose(0, 1)?.narrow(0, SILENT_ROWS, asked)?.contiguous()?;
        let events: usize = batch.iter().map(|sequence| sequence.question.events.len()).sum();
        let scale = 1.0 / events.max(1) as f64;
        let (mut total, mut loss) = (0.0, row_loss);
        for votes in self.network.judge_votes(&outputs, &rows)? {
            let (found, gradient) = answer(batch, &votes)?;
            total += found * scale;
            // Its gradient by the votes is the one of the loss.
            let of_votes = ((votes * gradient)?.sum_all()? * scale)?;
            loss = Some(match loss {
                Some(loss) => (loss + of_votes)?,
                None => of_votes,
            });
        }
        if let Some(loss) = loss {
            optimiser.backward_step(&loss)?;
        }
        Ok(total)
    }

    /// Lets the encoder read sequences; gives its outputs `(T, B, H)` and the weighted loss of decoder and predictor, which
    /// unroll from its state every `lookback` rows.
    fn read(&self, batch: &[Sequence], seen: &Tensor, truth: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let spec = *self.network.spec();
        let (mut state, mut outputs, mut losses) = (None, Vec::new(), Vec::new());
        for start in (0..SEQUENCE_ROWS).step_by(spec.lookback) {
            let rows = spec.lookback.min(SEQUENCE_ROWS - start);
            let lesson = Lesson {
                windows: &seen.narrow(1, start, rows)?,
                next: None,
                state: state.as_ref(),
            };
            if rows < spec.decoded_rows {
                let rest = self.network.encode(lesson.windows, lesson.state, None)?;
                outputs.push(rest.outputs);
                break;
            }
            let taught = self.network.train_forward(&lesson, None)?;
            if let Some(rebuilt) = &taught.rebuilt {
                let wanted = newest_first(&truth.narrow(1, start, rows)?, spec.decoded_rows)?;
                let clean = clean_sequences(batch, start + rows - spec.decoded_rows..start + rows)?;
                losses.push((rebuilt - wanted)?.sqr()?.broadcast_mul(&clean)?.mean_all()?);
            }
            if let Some(forecast) = &taught.forecast
                && start + rows + spec.horizon <= SEQUENCE_ROWS
            {
                let wanted = truth.narrow(1, start + rows, spec.horizon)?.transpose(0, 1)?;
                let clean = clean_sequences(batch, start + rows..start + rows + spec.horizon)?;
                losses.push((forecast - wanted)?.sqr()?.broadcast_mul(&clean)?.mean_all()?);
            }
            outputs.push(taught.encoded.outputs);
            state = Some(taught.encoded.state);
        }
        let scale = self.config.row_weight / losses.len().max(1) as f64;
        let loss = match losses.is_empty() {
            true => None,
            false => Some((Tensor::stack(&losses, 0)?.sum_all()? * scale)?),
        };
        Ok((Tensor::cat(&outputs, 0)?, loss))
    }

    /// Draws a mask that keeps the mean: 0 with this probability, else the inverse of what is kept.
    fn mask(&mut self, shape: (usize, usize, usize), dropped: f64) -> Result<Tensor> {
        let kept = (1.0 / (1.0 - dropped)) as f32;
        let count = shape.0 * shape.1 * shape.2;
        let draw = |_| {
            if self.draws.random::<f64>() < dropped {
                0.0
            } else {
                kept
            }
        };
        Tensor::from_vec((0..count).map(draw).collect::<Vec<f32>>(), shape, &Device::Cpu)
    }
}

/// Gives 1 for sequences whose rows are all asked to be clean, else 0: `(1, B, 1)`.
fn clean_sequences(batch: &[Sequence], rows: std::ops::Range<usize>) -> Result<Tensor> {
    let is_clean = |sequence: &Sequence| {
        let mut clean = sequence.question.clean.iter();
        let inside = clean.any(|clean| clean.start <= rows.start && rows.end <= clean.end);
        f32::from(u8::from(inside))
    };
    Tensor::from_vec(batch.iter().map(is_clean).collect(), (1, batch.len(), 1), &Device::Cpu)
}

/// Gives the loss of one net's votes `(T, B)` over the rows that are asked for, and its gradient.
fn answer(batch: &[Sequence], votes: &Tensor) -> Result<(f64, Tensor)> {
    let log_odds: Vec<f32> = votes.flatten_all()?.to_vec1()?;
    let mut gradient = vec![0.0; log_odds.len()];
    let mut loss = 0.0;
    for (index, sequence) in batch.iter().enumerate() {
        let asked = sequence.question.moved_back(SILENT_ROWS);
        loss += event_loss(&asked, &log_odds[index..], batch.len(), &mut gradient[index..]);
    }
    Ok((loss, Tensor::from_vec(gradient, votes.shape(), votes.device())?))
}
