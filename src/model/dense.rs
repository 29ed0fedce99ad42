//! A linear layer with its bias and, if wanted, a ReLU as one candle operation, for the judge's nets.
//!
//! Promises `nn.Linear` and ReLU as candle's own operations give them, within rounding. As separate operations they read and
//! write every number several times, and candle computes the gradient of inputs that nobody trains.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// Bias, ReLU and the gradients of the layer whose product is given.
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
    let product = rows.detach().matmul(&weight.detach().t()?)?;
    let parameters = Tensor::cat(&[weight, &bias.unsqueeze(1)?], 1)?;
    let operation = DenseOp {
        rectified,
        wants_inputs: inputs.track_op(),
    };
    let out = product.apply_op3(&rows, &parameters, operation)?;
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    out.reshape(dims)
}

/// Gives a tensor's numbers, which lie side by side.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let numbers = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&numbers[start..end]),
        None => candle_core::bail!("dense layer: expected contiguous tensors"),
    }
}

impl CustomOp3 for DenseOp {
    fn name(&self) -> &'static str {
        "dense-layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        _inputs: &CpuStorage,
        _inputs_layout: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (product, parameters) = (numbers(s1, l1)?, numbers(s3, l3)?);
        let (_, outputs) = l1.shape().dims2()?;
        let (_, columns) = l3.shape().dims2()?;
        let bias: Vec<f32> = parameters.chunks_exact(columns).map(|row| row[columns - 1]).collect();
        let floor = if self.rectified { 0.0 } else { f32::NEG_INFINITY };
        let mut out = Vec::with_capacity(product.len());
        for row in product.chunks_exact(outputs) {
            out.extend(row.iter().zip(&bias).map(|(number, bias)| (number + bias).max(floor)));
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        _product: &Tensor,
        inputs: &Tensor,
        parameters: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, outputs) = grad.dims2()?;
        let mut of_product: Vec<f32> = grad.flatten_all()?.to_vec1()?;
        if self.rectified {
            let (storage, layout) = out.storage_and_layout();
            let candle_core::Storage::Cpu(storage) = &*storage else {
                candle_core::bail!("dense layer: expected tensors on the CPU")
            };
            for (gradient, out) in of_product.iter_mut().zip(numbers(storage, layout)?) {
                *gradient = if *out > 0.0 { *gradient } else { 0.0 };
            }
        }
        let mut of_bias = vec![0.0; outputs];
        for row in of_product.chunks_exact(outputs) {
            of_bias.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
        }
        let of_product = Tensor::from_vec(of_product, grad.shape(), grad.device())?;
        let of_bias = Tensor::from_vec(of_bias, (outputs, 1), grad.device())?;
        let of_weight = of_product.t()?.matmul(inputs)?;
        let of_inputs = match self.wants_inputs {
            true => Some(of_product.matmul(&parameters.narrow(1, 0, inputs.dim(1)?)?)?),
            false => None,
        };
        Ok((None, of_inputs, Some(Tensor::cat(&[&of_weight, &of_bias], 1)?)))
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
