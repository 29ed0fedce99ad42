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
    /// Draws every parameter evenly from ±1/√H, as PyTorch does; the same seed gives the same bits.
    pub fn seeded(spec: ModelSpec, seed: u64) -> Self {
        let mut generator = Pcg64Mcg::seed_from_u64(seed);
        let bound = 1.0 / libm::sqrtf(spec.hidden_size as f32);
        let tensors = spec
            .parameters()
            .into_iter()
            .map(|(name, shape)| {
                let count: usize = shape.iter().product();
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

    const SPEC: ModelSpec = ModelSpec {
        input_size: 3,
        hidden_size: 8,
        layers: 2,
        lookback: 8,
        decoded_rows: 8,
    };

    #[test]
    fn same_seed_gives_the_same_bits_and_another_does_not() {
        assert_eq!(Weights::seeded(SPEC, 7), Weights::seeded(SPEC, 7));
        assert_ne!(Weights::seeded(SPEC, 7), Weights::seeded(SPEC, 8));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let whole = Weights::seeded(SPEC, 1).tensors;
        assert!(Weights::new(SPEC, whole.clone()).is_ok());
        let mut missing = whole.clone();
        missing.remove("output.bias");
        assert!(
            Weights::new(SPEC, missing)
                .unwrap_err()
                .starts_with("output.bias: missing")
        );
        let mut nan = whole.clone();
        nan.get_mut("output.bias").unwrap()[0] = f32::NAN;
        assert!(Weights::new(SPEC, nan).unwrap_err().contains("not finite"));
        let mut unknown = whole;
        unknown.insert("judge.weight".into(), vec![1.0]);
        assert!(
            Weights::new(SPEC, unknown)
                .unwrap_err()
                .starts_with("judge.weight: no parameter")
        );
    }
}
