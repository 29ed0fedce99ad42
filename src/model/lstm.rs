//! The reference of a stack of LSTM layers, as `torch.nn.LSTM` computes it, on candle's ops.
//!
//! Runs on any device that candle has and can be differentiated. Promises PyTorch's mathematics (gates in the order
//! input, forget, cell, output; dropout between layers, never after the last), not its bits. Knows nothing of encoders,
//! decoders or training.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::fused::{self, LayerTensors};
use super::spec::LstmSpec;

/// Draws the masks of dropout while training; none: nothing is dropped. candle's own generator cannot be seeded on the
/// CPU.
pub type Dropout<'a> = Option<&'a mut Pcg64Mcg>;

/// Who computes a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrence {
    /// candle's own operations, on any device.
    Reference,
    /// The kernel, with a gradient of its own: many times faster, on the CPU alone.
    Fused,
}

impl Recurrence {
    /// Gives the fastest that a device has.
    pub fn best(device: &Device) -> Self {
        match device {
            Device::Cpu => Recurrence::Fused,
            Device::Cuda(_) | Device::Metal(_) => Recurrence::Reference,
        }
    }
}

/// What a stack remembers between two rows: `(L·D, B, H)` each, layer by layer and within a layer forward before
/// backward.
#[derive(Clone, Debug)]
pub struct State {
    /// Hidden state.
    pub h: Tensor,
    /// Cell state.
    pub c: Tensor,
}

impl State {
    /// Gives the state before the first row.
    ///
    /// # Errors
    /// candle's, when the device has no room.
    pub fn zeros(spec: &LstmSpec, batch: usize, device: &Device) -> Result<Self> {
        let shape = (spec.layers * spec.directions(), batch, spec.hidden_size);
        let zeros = Tensor::zeros(shape, DType::F32, device)?;
        Ok(State {
            h: zeros.clone(),
            c: zeros,
        })
    }

    /// Cuts the state off the graph that made it (truncated back-propagation through time).
    pub fn detach(&self) -> Self {
        State {
            h: self.h.detach(),
            c: self.c.detach(),
        }
    }
}

/// Parameters of one layer in one direction.
#[derive(Clone, Debug)]
struct LayerParameters {
    ih: Option<Tensor>,
    hh: Tensor,
    /// `bias_ih` and `bias_hh`.
    biases: Option<(Tensor, Tensor)>,
}

impl LayerParameters {
    /// Takes one layer's parameters out of `tensors`.
    fn new(spec: &LstmSpec, layer: usize, name: impl Fn(&str) -> String, tensors: &Tensors) -> Result<Self> {
        let parameter = |kind: &str| tensor(tensors, &name(kind));
        Ok(LayerParameters {
            ih: (spec.inputs_of(layer) > 0)
                .then(|| parameter("weight_ih"))
                .transpose()?,
            hh: parameter("weight_hh")?,
            biases: match spec.bias {
                true => Some((parameter("bias_ih")?, parameter("bias_hh")?)),
                false => None,
            },
        })
    }

    /// Gives the weights as they are now: the biases' sum is not kept, since an optimiser changes them in place.
    fn weights(&self) -> Result<LayerTensors> {
        let sum = |(ih, hh): &(Tensor, Tensor)| ih + hh;
        Ok(LayerTensors {
            ih: self.ih.clone(),
            hh: self.hh.clone(),
            bias: self.biases.as_ref().map(sum).transpose()?,
        })
    }
}

/// Tensors by PyTorch's names.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// Looks a parameter up.
pub(super) fn tensor(tensors: &Tensors, name: &str) -> Result<Tensor> {
    match tensors.get(name) {
        Some(tensor) => Ok(tensor.clone()),
        None => candle_core::bail!("{name}: no parameter of this model"),
    }
}

