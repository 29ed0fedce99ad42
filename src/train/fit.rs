//! Fitting the weights: candle's autograd over shuffled windows, seeded, with early stopping.
//!
//! Knows nothing of raw rows, calibration or gates: model inputs in, weights out.

use std::ops::{ControlFlow, Range};

use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::memory::Memory;
use super::progress::{Phase, Progress};
use super::segments::Segments;
use crate::model::lstm::{Dropout, State};
use crate::model::network::{Lesson, Network};
use crate::model::objective::{PART_WINDOWS, descend, loss, value};
use crate::model::spec::{ContextKind, ModelSpec};
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

/// Rows to learn from: a stretch of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which sequence of model inputs.
    pub sequence: usize,
    /// Its rows.
    pub rows: Range<usize>,
}

/// Windows to learn from, one after the other on the same sequence: the first ends at `end` (excluded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    sequence: usize,
    end: usize,
}

/// Windows of a track with carried context: the state begins at zero with the first and is carried to the last, without
/// a gradient from one to the other (truncated back-propagation through time: Williams & Peng 1990).
const TRACK_WINDOWS: usize = 16;

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
    /// Their loss: what it is of says the fit that made them.
    pub loss: f64,
}

/// Rows to fit to and to stop by, over sequences of model inputs, one per instrument.
pub struct FitData<'a> {
    /// Gives `(N, F)` the model inputs of a sequence; asked once for each sequence that a drawn window lies in.
    pub inputs: &'a dyn Fn(usize) -> Vec<InputRow>,
    /// Rows to fit to.
    pub fit: &'a [Span],
    /// Rows that tell when to stop; with none, the last epoch wins.
    pub stop: &'a [Span],
}

/// Windows that tell when to stop, as a part of those that are fitted to: a fifth as many are enough to rank epochs by.
const STOP_PART: usize = 5;

