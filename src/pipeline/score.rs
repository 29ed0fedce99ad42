//! Scoring as the detector sees it: items in, evidence out, and nothing of how.
//!
//! [`Scorer`] is implemented in the model room; the pipeline's own tests implement it in a few lines. Promises asked of
//! every scorer: an item's evidence is the same bits alone or in any batch, at any place, and is finite.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::calibration::Calibrations;
use super::feature::FEATURES;

/// Number of a model, rising with every training that was accepted (≥ 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelVersion(pub u32);

/// A trained model as the detector sees it: weights, scaler and calibration, which change together.
#[derive(Clone)]
pub struct Model {
    /// Which training made it.
    pub version: ModelVersion,
    /// The weights at work.
    pub scorer: Arc<dyn Scorer>,
    /// What its errors mean, per instrument.
    pub calibrations: Arc<Calibrations>,
}

/// What the encoder knows of the rows before the queued ones.
#[derive(Debug)]
pub enum Context<'a> {
    /// The rows themselves, `(T − 1, F)` model inputs, oldest first: they are encoded anew.
    Window(&'a [f32]),
    /// The encoder's state after them, `(S,)`; the scorer leaves in it the state after the queued rows.
    Carried(&'a mut [f32]),
}

/// What is to be scored of one instrument.
#[derive(Debug)]
pub struct Item<'a> {
    /// What came before.
    pub context: Context<'a>,
    /// The queued rows, `(Q, F)` model inputs, oldest first; each gets its evidence.
    pub rows: &'a [f32],
}

/// Evidence of all rows of a batch, in the order of items and of rows within them. An arm that the model lacks, or that
/// the context cannot feed, is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// `(N, F)`: each scored row as the decoder rebuilt it, in model input units.
    pub reconstruction: Vec<f32>,
    /// `(N, F)`: each scored row as it was predicted from the rows before it, in model input units.
    pub forecast: Vec<f32>,
    /// `(N,)`: the judge's log-odds that the row is part of a fault.
    pub judge: Vec<f32>,
}

impl Evidence {
    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.reconstruction.clear();
        self.forecast.clear();
        self.judge.clear();
    }

    /// Gives the reconstruction of scored row number `index`, if that arm is there.
    pub fn reconstruction_of(&self, index: usize) -> Option<&[f32; FEATURES]> {
        self.reconstruction.as_chunks::<FEATURES>().0.get(index)
    }

    /// Gives the forecast of scored row number `index`, if that arm is there.
    pub fn forecast_of(&self, index: usize) -> Option<&[f32; FEATURES]> {
        self.forecast.as_chunks::<FEATURES>().0.get(index)
    }
}

/// Memory that a scorer uses between two batches; belongs to the caller, so that one scorer serves many threads.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Numbers, overwritten by every call.
    pub floats: Vec<f32>,
}

/// Scores items of several instruments at once.
pub trait Scorer: Send + Sync {
    /// Gives T, the rows a full window holds (> 0).
    fn lookback(&self) -> usize;

    /// Gives S, the numbers of one carried state; 0 if the model does not carry one.
    fn state_len(&self) -> usize;

    /// Scores all queued rows of all items into `evidence`, which is cleared first.
    fn score(&self, items: &mut [Item<'_>], workspace: &mut Workspace, evidence: &mut Evidence);
}
