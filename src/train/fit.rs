//! Fitting the weights: candle's autograd over shuffled windows, seeded, with early stopping.
//!
//! Knows nothing of raw rows, calibration or gates: model inputs in, weights out.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::network::{Lesson, Network};
use crate::model::spec::ModelSpec;
use crate::model::weights::Weights;
use crate::pipeline::feature::FEATURES;
use crate::pipeline::scaler::InputRow;

/// How weights are fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Windows in one step of the optimiser (> 0).
    pub batch_windows: usize,
    /// Most windows in one epoch (> 0); of more, a seeded choice is taken.
    pub windows_max: usize,
    /// Most epochs (> 0).
    pub epochs_max: usize,
    /// Epochs without a better loss after which fitting stops (> 0).
    pub patience_epochs: usize,
    /// Highest learning rate of the one-cycle schedule (> 0).
    pub learning_rate: f64,
}

/// A window to learn from: the rows that end at `end` (excluded) of sequence `sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRef {
    /// Which sequence of model inputs.
    pub sequence: usize,
    /// Index after the window's newest row.
    pub end: usize,
}

/// How far fitting has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitProgress {
    /// Epoch at work, from 1.
    pub epoch: usize,
    /// Most epochs.
    pub epochs_max: usize,
    /// Steps done in all, as a share of the most that there can be (0–1).
    pub share: f64,
    /// Best loss so far on the windows that tell when to stop (mean squared error).
    pub loss: Option<f64>,
}

/// Why there are no weights.
#[derive(Debug, Error)]
pub enum FitError {
    /// There is nothing to learn from.
    #[error("no window to learn from")]
    NoWindows,
    /// The caller has had enough.
    #[error("cancelled")]
    Cancelled,
    /// The loss is not a number any more.
    #[error("the loss is no longer finite in epoch {epoch}; lower training.fit.learning_rate")]
    Diverged {
        /// Where it happened.
        epoch: usize,
    },
    /// candle failed.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

/// What fitting gives.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The best weights.
    pub weights: Weights,
    /// Their loss on the windows that tell when to stop (mean squared error).
    pub loss: f64,
}

/// Windows to fit to and to stop by, over shared sequences of model inputs.
pub struct FitData<'a> {
    /// `(N, F)` model inputs, one sequence per chunk.
    pub sequences: &'a [Vec<InputRow>],
    /// Windows to fit to.
    pub fit: Vec<WindowRef>,
    /// Windows that tell when to stop; with none, the last epoch wins.
    pub stop: Vec<WindowRef>,
}

/// Fits weights to windows.
///
/// # Errors
/// [`FitError`]; `progress` can cancel by breaking.
pub fn fit(
    mut data: FitData<'_>,
    spec: ModelSpec,
    config: &FitConfig,
    seed: u64,
    progress: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
) -> Result<Fitted, FitError> {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    data.fit.shuffle(&mut generator);
    data.fit.truncate(config.windows_max);
    // A fifth as many are enough to rank epochs by.
    data.stop.shuffle(&mut generator);
    data.stop.truncate((config.windows_max / 5).max(config.batch_windows));
    if data.fit.is_empty() {
        return Err(FitError::NoWindows);
    }
    let mut fitting = Fitting::new(spec, config, seed, data.fit.len())?;
    let mut best: Option<Fitted> = None;
    let mut epochs_without_gain = 0;
    for epoch in 1..=config.epochs_max {
        data.fit.shuffle(&mut generator);
        let best_loss = best.as_ref().map(|best| best.loss);
        let trained = fitting.epoch(&data, epoch, best_loss, progress)?;
        let loss = if data.stop.is_empty() {
            trained
        } else {
            fitting.loss(data.sequences, &data.stop)?
        };
        if !loss.is_finite() {
            return Err(FitError::Diverged { epoch });
        }
        if best
            .as_ref()
            .is_none_or(|best| data.stop.is_empty() || loss < best.loss)
        {
            best = Some(Fitted {
                weights: fitting.model.weights()?,
                loss,
            });
            epochs_without_gain = 0;
        } else {
            epochs_without_gain += 1;
            if epochs_without_gain >= config.patience_epochs {
                break;
            }
        }
    }
    best.ok_or(FitError::NoWindows)
}

struct Fitting<'a> {
    config: &'a FitConfig,
    spec: ModelSpec,
    model: Network,
    optimiser: AdamW,
    steps: usize,
    steps_max: usize,
}

impl<'a> Fitting<'a> {
    fn new(spec: ModelSpec, config: &'a FitConfig, seed: u64, windows: usize) -> Result<Self, FitError> {
        let model = Network::new(&Weights::seeded(spec, seed), &Device::Cpu)?;
        let parameters = ParamsAdamW {
            lr: config.learning_rate,
            weight_decay: 1e-4,
            ..ParamsAdamW::default()
        };
        let optimiser = AdamW::new(model.variables(), parameters)?;
        let steps_max = windows.div_ceil(config.batch_windows) * config.epochs_max;
        Ok(Fitting {
            config,
            spec,
            model,
            optimiser,
            steps: 0,
            steps_max,
        })
    }

