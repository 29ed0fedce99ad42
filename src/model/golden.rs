//! What PyTorch gives for layers and models: the cases of `tests/data/model`, which its `make.py` has made and
//! describes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use candle_core::{Device, Tensor};
use safetensors::tensor::SafeTensors;
use serde::Deserialize;

use super::spec::{LstmSpec, ModelSpec};
use super::weights::Weights;

/// How far an output may be from PyTorch's (absolute; outputs are of the order of 1).
pub(crate) const TOLERANCE: f32 = 1e-5;

/// Sizes of the cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Specs {
    lstm: BTreeMap<String, LstmSpec>,
    models: BTreeMap<String, ModelSpec>,
}

/// Shape and row-major numbers.
type Numbers = (Vec<usize>, Vec<f32>);

static SPECS: LazyLock<Specs> = LazyLock::new(|| serde_json::from_slice(&read("golden.json")).unwrap());
static TENSORS: LazyLock<BTreeMap<String, Numbers>> = LazyLock::new(|| {
    let bytes = read("golden.safetensors");
    let numbers = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), numbers(view.data()))))
        .collect()
});

fn read(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/model");
    fs::read(folder.join(name)).unwrap()
}

/// One case: an LSTM (`S` = [`LstmSpec`]) or a whole model ([`ModelSpec`]).
#[derive(Clone)]
pub(crate) struct Case<S> {
    pub(crate) name: String,
    pub(crate) spec: S,
    tensors: BTreeMap<String, Numbers>,
}

impl<S> Case<S> {
    fn new((name, spec): (&String, S)) -> Self {
        let own = |(path, numbers): (&String, &Numbers)| {
            let (case, tensor) = path.split_once('/').unwrap();
            (case == name).then(|| (tensor.to_owned(), numbers.clone()))
        };
        Case {
            name: name.clone(),
            spec,
            tensors: TENSORS.iter().filter_map(own).collect(),
        }
    }

    /// Gives the row-major numbers of one tensor, if the case has it.
    pub(crate) fn numbers(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|(_, numbers)| numbers.as_slice())
    }

    /// Gives one tensor, if the case has it.
    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor> {
        let (shape, numbers) = self.tensors.get(name)?;
        Some(Tensor::from_slice(numbers, shape.as_slice(), &Device::Cpu).unwrap())
    }

    /// Gives the names of the parameters.
    fn names(&self) -> impl Iterator<Item = &String> {
        let others = ["in.", "out.", "grad."];
        let is_parameter = move |name: &&String| !others.iter().any(|other| name.starts_with(other));
        self.tensors.keys().filter(is_parameter)
    }

    /// Gives the parameters by name.
    pub(crate) fn parameters(&self) -> BTreeMap<String, Tensor> {
        self.names()
            .map(|name| (name.clone(), self.tensor(name).unwrap()))
            .collect()
    }
}

impl Case<ModelSpec> {
    /// Gives the weights, checked: the parameters are a `state_dict` as PyTorch wrote it.
    pub(crate) fn weights(&self) -> Weights {
        let numbers = |name: &String| (name.clone(), self.tensors[name].1.clone());
        Weights::new(self.spec, self.names().map(numbers).collect()).unwrap()
    }
}

/// Gives the cases of layers alone; their parameters stand under the prefix `lstm`.
pub(crate) fn lstms() -> Vec<Case<LstmSpec>> {
    let cases = SPECS.lstm.iter().map(|(name, spec)| Case::new((name, *spec)));
    cases.collect()
}

/// Gives the cases of whole models.
pub(crate) fn models() -> Vec<Case<ModelSpec>> {
    let cases = SPECS.models.iter().map(|(name, spec)| Case::new((name, *spec)));
    cases.collect()
}

/// Copies a tensor's numbers out.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that a tensor is of the shape of a case's tensor and close to it.
pub(crate) fn assert_close<S>(case: &Case<S>, name: &str, found: &Tensor) {
    let (shape, expected) = &case.tensors[name];
    assert_eq!(found.dims(), shape, "{}/{name}", case.name);
    let errors = numbers(found).into_iter().zip(expected).map(|(a, b)| (a - b).abs());
    // In this order a NaN is the worst of all.
    let worst = errors.max_by(f32::total_cmp).unwrap_or_default();
    assert!(worst <= TOLERANCE, "{}/{name}: off by {worst}", case.name);
    println!("{}/{name}: off by {worst:e} at most", case.name);
}

/// Asserts that a gradient is close to a case's, by the norm of the difference as a share of the norm.
pub(crate) fn assert_gradient_close<S>(case: &Case<S>, name: &str, found: &[f32]) {
    let expected = case.numbers(&format!("grad.{name}")).unwrap();
    assert_eq!(found.len(), expected.len(), "{}/{name}", case.name);
    let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let mut differences = found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b));
    let share = norm(&mut differences) / norm(&mut expected.iter().map(|b| f64::from(*b)));
    assert!(share <= f64::from(TOLERANCE), "{}/{name}: off by {share}", case.name);
    println!("{}/grad.{name}: off by {share:e}", case.name);
}
