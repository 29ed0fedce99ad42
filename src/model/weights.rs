//! A model's parameters as plain numbers, by PyTorch's names and in its layout.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::spec::ModelSpec;

/// The parameters of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Sizes.
    pub spec: ModelSpec,
    /// Row-major numbers by name.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

impl Weights {
    /// Draws every parameter evenly from ±1/√n, as PyTorch does, n being H for an LSTM and the output heads, and the
    /// inputs of the layer for the judge's nets and the bridge; the same seed gives the same bits.
    pub fn seeded(spec: ModelSpec, seed: u64) -> Self {
        let mut generator = Pcg64Mcg::seed_from_u64(seed);
        let parameters = spec.parameters();
        let inputs: BTreeMap<&str, usize> = parameters
            .iter()
            .filter(|(name, _)| {
                ["judge.", "row_judge.", "compress.", "expand."]
                    .iter()
                    .any(|net| name.starts_with(net))
            })
            .filter_map(|(name, shape)| Some((name.strip_suffix(".weight")?, *shape.last()?)))
            .collect();
        let tensors = parameters
            .iter()
            .map(|(name, shape)| {
                let count: usize = shape.iter().product();
                let net = name.rsplit_once('.').map_or("", |(net, _)| net);
                let fan_in = inputs.get(net).copied().unwrap_or(spec.hidden_size);
                let bound = 1.0 / libm::sqrtf(fan_in as f32);
                let name = name.clone();
                (
                    name,
                    (0..count)
                        .map(|_| bound * (2.0 * generator.random::<f32>() - 1.0))
                        .collect(),
                )
            })
            .collect();
        Weights { spec, tensors }
    }

    /// Makes weights from named numbers.
    ///
    /// # Errors
    /// A text that names the parameter that is missing, unknown, of the wrong size or not finite.
    pub fn new(spec: ModelSpec, tensors: BTreeMap<String, Vec<f32>>) -> Result<Self, String> {
        spec.check()?;
        let parameters = spec.parameters();
        for (name, shape) in &parameters {
            let numbers = tensors.get(name).ok_or_else(|| format!("{name}: missing"))?;
            let expected: usize = shape.iter().product();
            if numbers.len() != expected {
                return Err(format!("{name}: expected {expected} numbers, found {}", numbers.len()));
            }
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(format!("{name}: holds a number that is not finite"));
            }
        }
        match tensors
            .keys()
            .find(|name| !parameters.iter().any(|(known, _)| known == *name))
        {
            Some(unknown) => Err(format!("{unknown}: no parameter of this model")),
            None => Ok(Weights { spec, tensors }),
        }
    }

    /// Gives one parameter's numbers; empty for a name that the model lacks.
    pub fn numbers(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ModelSpec {
        ModelSpec::autoencoder(3, 8, 2, 8, 8)
    }

    #[test]
    fn same_seed_gives_the_same_bits_and_another_does_not() {
        assert_eq!(Weights::seeded(spec(), 7), Weights::seeded(spec(), 7));
        assert_ne!(Weights::seeded(spec(), 7), Weights::seeded(spec(), 8));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let whole = Weights::seeded(spec(), 1).tensors;
        assert!(Weights::new(spec(), whole.clone()).is_ok());
        let mut missing = whole.clone();
        missing.remove("output.bias");
        assert!(
            Weights::new(spec(), missing)
                .unwrap_err()
                .starts_with("output.bias: missing")
        );
        let mut nan = whole.clone();
        nan.get_mut("output.bias").unwrap()[0] = f32::NAN;
        assert!(Weights::new(spec(), nan).unwrap_err().contains("not finite"));
        let mut unknown = whole;
        unknown.insert("judge.weight".into(), vec![1.0]);
        assert!(
            Weights::new(spec(), unknown)
                .unwrap_err()
                .starts_with("judge.weight: no parameter")
        );
    }
}
