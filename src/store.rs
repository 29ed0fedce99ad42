//! The model store: a folder of artifacts, one file per version.
//!
//! Promises that a file is whole or not there, after a power cut too: it is written aside under a name of its own, synced,
//! renamed, and the folder is synced. Promises that versions rise, and that old ones are removed. Several processes may
//! share the folder; one of them trains.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What the names of unfinished files begin and end with. No version's name does.
const UNFINISHED_PREFIX: &str = ".model-";
const UNFINISHED_SUFFIX: &str = ".partial";
/// An unfinished file that nobody has written to for so long was left by a process that ended: the largest model is written
/// within seconds.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub struct ModelStore {
    folder: PathBuf,
    kept: usize,
}

impl ModelStore {
    /// Opens the folder, making it if need be, and makes sure that it can be written to. Unfinished files that processes left
    /// there are removed.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub fn open(folder: &Path, kept: usize) -> Result<Self, StoreError> {
        let store = ModelStore {
            folder: folder.into(),
            kept,
        };
        std::fs::create_dir_all(folder).map_err(|source| store.unwritable(source))?;
        tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .suffix(UNFINISHED_SUFFIX)
            .tempfile_in(folder)
            .and_then(|probe| probe.close())
            .map_err(|source| store.unwritable(source))?;
        remove_unfinished(folder, UNFINISHED_AGE_MAX);
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
            match std::fs::remove_file(self.path(*old)) {
                // Another process was faster.
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(self.unwritable(source)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a version that a newer one has taken the place of.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be removed.
    pub fn remove(&self, version: ModelVersion) -> Result<(), StoreError> {
        std::fs::remove_file(self.path(version)).map_err(|source| self.unwritable(source))
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
    write_whole(path, &bytes).map_err(unwritable)
}

/// Writes a file so that whoever looks finds the old one or the whole new one, also after a power cut.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut aside = tempfile::Builder::new();
    aside.prefix(UNFINISHED_PREFIX).suffix(UNFINISHED_SUFFIX);
    // Other users may read models; without this, a temporary file is its owner's alone. The umask still counts.
    #[cfg(unix)]
    let aside = aside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut aside = aside.tempfile_in(folder)?;
    aside.write_all(bytes)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes sure that the names in a folder are kept.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder, and need not.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Removes unfinished files of at least this age. One that cannot be removed harms nobody: it is no version.
fn remove_unfinished(folder: &Path, age: Duration) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_unfinished = name.to_str().is_some_and(is_unfinished);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed >= age));
        if is_unfinished && is_old {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Tells whether a file is an unfinished model, of this program or of one before it (`model-000012.partial`).
fn is_unfinished(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    name.starts_with("model-") && name.ends_with(UNFINISHED_SUFFIX)
}

fn version_of(name: &str) -> Option<ModelVersion> {
    let digits = name.strip_prefix("model-")?.strip_suffix(".safetensors")?;
    digits.parse().ok().map(ModelVersion)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::model::base::Base;

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn names_give_versions_and_others_are_passed_over() {
        assert_eq!(version_of("model-000012.safetensors"), Some(ModelVersion(12)));
        assert_eq!(version_of("model-000012.partial"), None);
        assert_eq!(version_of(".model-x8Gh2k.partial"), None);
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

    #[test]
    fn newest_versions_are_kept_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::open(folder.path(), 2).unwrap();
        let artifact = Base::Embedded.load().unwrap().unwrap();
        for version in [1, 2, 3] {
            let version = ModelVersion(version);
            store
                .save(&Artifact {
                    version,
                    ..artifact.clone()
                })
                .unwrap();
        }
        assert_eq!(
            names(folder.path()),
            ["model-000002.safetensors", "model-000003.safetensors"]
        );
        assert_eq!(store.load(ModelVersion(3)).unwrap().weights, artifact.weights);
    }

    #[test]
    fn savers_at_once_never_leave_a_torn_file() {
        const ROUNDS: usize = 100;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model-000001.safetensors");
        let contents = [vec![b'a'; 300_000], vec![b'b'; 200_000]];
        write_whole(&path, &contents[0]).unwrap();
        let (are_done, both) = (AtomicBool::new(false), Barrier::new(2));
        std::thread::scope(|scope| {
            let savers = contents.each_ref().map(|bytes| {
                let (path, both) = (&path, &both);
                // An error is counted: a saver that ended would leave the other waiting for it.
                let fails = move |_: &usize| {
                    both.wait();
                    write_whole(path, bytes).is_err()
                };
                scope.spawn(move || (0..ROUNDS).filter(fails).count())
            });
            scope.spawn(|| {
                while !are_done.load(Ordering::Relaxed) {
                    let found = std::fs::read(&path).unwrap();
                    assert!(contents.contains(&found), "{} bytes", found.len());
                }
            });
            let results = savers.map(std::thread::ScopedJoinHandle::join);
            are_done.store(true, Ordering::Relaxed);
            assert_eq!(results.map(|failed| failed.unwrap()), [0, 0]);
        });
        assert_eq!(names(folder.path()), ["model-000001.safetensors"]);
    }

    #[test]
    fn what_another_saver_has_begun_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (
            folder.path().join("model-000001.safetensors"),
            folder.path().join("model-000001.partial"),
        );
        std::fs::write(&other, b"half").unwrap();
        write_whole(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read(&other).unwrap(), b"half");
    }

    #[test]
    fn aborted_write_leaves_no_model() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in the model's place: all is written, and then the name cannot be had.
        let path = folder.path().join("model-000001.safetensors");
        std::fs::create_dir(&path).unwrap();
        let artifact = Base::Embedded.load().unwrap().unwrap();
        let error = save(&artifact, &path).unwrap_err();
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
        assert_eq!(names(folder.path()), ["model-000001.safetensors"]);
    }

    #[test]
    fn what_a_crashed_process_left_is_no_version_and_goes_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let left = [".model-x8Gh2k.partial", "model-000007.partial"];
        for name in left {
            std::fs::write(folder.path().join(name), b"half").unwrap();
        }
        let store = ModelStore::open(folder.path(), 2).unwrap();
        assert!(store.versions().unwrap().is_empty());
        // They could be another process's, which is at work.
        assert_eq!(names(folder.path()), left);
        let long_ago = std::time::SystemTime::now() - 2 * UNFINISHED_AGE_MAX;
        for name in left {
            let file = File::options().write(true).open(folder.path().join(name)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        ModelStore::open(folder.path(), 2).unwrap();
        assert!(names(folder.path()).is_empty());
    }
}
