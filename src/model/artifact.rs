//! The artifact: a trained model as one safetensors byte string.
//!
//! The weights are its tensors, by PyTorch's names; everything else is one JSON document in its metadata, in named
//! sections: format, version, heads, spec, calibrations, provenance. It loads from `&[u8]`, and what is loaded has been
//! checked: a file cut short, edited or made by a later format is refused with a reason.

use std::collections::HashMap;
use std::sync::Arc;

use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::exchange;
use super::kernel::scorer::KernelScorer;
use super::spec::ModelSpec;
use super::weights::Weights;
use crate::pipeline::calibration::Calibrations;
use crate::pipeline::feature::CATALOGUE;
use crate::pipeline::score::{Model, ModelVersion};

/// Format that this program writes and reads.
pub const FORMAT: u32 = 3;
/// Key of the JSON document in the safetensors metadata.
const METADATA_KEY: &str = "tapewatch";

/// A trained model with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Which training made it.
    pub version: ModelVersion,
    /// The parameters.
    pub weights: Weights,
    /// Input transforms and tails.
    pub calibrations: Arc<Calibrations>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the program that trained it.
    pub program: String,
    /// When (RFC 3339).
    pub trained_at: String,
    /// Seed of the training.
    pub seed: u64,
    /// Ticks it was trained and calibrated on.
    pub ticks: u64,
    /// Instruments among them.
    pub instruments: u64,
    /// Loss with which the fit of the weights ended, in the unit that `loss_kind` names; none for weights that were imported.
    pub loss: Option<f64>,
    /// What that loss is of; none where there is no loss, and in models of before it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_kind: Option<LossKind>,
}

/// What the loss of a fit is of. Losses of different kinds cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Mean squared error of what decoder and predictor make of the ticks that tell when to stop (model input units). They
    /// are among those that are not held back, and no weights are fitted to them.
    SquaredError,
    /// The judge's loss per injected fault, with its share of the clean ticks between, summed over the judge's nets, as the
    /// mean over about the last twenty steps of the fit. The faults are in copies of ticks that the weights are being fitted to.
    JudgePerFault,
}

impl LossKind {
    /// Gives the words that stand before the number.
    pub fn words(self) -> &'static str {
        match self {
            LossKind::SquaredError => "squared error on ticks not fitted to",
            LossKind::JudgePerFault => "judge's loss per injected fault",
        }
    }
}

impl Provenance {
    /// Gives the loss and what it is of, for people; nothing where there is none.
    pub fn loss_text(&self) -> Option<String> {
        let words = self.loss_kind.map_or("loss", LossKind::words);
        self.loss.map(|loss| format!("{words} {loss:.4}"))
    }
}

/// What stands in the metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    version: ModelVersion,
    heads: Vec<String>,
    features: Vec<String>,
    spec: ModelSpec,
    calibrations: Arc<Calibrations>,
    provenance: Provenance,
}

