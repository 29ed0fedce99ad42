//! The kernel's LSTM layer as a candle operation with a fused gradient, so that training runs at the kernel's speed.
//!
//! Promises the mathematics of the reference's layer (`lstm::layer`) within rounding, for 32-bit floats on the CPU, and
//! the same bits for the same inputs. Gradients of gradients are not there.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::kernel::packed::LayerWeights;
use super::kernel::sequence::{Sequence, SequenceShape};
use super::kernel::simd::Path;

/// Weights of one layer in one direction, in PyTorch's layout.
#[derive(Clone, Debug)]
pub struct LayerTensors {
    /// `(4H, I)`; none for a layer that takes no input.
    pub ih: Option<Tensor>,
    /// `(4H, H)`.
    pub hh: Tensor,
    /// `(4H,)`: `bias_ih` + `bias_hh`; none for a layer without biases.
    pub bias: Option<Tensor>,
}

/// One layer in one direction over a sequence.
struct LayerOp {
    shape: SequenceShape,
    /// Whether anybody wants the gradient of the inputs.
    wants_inputs: bool,
    path: Path,
    /// What the forward pass leaves for the gradient. candle hands operations out behind a shared reference, so this is
    /// the only way from one to the other; one thread runs both, so nobody ever waits.
    sequence: Mutex<Option<Sequence>>,
}

/// Runs a layer over a sequence.
///
/// # Shapes
/// `inputs`: `(T, B, I)`, `h` and `c`: `(B, H)` → h after every step `(T, B, H)`, and h and c after the last, `(B, H)`.
///
/// # Errors
/// candle's, when shapes, type or device do not fit.
pub fn layer(
    inputs: Option<&Tensor>,
    steps: usize,
    weights: &LayerTensors,
    h: &Tensor,
    c: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, hidden) = h.dims2()?;
    let gates = 4 * hidden;
    let bias = match &weights.bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros(gates, h.dtype(), h.device())?,
    };
    let nothing = Tensor::zeros(1, h.dtype(), h.device())?;
    let (sequence, inputs_per_row) = match inputs {
        Some(inputs) => (inputs.contiguous()?, inputs.dim(2)?),
        None => (nothing, 0),
    };
    let mut parameters = vec![weights.hh.flatten_all()?, bias];
    if let Some(input) = &weights.ih {
        parameters.push(input.flatten_all()?);
    }
    let operation = LayerOp {
        shape: SequenceShape {
            steps,
            rows,
            inputs: inputs_per_row,
            hidden,
        },
        wants_inputs: inputs.is_some_and(Tensor::track_op),
        path: Path::best(),
        sequence: Mutex::new(None),
    };
    let state = Tensor::cat(&[h, c], 0)?;
    let out = sequence.apply_op3(&Tensor::cat(&parameters, 0)?, &state, operation)?;
    let last = out.narrow(0, steps.saturating_sub(1), 1)?.squeeze(0)?;
    Ok((out.narrow(0, 0, steps)?, last, out.narrow(0, steps, 1)?.squeeze(0)?))
}

impl LayerOp {
    /// Cuts the flat parameters `[W_hh | bias | W_ih]`.
    fn weights<'a>(&self, parameters: &'a [f32]) -> LayerWeights<'a> {
        let gates = 4 * self.shape.hidden;
        let (hidden, rest) = parameters.split_at(gates * self.shape.hidden);
        let (bias, input) = rest.split_at(gates);
        LayerWeights { input, hidden, bias }
    }

    /// Gives the input sequence; the placeholder of a layer without input is no number of it.
    fn inputs<'a>(&self, numbers: &'a [f32]) -> &'a [f32] {
        if self.shape.inputs == 0 { &[] } else { numbers }
    }
}

/// Gives a tensor's numbers, which lie side by side.
pub(super) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let numbers = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&numbers[start..end]),
        None => bail!("fused layer: expected contiguous tensors"),
    }
}

impl CustomOp3 for LayerOp {
    fn name(&self) -> &'static str {
        "lstm-layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.shape;
        let (inputs, parameters, state) = (numbers(s1, l1)?, numbers(s2, l2)?, numbers(s3, l3)?);
        let (h, c) = state.split_at(shape.rows * shape.hidden);
        let weights = self.weights(parameters);
        let sequence = Sequence::forward(weights, shape, self.inputs(inputs), h, c, self.path);
        let out = sequence.outputs();
        *self.sequence.lock().unwrap_or_else(PoisonError::into_inner) = Some(sequence);
        Ok((
            CpuStorage::F32(out),
            Shape::from((shape.steps + 1, shape.rows, shape.hidden)),
        ))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        parameters: &Tensor,
        state: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let kept = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sequence) = kept.as_ref() else {
            bail!("lstm layer: the gradient was asked for before the forward pass")
        };
        let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let (numbers, weights, grad) = (flat(inputs)?, flat(parameters)?, flat(grad)?);
        let found = sequence.backward(self.weights(&weights), self.inputs(&numbers), &grad, self.wants_inputs);
        let device = inputs.device();
        let of_inputs = match found.inputs.is_empty() {
            true => None,
            false => Some(Tensor::from_vec(found.inputs, inputs.shape(), device)?),
        };
        let of_parameters = [found.hidden_weights, found.bias, found.input_weights].concat();
        let of_state = [found.hidden, found.cell].concat();
        Ok((
            of_inputs,
            Some(Tensor::from_vec(of_parameters, parameters.shape(), device)?),
            Some(Tensor::from_vec(of_state, state.shape(), device)?),
        ))
    }
}
