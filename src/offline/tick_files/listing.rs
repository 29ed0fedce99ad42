//! Which files of a folder are files of ticks, and which are passed over and why.

use std::path::{Path, PathBuf};

use super::{Lines, PassedOver, TickFileError, unreadable};

/// Files in the order of their names, and what lay beside them.
pub(super) struct Listing {
    pub files: Vec<PathBuf>,
    pub passed_over: Vec<PassedOver>,
}

/// Lists files of ticks; a folder stands for all of its files. What is given by its own name must be one.
pub(super) fn list(paths: &[PathBuf]) -> Result<Listing, TickFileError> {
    let mut listing = Listing {
        files: Vec::new(),
        passed_over: Vec::new(),
    };
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if metadata.is_dir() {
            list_folder(path, &mut listing)?;
        } else if metadata.is_file() {
            Lines::open(path)?;
            listing.files.push(path.clone());
        } else {
            let problem = "this is no regular file, and files of ticks are read twice";
            return Err(unreadable(path, std::io::Error::other(problem)));
        }
    }
    Ok(listing)
}

fn list_folder(folder: &Path, listing: &mut Listing) -> Result<(), TickFileError> {
    let entries = std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = entries
        .collect::<Result<_, _>>()
        .map_err(|source| unreadable(folder, source))?;
    paths.sort();
    let (before, mut passed_over) = (listing.files.len(), Vec::new());
    for path in paths {
        match reason_against(&path)? {
            None => listing.files.push(path),
            Some(reason) => passed_over.push(PassedOver { path, reason }),
        }
    }
    if listing.files.len() == before {
        let path = folder.into();
        return Err(TickFileError::NoFiles { path, passed_over });
    }
    listing.passed_over.append(&mut passed_over);
    Ok(())
}

/// Says why something in a folder is no file of ticks; nothing if it is one. One that cannot be read could be one.
fn reason_against(path: &Path) -> Result<Option<String>, TickFileError> {
    let is_of_ticks = |name: &str| name.ends_with(".csv") || name.ends_with(".csv.gz");
    if path.is_dir() {
        return Ok(Some("a folder".into()));
    }
    if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_of_ticks) {
        return Ok(Some("its name does not end in .csv or .csv.gz".into()));
    }
    match Lines::open(path) {
        Ok(_) => Ok(None),
        Err(TickFileError::BadHeader { found, .. }) if found.is_empty() => Ok(Some("its first line is empty".into())),
        Err(TickFileError::BadHeader { found, .. }) => Ok(Some(format!("its header is {found:?}"))),
        Err(error) => Err(error),
    }
}

/// Names what was passed over; of many, the first ones.
pub(super) fn notes(passed_over: &[PassedOver]) -> Vec<String> {
    const NAMED_MAX: usize = 5;
    let note = |passed_over: &PassedOver| format!("passed over {}: {}", passed_over.path.display(), passed_over.reason);
    let mut notes: Vec<String> = passed_over.iter().take(NAMED_MAX).map(note).collect();
    if passed_over.len() > NAMED_MAX {
        notes.push(format!(
            "passed over {} more that are no files of ticks",
            passed_over.len() - NAMED_MAX
        ));
    }
    notes
}

/// Says what a folder holds in place of files of ticks.
pub(super) fn but(passed_over: &[PassedOver]) -> String {
    match passed_over.first() {
        None => "; it is empty".into(),
        Some(_) => notes(passed_over).iter().map(|note| format!("; {note}")).collect(),
    }
}