/// Why bytes are no artifact.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// Not a safetensors file, or cut short.
    #[error("not a safetensors file: {0}")]
    NotSafetensors(#[from] safetensors::SafeTensorError),
    /// No section of ours.
    #[error("no \"{METADATA_KEY}\" section in the metadata; expected a model that tapewatch has trained")]
    NoDocument,
    /// The section cannot be read.
    #[error("the \"{METADATA_KEY}\" section cannot be read: {0}")]
    BadDocument(#[from] serde_json::Error),
    /// Another format.
    #[error("format {found}; this program reads format {FORMAT}: train anew, or keep the program that wrote it")]
    OtherFormat {
        /// The format found.
        found: u32,
    },
    /// The parts do not fit together.
    #[error("{0}")]
    Inconsistent(String),
}

impl Artifact {
    /// Writes the artifact; the same artifact gives the same bytes.
    ///
    /// # Errors
    /// [`ArtifactError`] when the parts do not fit together.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArtifactError> {
        let document = Document {
            format: FORMAT,
            version: self.version,
            heads: self.weights.spec.heads().into_iter().map(String::from).collect(),
            features: feature_names(),
            spec: self.weights.spec,
            calibrations: Arc::clone(&self.calibrations),
            provenance: self.provenance.clone(),
        };
        let metadata = HashMap::from([(METADATA_KEY.to_string(), serde_json::to_string(&document)?)]);
        let parameters = self.weights.spec.parameters().into_iter();
        let tensors = parameters.map(|(name, shape)| {
            let numbers = self.weights.numbers(&name);
            (name, shape, numbers)
        });
        exchange::write(tensors, metadata)
    }

    /// Reads and checks an artifact.
    ///
    /// # Errors
    /// [`ArtifactError`] that says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let document = metadata
            .metadata()
            .as_ref()
            .and_then(|sections| sections.get(METADATA_KEY))
            .ok_or(ArtifactError::NoDocument)?;
        let format: FormatOnly = serde_json::from_str(document)?;
        if format.format != FORMAT {
            return Err(ArtifactError::OtherFormat { found: format.format });
        }
        let document: Document = serde_json::from_str(document)?;
        if document.features != feature_names() {
            return Err(ArtifactError::Inconsistent(
                "its features are not those of this program; train anew".into(),
            ));
        }
        if !document.calibrations.is_valid() {
            return Err(ArtifactError::Inconsistent(
                "its calibrations hold numbers that no fit makes".into(),
            ));
        }
        let tensors = exchange::read(bytes)?;
        Ok(Artifact {
            version: document.version,
            weights: Weights::new(document.spec, tensors).map_err(ArtifactError::Inconsistent)?,
            calibrations: document.calibrations,
            provenance: document.provenance,
        })
    }

    /// Gives the model as the detector sees it.
    pub fn model(&self) -> Model {
        Model {
            version: self.version,
            scorer: Arc::new(KernelScorer::new(&self.weights)),
            calibrations: Arc::clone(&self.calibrations),
        }
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

fn feature_names() -> Vec<String> {
    CATALOGUE.iter().map(|feature| feature.name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::arms::{Arms, RowErrors, RunningErrors};
    use crate::pipeline::calibration::Calibration;
    use crate::pipeline::feature::FEATURES;
    use crate::pipeline::scaler::InputTransform;

    fn artifact() -> Artifact {
        let spec = ModelSpec::autoencoder(FEATURES, 8, 1, 4, 4);
        let rows: Vec<_> = (0..300).map(|i| [(i % 17) as f32 / 17.0; FEATURES]).collect();
        let mut running = RunningErrors::default();
        let errors = |row| {
            RowErrors::new(
                row,
                &[0.0; FEATURES],
                Some(&[0.5; FEATURES]),
                Some(1.0),
                Some(&mut running),
            )
        };
        let errors: Vec<_> = rows.iter().map(errors).collect();
        let pooled = Arc::new(Calibration::fit(InputTransform::fit(&rows), &errors, Arms::ALL));
        Artifact {
            version: ModelVersion(3),
            weights: Weights::seeded(spec, 5),
            calibrations: Arc::new(Calibrations {
                instruments: [("A".to_string(), Arc::clone(&pooled))].into(),
                pooled,
            }),
            provenance: Provenance {
                program: "test".into(),
                trained_at: "2024-01-01T00:00:00Z".into(),
                seed: 5,
                ticks: 300,
                instruments: 1,
                loss: Some(0.125),
                loss_kind: Some(LossKind::SquaredError),
            },
        }
    }

    #[test]
    fn artifact_comes_back_whole_and_gives_the_same_bytes() {
        let bytes = artifact().to_bytes().unwrap();
        assert_eq!(Artifact::from_bytes(&bytes).unwrap(), artifact());
        assert_eq!(artifact().to_bytes().unwrap(), bytes);
    }

    #[test]
    fn cut_foreign_and_later_files_are_refused() {
        let bytes = artifact().to_bytes().unwrap();
        assert!(Artifact::from_bytes(&bytes[..bytes.len() - 9]).is_err());
        assert!(matches!(
            Artifact::from_bytes(b"{}"),
            Err(ArtifactError::NotSafetensors(_))
        ));
        let key = br#"{\"format\":"#;
        let place = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
        let mut later = bytes.clone();
        later[place] = b'9';
        assert!(matches!(
            Artifact::from_bytes(&later),
            Err(ArtifactError::OtherFormat { found: 9 })
        ));
    }
}
