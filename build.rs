//! Tells the program which commit it is built from: `TAPEWATCH_COMMIT` where that is set, what cargo noted when it packed
//! the sources, or git.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=TAPEWATCH_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let given = std::env::var("TAPEWATCH_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty());
    let commit = given.or_else(packed).or_else(checked_out);
    println!(
        "cargo:rustc-env=TAPEWATCH_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

/// The commit in `.cargo_vcs_info.json`, which `cargo package` writes beside the sources.
fn packed() -> Option<String> {
    const NOTE: &str = ".cargo_vcs_info.json";
    let text = std::fs::read_to_string(NOTE).ok()?;
    println!("cargo:rerun-if-changed={NOTE}");
    let (_, after) = text.split_once("\"sha1\": \"")?;
    Some(after.split('"').next()?.to_owned())
}

/// The commit that is checked out, if this folder is the root of a repository and not a folder within another's.
fn checked_out() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let root = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&root).canonicalize().ok()? != Path::new(".").canonicalize().ok()? {
        return None;
    }
    // Every commit and every switch to another writes a line here.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={log}");
    git(&["rev-parse", "HEAD"])
}