/// A stack of LSTM layers.
#[derive(Clone, Debug)]
pub struct Lstm {
    spec: LstmSpec,
    recurrence: Recurrence,
    /// By layer, then direction.
    parameters: Vec<Vec<LayerParameters>>,
}

impl Lstm {
    /// Makes a stack of the tensors that are called as [`LstmSpec::parameters`] says; variables among them stay shared.
    ///
    /// # Errors
    /// Names the parameter that is missing.
    pub fn new(
        spec: LstmSpec,
        prefix: &str,
        tensors: &BTreeMap<String, Tensor>,
        recurrence: Recurrence,
    ) -> Result<Self> {
        let direction = |layer: usize, suffix: String| {
            LayerParameters::new(&spec, layer, |kind| format!("{prefix}.{kind}{suffix}"), tensors)
        };
        let layer = |layer: usize| {
            let suffixes = spec.suffixes(layer).into_iter();
            suffixes.map(|suffix| direction(layer, suffix)).collect()
        };
        Ok(Lstm {
            spec,
            recurrence,
            parameters: (0..spec.layers).map(layer).collect::<Result<_>>()?,
        })
    }

    /// Gives the sizes.
    pub fn spec(&self) -> &LstmSpec {
        &self.spec
    }

    /// Reads a sequence; without a state it starts from zeros.
    ///
    /// # Shapes
    /// `inputs`: `(T, B, I)` → the top layer's outputs `(T, B, D·H)`, both directions side by side, and the final
    /// state.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit.
    pub fn forward(&self, inputs: &Tensor, state: Option<&State>, dropout: Dropout<'_>) -> Result<(Tensor, State)> {
        let (steps, batch, _) = inputs.dims3()?;
        match state {
            Some(state) => self.run(Some(inputs), steps, state, dropout),
            None => {
                let zeros = State::zeros(&self.spec, batch, inputs.device())?;
                self.run(Some(inputs), steps, &zeros, dropout)
            }
        }
    }

    /// Runs a stack that takes no input (`input_size` 0) for `steps` (> 0) steps.
    ///
    /// # Shapes
    /// → the top layer's outputs `(steps, B, D·H)` and the final state.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit or the stack takes an input.
    pub fn forward_without_input(&self, steps: usize, state: &State, dropout: Dropout<'_>) -> Result<(Tensor, State)> {
        self.run(None, steps, state, dropout)
    }

    fn run(
        &self,
        inputs: Option<&Tensor>,
        steps: usize,
        state: &State,
        mut dropout: Dropout<'_>,
    ) -> Result<(Tensor, State)> {
        let mut sequence = inputs.cloned();
        let (mut h, mut c) = (Vec::new(), Vec::new());
        for (index, directions) in self.parameters.iter().enumerate() {
            if index > 0
                && let (Some(below), Some(generator)) = (&sequence, dropout.as_deref_mut())
            {
                sequence = Some(dropped(below, self.spec.dropout, generator)?);
            }
            let mut outputs = Vec::with_capacity(directions.len());
            for (direction, parameters) in directions.iter().enumerate() {
                let (weights, backward) = (parameters.weights()?, direction == 1);
                let slot = index * directions.len() + direction;
                let (h0, c0) = (state.h.get(slot)?, state.c.get(slot)?);
                let read = match (&sequence, backward) {
                    (Some(sequence), true) => Some(sequence.contiguous()?.flip(&[0])?),
                    (sequence, _) => sequence.clone(),
                };
                let layer = match self.recurrence {
                    Recurrence::Reference => layer,
                    Recurrence::Fused => fused::layer,
                };
                let (output, h_end, c_end) = layer(read.as_ref(), steps, &weights, &h0, &c0)?;
                outputs.push(if backward { output.flip(&[0])? } else { output });
                h.push(h_end);
                c.push(c_end);
            }
            sequence = Some(Tensor::cat(&outputs, D::Minus1)?);
        }
        let state = State {
            h: Tensor::stack(&h, 0)?,
            c: Tensor::stack(&c, 0)?,
        };
        match sequence {
            Some(outputs) => Ok((outputs, state)),
            None => candle_core::bail!("a stack of no layers"),
        }
    }
}

