//! The command line: exit codes that say what went wrong, and results that equal the library's.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;
use tapewatch::config::Config;
use tapewatch::inject::Label;
use tapewatch::offline::evaluation::{self, InstrumentScores};
use tapewatch::offline::tick_files::to_line;
use tapewatch::pipeline::decode::CSV_COLUMNS;
use tapewatch::pipeline::tick::InstrumentTicks;

use crate::broker::Scene;
use crate::market;
use crate::process::{Ended, expect};

/// A folder with a small configuration, `more` in front.
fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), format!("{more}\n{}", market::SMALL)).unwrap();
    folder
}

/// Keys of a broker that may be looked for a second.
fn broker(brokers: &str) -> String {
    format!("[kafka]\nbrokers = \"{brokers}\"\nstart_timeout_secs = 1\n[http]\nlisten = \"127.0.0.1:0\"\n")
}

/// Writes one file of ticks per instrument.
pub fn write_ticks(folder: &Path, market: &[InstrumentTicks]) {
    fs::create_dir_all(folder).unwrap();
    for of in market {
        let mut text = CSV_COLUMNS.join(",") + "\n";
        of.ticks
            .iter()
            .for_each(|tick| text += &(to_line(&of.instrument, tick) + "\n"));
        fs::write(folder.join(format!("{}.csv", of.instrument)), text).unwrap();
    }
}

#[test]
fn unknown_flag_and_missing_command_end_with_2() {
    let folder = folder("");
    let ended = expect(folder.path(), 2, &["check", "--frobnicate"]);
    assert!(ended.stderr.contains("--frobnicate") && ended.stdout.is_empty());
    expect::<&str>(folder.path(), 2, &[]);
    expect(folder.path(), 2, &["backtest", "--train", "x"]);
}

#[test]
fn numbers_out_of_range_end_with_2_and_the_range() {
    let folder = folder("");
    let backtest = ["backtest", "--train", "x", "--test", "x"];
    for (command, flag, value, range) in [
        (&["demo"][..], "--size", "0", "50000..=10000000"),
        (&["demo"], "--size", "99999999999", "50000..=10000000"),
        (&["demo"], "--seed", "18446744073709551615", "0..=9223372036854775807"),
        (&backtest, "--seed", "9223372036854775808", "0..=9223372036854775807"),
        (&backtest, "--zero-shot", "1", "2..=100"),
        (&["replay", "x"], "--speed", "0", "expected 0.001 to 1000000, found 0"),
        (
            &["replay", "x"],
            "--speed",
            "inf",
            "expected 0.001 to 1000000, found inf",
        ),
        (
            &["replay", "x"],
            "--speed",
            "NaN",
            "expected 0.001 to 1000000, found NaN",
        ),
        (
            &["replay", "x"],
            "--speed",
            "fast",
            "expected 0.001 to 1000000, found \"fast\"",
        ),
    ] {
        let arguments: Vec<&str> = command.iter().copied().chain([flag, value]).collect();
        let ended = expect(folder.path(), 2, &arguments);
        let text = &ended.stderr;
        assert!(text.contains(flag) && text.contains(range), "{flag} {value}: {text}");
    }
}

