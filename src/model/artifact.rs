//! The artifact: a trained model as one safetensors byte string.
//!
//! Its tensors are the weights, by PyTorch's names, and the calibrations ([`calibration_tensors`] says how, and how many bytes
//! an instrument takes). Everything else is one JSON document in its metadata, in named sections: format, version, heads,
//! features, spec, provenance. It loads from `&[u8]`, and what is loaded has been checked: a file cut short, edited, made for
//! other features or by a later format is refused with a reason.
//!
//! Format 3, whose document held the calibrations too, is read ([`format3`]) and no longer written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::kernel::scorer::KernelScorer;
use super::spec::ModelSpec;
use super::tensors::{self, TensorError, Tensors};
use super::weights::Weights;
use super::{calibration_tensors, checksum, exchange, format3};
use crate::pipeline::calibration::Calibrations;
use crate::pipeline::feature::{CATALOGUE, FEATURES};
use crate::pipeline::score::{Model, ModelVersion};

/// Format that this program writes and reads.
pub const FORMAT: u32 = 4;
/// Older format that it reads too.
const FORMAT_BEFORE: u32 = 3;
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
    /// When (RFC 3339). Calibrating further instruments later does not change it.
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
    /// What was made here; unknown of files that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Event time of the newest tick that it was made from (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_tick: Option<String>,
    /// Instruments among them that were calibrated later, with the weights as they were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instruments_added: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What the making of a model has fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Calibrations alone: the weights are a base model's.
    Calibrated,
    /// Weights and calibrations.
    Trained,
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
    /// Format 3 alone.
    #[serde(default, skip_serializing)]
    calibrations: Option<format3::Calibrations>,
    provenance: Provenance,
    /// See [`checksum`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

