//! The model store: a folder of artifacts, one file per version.
//!
//! Promises that a file is whole or not there, after a power cut too: it is written aside under a name of its own, synced,
//! given its name unless another file has it, and the folder is synced. Promises that versions rise, that old ones are
//! removed, and that a version that cannot be read hides no older one and is looked at again when its file has changed.
//! Several processes of one group may share the folder; one of them trains. A process that only follows need not write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

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
    /// The folder is another deployment's.
    #[error(
        "the model store {path} belongs to {found}, not to {expected}; set retrain.models_dir to a folder of its own, or \
         remove {OWNER_FILE} from it to take it over"
    )]
    OtherOwner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        expected: String,
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

/// File that says whose the folder is.
const OWNER_FILE: &str = "OWNER";

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub struct ModelStore {
    folder: PathBuf,
    kept: usize,
    /// Versions that could not be read, with what their files looked like then.
    bad: Arc<Mutex<BTreeMap<ModelVersion, FileMark>>>,
}

/// What a file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileMark {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// What was found when a model was looked for.
#[derive(Debug, Default)]
pub struct Newest {
    /// The newest version that can be read.
    pub artifact: Option<Artifact>,
    /// Why newer ones cannot; each is told once, and again when its file has changed.
    pub bad: Vec<StoreError>,
}

impl ModelStore {
    /// Opens the folder, making it if need be, and makes sure that it can be written to. Unfinished files that processes left
    /// there are removed.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub fn open(folder: &Path, kept: usize) -> Result<Self, StoreError> {
        let store = Self::open_to_follow(folder, kept);
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

    /// Opens the folder to read from it alone. It need not be there yet.
    pub fn open_to_follow(folder: &Path, kept: usize) -> Self {
        ModelStore {
            folder: folder.into(),
            kept,
            bad: Arc::default(),
        }
    }

    /// Makes sure that the folder is `owner`'s, and marks it if it is nobody's yet.
    ///
    /// # Errors
    /// [`StoreError::OtherOwner`], or that the mark cannot be written.
    pub fn claim(&self, owner: &str) -> Result<(), StoreError> {
        let path = self.folder.join(OWNER_FILE);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        match found.trim() {
            "" => write_whole(&path, format!("{owner}\n").as_bytes(), Existing::Replace)
                .map_err(|source| self.unwritable(source)),
            found if found == owner => Ok(()),
            found => Err(StoreError::OtherOwner {
                path: self.folder.clone(),
                found: found.into(),
                expected: owner.into(),
            }),
        }
    }

    /// Reads the newest version above `above` that can be read.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when the folder cannot be listed.
    pub fn newest(&self, above: Option<ModelVersion>) -> Result<Newest, StoreError> {
        let mut newest = Newest::default();
        let versions = self.versions()?;
        let mut bad = self.bad.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bad.retain(|version, _| versions.contains(version));
        for version in versions.into_iter().rev().take_while(|version| Some(*version) > above) {
            let mark = self.mark(version);
            if mark.is_some() && bad.get(&version) == mark.as_ref() {
                continue;
            }
            match self.load(version) {
                Ok(artifact) => {
                    bad.remove(&version);
                    newest.artifact = Some(artifact);
                    break;
                }
                Err(error) => {
                    bad.extend(mark.map(|mark| (version, mark)));
                    newest.bad.push(error);
                }
            }
        }
        Ok(newest)
    }

