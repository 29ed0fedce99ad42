//! What a model is: its sizes, in the terms of PyTorch's `nn.LSTM`.

use serde::{Deserialize, Serialize};

/// Sizes of an encoder-decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// F, numbers per row (> 0).
    pub input_size: usize,
    /// H, units per layer (> 0, a multiple of 8, so that the gates fill whole vector registers).
    pub hidden_size: usize,
    /// Stacked layers of the encoder and of the decoder (1–4).
    pub layers: usize,
    /// T, rows per window (> 1).
    pub lookback: usize,
    /// Newest rows that the decoder is trained to rebuild, newest first (1–T).
    pub decoded_rows: usize,
}

impl ModelSpec {
    /// Gates per unit: input, forget, cell, output, in PyTorch's order.
    pub const GATES: usize = 4;
    /// Units come in multiples of this.
    pub const HIDDEN_MULTIPLE: usize = 8;
    /// Most units per layer: beyond, a tick costs more than anyone pays.
    pub const HIDDEN_MAX: usize = 512;
    /// Most layers.
    pub const LAYERS_MAX: usize = 4;
    /// Most rows per window.
    pub const LOOKBACK_MAX: usize = 1024;

    /// Checks the sizes.
    ///
    /// # Errors
    /// A text that names the first size that is off.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, found: usize, min: usize, max: usize| match (min..=max).contains(&found) {
            true => Ok(()),
            false => Err(format!("{name}: expected {min} to {max}, found {found}")),
        };
        within("input_size", self.input_size, 1, 1024)?;
        within("hidden_size", self.hidden_size, Self::HIDDEN_MULTIPLE, Self::HIDDEN_MAX)?;
        if !self.hidden_size.is_multiple_of(Self::HIDDEN_MULTIPLE) {
            let (multiple, found) = (Self::HIDDEN_MULTIPLE, self.hidden_size);
            return Err(format!("hidden_size: expected a multiple of {multiple}, found {found}"));
        }
        within("layers", self.layers, 1, Self::LAYERS_MAX)?;
        within("lookback", self.lookback, 2, Self::LOOKBACK_MAX)?;
        within("decoded_rows", self.decoded_rows, 1, self.lookback)
    }

    /// Lists the parameters in their fixed order: name and shape, as PyTorch has them for
    /// `encoder = nn.LSTM(F, H, layers)`, `decoder = nn.LSTM(…)` and `output = nn.Linear(H, F)`. The decoder's first layer
    /// takes no input, so it has no `weight_ih_l0`.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, gates) = (self.hidden_size, Self::GATES * self.hidden_size);
        let mut parameters = Vec::new();
        for part in ["encoder", "decoder"] {
            for layer in 0..self.layers {
                let inputs = if layer > 0 { hidden } else { self.input_size };
                if part == "encoder" || layer > 0 {
                    parameters.push((format!("{part}.weight_ih_l{layer}"), vec![gates, inputs]));
                }
                parameters.push((format!("{part}.weight_hh_l{layer}"), vec![gates, hidden]));
                parameters.push((format!("{part}.bias_ih_l{layer}"), vec![gates]));
                parameters.push((format!("{part}.bias_hh_l{layer}"), vec![gates]));
            }
        }
        parameters.push(("output.weight".into(), vec![self.input_size, hidden]));
        parameters.push(("output.bias".into(), vec![self.input_size]));
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_out_of_bounds_are_named() {
        let spec = ModelSpec {
            input_size: 3,
            hidden_size: 16,
            layers: 2,
            lookback: 8,
            decoded_rows: 4,
        };
        assert_eq!(spec.check(), Ok(()));
        assert!(
            ModelSpec {
                hidden_size: 12,
                ..spec
            }
            .check()
            .unwrap_err()
            .starts_with("hidden_size")
        );
        assert!(
            ModelSpec { layers: 0, ..spec }
                .check()
                .unwrap_err()
                .starts_with("layers")
        );
        assert!(
            ModelSpec {
                decoded_rows: 9,
                ..spec
            }
            .check()
            .unwrap_err()
            .starts_with("decoded_rows")
        );
        assert_eq!(spec.parameters().len(), 4 + 4 + 3 + 4 + 2);
    }
}
