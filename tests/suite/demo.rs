//! The demo: it ends with 0 only when the detector does its work.

use serde_json::Value;
use tapewatch::config::Config;
use tapewatch::model::artifact::Artifact;
use tapewatch::store;

use crate::market;
use crate::process::{expect, run};

/// Enough ticks for a training of its own.
const REDUCED: &str = "40000";

/// Reads the scoreboard and makes sure that every record is accounted for.
fn scoreboard(stdout: &str) -> Value {
    let board: Value = serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!(board["unaccounted"], 0, "{board}");
    assert!(board["injected"].as_u64().unwrap() > 0, "{board}");
    assert!(board["caught"].as_u64() <= board["injected"].as_u64(), "{board}");
    board
}

#[test]
fn reduced_demo_accounts_for_every_record_and_its_exit_code_is_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(folder.path(), &["demo", "--json", "--size", REDUCED]);
    let board = scoreboard(&ended.stdout);
    println!("{board}");
    assert_eq!(board["model_versions"], serde_json::json!([1]));
    let has_failed = ended.stderr.contains("failed: ");
    assert_eq!(ended.code, Some(i32::from(has_failed)), "{}", ended.stderr);
}

#[test]
fn demo_of_default_size_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let ended = expect(folder.path(), 0, &["demo", "--json"]);
    println!("{}", scoreboard(&ended.stdout));
}

/// Makes every tail of a calibration so wide that nothing is ever beyond it.
fn widen(value: &mut Value) {
    if let Some(knots) = value.get_mut("knots").and_then(Value::as_array_mut) {
        knots.iter_mut().for_each(|knot| *knot = 1e30.into());
        return;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(widen),
        Value::Array(items) => items.iter_mut().for_each(widen),
        _ => {}
    }
}

/// A model that is never surprised, of the default sizes and the demo's instruments.
fn dead() -> Artifact {
    let mut artifact = market::seeded(&Config::from_toml("").unwrap(), &market::ticks(4, 12_000, 1), 61);
    let mut calibrations = serde_json::to_value(&*artifact.calibrations).unwrap();
    widen(&mut calibrations);
    artifact.calibrations = serde_json::from_value::<tapewatch::pipeline::calibration::Calibrations>(calibrations)
        .unwrap()
        .into();
    artifact
}

#[test]
fn demo_with_a_scorer_that_is_never_surprised_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    store::save(&dead(), &folder.path().join("dead.safetensors")).unwrap();
    let ended = expect(
        folder.path(),
        1,
        &["demo", "--json", "--size", REDUCED, "--model", "dead.safetensors"],
    );
    println!("{}", scoreboard(&ended.stdout));
    assert!(
        ended.stderr.contains("faults caught; expected at least 80 %"),
        "{}",
        ended.stderr
    );
}