#[test]
fn help_and_version_go_to_stdout_and_end_with_0() {
    let folder = folder("");
    let help = expect(folder.path(), 0, &["--help"]);
    for command in [
        "run", "demo", "train", "backtest", "models", "replay", "generate", "check",
    ] {
        assert!(help.stdout.contains(&format!("  {command} ")), "{}", help.stdout);
        assert!(expect(folder.path(), 0, &[command, "--help"]).stdout.contains("Usage:"));
    }
    assert!(
        expect(folder.path(), 0, &["--version"])
            .stdout
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_configuration_ends_with_78_and_names_the_key() {
    for (text, key) in [
        ("[worker]\nwrkers = 1\n", "wrkers"),
        ("[worker]\nworkers = \"many\"\n", "worker.workers"),
        ("[retrain]\ninterval_secs = 0\n", "retrain.interval_secs"),
        ("nonsense = 1\n", "nonsense"),
        (
            "[kafka.secret_files]\n\"sasl.password\" = \"/nowhere/secret\"\n",
            "/nowhere/secret",
        ),
    ] {
        let folder = folder(text);
        let command = if text.contains("secret") { "run" } else { "check" };
        let ended = expect(folder.path(), 78, &[command, "--config", "small.toml"]);
        assert!(ended.stderr.contains(key), "{key}: {}", ended.stderr);
    }
    let folder = folder("");
    assert!(
        expect(folder.path(), 78, &["check", "--config", "none.toml"])
            .stderr
            .contains("none.toml")
    );
}

#[test]
fn check_is_content_with_a_sound_configuration() {
    let folder = folder("");
    assert!(
        expect(folder.path(), 0, &["check"])
            .stdout
            .contains("configuration is sound")
    );
    assert!(
        expect(folder.path(), 0, &["check", "--config", "small.toml"])
            .stdout
            .contains("8 units")
    );
}

#[test]
fn printed_defaults_are_the_defaults() {
    let folder = folder("");
    let defaults = expect(folder.path(), 0, &["check", "--defaults"]).stdout;
    assert_eq!(Config::from_toml(&defaults).unwrap(), Config::from_toml("").unwrap());
}

#[test]
fn broker_that_does_not_answer_ends_with_69() {
    // A port that nobody listens at, since it is held and not listened at by a broker.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let folder = folder(&broker(&address));
    let ended = expect(folder.path(), 69, &["run", "--config", "small.toml"]);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn topic_that_is_not_there_ends_with_69_and_is_named() {
    let scene = Scene::new(1);
    let text = broker(&scene.client.brokers) + "[input]\ntopics = [\"no-such-topic\"]\n";
    let folder = folder(&text);
    let ended = expect(folder.path(), 69, &["run", "--config", "small.toml"]);
    assert!(ended.stderr.contains("no-such-topic"), "{}", ended.stderr);
}

#[test]
fn port_that_is_taken_ends_with_74_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder(&format!("[http]\nlisten = \"{address}\"\n"));
    let ended = expect(folder.path(), 74, &["run", "--config", "small.toml"]);
    assert!(
        ended.stderr.contains(&address) && ended.stderr.contains("http.listen"),
        "{}",
        ended.stderr
    );
}

#[test]
fn folder_of_models_that_cannot_be_written_ends_with_73() {
    let folder = folder("[retrain]\nmodels_dir = \"/proc/nowhere\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
    let ended = expect(folder.path(), 73, &["run", "--config", "small.toml"]);
    assert!(ended.stderr.contains("retrain.models_dir"), "{}", ended.stderr);
}

#[test]
fn model_that_is_no_artifact_ends_with_2() {
    let scene = Scene::new(1);
    let folder = folder(&broker(&scene.client.brokers));
    fs::write(folder.path().join("model.safetensors"), b"no artifact").unwrap();
    let ended = expect(
        folder.path(),
        2,
        &["run", "--config", "small.toml", "--model", "model.safetensors"],
    );
    assert!(ended.stderr.contains("model.safetensors"), "{}", ended.stderr);
}

#[test]
fn replay_of_what_is_no_file_of_ticks_ends_with_2() {
    let folder = folder("");
    expect(folder.path(), 2, &["replay", "--topic", "t", "nowhere"]);
    fs::write(folder.path().join("A.csv"), "time,price\n1,2\n").unwrap();
    let ended = expect(folder.path(), 2, &["replay", "--topic", "t", "A.csv"]);
    assert!(ended.stderr.contains("expected the header"), "{}", ended.stderr);
}

/// Synthetic ticks in files: clean ones to fit on, their continuation with faults, and labels.
struct Files {
    folder: tempfile::TempDir,
    faulty: Vec<InstrumentTicks>,
    labels: Vec<Vec<Label>>,
}

impl Files {
    fn new() -> Self {
        let folder = folder("");
        let (mut clean, mut later) = (market::ticks(2, 6000, 51), Vec::new());
        for of in &mut clean {
            let ticks = of.ticks.split_off(of.ticks.len() / 2);
            let instrument = of.instrument.clone();
            later.push(InstrumentTicks { instrument, ticks });
        }
        let (faulty, labels) = market::with_faults(&later, 51);
        write_ticks(&folder.path().join("train"), &clean);
        write_ticks(&folder.path().join("test"), &faulty);
        let mut text = "instrument,start_seq,end_seq,kind\n".to_owned();
        for (of, labels) in faulty.iter().zip(&labels) {
            for label in labels {
                let (instrument, kind) = (&of.instrument, label.fault.name());
                text += &format!("{instrument},{},{},{kind}\n", label.start, label.end);
            }
        }
        fs::write(folder.path().join("labels.csv"), text).unwrap();
        Files { folder, faulty, labels }
    }

    fn backtest(&self, code: i32, more: &[&str]) -> Ended {
        let arguments = [
            "backtest",
            "--config",
            "small.toml",
            "--train",
            "train",
            "--test",
            "test",
        ];
        expect(self.folder.path(), code, &[&arguments, more].concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Reads a file of scores, which must have one finite row per tick, in order.
fn read_scores(path: &Path, ticks: &[InstrumentTicks]) -> Vec<InstrumentScores> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("instrument,seq,score"));
    let mut names: Vec<&InstrumentTicks> = ticks.iter().collect();
    names.sort_by(|a, b| a.instrument.cmp(&b.instrument));
    let scores = |of: &&InstrumentTicks| {
        let score = |seq: usize| {
            let line = lines.next().unwrap();
            let score = line
                .strip_prefix(&format!("{},{seq},", of.instrument))
                .unwrap_or_else(|| panic!("{line}"));
            let score: f64 = score.parse().unwrap();
            assert!(score.is_finite() && score >= 0.0, "{line}");
            score
        };
        InstrumentScores {
            instrument: of.instrument.clone(),
            scores: (0..of.ticks.len()).map(score).collect(),
        }
    };
    let scores = names.iter().map(scores).collect();
    assert_eq!(lines.next(), None);
    scores
}

#[test]
fn backtest_scores_every_tick_once_and_judges_as_the_library_does() {
    let files = Files::new();
    assert!(files.labels.iter().map(Vec::len).sum::<usize>() > 5);
    let more = [
        "--labels",
        "labels.csv",
        "--scores",
        "scores.csv",
        "--alerts",
        "alerts.csv",
        "--report",
        "report.html",
        "--json",
    ];
    let ended = files.backtest(0, &more);
    let scores = read_scores(&files.path("scores.csv"), &files.faulty);
    let labels = evaluation::read_labels(&files.path("labels.csv")).unwrap();
    let figures = evaluation::evaluate(&scores, &labels).unwrap();
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected: Value = serde_json::from_str(&serde_json::to_string(&figures).unwrap()).unwrap();
    assert_eq!(printed, expected);
    assert!(
        fs::read_to_string(files.path("alerts.csv"))
            .unwrap()
            .starts_with("instrument,seq,arm,")
    );
    let page = fs::read_to_string(files.path("report.html")).unwrap();
    for of in &files.faulty {
        assert!(
            page.contains(&format!("<h3>{}</h3>", of.instrument)),
            "{}",
            of.instrument
        );
    }
    files.backtest(0, &more);
    assert!(page == fs::read_to_string(files.path("report.html")).unwrap());

    // The model that `train` writes from the same ticks gives the same scores.
    let train = [
        "train",
        "--config",
        "small.toml",
        "--ticks",
        "train",
        "--output",
        "model.safetensors",
    ];
    expect(files.folder.path(), 0, &train);
    files.backtest(0, &["--model", "model.safetensors", "--scores", "again.csv"]);
    assert_eq!(
        fs::read(files.path("scores.csv")).unwrap(),
        fs::read(files.path("again.csv")).unwrap()
    );
    // A name that ends in .gz gets gzip.
    let packed = ["--scores", "again.csv.gz", "--alerts", "alerts.csv.gz"];
    files.backtest(0, &[&["--model", "model.safetensors"], &packed[..]].concat());
    for (plain, packed) in [("scores.csv", "again.csv.gz"), ("alerts.csv", "alerts.csv.gz")] {
        let mut unpacked = String::new();
        let mut reader = GzDecoder::new(fs::File::open(files.path(packed)).unwrap());
        reader.read_to_string(&mut unpacked).unwrap();
        assert!(unpacked == fs::read_to_string(files.path(plain)).unwrap(), "{packed}");
    }
}

#[test]
fn backtest_names_what_it_cannot_read_or_write() {
    let files = Files::new();
    let missing = ["backtest", "--train", "nowhere", "--test", "test"];
    assert!(expect(files.folder.path(), 2, &missing).stderr.contains("nowhere"));
    let missing = [
        "backtest",
        "--train",
        "train",
        "--test",
        "test",
        "--labels",
        "nowhere.csv",
    ];
    assert!(expect(files.folder.path(), 2, &missing).stderr.contains("nowhere.csv"));
    // No instrument has as many ticks as the default configuration asks for, and `--json` asks for labels.
    expect(
        files.folder.path(),
        2,
        &["backtest", "--train", "train", "--test", "test", "--json"],
    );

    let train = ["train", "--config", "small.toml", "--ticks", "train", "--output"];
    let unwritable = "/proc/nowhere/model.safetensors";
    expect(files.folder.path(), 73, &[&train[..], &[unwritable]].concat());
    expect(files.folder.path(), 0, &[&train[..], &["model.safetensors"]].concat());
    let ended = files.backtest(
        73,
        &["--model", "model.safetensors", "--scores", "/proc/nowhere/scores.csv"],
    );
    assert!(ended.stderr.contains("/proc/nowhere/scores.csv"), "{}", ended.stderr);
    let ended = files.backtest(
        73,
        &["--model", "model.safetensors", "--report", "/proc/nowhere/report.html"],
    );
    assert!(ended.stderr.contains("/proc/nowhere/report.html"), "{}", ended.stderr);
}