    fn mark(&self, version: ModelVersion) -> Option<FileMark> {
        let metadata = std::fs::metadata(self.path(version)).ok()?;
        Some(FileMark {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
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
        let entries = match std::fs::read_dir(&self.folder) {
            // Whoever follows may come before the one that trains.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(versions),
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
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

    /// Writes an artifact and removes versions beyond those kept. A version that is there already is never overwritten.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn save(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let path = self.path(artifact.version);
        write(artifact, &path, Existing::Keep)?;
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
    write(artifact, path, Existing::Replace)
}

/// What is done with a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    /// It is replaced.
    Replace,
    /// It stays, and that is an error.
    Keep,
}

fn write(artifact: &Artifact, path: &Path, existing: Existing) -> Result<(), StoreError> {
    let unwritable = |source| StoreError::Unwritable {
        path: path.into(),
        source,
    };
    let bytes = artifact.to_bytes().map_err(|cause| StoreError::NoArtifact {
        path: path.into(),
        cause,
    })?;
    write_whole(path, &bytes, existing).map_err(unwritable)
}

/// Writes a file so that whoever looks finds the old one or the whole new one, also after a power cut.
fn write_whole(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
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
    match existing {
        Existing::Replace => aside.persist(path),
        Existing::Keep => aside.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
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

    fn version(number: u32) -> Artifact {
        Artifact {
            version: ModelVersion(number),
            ..Base::Embedded.load().unwrap().unwrap()
        }
    }

    #[test]
    fn a_newest_model_that_is_bad_hides_no_older_one_is_told_once_and_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::open(folder.path(), 9).unwrap();
        store.save(&version(1)).unwrap();
        let whole = std::fs::read(store.path(ModelVersion(1))).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        for (number, bytes) in [(2, &whole[..whole.len() / 3]), (3, b"".as_slice()), (4, &flipped)] {
            std::fs::write(store.path(ModelVersion(number)), bytes).unwrap();
        }
        let newest = store.newest(None).unwrap();
        assert_eq!(newest.artifact.unwrap().version, ModelVersion(1));
        let told: Vec<String> = newest.bad.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3);
        assert!(
            told[0].contains("model-000004") && told[0].contains("checksum"),
            "{told:?}"
        );
        assert!(
            told[1].contains("model-000003") && told[2].contains("model-000002"),
            "{told:?}"
        );
        let again = store.newest(Some(ModelVersion(1))).unwrap();
        assert!(again.bad.is_empty() && again.artifact.is_none());
        // It is completed later, under its name.
        std::fs::write(store.path(ModelVersion(3)), &whole).unwrap();
        let newest = store.newest(Some(ModelVersion(1))).unwrap();
        assert_eq!(newest.artifact.unwrap().version, ModelVersion(3));
    }

    #[test]
    fn a_version_is_never_overwritten_and_a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::open(folder.path(), 9).unwrap();
        store.claim("group a of cluster x").unwrap();
        store.claim("group a of cluster x").unwrap();
        let error = store.claim("group b of cluster x").unwrap_err().to_string();
        assert!(
            error.contains("group a") && error.contains("retrain.models_dir"),
            "{error}"
        );
        store.save(&version(1)).unwrap();
        let before = std::fs::read(store.path(ModelVersion(1))).unwrap();
        assert!(store.save(&version(1)).is_err());
        assert_eq!(std::fs::read(store.path(ModelVersion(1))).unwrap(), before);
    }

    #[test]
    fn whoever_follows_needs_no_right_to_write_and_no_folder_yet() {
        let store = ModelStore::open_to_follow(Path::new("/proc/nowhere"), 3);
        assert!(store.newest(None).unwrap().artifact.is_none());
    }

    #[test]
    fn savers_at_once_never_leave_a_torn_file() {
        const ROUNDS: usize = 100;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model-000001.safetensors");
        let contents = [vec![b'a'; 300_000], vec![b'b'; 200_000]];
        write_whole(&path, &contents[0], Existing::Replace).unwrap();
        let (are_done, both) = (AtomicBool::new(false), Barrier::new(2));
        std::thread::scope(|scope| {
            let savers = contents.each_ref().map(|bytes| {
                let (path, both) = (&path, &both);
                // An error is counted: a saver that ended would leave the other waiting for it.
                let fails = move |_: &usize| {
                    both.wait();
                    write_whole(path, bytes, Existing::Replace).is_err()
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
        write_whole(&path, b"whole", Existing::Replace).unwrap();
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
