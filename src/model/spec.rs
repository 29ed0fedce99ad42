//! What a model is: its sizes and parts, in the terms of PyTorch's `nn.LSTM`.
//!
//! One encoder feeds any of three heads: a decoder that rebuilds the newest rows, a predictor of the next rows (both:
//! the composite model of Srivastava et al. 2015, section 2.3), and a judge. The names of all parameters are those that
//! PyTorch modules of the same parts give (see `docs/models.md`, "PyTorch").

use serde::{Deserialize, Serialize};

/// Names and shapes of parameters, in a fixed order.
pub type Parameters = Vec<(String, Vec<usize>)>;

/// A stack of LSTM layers as `torch.nn.LSTM` has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LstmSpec {
    /// Numbers per input row (0: the stack takes no input and steps on its state alone).
    pub input_size: usize,
    /// H, units per layer and direction (> 0).
    pub hidden_size: usize,
    /// Stacked layers (1–4).
    pub layers: usize,
    /// Whether the gates have biases.
    pub bias: bool,
    /// Share of the outputs between layers that training drops (0–1, 1 excluded).
    pub dropout: f32,
    /// Whether a second stack of layers reads the rows newest first.
    pub bidirectional: bool,
}

impl LstmSpec {
    /// Gates per unit: input, forget, cell, output, in PyTorch's order.
    pub const GATES: usize = 4;

    /// Gives the number of directions (1 or 2).
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Gives the numbers per row that a layer takes in.
    pub fn inputs_of(&self, layer: usize) -> usize {
        match layer {
            0 => self.input_size,
            _ => self.directions() * self.hidden_size,
        }
    }

    /// Gives the numbers of one state: h and c of every layer and direction.
    pub fn state_len(&self) -> usize {
        2 * self.layers * self.directions() * self.hidden_size
    }

    /// Gives the suffixes of the parameters' names of a layer, one per direction.
    pub fn suffixes(&self, layer: usize) -> Vec<String> {
        let directions = ["", "_reverse"];
        let suffix = |direction: &&str| format!("_l{layer}{direction}");
        directions[..self.directions()].iter().map(suffix).collect()
    }

    /// Lists the parameters under `prefix`, as `nn.LSTM` names them. A stack without input has no `weight_ih_l0`.
    pub fn parameters(&self, prefix: &str) -> Parameters {
        let gates = Self::GATES * self.hidden_size;
        let mut parameters = Vec::new();
        for layer in 0..self.layers {
            for suffix in self.suffixes(layer) {
                let mut push = |kind: &str, shape| parameters.push((format!("{prefix}.{kind}{suffix}"), shape));
                if self.inputs_of(layer) > 0 {
                    push("weight_ih", vec![gates, self.inputs_of(layer)]);
                }
                push("weight_hh", vec![gates, self.hidden_size]);
                if self.bias {
                    push("bias_ih", vec![gates]);
                    push("bias_hh", vec![gates]);
                }
            }
        }
        parameters
    }
}

/// How the encoder holds what came before a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextKind {
    /// The last T rows are encoded anew for every scored row.
    Window,
    /// The encoder's state is kept per instrument and moves on by one step per row.
    Carried,
}

/// Sizes of the judge: feed-forward nets with ReLU between their layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSpec {
    /// Units of the two hidden layers (> 0 each).
    pub hidden: [usize; 2],
    /// Whether a second net of the same sizes, on the row alone, is averaged in.
    pub row_net: bool,
}

impl JudgeSpec {
    /// Lists the parameters of one net under `prefix`, as `nn.Sequential(Linear, ReLU, Linear, ReLU, Linear)` names them.
    fn parameters(&self, prefix: &str, inputs: usize) -> Parameters {
        let [first, second] = self.hidden;
        let sizes = [(0, inputs, first), (2, first, second), (4, second, 1)];
        let linear = |(index, inputs, outputs)| linear(&format!("{prefix}.{index}"), inputs, outputs);
        sizes.into_iter().flat_map(linear).collect()
    }
}

