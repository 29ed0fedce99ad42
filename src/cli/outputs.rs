//! Files that a command writes: that they can be written is found out before the work whose result they take.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::artifact::Artifact;
use crate::store::{self, StoreError};

/// A file of results cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {} ({flag}): {source}", path.display())]
pub struct CannotWrite {
    path: PathBuf,
    /// The flag that names it.
    flag: &'static str,
    source: io::Error,
}

impl CannotWrite {
    /// Makes the error of an output that a flag names.
    pub fn at(path: &Path, flag: &'static str) -> impl FnOnce(io::Error) -> CannotWrite {
        let path = path.to_path_buf();
        move |source| CannotWrite { path, flag, source }
    }
}

/// Makes sure that files can be written, before the work whose results they take. What stands there stays as it is.
///
/// # Errors
/// [`CannotWrite`] that names the flag; also where two flags name one file.
pub fn probe(outputs: &[(&'static str, Option<&Path>)]) -> Result<(), CannotWrite> {
    let outputs: Vec<(&'static str, &Path)> = outputs
        .iter()
        .filter_map(|(flag, path)| Some((*flag, (*path)?)))
        .collect();
    for (index, (flag, path)) in outputs.iter().enumerate() {
        if let Some((other, _)) = outputs[..index].iter().find(|(_, earlier)| earlier == path) {
            let problem = io::Error::other(format!("{other} names the same file"));
            return Err(CannotWrite::at(path, flag)(problem));
        }
        probe_one(path).map_err(CannotWrite::at(path, flag))?;
    }
    Ok(())
}

/// Writes a model to the file that `--output` names.
///
/// # Errors
/// [`CannotWrite`] that names the flag, where the store's own error would name the daemon's folder.
pub fn save_model(artifact: &Artifact, path: &Path) -> anyhow::Result<()> {
    match store::save(artifact, path) {
        Err(StoreError::Unwritable { source, .. }) => Err(CannotWrite::at(path, "--output")(source).into()),
        saved => Ok(saved?),
    }
}

fn probe_one(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => File::options().append(true).open(path).map(drop),
        // A terminal or a pipe: to open it is to use it.
        Ok(_) => Ok(()),
        Err(_) => {
            File::options().write(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_everything_as_it_is_and_names_the_flag() {
        let folder = tempfile::tempdir().unwrap();
        let (there, new) = (folder.path().join("there.csv"), folder.path().join("new.csv"));
        fs::write(&there, "kept").unwrap();
        probe(&[
            ("--scores", Some(there.as_path())),
            ("--alerts", Some(new.as_path())),
            ("--report", None),
        ])
        .unwrap();
        assert_eq!(fs::read_to_string(&there).unwrap(), "kept");
        assert!(!new.exists());
        let told = |outputs: &[(&'static str, Option<&Path>)]| probe(outputs).unwrap_err().to_string();
        let is_folder = told(&[("--scores", Some(folder.path()))]);
        assert!(
            is_folder.contains("(--scores): ") && is_folder.contains("directory"),
            "{is_folder}"
        );
        let missing = PathBuf::from("/proc/nowhere/scores.csv");
        let text = told(&[("--scores", Some(missing.as_path()))]);
        assert!(
            text.starts_with("cannot write /proc/nowhere/scores.csv (--scores): "),
            "{text}"
        );
        let twice = told(&[("--scores", Some(new.as_path())), ("--alerts", Some(new.as_path()))]);
        assert!(twice.ends_with("(--alerts): --scores names the same file"), "{twice}");
    }
}
