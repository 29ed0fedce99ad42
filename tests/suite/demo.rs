//! The demo: it ends with 0 only when the detector does its work.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use crate::wait;

/// The fewest ticks of which every instrument has enough to learn from.
const REDUCED: &str = "50000";
/// Longest time from a signal to the end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

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
    assert_eq!((&board["interrupted"], &board["seed"]), (&false.into(), &1.into()));
    assert_eq!(
        board["budget_per_10k_ticks"],
        Config::from_toml("").unwrap().alerts.false_alarms_per_10k_ticks
    );
    let has_failed = ended.stderr.contains("failed: ");
    assert_eq!(ended.code, Some(i32::from(has_failed)), "{}", ended.stderr);
    // Where stderr is no terminal, each alert is a line; a calibration is called so.
    let opened = ended.stderr.lines().filter(|line| line.starts_with("opened ")).count() as u64;
    assert_eq!(
        Some(opened),
        board["hits"]
            .as_u64()
            .zip(board["false_alarms"].as_u64())
            .map(|(hits, alarms)| hits + alarms)
    );
    assert!(
        ended.stderr.contains("the base model is calibrated") && !ended.stderr.contains("trained"),
        "{}",
        ended.stderr
    );
    // The report shows what was streamed: as many alerts, hits and false alarms as were heard, scored once more.
    assert!(
        ended.stderr.lines().any(|line| line == "report: tapewatch-demo.html"),
        "{}",
        ended.stderr
    );
    let page = fs::read_to_string(folder.path().join("tapewatch-demo.html")).unwrap();
    assert!(
        page.contains(&format!("{} of {opened} alerts were false", board["false_alarms"])),
        "{board}"
    );
    assert!(page.contains("the demo's synthetic market, seed 1") && !page.contains("tapewatch-demo-"));
}

#[test]
fn demo_of_default_size_ends_with_0_and_writes_no_report_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let ended = expect(folder.path(), 0, &["demo", "--json", "--no-report"]);
    println!("{}", scoreboard(&ended.stdout));
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "a file was written"
    );
}

#[test]
fn what_makes_no_demo_is_told_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let few = "ts_ns,instrument,kind,price,size,bid,ask,bid_size,ask_size\n1704205800000000000,A,trade,1,1,,,,\n1704205801000000000,A,trade,2,1,,,,\n";
    fs::write(folder.path().join("A.csv"), few).unwrap();
    let refused: [(&[&str], i32, &str); 3] = [
        (&["--size", "10"], 2, "50000"),
        (&["--ticks", "A.csv"], 2, "A has 2 ticks and needs at least 5000"),
        (&["--report", "no/folder/page.html"], 73, "no/folder/page.html"),
    ];
    for (arguments, code, said) in refused {
        let started = Instant::now();
        let ended = expect(folder.path(), code, &[&["demo"], arguments].concat());
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!ended.stderr.contains("embedded broker"), "{}", ended.stderr);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

/// Starts a demo that lasts, and reads stderr until a line has `sign`.
fn started(folder: &Path, arguments: &[&str], sign: &str) -> Child {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_tapewatch"))
        .arg("demo")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines();
    let found = lines.by_ref().any(|line| line.unwrap().contains(sign));
    assert!(found, "no line with {sign}");
    // What is said later must not stop it.
    std::thread::spawn(move || lines.for_each(drop));
    demo
}

/// Sends a signal and waits for the end; gives exit code and stdout.
fn stopped(demo: Child, signal: &str) -> (Option<i32>, String) {
    let (id, asked_at) = (demo.id().to_string(), Instant::now());
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let ended = demo.wait_with_output().unwrap();
    let took = asked_at.elapsed();
    assert!(took < STOP_LIMIT, "{took:?}");
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
}

#[test]
fn interrupted_demo_says_what_it_saw_without_a_verdict_and_ends_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let slow = ["--json", "--no-report", "--ticks-per-sec", "20000"];
    let demo = started(folder.path(), &slow, "opened ");
    let (code, stdout) = stopped(demo, "-INT");
    assert_eq!(code, Some(130));
    let board: Value = serde_json::from_str(&stdout).unwrap();
    println!("{board}");
    assert_eq!(
        (&board["interrupted"], &board["unaccounted"]),
        (&true.into(), &Value::Null)
    );
    let of = |key: &str| board[key].as_u64().unwrap();
    assert!(of("ticks") > 0 && of("ticks") < of("ticks_in_all") / 2, "{board}");
    // Faults that were never streamed are not counted as missed.
    assert!(of("injected") < 40, "{board}");
}

#[test]
fn signal_is_heard_while_the_model_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let demo = started(folder.path(), &["--no-report"], "embedded broker");
    // The daemon listens for signals a moment after it has started; the kernel tells when it does.
    let status = format!("/proc/{}/status", demo.id());
    wait::until("SIGTERM is caught", Duration::from_secs(10), || {
        let text = fs::read_to_string(&status).unwrap();
        let mask = text
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap()
            .trim();
        u64::from_str_radix(mask, 16).unwrap() & 1 << (15 - 1) != 0
    });
    let (code, stdout) = stopped(demo, "-TERM");
    assert_eq!((code, stdout.as_str()), (Some(130), ""));
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
        &[
            "demo",
            "--json",
            "--no-report",
            "--size",
            REDUCED,
            "--model",
            "dead.safetensors",
        ],
    );
    println!("{}", scoreboard(&ended.stdout));
    assert!(
        ended.stderr.contains("faults caught; expected at least 60 %"),
        "{}",
        ended.stderr
    );
}
