//! Weights to and from PyTorch: a `state_dict` as safetensors, by the names that modules of the same parts give.
//!
//! A stack without input is `nn.LSTM(0, H)` there, which also has an empty `weight_ih_l0`; it is written, and empty tensors
//! are passed over when read.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::artifact::ArtifactError;
use super::spec::{LstmSpec, ModelSpec, Parameters};
use super::weights::Weights;

/// Writes tensors of 32-bit floats, each with its numbers, under metadata.
pub(super) fn write<'a>(
    tensors: impl Iterator<Item = (String, Vec<usize>, &'a [f32])>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, ArtifactError> {
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape, numbers)| (name, shape, bytes(numbers)))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(serialize(views, Some(metadata))?)
}

/// Reads all tensors but empty ones.
///
/// # Errors
/// [`ArtifactError`] when the bytes are no safetensors or hold other numbers than 32-bit floats.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Vec<f32>>, ArtifactError> {
    SafeTensors::deserialize(bytes)?
        .iter()
        .filter(|(_, view)| !view.data().is_empty())
        .map(|(name, view)| Ok((name.to_string(), numbers_of(name, &view)?)))
        .collect()
}

fn numbers_of(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, ArtifactError> {
    if view.dtype() != Dtype::F32 {
        return Err(ArtifactError::Inconsistent(format!(
            "{name}: expected 32-bit floats, found {:?}",
            view.dtype()
        )));
    }
    let numbers = view.data().as_chunks::<4>().0.iter();
    Ok(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

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
/// [`ArtifactError`] when the weights do not fit their spec.
pub fn to_state_dict(weights: &Weights) -> Result<Vec<u8>, ArtifactError> {
    let spec = &weights.spec;
    let parameters = spec.parameters().into_iter().chain(empty_parameters(spec));
    let tensors = parameters.map(|(name, shape)| {
        let numbers = weights.numbers(&name);
        (name, shape, numbers)
    });
    write(
        tensors,
        HashMap::from([("spec".to_string(), serde_json::to_string(spec)?)]),
    )
}

/// Reads weights from a `state_dict`.
///
/// # Errors
/// [`ArtifactError`] that names the parameter that is missing, unknown, of the wrong size or not finite.
pub fn from_state_dict(spec: ModelSpec, bytes: &[u8]) -> Result<Weights, ArtifactError> {
    Weights::new(spec, read(bytes)?).map_err(ArtifactError::Inconsistent)
}

#[cfg(test)]
mod tests {
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