/// Sizes and parts of a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// F, numbers per row (> 0).
    pub input_size: usize,
    /// H, units per layer and direction (> 0).
    pub hidden_size: usize,
    /// Stacked layers of encoder, decoder and predictor (1–4).
    pub layers: usize,
    /// T, rows per window (> 1); with carried context, rows that a state is trained to reach back at once.
    pub lookback: usize,
    /// How the encoder holds what came before.
    pub context: ContextKind,
    /// Whether the gates have biases.
    pub bias: bool,
    /// Share of the outputs between layers that training drops (0–1, 1 excluded).
    pub dropout: f32,
    /// Whether the encoder reads windows in both directions (window context alone).
    pub bidirectional: bool,
    /// Numbers that the encoder's state is squeezed through on its way to decoder and predictor; 0: no bottleneck.
    pub bottleneck: usize,
    /// Newest rows that the decoder is trained to rebuild, newest first (0–T); 0: no decoder.
    pub decoded_rows: usize,
    /// Rows that the predictor is trained to foretell, next one first (0–T); 0: no predictor.
    pub horizon: usize,
    /// Whether decoder and predictor read their own last row (in training: the true one) in place of nothing.
    pub conditioned: bool,
    /// The judge; none: no judge.
    pub judge: Option<JudgeSpec>,
}

impl ModelSpec {
    /// Most numbers per row.
    pub const INPUTS_MAX: usize = 1024;
    /// Most units per layer: beyond, a tick costs more than anyone pays.
    pub const HIDDEN_MAX: usize = 512;
    /// Most layers.
    pub const LAYERS_MAX: usize = 4;
    /// Most rows per window.
    pub const LOOKBACK_MAX: usize = 1024;

    /// Gives a plain autoencoder: one direction, with biases, a decoder that takes no input, window context.
    pub fn autoencoder(
        input_size: usize,
        hidden_size: usize,
        layers: usize,
        lookback: usize,
        decoded_rows: usize,
    ) -> Self {
        ModelSpec {
            input_size,
            hidden_size,
            layers,
            lookback,
            context: ContextKind::Window,
            bias: true,
            dropout: 0.0,
            bidirectional: false,
            bottleneck: 0,
            decoded_rows,
            horizon: 0,
            conditioned: false,
            judge: None,
        }
    }

    /// Checks the sizes and that the parts fit together.
    ///
    /// # Errors
    /// A text that names the first size that is off.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, found: usize, min: usize, max: usize| match (min..=max).contains(&found) {
            true => Ok(()),
            false => Err(format!("{name}: expected {min} to {max}, found {found}")),
        };
        within("input_size", self.input_size, 1, Self::INPUTS_MAX)?;
        within("hidden_size", self.hidden_size, 1, Self::HIDDEN_MAX)?;
        within("layers", self.layers, 1, Self::LAYERS_MAX)?;
        within("lookback", self.lookback, 2, Self::LOOKBACK_MAX)?;
        within("bottleneck", self.bottleneck, 0, Self::HIDDEN_MAX)?;
        within("decoded_rows", self.decoded_rows, 0, self.lookback)?;
        within("horizon", self.horizon, 0, self.lookback)?;
        if let Some(judge) = self.judge {
            within("judge.hidden", judge.hidden[0], 1, Self::HIDDEN_MAX)?;
            within("judge.hidden", judge.hidden[1], 1, Self::HIDDEN_MAX)?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("dropout: expected 0 to below 1, found {}", self.dropout));
        }
        if self.bidirectional && self.context == ContextKind::Carried {
            return Err("bidirectional: a carried context knows no later rows; use context = \"window\"".into());
        }
        if self.decoded_rows == 0 && self.horizon == 0 && self.judge.is_none() {
            return Err("decoded_rows, horizon: one of them must be above 0, or nothing is learnt".into());
        }
        Ok(())
    }

    /// Gives the encoder's stack.
    pub fn encoder(&self) -> LstmSpec {
        LstmSpec {
            input_size: self.input_size,
            hidden_size: self.hidden_size,
            layers: self.layers,
            bias: self.bias,
            dropout: self.dropout,
            bidirectional: self.bidirectional,
        }
    }

    /// Gives the stack of the decoder, which is that of the predictor too.
    pub fn decoder(&self) -> LstmSpec {
        LstmSpec {
            input_size: if self.conditioned { self.input_size } else { 0 },
            bidirectional: false,
            ..self.encoder()
        }
    }

    /// Tells whether linear layers stand between the encoder's state and that of decoder and predictor.
    pub fn has_bridge(&self) -> bool {
        self.bottleneck > 0 || (self.bidirectional && (self.decoded_rows > 0 || self.horizon > 0))
    }

    /// Gives the heads that the model has, by name.
    pub fn heads(&self) -> Vec<&'static str> {
        let heads = [
            ("decoder", self.decoded_rows > 0),
            ("predictor", self.horizon > 0),
            ("judge", self.judge.is_some()),
        ];
        heads
            .iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(name, _)| *name)
            .collect()
    }

    /// Gives the numbers of the encoder's state that the judge reads beside the row: the top layer's h of all directions.
    pub fn judged_state(&self) -> usize {
        self.encoder().directions() * self.hidden_size
    }

    /// Lists the parameters in their fixed order: name and shape, row-major, as PyTorch has them.
    ///
    /// `encoder`, `decoder`, `predictor`: `nn.LSTM`; `output`, `predictor_output`: `nn.Linear(H, F)`; `compress`:
    /// `nn.Linear(S, Z)` from the encoder's state `[h of all layers and directions | c likewise]`; `expand`: `nn.Linear`
    /// from there to `[h of all layers | c likewise]` of decoder and predictor; `judge`, `row_judge`: `nn.Sequential`.
    pub fn parameters(&self) -> Parameters {
        let mut parameters = self.encoder().parameters("encoder");
        if self.has_bridge() {
            let mut inputs = self.encoder().state_len();
            if self.bottleneck > 0 {
                parameters.extend(linear("compress", inputs, self.bottleneck));
                inputs = self.bottleneck;
            }
            parameters.extend(linear("expand", inputs, self.decoder().state_len()));
        }
        for (prefix, output, rows) in [
            ("decoder", "output", self.decoded_rows),
            ("predictor", "predictor_output", self.horizon),
        ] {
            if rows > 0 {
                parameters.extend(self.decoder().parameters(prefix));
                parameters.extend(linear(output, self.hidden_size, self.input_size));
            }
        }
        if let Some(judge) = self.judge {
            parameters.extend(judge.parameters("judge", self.judged_state() + self.input_size));
            if judge.row_net {
                parameters.extend(judge.parameters("row_judge", self.input_size));
            }
        }
        parameters
    }
}