    /// Goes through all windows once; gives their mean loss.
    fn epoch(
        &mut self,
        data: &FitData<'_>,
        epoch: usize,
        best_loss: Option<f64>,
        progress: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
    ) -> Result<f64, FitError> {
        let mut sum = 0.0;
        for windows in data.fit.chunks(self.config.batch_windows) {
            let share = self.steps as f64 / self.steps_max as f64;
            let report = FitProgress {
                epoch,
                epochs_max: self.config.epochs_max,
                share,
                loss: best_loss,
            };
            if progress(report).is_break() {
                return Err(FitError::Cancelled);
            }
            self.optimiser
                .set_learning_rate(self.config.learning_rate * one_cycle(share));
            let loss = self.loss_of(data.sequences, windows)?;
            self.optimiser.backward_step(&loss)?;
            sum += f64::from(loss.to_scalar::<f32>()?) * windows.len() as f64;
            self.steps += 1;
        }
        Ok(sum / data.fit.len() as f64)
    }

    /// Gives the mean loss of windows without learning from them.
    fn loss(&self, sequences: &[Vec<InputRow>], windows: &[WindowRef]) -> Result<f64, FitError> {
        let mut sum = 0.0;
        for windows in windows.chunks(self.config.batch_windows) {
            let loss = self.loss_of(sequences, windows)?.detach();
            sum += f64::from(loss.to_scalar::<f32>()?) * windows.len() as f64;
        }
        Ok(sum / windows.len() as f64)
    }

    /// Mean squared error of the newest rows, as the decoder rebuilds them.
    fn loss_of(&self, sequences: &[Vec<InputRow>], windows: &[WindowRef]) -> Result<Tensor, FitError> {
        let rows = self.spec.decoded_rows;
        let (inputs, targets) = gather(sequences, windows, self.spec.lookback, rows);
        let batch = windows.len();
        let inputs = Tensor::from_vec(inputs, (batch, self.spec.lookback, FEATURES), &Device::Cpu)?;
        let targets = Tensor::from_vec(targets, (rows, batch, FEATURES), &Device::Cpu)?;
        let lesson = Lesson {
            windows: &inputs,
            next: None,
            state: None,
        };
        let Some(rebuilt) = self.model.train_forward(&lesson, None)?.rebuilt else {
            return Err(candle_core::Error::msg("decoder: no part of this model").into());
        };
        Ok((rebuilt - targets)?.sqr()?.mean_all()?)
    }
}

/// Copies windows `(B, T, F)`, oldest row first, and their targets `(K, B, F)`, newest row first.
fn gather(sequences: &[Vec<InputRow>], windows: &[WindowRef], lookback: usize, rows: usize) -> (Vec<f32>, Vec<f32>) {
    let mut inputs = Vec::with_capacity(windows.len() * lookback * FEATURES);
    for window in windows {
        inputs.extend_from_slice(sequences[window.sequence][window.end - lookback..window.end].as_flattened());
    }
    let mut targets = Vec::with_capacity(windows.len() * rows * FEATURES);
    for age in 1..=rows {
        for window in windows {
            targets.extend_from_slice(&sequences[window.sequence][window.end - age]);
        }
    }
    (inputs, targets)
}

/// The one-cycle schedule (Smith & Topin 2019): up to 1 over the first fifth, then down a half cosine to nearly 0.
fn one_cycle(share: f64) -> f64 {
    const RISE: f64 = 0.2;
    const FLOOR: f64 = 0.02;
    let shape = if share < RISE {
        share / RISE
    } else {
        0.5 * (1.0 + libm::cos(std::f64::consts::PI * (share - RISE) / (1.0 - RISE)))
    };
    FLOOR + (1.0 - FLOOR) * shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ModelSpec {
        ModelSpec::autoencoder(FEATURES, 8, 1, 6, 3)
    }
    const CONFIG: FitConfig = FitConfig {
        batch_windows: 32,
        windows_max: 256,
        epochs_max: 6,
        patience_epochs: 2,
        learning_rate: 1e-2,
    };

    fn sequences() -> Vec<Vec<InputRow>> {
        let row = |i: usize| std::array::from_fn(|feature| libm::sinf(0.3 * i as f32 + feature as f32));
        vec![(0..400).map(row).collect()]
    }

    fn fitted(seed: u64) -> Fitted {
        let sequences = sequences();
        let windows = |range: std::ops::Range<usize>| range.map(|end| WindowRef { sequence: 0, end }).collect();
        let data = FitData {
            sequences: &sequences,
            fit: windows(6..300),
            stop: windows(310..400),
        };
        fit(data, spec(), &CONFIG, seed, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn loss_falls_well_below_that_of_guessing_the_mean() {
        // A sine's variance is 0.5.
        assert!(fitted(1).loss < 0.2, "{}", fitted(1).loss);
    }

    #[test]
    fn same_seed_gives_the_same_weights_bit_for_bit() {
        assert_eq!(fitted(2).weights, fitted(2).weights);
    }

    #[test]
    fn fitting_can_be_cancelled() {
        let sequences = sequences();
        let fit_to = vec![WindowRef { sequence: 0, end: 10 }];
        let data = FitData {
            sequences: &sequences,
            fit: fit_to,
            stop: Vec::new(),
        };
        let error = fit(data, spec(), &CONFIG, 1, &mut |_| ControlFlow::Break(())).unwrap_err();
        assert!(matches!(error, FitError::Cancelled));
    }
}
