//! Sizes and parts of the models that are trained.

use serde::{Deserialize, Serialize};

use crate::model::artifact::Artifact;
use crate::model::base::Base;
use crate::model::spec::{ContextKind, JudgeSpec, ModelSpec};
use crate::pipeline::feature::FEATURES;

/// Sizes and parts of the models that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeConfig {
    /// What training starts from, and what scores until then.
    pub base: Base,
    /// Units per layer (1–512; multiples of 16 fill the widest vectors).
    pub hidden_size: usize,
    /// Rows per window (2–1024); with carried context, rows that the encoder reads between two rebuilds in training.
    pub lookback: usize,
    /// Newest rows that the decoder is trained to rebuild (1–lookback).
    pub decoded_rows: usize,
    /// Units of the judge's two hidden layers (1–512); 0 each: no judge.
    pub judge_hidden: [usize; 2],
    /// Whether a second net of the judge, on the row alone, is averaged in.
    pub judge_row_net: bool,
    /// Parts that the default model does without.
    pub experimental: PartsConfig,
}

/// Parts of the family of models that the default model does without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartsConfig {
    /// How the encoder holds what came before a tick.
    pub context: ContextKind,
    /// Stacked layers of encoder, decoder and predictor (1–4).
    pub layers: usize,
    /// Whether the gates have biases.
    pub bias: bool,
    /// Share of the outputs between layers that training drops (0–0.95).
    pub dropout: f32,
    /// Whether the encoder reads windows in both directions (window context alone).
    pub bidirectional: bool,
    /// Numbers that the encoder's state is squeezed through (0–512); 0: no bottleneck.
    pub bottleneck: usize,
    /// Next rows that a predictor is trained to foretell beside the decoder (0–lookback); 0: no predictor.
    pub horizon: usize,
    /// Whether decoder and predictor read their own last row.
    pub conditioned: bool,
}

impl SizeConfig {
    /// Gives the spec of a model of this size over our features.
    pub fn spec(&self) -> ModelSpec {
        let parts = self.experimental;
        ModelSpec {
            input_size: FEATURES,
            hidden_size: self.hidden_size,
            layers: parts.layers,
            lookback: self.lookback,
            context: parts.context,
            bias: parts.bias,
            dropout: parts.dropout,
            bidirectional: parts.bidirectional,
            bottleneck: parts.bottleneck,
            decoded_rows: self.decoded_rows,
            horizon: parts.horizon,
            conditioned: parts.conditioned,
            judge: (self.judge_hidden != [0, 0]).then_some(JudgeSpec {
                hidden: self.judge_hidden,
                row_net: self.judge_row_net,
            }),
        }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// A text that names the first that is off.
    pub fn check(&self) -> Result<(), String> {
        self.checked_base().map(drop)
    }

    /// Checks the sizes and gives the base model of these sizes, if there is to be one.
    pub(super) fn checked_base(&self) -> Result<Option<Artifact>, String> {
        if self.decoded_rows == 0 {
            // The detector rests on the reconstruction error.
            return Err("decoded_rows: expected 1 or more, found 0".into());
        }
        if self.judge_hidden != [0, 0] && self.experimental.context == ContextKind::Window {
            let text = "judge_hidden: a judge is taught on a carried state; use experimental.context = \"carried\", or [0, 0] for no judge";
            return Err(text.into());
        }
        self.spec().check()?;
        match self.base.load() {
            Ok(Some(base)) if base.weights.spec != self.spec() => {
                Err("base: the embedded model has other sizes or parts; expected base = \"none\"".into())
            }
            Ok(base) => Ok(base),
            Err(error) => Err(format!("base: {error}")),
        }
    }
}
