//! The model store: a folder of artifacts, one file per version.
//!
//! Promises that a file is whole or not there (written aside, then renamed), that versions rise, and that old ones are
//! removed. Several processes may share the folder; one of them trains.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::artifact::{Artifact, ArtifactError};
use crate::pipeline::score::ModelVersion;

/// What can go wrong with the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder cannot be made or written to.
    #[error("cannot write to the model store {path}: {source}; correct retrain.models_dir or its permissions")]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no artifact.
    #[error("{path}: {cause}")]
    NoArtifact {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: ArtifactError,
    },
}

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub struct ModelStore {
    folder: PathBuf,
    kept: usize,
}

impl ModelStore {
    /// Opens the folder, making it if need be, and makes sure that it can be written to.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub fn open(folder: &Path, kept: usize) -> Result<Self, StoreError> {
        let store = ModelStore {
            folder: folder.into(),
            kept,
        };
        std::fs::create_dir_all(folder).map_err(|source| store.unwritable(source))?;
        let probe = folder.join(format!(".probe-{}", std::process::id()));
        std::fs::write(&probe, b"").map_err(|source| store.unwritable(source))?;
        std::fs::remove_file(&probe).map_err(|source| store.unwritable(source))?;
        Ok(store)
    }

    fn unwritable(&self, source: std::io::Error) -> StoreError {
        StoreError::Unwritable {
            path: self.folder.clone(),
            source,
        }
    }

    /// Lists the versions that are there, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub fn versions(&self) -> Result<Vec<ModelVersion>, StoreError> {
        let unreadable = |source| StoreError::Unreadable {
            path: self.folder.clone(),
            source,
        };
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable)? {
            versions.extend(entry.map_err(unreadable)?.file_name().to_str().and_then(version_of));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// Gives the file of a version.
    pub fn path(&self, version: ModelVersion) -> PathBuf {
        self.folder.join(format!("model-{:06}.safetensors", version.0))
    }

    /// Reads one version.
    ///
    /// # Errors
    /// [`StoreError`] when it is not there or no artifact.
    pub fn load(&self, version: ModelVersion) -> Result<Artifact, StoreError> {
        // The file's name decides: an older model copied to a newer number is a rollback.
        Ok(Artifact {
            version,
            ..load(&self.path(version))?
        })
    }

    /// Writes an artifact and removes versions beyond those kept.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn save(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let path = self.path(artifact.version);
        save(artifact, &path)?;
        let versions = self.versions()?;
        for old in &versions[..versions.len().saturating_sub(self.kept)] {
            std::fs::remove_file(self.path(*old)).map_err(|source| self.unwritable(source))?;
        }
        Ok(())
    }
}

/// Reads an artifact from a file.
///
/// # Errors
/// [`StoreError`] when it is not there or no artifact.
pub fn load(path: &Path) -> Result<Artifact, StoreError> {
    let bytes = std::fs::read(path).map_err(|source| StoreError::Unreadable {
        path: path.into(),
        source,
    })?;
    Artifact::from_bytes(&bytes).map_err(|cause| StoreError::NoArtifact {
        path: path.into(),
        cause,
    })
}

/// Writes an artifact to a file: whole or not at all.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn save(artifact: &Artifact, path: &Path) -> Result<(), StoreError> {
    let unwritable = |source| StoreError::Unwritable {
        path: path.into(),
        source,
    };
    let bytes = artifact.to_bytes().map_err(|cause| StoreError::NoArtifact {
        path: path.into(),
        cause,
    })?;
    let aside = path.with_extension("partial");
    std::fs::write(&aside, bytes).map_err(unwritable)?;
    std::fs::rename(&aside, path).map_err(unwritable)
}

fn version_of(name: &str) -> Option<ModelVersion> {
    let digits = name.strip_prefix("model-")?.strip_suffix(".safetensors")?;
    digits.parse().ok().map(ModelVersion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_versions_and_others_are_passed_over() {
        assert_eq!(version_of("model-000012.safetensors"), Some(ModelVersion(12)));
        assert_eq!(version_of("model-000012.partial"), None);
        assert_eq!(version_of("notes.txt"), None);
    }

    #[test]
    fn folder_that_cannot_be_made_is_named() {
        let error = ModelStore::open(Path::new("/proc/nowhere"), 3).unwrap_err().to_string();
        assert!(
            error.contains("/proc/nowhere") && error.contains("retrain.models_dir"),
            "{error}"
        );
    }
}
