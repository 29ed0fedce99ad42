//! The reference: the encoder-decoder on candle's ops, as autograd needs it.
//!
//! The encoder reads a window oldest row first; the decoder starts from its final state, takes no input, and rebuilds the
//! rows newest first (Srivastava et al. 2015, the unconditioned decoder). Knows nothing of training.

use std::collections::BTreeMap;

use candle_core::{D, Device, Result, Tensor, Var};

use super::spec::{LstmSpec, ModelSpec};
use super::weights::Weights;

/// An encoder-decoder whose parameters can be trained.
pub struct Autoencoder {
    spec: ModelSpec,
    /// By name, in the fixed order of names.
    variables: BTreeMap<String, Var>,
}

impl Autoencoder {
    /// Puts weights on a device as variables.
    ///
    /// # Errors
    /// candle's, when the device has no room.
    pub fn new(weights: &Weights, device: &Device) -> Result<Self> {
        let variables = weights
            .spec
            .parameters()
            .into_iter()
            .map(|(name, shape)| {
                let tensor = Tensor::from_slice(weights.numbers(&name), shape, device)?;
                Ok((name, Var::from_tensor(&tensor)?))
            })
            .collect::<Result<_>>()?;
        Ok(Autoencoder {
            spec: weights.spec,
            variables,
        })
    }

    /// Gives all variables in the order of their names.
    pub fn variables(&self) -> Vec<Var> {
        self.variables.values().cloned().collect()
    }

    /// Copies the parameters out.
    ///
    /// # Errors
    /// candle's, when the device fails.
    pub fn weights(&self) -> Result<Weights> {
        let copy = |(name, variable): (&String, &Var)| Ok((name.clone(), variable.flatten_all()?.to_vec1()?));
        Ok(Weights {
            spec: self.spec,
            tensors: self.variables.iter().map(copy).collect::<Result<_>>()?,
        })
    }

    /// Rebuilds the newest rows of windows.
    ///
    /// # Shapes
    /// `windows`: `(B, T, F)` model inputs, oldest row first → `(K, B, F)`, newest row first, K = `rows`.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit.
    pub fn forward(&self, windows: &Tensor, rows: usize) -> Result<Tensor> {
        let states = self.encode(windows)?;
        let mut states = states;
        let mut outputs = Vec::with_capacity(rows);
        for _ in 0..rows {
            let mut input: Option<Tensor> = None;
            for (layer, state) in states.iter_mut().enumerate() {
                let projected = self.project("decoder", layer, input.as_ref())?;
                *state = self.cell("decoder", layer, &projected, state)?;
                input = Some(state.h.clone());
            }
            outputs.extend(input);
        }
        let hidden = Tensor::stack(&outputs, 0)?;
        let weight = self.variable("output.weight")?.t()?;
        hidden
            .broadcast_matmul(&weight)?
            .broadcast_add(self.variable("output.bias")?)
    }

    /// Encodes windows `(B, T, F)` into one final state per layer.
    fn encode(&self, windows: &Tensor) -> Result<Vec<State>> {
        let (batch, lookback, _) = windows.dims3()?;
        // (T, B, F): the rows of one step lie together.
        let mut sequence = windows.transpose(0, 1)?.contiguous()?;
        let mut finals = Vec::with_capacity(self.spec.layers);
        for layer in 0..self.spec.layers {
            let flat = sequence.flatten(0, 1)?;
            // The input projection of all steps is one product.
            let projected = self
                .project("encoder", layer, Some(&flat))?
                .reshape((lookback, batch, ()))?;
            let mut state = State::zeros(batch, self.spec.hidden_size, windows.device())?;
            let mut outputs = Vec::with_capacity(lookback);
            for step in 0..lookback {
                state = self.cell("encoder", layer, &projected.get(step)?, &state)?;
                outputs.push(state.h.clone());
            }
            if layer + 1 < self.spec.layers {
                sequence = Tensor::stack(&outputs, 0)?;
            }
            finals.push(state);
        }
        Ok(finals)
    }

    /// Computes the part of the gates that does not depend on the state: W_ih · input + both biases, or the biases alone.
    fn project(&self, part: &str, layer: usize, input: Option<&Tensor>) -> Result<Tensor> {
        let parameter = |kind: &str| self.variable(&format!("{part}.{kind}_l{layer}"));
        let bias = (parameter("bias_ih")? + parameter("bias_hh")?)?;
        match input {
            Some(input) => input.matmul(&parameter("weight_ih")?.t()?)?.broadcast_add(&bias),
            None => bias.unsqueeze(0),
        }
    }

    fn cell(&self, part: &str, layer: usize, projected: &Tensor, state: &State) -> Result<State> {
        let recurrent = self.variable(&format!("{part}.weight_hh_l{layer}"))?.t()?;
        let gates = state
            .h
            .matmul(&recurrent)?
            .broadcast_add(projected)?
            .chunk(LstmSpec::GATES, D::Minus1)?;
        let input = candle_nn::ops::sigmoid(&gates[0])?;
        let forget = candle_nn::ops::sigmoid(&gates[1])?;
        let candidate = gates[2].tanh()?;
        let output = candle_nn::ops::sigmoid(&gates[3])?;
        let c = ((forget * &state.c)? + (input * candidate)?)?;
        let h = (output * c.tanh()?)?;
        Ok(State { h, c })
    }

    fn variable(&self, name: &str) -> Result<&Tensor> {
        match self.variables.get(name) {
            Some(variable) => Ok(variable.as_tensor()),
            None => candle_core::bail!("{name}: no parameter of this model"),
        }
    }
}

/// Hidden and cell state of one layer, `(B, H)` each.
struct State {
    h: Tensor,
    c: Tensor,
}

impl State {
    fn zeros(batch: usize, hidden: usize, device: &Device) -> Result<Self> {
        let zeros = Tensor::zeros((batch, hidden), candle_core::DType::F32, device)?;
        Ok(State {
            h: zeros.clone(),
            c: zeros,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernel::scorer::KernelScorer;
    use crate::pipeline::score::{Context, Evidence, Item, Scorer, Workspace};

    #[test]
    fn candle_and_the_forward_pass_agree() {
        for layers in 1..=3 {
            let spec = ModelSpec::autoencoder(6, 16, layers, 12, 12);
            let weights = Weights::seeded(spec, 11);
            let windows: Vec<f32> = (0..5 * 12 * 6).map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0).collect();
            let tensor = Tensor::from_slice(&windows, (5, 12, 6), &Device::Cpu).unwrap();
            let reference = Autoencoder::new(&weights, &Device::Cpu)
                .unwrap()
                .forward(&tensor, 12)
                .unwrap();
            let newest: Vec<f32> = reference.get(0).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let mut items: Vec<Item<'_>> = windows
                .chunks(12 * 6)
                .map(|window| Item {
                    context: Context::Window(&window[..66]),
                    rows: &window[66..],
                })
                .collect();
            let mut evidence = Evidence::default();
            KernelScorer::new(&weights).score(&mut items, &mut Workspace::default(), &mut evidence);
            for (a, b) in newest.iter().zip(&evidence.reconstruction) {
                assert!((a - b).abs() < 1e-5, "{layers} layers: {a} {b}");
            }
        }
    }
}
