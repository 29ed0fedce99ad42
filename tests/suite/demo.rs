//! The demo: it ends with 0 only when the detector does its work.

use std::sync::Arc;

use serde_json::Value;
use tapewatch::config::Config;
use tapewatch::model::artifact::Artifact;
use tapewatch::pipeline::arms::ArmScale;
use tapewatch::pipeline::calibration::{Calibration, Calibrations};
use tapewatch::pipeline::scaler::InputTransform;
use tapewatch::pipeline::tail::{KNOTS, Tail};
use tapewatch::pipeline::tails::Tails;
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

/// Makes a tail so wide that nothing is ever beyond it.
fn widened(tail: Tail) -> Tail {
    Tail {
        knots: [1e30; KNOTS],
        ..tail
    }
}

/// A calibration that is never surprised.
fn deaf(own: &Calibration) -> Calibration {
    let tails = |tails: &Tails| Tails::new(&std::array::from_fn(|feature| widened(tails.of(feature))));
    let scale = |scale: &ArmScale| ArmScale {
        level: scale.level,
        tail: widened(scale.tail.clone()),
    };
    Calibration {
        transform: InputTransform {
            upper: tails(&own.transform.upper),
            lower: tails(&own.transform.lower),
            ..own.transform.clone()
        },
        reconstruction: tails(&own.reconstruction),
        forecast: own.forecast.as_ref().map(tails),
        window: own.window.as_ref().map(tails),
        newest_scale: scale(&own.newest_scale),
        window_scale: own.window_scale.as_ref().map(scale),
        judge: own.judge.as_ref().map(scale),
        ..own.clone()
    }
}

/// A model that is never surprised, of the default sizes and the demo's instruments.
fn dead() -> Artifact {
    let artifact = market::seeded(&Config::from_toml("").unwrap(), &market::ticks(4, 12_000, 1), 61);
    let Calibrations { pooled, instruments } = &*artifact.calibrations;
    let instruments = instruments.iter();
    let calibrations = Calibrations {
        pooled: Arc::new(deaf(pooled)),
        instruments: instruments
            .map(|(name, own)| (name.clone(), Arc::new(deaf(own))))
            .collect(),
    };
    Artifact {
        calibrations: Arc::new(calibrations),
        ..artifact
    }
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
