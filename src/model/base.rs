//! The base model: an artifact inside the program, so that a new deployment detects before it has trained anything.
//!
//! It knows no instrument; those it meets have scaling and tails of their own once they have shown enough ticks.
//! `tapewatch train --base` makes the file again.

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, ArtifactError};
use crate::pipeline::score::ModelVersion;

/// The version of the base model: every trained one is newer.
pub const VERSION: ModelVersion = ModelVersion(0);

/// What a deployment starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The model inside the program.
    Embedded,
    /// Nothing.
    None,
}

impl Base {
    /// Gives the model, if there is to be one.
    ///
    /// # Errors
    /// [`ArtifactError`] when the embedded one was made by a program with other features or another format.
    pub fn load(self) -> Result<Option<Artifact>, ArtifactError> {
        match self {
            Base::Embedded => Artifact::from_bytes(include_bytes!("base.safetensors")).map(Some),
            Base::None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::calibration::Calibrations;

    #[test]
    fn embedded_model_is_small_and_knows_no_instrument() {
        assert!(include_bytes!("base.safetensors").len() <= 1_000_000);
        let base = Base::Embedded.load().unwrap().unwrap();
        let Calibrations { pooled, instruments } = &*base.calibrations;
        assert_eq!(base.version, VERSION);
        assert_eq!(
            base.to_bytes().unwrap(),
            include_bytes!("base.safetensors"),
            "not as this program writes it"
        );
        assert!(instruments.is_empty() && pooled.judge.is_some());
    }
}
