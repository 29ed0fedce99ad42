//! A linear layer with its bias and, if wanted, a ReLU as one candle operation, for the judge's nets.
//!
//! Promises `nn.Linear` and ReLU as candle's own operations give them, within rounding. As separate operations they read and
//! write every number several times, and candle computes the gradient of inputs that nobody trains.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

use super::fused::numbers;
use super::kernel::product::product;
use super::kernel::simd::{Path, Scalars};

/// One layer.
struct DenseOp {
    rectified: bool,
    /// Whether anybody wants the gradient of the inputs.
    wants_inputs: bool,
}

/// Runs a layer: `inputs · weightᵀ + bias`, and where `rectified` nothing below 0.
///
/// # Shapes
/// `inputs`: `(…, I)`, `weight`: `(O, I)`, `bias`: `(O,)` → `(…, O)`.
///
/// # Errors
/// candle's, when shapes or type do not fit.
pub fn dense(inputs: &Tensor, weight: &Tensor, bias: &Tensor, rectified: bool) -> Result<Tensor> {
    let mut dims = inputs.dims().to_vec();
    let (outputs, width) = weight.dims2()?;
    let rows = inputs.contiguous()?.reshape(((), width))?;
    let parameters = Tensor::cat(&[weight, &bias.unsqueeze(1)?], 1)?;
    let operation = DenseOp {
        rectified,
        wants_inputs: inputs.track_op(),
    };
    let out = rows.apply_op2(&parameters, operation)?;
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    out.reshape(dims)
}

/// Reads a tensor's numbers where they lie.
fn read<R>(tensor: &Tensor, with: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(with(numbers(storage, layout)?)),
        _ => bail!("dense layer: expected tensors on the CPU"),
    }
}

/// Rows whose gradients are summed before they are added to the others: what fits the cache.
const CHUNK_ROWS: usize = 256;

/// Gives the gradients of weight and bias, `(O, I + 1)`, from those of the sums, `(N, O)`, and the inputs, `(N, I)`.
fn of_parameters(of_sums: &[f32], inputs: &[f32], outputs: usize, width: usize) -> Vec<f32> {
    let mut found = vec![0.0; outputs * (width + 1)];
    let chunks = of_sums.chunks(CHUNK_ROWS * outputs);
    for (of_sums, inputs) in chunks.zip(inputs.chunks(CHUNK_ROWS * width)) {
        let scalars = Scalars {
            data: of_sums,
            row: 1,
            step: outputs,
        };
        let rows = of_sums.len() / outputs;
        let part = product(outputs, rows, None, scalars, inputs, Path::best());
        for (found, part) in found.chunks_exact_mut(width + 1).zip(part.chunks_exact(width)) {
            found.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        for of_sums in of_sums.chunks_exact(outputs) {
            let bias = found.iter_mut().skip(width).step_by(width + 1);
            bias.zip(of_sums).for_each(|(sum, part)| *sum += part);
        }
    }
    found
}

/// Cuts `[weight | bias]`, `(O, I + 1)`, in two.
fn cut(parameters: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let rows = parameters.chunks_exact(width + 1);
    let weight = rows.clone().flat_map(|row| &row[..width]).copied().collect();
    (weight, rows.map(|row| row[width]).collect())
}

impl CustomOp2 for DenseOp {
    fn name(&self) -> &'static str {
        "dense-layer"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = l1.shape().dims2()?;
        let (outputs, _) = l2.shape().dims2()?;
        let (weight, bias) = cut(numbers(s2, l2)?, width);
        let transposed: Vec<f32> = (0..width)
            .flat_map(|column| weight.iter().skip(column).step_by(width))
            .copied()
            .collect();
        let scalars = Scalars {
            data: numbers(s1, l1)?,
            row: width,
            step: 1,
        };
        let mut out = product(rows, width, Some(&bias), scalars, &transposed, Path::best());
        if self.rectified {
            out.iter_mut().for_each(|number| *number = number.max(0.0));
        }
        Ok((CpuStorage::F32(out), Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        parameters: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, outputs) = grad.dims2()?;
        let width = inputs.dim(1)?;
        let mut of_sums: Vec<f32> = grad.flatten_all()?.to_vec1()?;
        if self.rectified {
            read(out, |out| {
                for (gradient, out) in of_sums.iter_mut().zip(out) {
                    *gradient = if *out > 0.0 { *gradient } else { 0.0 };
                }
            })?;
        }
        let found = read(inputs, |inputs| of_parameters(&of_sums, inputs, outputs, width))?;
        let of_inputs = match self.wants_inputs {
            false => None,
            true => {
                let (weight, _) = read(parameters, |parameters| cut(parameters, width))?;
                let scalars = Scalars {
                    data: &of_sums,
                    row: outputs,
                    step: 1,
                };
                let found = product(rows, outputs, None, scalars, &weight, Path::best());
                Some(Tensor::from_vec(found, inputs.shape(), grad.device())?)
            }
        };
        let found = Tensor::from_vec(found, parameters.shape(), grad.device())?;
        Ok((of_inputs, Some(found)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * step) % 17) as f32 / 8.0 - 1.0).collect()
    }

    fn variable(shape: (usize, usize), step: usize) -> Var {
        let tensor = Tensor::from_vec(numbers(shape.0 * shape.1, step), shape, &Device::Cpu);
        Var::from_tensor(&tensor.unwrap()).unwrap()
    }

    #[test]
    fn output_and_gradients_are_those_of_candles_own_operations() {
        let (inputs, weight, bias) = (variable((5, 7), 3), variable((4, 7), 5), variable((1, 4), 7));
        let pull = Tensor::from_vec(numbers(20, 11), (5, 4), &Device::Cpu).unwrap();
        let ours = dense(&inputs, &weight, &bias.flatten_all().unwrap(), true).unwrap();
        let product = inputs.matmul(&weight.t().unwrap()).unwrap();
        let theirs = product.broadcast_add(&bias).unwrap().relu().unwrap();
        let close = |a: &Tensor, b: &Tensor| {
            let apart = (a - b).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-5);
        };
        close(&ours, &theirs);
        let gradients = |out: &Tensor| (out * &pull).unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, theirs) = (gradients(&ours), gradients(&theirs));
        for variable in [&inputs, &weight, &bias] {
            close(ours.get(variable).unwrap(), theirs.get(variable).unwrap());
        }
    }
}