/// Why bytes are no artifact.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// Not a safetensors file, cut short, or tensors that are not what they should be.
    #[error(transparent)]
    BadTensors(#[from] TensorError),
    /// No section of ours.
    #[error("no \"{METADATA_KEY}\" section in the metadata; expected a model that tapewatch has trained")]
    NoDocument,
    /// The section cannot be read.
    #[error("the \"{METADATA_KEY}\" section cannot be read: {0}")]
    BadDocument(#[from] serde_json::Error),
    /// Bytes have changed since it was written.
    #[error("its checksum does not hold: the file was changed or damaged since it was written")]
    Damaged,
    /// Another format.
    #[error(
        "format {found}; this program reads formats {FORMAT_BEFORE} and {FORMAT}: train anew, or keep the program that wrote it"
    )]
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
            calibrations: None,
            provenance: self.provenance.clone(),
            checksum: Some(checksum::BLANK.into()),
        };
        let document = serde_json::to_string(&document)?;
        let mut tensors = exchange::tensors_of(&self.weights);
        tensors.extend(calibration_tensors::tensors_of(&self.calibrations)?);
        let mut bytes = tensors::write(&tensors, (METADATA_KEY, document))?;
        checksum::stamp(&mut bytes);
        Ok(bytes)
    }

    /// Reads and checks an artifact.
    ///
    /// # Errors
    /// [`ArtifactError`] that says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let document = Tensors::metadata(bytes, METADATA_KEY)?.ok_or(ArtifactError::NoDocument)?;
        let format: FormatOnly = serde_json::from_str(&document)?;
        if ![FORMAT, FORMAT_BEFORE].contains(&format.format) {
            return Err(ArtifactError::OtherFormat { found: format.format });
        }
        if !checksum::holds(bytes) {
            return Err(ArtifactError::Damaged);
        }
        let document: Document = serde_json::from_str(&document)?;
        if document.features != feature_names() || document.spec.input_size != FEATURES {
            return Err(ArtifactError::Inconsistent(
                "its features are not those of this program; train anew".into(),
            ));
        }
        let mut tensors = Tensors::read(bytes)?;
        let calibrations = match (document.format, document.calibrations) {
            (FORMAT, None) => calibration_tensors::calibrations_of(&mut tensors)?,
            (FORMAT_BEFORE, Some(calibrations)) => calibrations.read().map_err(ArtifactError::Inconsistent)?,
            (format, _) => {
                let text = format!("its calibrations do not stand where format {format} has them");
                return Err(ArtifactError::Inconsistent(text));
            }
        };
        Ok(Artifact {
            version: document.version,
            weights: exchange::weights_of(document.spec, tensors)?,
            calibrations: Arc::new(calibrations),
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
    use crate::pipeline::adaptation::Adaptation;
    use crate::pipeline::arms::{Arms, RowErrors, RunningErrors};
    use crate::pipeline::calibration::Calibration;
    use crate::pipeline::scaler::InputTransform;
    use crate::pipeline::score::{Context, Evidence, Item, Workspace};
    use crate::pipeline::tail::{Beyond, Tail};

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
                origin: Some(Origin::Trained),
                newest_tick: Some("2023-12-31T23:59:59Z".into()),
                instruments_added: 0,
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
    fn provenance_of_a_file_that_says_less_is_read() {
        let less =
            r#"{"program":"0","trained_at":"2024-01-01T00:00:00Z","seed":1,"ticks":2,"instruments":1,"loss":null}"#;
        let read: Provenance = serde_json::from_str(less).unwrap();
        assert_eq!((read.origin, read.newest_tick, read.instruments_added), (None, None, 0));
    }

    #[test]
    fn cut_foreign_and_later_files_are_refused() {
        let bytes = artifact().to_bytes().unwrap();
        assert!(Artifact::from_bytes(&bytes[..bytes.len() - 9]).is_err());
        assert!(matches!(
            Artifact::from_bytes(b"{}"),
            Err(ArtifactError::BadTensors(TensorError::NotSafetensors(_)))
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

    #[test]
    fn model_for_rows_of_another_width_is_refused() {
        let narrow = Artifact {
            weights: Weights::seeded(ModelSpec::autoencoder(3, 8, 1, 4, 4), 5),
            ..artifact()
        };
        let error = Artifact::from_bytes(&narrow.to_bytes().unwrap()).unwrap_err();
        assert!(error.to_string().contains("features"), "{error}");
    }

    /// Scores one row, as a detector would.
    fn score(artifact: &Artifact) -> f32 {
        let model = artifact.model();
        let spec = &artifact.weights.spec;
        let input = std::array::from_fn(|feature| (feature % 7) as f32 - 3.0);
        let before = vec![0.25; (spec.lookback - 1) * FEATURES];
        let mut state = vec![0.0; model.scorer.state_len()];
        let mut evidence = Evidence::default();
        let mut item = Item {
            context: match state.is_empty() {
                true => Context::Window(&before),
                false => Context::Carried(&mut state),
            },
            rows: &input,
        };
        model.scorer.score(
            std::slice::from_mut(&mut item),
            &mut Workspace::default(),
            &mut evidence,
        );
        let rebuilt = evidence.reconstruction_of(0).unwrap_or(&input);
        let judge = evidence.judge.first().copied();
        let running = &mut RunningErrors::default();
        let errors = RowErrors::new(&input, rebuilt, evidence.forecast_of(0), judge, Some(running));
        model
            .calibrations
            .of("A")
            .surprise(&errors, &Adaptation::default())
            .rarity
    }

    #[test]
    fn changed_files_are_refused_or_score_and_never_panic() {
        use rand::{RngExt, SeedableRng};
        let whole = artifact().to_bytes().unwrap();
        let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut draws = rand_pcg::Pcg64Mcg::seed_from_u64(7);
        let (mut refused, mut read) = (0, 0);
        for round in 0..2000 {
            let mut bytes = whole.clone();
            // The header, in which every byte means something, as often as all else.
            let end = if round % 2 == 0 { 8 + header } else { bytes.len() };
            let place = draws.random_range(0..end);
            bytes[place] = match round % 4 {
                0 | 1 => draws.random_range(b'0'..=b'9'),
                _ => draws.random(),
            };
            // Damage is found by the sum; what somebody changes on purpose has its own.
            let is_changed = bytes != whole;
            assert!(!is_changed || Artifact::from_bytes(&bytes).is_err(), "round {round}");
            checksum::stamp(&mut bytes);
            match Artifact::from_bytes(&bytes) {
                Ok(artifact) => {
                    assert!(!score(&artifact).is_nan(), "round {round}");
                    read += 1;
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100 && read > 100, "{refused} {read}");
    }

    #[test]
    fn model_of_format_3_is_read_as_it_stands_and_written_in_the_present_one() {
        // Made by the last program that wrote format 3, its calibrations rounded to two digits to make it small.
        let packed = include_bytes!("../../tests/data/model/format3.safetensors.gz");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut bytes).unwrap();
        let old = Artifact::from_bytes(&bytes).unwrap();
        assert_eq!(old.provenance.ticks, 1200);

        let document = Tensors::metadata(&bytes, METADATA_KEY).unwrap().unwrap();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        let stands = &document["calibrations"]["instruments"]["A"];
        let own = &old.calibrations.instruments["A"];
        let number = |value: &serde_json::Value| value.as_f64().unwrap() as f32;
        let same = |stands: &serde_json::Value, tail: &Tail| {
            let knots: Vec<f32> = stands["knots"].as_array().unwrap().iter().map(number).collect();
            assert_eq!(knots, tail.knots);
            match tail.beyond {
                Beyond::Rare(surprise) => {
                    assert_eq!((number(&stands["scale"]), number(&stands["rare"])), (0.0, surprise))
                }
                Beyond::Pareto { shape, scale } => {
                    assert_eq!((number(&stands["shape"]), number(&stands["scale"])), (shape, scale));
                }
            }
        };
        for feature in 0..FEATURES {
            same(&stands["transform"]["upper"][feature], &own.transform.upper.of(feature));
            same(&stands["transform"]["lower"][feature], &own.transform.lower.of(feature));
            same(&stands["reconstruction"][feature], &own.reconstruction.of(feature));
            same(
                &stands["forecast"][feature],
                &own.forecast.as_ref().unwrap().of(feature),
            );
            same(&stands["window"][feature], &own.window.as_ref().unwrap().of(feature));
            assert_eq!(
                number(&stands["transform"]["centres"][feature]),
                own.transform.centres[feature]
            );
            assert_eq!(
                number(&stands["transform"]["scales"][feature]),
                own.transform.scales[feature]
            );
        }
        let scales = [Some(&own.newest_scale), own.window_scale.as_ref(), own.judge.as_ref()];
        for (name, scale) in ["fused", "sustained", "judge"].iter().zip(scales) {
            same(&stands[name]["tail"], &scale.unwrap().tail);
            assert_eq!(number(&stands[name]["level"]), scale.unwrap().level);
        }

        let new = old.to_bytes().unwrap();
        assert_eq!(Artifact::from_bytes(&new).unwrap(), old);
        assert!(2 * new.len() < bytes.len(), "{} {}", new.len(), bytes.len());
    }
}