fn linear(prefix: &str, inputs: usize, outputs: usize) -> Parameters {
    vec![
        (format!("{prefix}.weight"), vec![outputs, inputs]),
        (format!("{prefix}.bias"), vec![outputs]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_out_of_bounds_and_parts_that_do_not_fit_are_named() {
        let spec = ModelSpec::autoencoder(3, 12, 2, 8, 4);
        assert_eq!(spec.check(), Ok(()));
        let error = |spec: ModelSpec| spec.check().unwrap_err();
        assert!(error(ModelSpec { hidden_size: 0, ..spec }).starts_with("hidden_size"));
        assert!(error(ModelSpec { layers: 0, ..spec }).starts_with("layers"));
        assert!(
            error(ModelSpec {
                decoded_rows: 9,
                ..spec
            })
            .starts_with("decoded_rows")
        );
        assert!(
            error(ModelSpec {
                decoded_rows: 0,
                ..spec
            })
            .starts_with("decoded_rows, horizon")
        );
        assert!(error(ModelSpec { dropout: 1.0, ..spec }).starts_with("dropout"));
        let carried = ModelSpec {
            context: ContextKind::Carried,
            bidirectional: true,
            ..spec
        };
        assert!(error(carried).starts_with("bidirectional"));
        assert_eq!(spec.parameters().len(), 4 + 4 + 3 + 4 + 2);
    }

    #[test]
    fn every_part_brings_its_parameters() {
        let spec = ModelSpec {
            bidirectional: true,
            bottleneck: 5,
            horizon: 2,
            conditioned: true,
            judge: Some(JudgeSpec {
                hidden: [7, 6],
                row_net: true,
            }),
            ..ModelSpec::autoencoder(3, 4, 2, 8, 4)
        };
        let shape = |name: &str| {
            let parameters = spec.parameters();
            parameters
                .into_iter()
                .find(|(known, _)| known == name)
                .map(|(_, shape)| shape)
        };
        assert_eq!(shape("encoder.weight_ih_l1_reverse"), Some(vec![16, 8]));
        assert_eq!(shape("decoder.weight_ih_l0"), Some(vec![16, 3]));
        assert_eq!(shape("compress.weight"), Some(vec![5, 32]));
        assert_eq!(shape("expand.weight"), Some(vec![16, 5]));
        assert_eq!(shape("predictor_output.bias"), Some(vec![3]));
        assert_eq!(shape("judge.0.weight"), Some(vec![7, 11]));
        assert_eq!(shape("row_judge.4.weight"), Some(vec![1, 6]));
        assert_eq!(spec.heads(), ["decoder", "predictor", "judge"]);
    }
}