/// Runs one layer in one direction over a sequence, in the order in which it lies.
///
/// # Shapes
/// `inputs`: `(T, B, I)`, none for a layer without `ih`; `h0`, `c0`: `(B, H)` → `(T, B, H)`, and the last h and c `(B,
/// H)`.
///
/// # Errors
/// candle's, when the shapes do not fit.
pub fn layer(
    inputs: Option<&Tensor>,
    steps: usize,
    weights: &LayerTensors,
    h0: &Tensor,
    c0: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let projected = match (inputs, &weights.ih) {
        (Some(inputs), Some(ih)) => Some(project(inputs, ih, weights.bias.as_ref())?),
        (None, None) => None,
        (Some(_), None) => candle_core::bail!("a layer that takes no input was given one"),
        (None, Some(_)) => candle_core::bail!("a layer that takes an input was given none"),
    };
    let recurrent = weights.hh.t()?;
    let (mut h, mut c) = (h0.clone(), c0.clone());
    let mut outputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let gates = h.matmul(&recurrent)?;
        let gates = match (&projected, &weights.bias) {
            (Some(projected), _) => (gates + projected.get(step)?)?,
            (None, Some(bias)) => gates.broadcast_add(bias)?,
            (None, None) => gates,
        };
        (h, c) = cell(&gates, &c)?;
        outputs.push(h.clone());
    }
    Ok((Tensor::stack(&outputs, 0)?, h, c))
}

/// Computes W_ih · input + bias of all steps in one product: `(T, B, I)` → `(T, B, 4H)`.
fn project(inputs: &Tensor, ih: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (steps, batch, _) = inputs.dims3()?;
    let product = inputs.flatten(0, 1)?.matmul(&ih.t()?)?;
    let product = match bias {
        Some(bias) => product.broadcast_add(bias)?,
        None => product,
    };
    product.reshape((steps, batch, ()))
}

/// Applies gates `(B, 4H)` to the cell state `(B, H)`; gives h and c.
fn cell(gates: &Tensor, c: &Tensor) -> Result<(Tensor, Tensor)> {
    let gates = gates.chunk(LstmSpec::GATES, D::Minus1)?;
    let input = candle_nn::ops::sigmoid(&gates[0])?;
    let forget = candle_nn::ops::sigmoid(&gates[1])?;
    let candidate = gates[2].tanh()?;
    let output = candle_nn::ops::sigmoid(&gates[3])?;
    let c = ((forget * c)? + (input * candidate)?)?;
    let h = (output * c.tanh()?)?;
    Ok((h, c))
}

