//! Weights to and from PyTorch: a `state_dict` as safetensors, by the names that modules of the same parts give.
//!
//! A stack without input is `nn.LSTM(0, H)` there, which also has an empty `weight_ih_l0`; it is written, and empty tensors
//! are passed over when read.

use super::spec::{LstmSpec, ModelSpec, Parameters};
use super::tensors::{self, NamedTensor, Numbers, TensorError, Tensors};
use super::weights::Weights;

/// Lists what PyTorch's modules have besides [`ModelSpec::parameters`]: empty input weights.
fn empty_parameters(spec: &ModelSpec) -> Parameters {
    let gates = LstmSpec::GATES * spec.hidden_size;
    let stacks = [("decoder", spec.decoded_rows), ("predictor", spec.horizon)];
    stacks
        .into_iter()
        .filter(|(_, rows)| *rows > 0 && spec.decoder().input_size == 0)
        .map(|(stack, _)| (format!("{stack}.weight_ih_l0"), vec![gates, 0]))
        .collect()
}

/// Writes weights as PyTorch's `load_state_dict` takes them; the spec stands in the metadata, under `spec`, as JSON.
///
/// # Errors
/// [`TensorError`] when the weights do not fit their spec.
pub fn to_state_dict(weights: &Weights) -> Result<Vec<u8>, TensorError> {
    let mut parameters = tensors_of(weights);
    parameters.extend(
        empty_parameters(&weights.spec)
            .into_iter()
            .map(|(name, shape)| NamedTensor {
                name,
                shape,
                numbers: Numbers::Floats((&[]).into()),
            }),
    );
    let spec = serde_json::to_string(&weights.spec).map_err(|error| TensorError::Inconsistent(error.to_string()))?;
    tensors::write(&parameters, ("spec", spec))
}

/// Gives all parameters as tensors.
pub(super) fn tensors_of(weights: &Weights) -> Vec<NamedTensor<'_>> {
    let tensor = |(name, shape): (String, Vec<usize>)| NamedTensor {
        numbers: Numbers::Floats(weights.numbers(&name).into()),
        name,
        shape,
    };
    weights.spec.parameters().into_iter().map(tensor).collect()
}

/// Takes the parameters of a model out of tensors, which hold nothing else.
///
/// # Errors
/// [`TensorError`] that names the parameter that is missing, unknown, of the wrong size or not finite.
pub(super) fn weights_of(spec: ModelSpec, tensors: Tensors<'_>) -> Result<Weights, TensorError> {
    Weights::new(spec, tensors.rest()?).map_err(TensorError::Inconsistent)
}

/// Reads weights from a `state_dict`.
///
/// # Errors
/// [`TensorError`] when the bytes are no safetensors, or that names the parameter that is missing, unknown, of the wrong
/// type or size, or not finite.
pub fn from_state_dict(spec: ModelSpec, bytes: &[u8]) -> Result<Weights, TensorError> {
    weights_of(spec, Tensors::read(bytes)?)
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::SafeTensors;

    use super::*;

    #[test]
    fn weights_come_back_and_pytorch_finds_all_its_names() {
        for conditioned in [false, true] {
            let spec = ModelSpec {
                conditioned,
                horizon: 2,
                ..ModelSpec::autoencoder(3, 5, 2, 6, 4)
            };
            let weights = Weights::seeded(spec, 7);
            let bytes = to_state_dict(&weights).unwrap();
            assert_eq!(from_state_dict(spec, &bytes).unwrap(), weights);
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let empty = tensors.tensor("predictor.weight_ih_l0").unwrap().shape().to_vec();
            assert_eq!(empty, [20, if conditioned { 3 } else { 0 }]);
        }
    }

    #[test]
    fn another_models_weights_are_refused_by_name() {
        let bytes = to_state_dict(&Weights::seeded(ModelSpec::autoencoder(3, 5, 1, 6, 4), 7)).unwrap();
        let error = from_state_dict(ModelSpec::autoencoder(3, 5, 2, 6, 4), &bytes).unwrap_err();
        assert!(error.to_string().contains("encoder.weight_ih_l1: missing"), "{error}");
    }
}