/// Fits weights to windows; the loss is the mean squared error on the windows that tell when to stop. Windows are drawn
/// first, and only the rows in them are made, no more of them than memory holds.
///
/// # Errors
/// [`FitError`]; `progress` can cancel by breaking.
pub fn fit(
    data: &FitData<'_>,
    spec: ModelSpec,
    config: &FitConfig,
    memory: Memory,
    seed: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fitted, FitError> {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let windows = windows_per_track(&spec);
    let window_bytes = (spec.lookback + spec.horizon) * size_of::<InputRow>();
    // Twice the share of a pool: nothing else is held beside it. The windows to stop by come on top.
    let windows_max = config
        .windows_max
        .min(2 * memory.pooled_max(usize::MAX, window_bytes) * STOP_PART / (STOP_PART + 1));
    let mut drawn = |spans: &[Span], windows_max: usize| {
        let mut tracks = tracks(spans, &spec);
        tracks.shuffle(&mut generator);
        tracks.truncate((windows_max / windows).max(1));
        tracks
    };
    let mut to_fit = drawn(data.fit, windows_max);
    let to_stop = drawn(data.stop, (windows_max / STOP_PART).max(config.batch_windows));
    if to_fit.is_empty() {
        return Err(FitError::NoWindows);
    }
    let rows = |track: &Track| {
        let start = track.end - spec.lookback;
        (track.sequence, start..start + windows * spec.lookback + spec.horizon)
    };
    let segments = Segments::gather(to_fit.iter().chain(&to_stop).map(rows), data.inputs);
    let mut fitting = Fitting::new(&segments, spec, config, seed, to_fit.len())?;
    let mut best: Option<Fitted> = None;
    let mut epochs_without_gain = 0;
    for epoch in 1..=config.epochs_max {
        to_fit.shuffle(&mut generator);
        let best_loss = best.as_ref().map(|best| best.loss);
        let trained = fitting.epoch(&to_fit, epoch, best_loss, progress)?;
        let loss = if to_stop.is_empty() {
            trained
        } else {
            fitting.loss(&to_stop)?
        };
        if !loss.is_finite() {
            return Err(FitError::Diverged { epoch });
        }
        if best.as_ref().is_none_or(|best| to_stop.is_empty() || loss < best.loss) {
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

fn windows_per_track(spec: &ModelSpec) -> usize {
    match spec.context {
        ContextKind::Window => 1,
        ContextKind::Carried => TRACK_WINDOWS,
    }
}

/// Lists the tracks that fit into spans with the rows to foretell behind them: at every row where windows are encoded anew,
/// side by side where a state is carried.
fn tracks(spans: &[Span], spec: &ModelSpec) -> Vec<Track> {
    let rows = windows_per_track(spec) * spec.lookback;
    let stride = match spec.context {
        ContextKind::Window => 1,
        ContextKind::Carried => rows,
    };
    let of_span = |span: &Span| {
        let sequence = span.sequence;
        let starts = span.rows.clone().step_by(stride);
        let until = span.rows.end.saturating_sub(rows + spec.horizon);
        let starts = starts.take_while(move |start| *start <= until);
        let track = move |start: usize| Track {
            sequence,
            end: start + spec.lookback,
        };
        let fits = span.rows.len() >= rows + spec.horizon;
        starts.map(track).filter(move |_| fits).collect::<Vec<_>>()
    };
    spans.iter().flat_map(of_span).collect()
}

struct Fitting<'a> {
    segments: &'a Segments,
    config: &'a FitConfig,
    spec: ModelSpec,
    model: Network,
    optimiser: AdamW,
    /// Draws the masks of dropout.
    dropout: Pcg64Mcg,
    steps: usize,
    steps_max: usize,
}

impl<'a> Fitting<'a> {
    fn new(
        segments: &'a Segments,
        spec: ModelSpec,
        config: &'a FitConfig,
        seed: u64,
        tracks: usize,
    ) -> Result<Self, FitError> {
        let model = Network::new(&Weights::seeded(spec, seed), &Device::Cpu)?;
        let parameters = ParamsAdamW {
            lr: config.learning_rate,
            weight_decay: 1e-4,
            ..ParamsAdamW::default()
        };
        let optimiser = AdamW::new(model.variables(), parameters)?;
        let steps_per_epoch = tracks.div_ceil(config.batch_windows) * windows_per_track(&spec);
        Ok(Fitting {
            segments,
            config,
            spec,
            model,
            optimiser,
            dropout: Pcg64Mcg::seed_from_u64(!seed),
            steps: 0,
            steps_max: steps_per_epoch * config.epochs_max,
        })
    }

    /// Goes through all windows once; gives their mean loss.
    fn epoch(
        &mut self,
        tracks: &[Track],
        epoch: usize,
        best_loss: Option<f64>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<f64, FitError> {
        let windows = windows_per_track(&self.spec);
        let mut sum = 0.0;
        for batch in tracks.chunks(self.config.batch_windows) {
            let mut states = vec![None; batch.len().div_ceil(PART_WINDOWS)];
            for window in 0..windows {
                let share = self.steps as f64 / self.steps_max as f64;
                let report = Progress {
                    phase: Phase::Fitting,
                    share,
                    epoch: Some(epoch),
                    loss: best_loss,
                };
                if progress(report).is_break() {
                    return Err(FitError::Cancelled);
                }
                self.optimiser
                    .set_learning_rate(self.config.learning_rate * one_cycle(share));
                let (segments, model, dropout) = (self.segments, &self.model, &mut self.dropout);
                let parts = batch.chunks(PART_WINDOWS).zip(&mut states).map(|(part, state)| {
                    let loss = lesson_loss(segments, model, part, window, state, Some(dropout))?;
                    Ok((loss, part.len() as f64 / batch.len() as f64))
                });
                sum += descend(model, &mut self.optimiser, parts)? * batch.len() as f64;
                self.steps += 1;
            }
        }
        Ok(sum / (tracks.len() * windows) as f64)
    }

    /// Gives the mean loss of windows without learning from them.
    fn loss(&self, tracks: &[Track]) -> Result<f64, FitError> {
        let windows = windows_per_track(&self.spec);
        let mut sum = 0.0;
        for part in tracks.chunks(PART_WINDOWS) {
            let mut state = None;
            for window in 0..windows {
                let loss = lesson_loss(self.segments, &self.model, part, window, &mut state, None)?;
                sum += value(&loss)? * part.len() as f64;
            }
        }
        Ok(sum / (tracks.len() * windows) as f64)
    }
}

/// Gives the mean loss of window number `window` of tracks, from the state that the one before left, and leaves its own.
fn lesson_loss(
    segments: &Segments,
    model: &Network,
    tracks: &[Track],
    window: usize,
    state: &mut Option<State>,
    dropout: Dropout<'_>,
) -> candle_core::Result<Tensor> {
    let spec = model.spec();
    let (lookback, horizon) = (spec.lookback, spec.horizon);
    let gather = |from: usize, rows: usize| {
        let mut numbers = Vec::with_capacity(tracks.len() * rows * FEATURES);
        for track in tracks {
            let start = track.end + window * lookback - lookback + from;
            numbers.extend_from_slice(segments.rows(track.sequence, start..start + rows).as_flattened());
        }
        Tensor::from_vec(numbers, (tracks.len(), rows, FEATURES), &Device::Cpu)
    };
    let windows = gather(0, lookback)?;
    let next = if horizon > 0 {
        Some(gather(lookback, horizon)?)
    } else {
        None
    };
    let lesson = Lesson {
        windows: &windows,
        next: next.as_ref(),
        state: state.as_ref(),
    };
    let (loss, after) = loss(model, &lesson, dropout)?;
    *state = (spec.context == ContextKind::Carried).then(|| after.detach());
    Ok(loss)
}

/// The one-cycle schedule (Smith & Topin 2019): up to 1 over the first fifth, then down a half cosine to nearly 0.
pub(super) fn one_cycle(share: f64) -> f64 {
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

    const MEMORY: Memory = Memory { bytes_max: 64 << 20 };

    fn inputs(_: usize) -> Vec<InputRow> {
        let row = |i: usize| std::array::from_fn(|feature| libm::sinf(0.3 * i as f32 + feature as f32));
        (0..1600).map(row).collect()
    }

    fn fitted(spec: ModelSpec, seed: u64) -> Fitted {
        let span = |rows| Span { sequence: 0, rows };
        let data = FitData {
            inputs: &inputs,
            fit: &[span(0..1200)],
            stop: &[span(1200..1600)],
        };
        fit(&data, spec, &CONFIG, MEMORY, seed, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    fn composite() -> ModelSpec {
        ModelSpec {
            dropout: 0.1,
            horizon: 2,
            ..ModelSpec::autoencoder(FEATURES, 8, 2, 6, 3)
        }
    }

    fn carried() -> ModelSpec {
        ModelSpec {
            context: ContextKind::Carried,
            ..spec()
        }
    }

    #[test]
    fn loss_falls_well_below_that_of_guessing_the_mean() {
        // A sine's variance is 0.5; the composite has two errors.
        assert!(fitted(spec(), 1).loss < 0.2, "{}", fitted(spec(), 1).loss);
        assert!(fitted(composite(), 1).loss < 0.5, "{}", fitted(composite(), 1).loss);
        assert!(fitted(carried(), 1).loss < 0.3, "{}", fitted(carried(), 1).loss);
    }

    #[test]
    fn same_seed_gives_the_same_weights_bit_for_bit() {
        for spec in [spec(), composite(), carried()] {
            assert_eq!(fitted(spec, 2).weights, fitted(spec, 2).weights);
        }
    }

    #[test]
    fn tracks_stay_within_their_span_and_leave_rows_to_foretell() {
        let spans = [
            Span {
                sequence: 3,
                rows: 10..210,
            },
            Span {
                sequence: 4,
                rows: 0..5,
            },
        ];
        let ends = |spec: &ModelSpec| tracks(&spans, spec).iter().map(|track| track.end).collect::<Vec<_>>();
        assert_eq!(ends(&spec()), (16..=210).collect::<Vec<_>>());
        assert_eq!(ends(&composite()), (16..=208).collect::<Vec<_>>());
        // 16 windows of 6 rows each.
        assert_eq!(ends(&carried()), [16, 112]);
    }

    #[test]
    fn fitting_can_be_cancelled() {
        let data = FitData {
            inputs: &inputs,
            fit: &[Span {
                sequence: 0,
                rows: 0..10,
            }],
            stop: &[],
        };
        let error = fit(&data, spec(), &CONFIG, MEMORY, 1, &mut |_| ControlFlow::Break(())).unwrap_err();
        assert!(matches!(error, FitError::Cancelled));
    }
}