/// Drops a share of the numbers and scales the others up, so that their mean stays (inverted dropout, as PyTorch).
fn dropped(tensor: &Tensor, share: f32, generator: &mut Pcg64Mcg) -> Result<Tensor> {
    if share == 0.0 {
        return Ok(tensor.clone());
    }
    let kept = 1.0 / (1.0 - share);
    let mut draw = || if generator.random::<f32>() < share { 0.0 } else { kept };
    let mask: Vec<f32> = (0..tensor.elem_count()).map(|_| draw()).collect();
    tensor * Tensor::from_vec(mask, tensor.dims(), tensor.device())?
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::model::golden::{self, assert_close, numbers};

    #[test]
    fn every_stack_gives_what_pytorch_gives() {
        let both = [Recurrence::Reference, Recurrence::Fused];
        for (case, recurrence) in golden::lstms()
            .into_iter()
            .flat_map(|case| both.map(|by| (case.clone(), by)))
        {
            let lstm = Lstm::new(case.spec, "lstm", &case.parameters(), recurrence).unwrap();
            let state = case.tensor("in.h0").zip(case.tensor("in.c0"));
            let state = state.map(|(h, c)| State { h, c });
            let (output, end) = match (case.tensor("in.sequence"), &state) {
                (Some(sequence), state) => lstm.forward(&sequence, state.as_ref(), None).unwrap(),
                (None, Some(state)) => {
                    let steps = case.tensor("out.output").unwrap().dims()[0];
                    lstm.forward_without_input(steps, state, None).unwrap()
                }
                (None, None) => panic!("{}: nothing to start from", case.name),
            };
            for (name, found) in [("out.output", output), ("out.h", end.h), ("out.c", end.c)] {
                assert_close(&case, name, &found);
            }
        }
    }

    fn stack(dropout: f32) -> Lstm {
        let spec = LstmSpec {
            input_size: 2,
            hidden_size: 3,
            layers: 2,
            bias: true,
            dropout,
            bidirectional: false,
        };
        let draw = |(name, shape): (String, Vec<usize>)| {
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| (i * 7 % 11) as f32 / 11.0 - 0.4).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        };
        let tensors = spec.parameters("lstm").into_iter().map(draw).collect();
        Lstm::new(spec, "lstm", &tensors, Recurrence::Reference).unwrap()
    }

    fn outputs(lstm: &Lstm, seed: Option<u64>) -> Vec<f32> {
        let inputs: Vec<f32> = (0..5 * 4 * 2).map(|i| (i % 7) as f32 / 3.0 - 1.0).collect();
        let inputs = Tensor::from_vec(inputs, (5, 4, 2), &Device::Cpu).unwrap();
        let mut generator = seed.map(Pcg64Mcg::seed_from_u64);
        numbers(&lstm.forward(&inputs, None, generator.as_mut()).unwrap().0)
    }

    #[test]
    fn dropout_is_seeded_in_training_and_absent_otherwise() {
        assert_eq!(outputs(&stack(0.5), None), outputs(&stack(0.0), None));
        assert_eq!(outputs(&stack(0.0), Some(1)), outputs(&stack(0.0), None));
        assert_eq!(outputs(&stack(0.5), Some(1)), outputs(&stack(0.5), Some(1)));
        assert_ne!(outputs(&stack(0.5), Some(1)), outputs(&stack(0.5), Some(2)));
        assert_ne!(outputs(&stack(0.5), Some(1)), outputs(&stack(0.5), None));
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let ones = Tensor::ones((100, 10, 20), DType::F32, &Device::Cpu).unwrap();
        let numbers = numbers(&dropped(&ones, 0.3, &mut Pcg64Mcg::seed_from_u64(5)).unwrap());
        assert!(numbers.iter().all(|&number| number == 0.0 || number == 1.0 / 0.7));
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        // Four standard deviations of the mean of 20,000 draws.
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn nothing_is_dropped_after_the_last_layer() {
        // One layer is the last one, so a share that would show changes nothing.
        let mut one = stack(0.9);
        one.spec.layers = 1;
        one.parameters.truncate(1);
        assert_eq!(outputs(&one, Some(1)), outputs(&one, None));
    }

    #[test]
    fn a_sequence_may_be_read_in_parts() {
        let lstm = stack(0.0);
        let inputs =
            Tensor::from_vec((0..40).map(|i| (i % 9) as f32 / 4.0).collect(), (5, 4, 2), &Device::Cpu).unwrap();
        let (whole, _) = lstm.forward(&inputs, None, None).unwrap();
        let (_, state) = lstm.forward(&inputs.narrow(0, 0, 2).unwrap(), None, None).unwrap();
        let rest = inputs.narrow(0, 2, 3).unwrap();
        let (rest, _) = lstm.forward(&rest, Some(&state.detach()), None).unwrap();
        let difference = (whole.narrow(0, 2, 3).unwrap() - rest).unwrap().abs().unwrap();
        assert!(numbers(&difference).iter().all(|&error| error < 1e-6));
    }
}
