//! The command line: exit codes that say what went wrong, and results that equal the library's.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

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
use crate::process::{self, Ended, Running, expect};
use crate::real_kafka;
use crate::wait;

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
        "run",
        "demo",
        "init",
        "check",
        "train",
        "backtest",
        "replay",
        "generate",
        "models",
        "completions",
        "man",
    ] {
        assert!(help.stdout.contains(&format!("  {command} ")), "{}", help.stdout);
        let help = expect(folder.path(), 0, &[command, "--help"]).stdout;
        assert!(help.contains("Usage:") && help.contains("Examples:"), "{help}");
    }
}

#[test]
fn version_says_what_a_report_of_a_problem_needs() {
    let folder = folder("");
    let short = expect(folder.path(), 0, &["-V"]).stdout;
    assert_eq!(short, format!("tapewatch {}\n", env!("CARGO_PKG_VERSION")));
    let long = expect(folder.path(), 0, &["--version"]).stdout;
    assert!(long.starts_with(&short), "{long}");
    let line = |name: &str| {
        let line = long.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {long}")).trim().to_owned()
    };
    assert!(line("librdkafka").starts_with("2."), "{long}");
    assert!(["yes", "no"].iter().any(|word| line("TLS").starts_with(word)), "{long}");
    assert!(
        ["avx512", "avx2", "portable"].contains(&line("instruction set").as_str()),
        "{long}"
    );
    let commit = line("commit");
    let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{long}");
}

#[test]
fn what_init_writes_is_sound_and_stays() {
    let folder = folder("");
    let told = expect(
        folder.path(),
        0,
        &["init", "--brokers", "b-1:9092", "--topic", "a", "--topic", "b"],
    );
    assert!(
        told.stdout.is_empty() && told.stderr.contains("wrote tapewatch.toml"),
        "{}",
        told.stderr
    );
    let written = fs::read_to_string(folder.path().join("tapewatch.toml")).unwrap();
    let config = Config::from_toml(&written).unwrap();
    assert_eq!(
        (config.kafka.brokers.as_str(), &config.input.topics[..]),
        ("b-1:9092", &["a".to_owned(), "b".into()][..])
    );
    let check = expect(folder.path(), 0, &["check", "--config", "tapewatch.toml"]);
    assert!(check.stdout.contains("a, b at b-1:9092"), "{}", check.stdout);
    // A second time, nothing is overwritten unless that is asked for.
    let refused = expect(folder.path(), 73, &["init"]).stderr;
    assert!(
        refused.contains("tapewatch.toml") && refused.contains("--force"),
        "{refused}"
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("tapewatch.toml")).unwrap(),
        written
    );
    expect(folder.path(), 0, &["init", "--force"]);
    let printed = expect(folder.path(), 0, &["init", "-"]).stdout;
    assert_eq!(
        fs::read_to_string(folder.path().join("tapewatch.toml")).unwrap(),
        printed
    );
    assert_eq!(Config::from_toml(&printed).unwrap(), Config::from_toml("").unwrap());
    expect(folder.path(), 78, &["init", "--topic", "no topic", "other.toml"]);
}

#[test]
fn shells_and_man_are_told_every_command() {
    let folder = folder("");
    for shell in ["bash", "zsh", "fish"] {
        let completions = expect(folder.path(), 0, &["completions", shell]).stdout;
        assert!(
            completions.contains("backtest") && completions.contains("log-level"),
            "{shell}"
        );
    }
    let page = expect(folder.path(), 0, &["man"]).stdout;
    assert!(page.contains(".TH tapewatch 1") && page.contains("backtest"), "{page}");
    expect(folder.path(), 0, &["man", "pages"]);
    for page in ["tapewatch.1", "tapewatch-run.1", "tapewatch-models-export.1"] {
        assert!(folder.path().join("pages").join(page).is_file(), "{page}");
    }
}

#[test]
fn quiet_commands_tell_only_what_is_wrong() {
    let folder = folder("");
    let told = expect(folder.path(), 0, &["init", "--quiet"]);
    assert_eq!((told.stdout, told.stderr), (String::new(), String::new()));
    let told = expect(folder.path(), 73, &["--quiet", "init"]).stderr;
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_variable_with_one_underscore_is_warned_about() {
    let folder = folder("");
    let variables = [
        ("TAPEWATCH_KAFKA_BROKERS", "b:9092"),
        ("TAPEWATCH_SERVICE_HOST", "10.0.0.1"),
    ];
    let output = process::start_with(folder.path(), &["check"], &variables).output();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("did you mean TAPEWATCH__KAFKA__BROKERS?"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(output.status.success());
}

/// Time that a command has to end after a signal, and what a loaded machine takes on top.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(2);

/// Sends a signal, and makes sure that the process ends in time and with this code; gives what it told.
fn expect_end(mut running: Running, signal: &str, code: i32) -> String {
    let sent = Instant::now();
    running.signal(signal);
    wait::until("the process ends", SIGNAL_DEADLINE, || !running.is_running());
    let output = running.output();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{signal} after {:?}: {told}",
        sent.elapsed()
    );
    told
}

#[test]
fn whoever_waits_for_a_broker_ends_with_the_signal() {
    // A port that answers nothing.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder(&format!(
        "[kafka]\nbrokers = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
        held.local_addr().unwrap()
    ));
    for (signal, code) in [("-TERM", 143), ("-INT", 130), ("-HUP", 129)] {
        let running = process::start(folder.path(), &["run", "--config", "small.toml"]);
        // Connected to: so it listens to signals, and waits.
        drop(held.accept().unwrap());
        expect_end(running, signal, code);
    }
}

#[test]
fn a_training_ends_with_the_signal_and_leaves_nothing() {
    let files = Files::new();
    // The default configuration trains for long.
    let running = process::start(
        files.folder.path(),
        &["train", "--ticks", "train", "--output", "m.safetensors"],
    );
    std::thread::sleep(Duration::from_millis(500));
    let told = expect_end(running, "-TERM", 143);
    assert!(told.contains("stopped by a signal"), "{told}");
    let left: Vec<String> = fs::read_dir(files.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("safetensors") || name.contains("partial"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn the_end_of_the_terminal_is_nothing_under_nohup() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder("");
    let mut nohup = Command::new("sh");
    let (program, address) = (env!("CARGO_BIN_EXE_tapewatch"), held.local_addr().unwrap());
    let script = format!("trap '' HUP; exec {program} run --brokers {address}");
    nohup.args(["-c", &script]).env("TAPEWATCH__HTTP__ENABLED", "false");
    let mut running = process::spawn(folder.path(), nohup);
    drop(held.accept().unwrap());
    running.signal("-HUP");
    wait::holds_for("the daemon waits", Duration::from_millis(500), || running.is_running());
    expect_end(running, "-TERM", 143);
}

#[test]
fn a_replay_ends_with_the_signal_and_says_how_far_it_came() {
    let (scene, files) = (Scene::new(1), Files::new());
    let arguments = [
        "replay",
        "train",
        "--brokers",
        &scene.client.brokers,
        "--topic",
        "ticks",
        "--speed",
        "0.001",
    ];
    let running = process::start(files.folder.path(), &arguments);
    wait::until("ticks arrive", Duration::from_secs(30), || {
        scene.client.end_offsets("ticks")[0] > 0
    });
    let told = expect_end(running, "-TERM", 143);
    assert!(
        told.contains("stopped by a signal; replayed ") && told.contains(" of 3000 ticks of 2 files"),
        "{told}"
    );
}

#[test]
fn the_daemon_runs_on_flags_alone() {
    let scene = Scene::new(1);
    let folder = folder("");
    let arguments = ["run", "--brokers", &scene.client.brokers, "--topic", "ticks"];
    // A port that was free a moment ago.
    let listen = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut running = process::start_with(folder.path(), &arguments, &[("TAPEWATCH__HTTP__LISTEN", &listen)]);
    wait::until("the daemon is ready", Duration::from_secs(30), || {
        assert!(running.is_running());
        wait::get(&listen, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    running.terminate();
    let output = running.output();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("stopping"), "{told}");

    let ended = expect(folder.path(), 78, &["run", "--topic", "no topic"]);
    assert!(
        ended
            .stderr
            .contains("--topic: input.topics: \"no topic\" is no topic name"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_log_of_json_is_json_to_its_last_line() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    drop(held);
    let json = format!("[log]\nformat = \"json\"\n{}", broker(&address));
    for (text, code, arguments) in [
        (json.as_str(), 69, &["run", "--config", "small.toml"][..]),
        (
            "[log]\nformat = \"json\"\n[worker]\nworkers = 0\n",
            78,
            &["run", "--config", "small.toml"],
        ),
        (
            "[worker]\nwrkers = 0\n",
            78,
            &["run", "--log-format", "json", "--config", "small.toml"],
        ),
    ] {
        let folder = folder(text);
        let ended = expect(folder.path(), code, arguments);
        let lines: Vec<Value> = ended
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.last().unwrap()["level"], "ERROR", "{}", ended.stderr);
    }
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
fn check_tries_properties_and_reads_secrets() {
    for (text, named) in [
        (
            "[kafka.properties]\n\"security.protocl\" = \"ssl\"\n",
            "security.protocl",
        ),
        (
            "[kafka.properties]\n\"fetch.min.bytes\" = \"many\"\n",
            "fetch.min.bytes",
        ),
        (
            "[kafka.secret_files]\n\"sasl.password\" = \"/nowhere/secret\"\n",
            "/nowhere/secret",
        ),
    ] {
        let folder = folder(text);
        let ended = expect(folder.path(), 78, &["check", "--config", "small.toml"]);
        assert!(
            ended.stderr.contains(named) && ended.stdout.is_empty(),
            "{named}: {}",
            ended.stderr
        );
    }
}

/// A tick as the default configuration reads it.
const TICK: &str = r#"{"instrument":"ACME","ts_ns":1773239405123456789,"kind":"trade","price":101.25}"#;

#[test]
fn check_asks_a_real_broker_for_topics_rights_limits_and_a_record() {
    let Some(kafka) = real_kafka::start_or_skip() else {
        return;
    };
    kafka.create_topic("check-ticks", 2, &[]);
    kafka.create_topic("check-alerts", 1, &[("max.message.bytes", "50000")]);
    let text = format!(
        "{}[input]\ntopics = [\"check-ticks\"]\n[output]\nalerts_topic = \"check-alerts\"\n\
         dead_letters_topic = \"check-dead\"\n",
        broker(&kafka.brokers)
    );
    let folder = folder(&text);
    let check = |code: i32| expect(folder.path(), code, &["check", "--config", "small.toml", "--connect"]).stdout;
    let told = check(69);
    for line in [
        "ok         topic check-ticks has 2 partitions",
        "ok         topic check-ticks may be read",
        "unknown    topic check-ticks holds no record to look at",
        "ok         group tapewatch may be used",
        "ok         topic check-alerts takes batches of 50000 bytes",
        "ok         topic check-alerts may be written to",
        "FAILED     topic check-dead does not exist",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    kafka.create_topic("check-dead", 1, &[]);
    kafka.produce("check-ticks", &[(Some(1), None, Some(TICK.as_bytes()))]);
    let told = check(0);
    let read = "a record is read as a tick (topic check-ticks, partition 1, offset 0): {\"instrument\":\"ACME\"";
    assert!(told.contains(read), "{told}");
    // Nothing was written on the way.
    assert_eq!(kafka.end_offsets("check-alerts"), [0]);
    assert_eq!(kafka.end_offsets("check-dead"), [0]);
    let records: Vec<_> = (0..20).map(|_| (Some(1), None, Some(&b"hello"[..]))).collect();
    kafka.produce("check-ticks", &records);
    let told = check(78);
    assert!(
        told.contains("FAILED     a record cannot be read as a tick") && told.contains("\"hello\""),
        "{told}"
    );
}

#[test]
fn check_of_a_broker_that_is_not_there_ends_with_69() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    drop(held);
    let folder = folder(&broker(&address));
    let ended = expect(folder.path(), 69, &["check", "--config", "small.toml", "--connect"]);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
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
fn the_demo_names_its_own_flag_for_a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder("");
    let ended = expect(folder.path(), 74, &["demo", "--no-report", "--listen", &address]);
    let told = &ended.stderr;
    assert!(
        told.contains(&format!("{address} (--listen)")) && !told.contains("http.listen"),
        "{told}"
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

/// One line per tick, with the stamp in front.
fn lines_of(of: &InstrumentTicks) -> Vec<String> {
    of.ticks.iter().map(|tick| to_line(&of.instrument, tick)).collect()
}

#[test]
fn what_files_are_called_and_how_ticks_are_spread_over_them_changes_no_score() {
    let files = Files::new();
    let train = ["train", "--config", "small.toml", "--ticks", "train", "--output"];
    expect(files.folder.path(), 0, &[&train[..], &["model.safetensors"]].concat());
    let labelled = [
        "--model",
        "model.safetensors",
        "--labels",
        "labels.csv",
        "--json",
        "--scores",
    ];
    let figures = files.backtest(0, &[&labelled[..], &["scores.csv"]].concat()).stdout;

    // The past by the day and under other names, and all of the test in one file.
    let write = |name: &str, lines: &[String]| {
        let path = files.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{}\n{}\n", CSV_COLUMNS.join(","), lines.join("\n"))).unwrap();
    };
    for entry in fs::read_dir(files.path("train")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        let (first, second) = lines.split_at(lines.len() / 2);
        let name = path.file_stem().unwrap().to_str().unwrap().to_lowercase();
        write(&format!("days/z-{name}-1.csv"), first);
        write(&format!("days/a-{name}-2.csv"), second);
    }
    let mut mixed: Vec<String> = Vec::new();
    let of_instruments: Vec<Vec<String>> = files.faulty.iter().map(lines_of).collect();
    for tick in 0..of_instruments.iter().map(Vec::len).max().unwrap() {
        mixed.extend(of_instruments.iter().filter_map(|lines| lines.get(tick).cloned()));
    }
    write("mixed/all.csv", &mixed);
    let again = [
        &[
            "backtest",
            "--config",
            "small.toml",
            "--train",
            "days",
            "--test",
            "mixed",
        ][..],
        &labelled,
        &["again.csv"],
    ];
    let ended = expect(files.folder.path(), 0, &again.concat());
    assert_eq!(ended.stdout, figures);
    assert!(fs::read(files.path("scores.csv")).unwrap() == fs::read(files.path("again.csv")).unwrap());
    // And the same model.
    let days = [
        "train",
        "--config",
        "small.toml",
        "--ticks",
        "days",
        "--output",
        "days.safetensors",
    ];
    expect(files.folder.path(), 0, &days);
    assert!(fs::read(files.path("model.safetensors")).unwrap() == fs::read(files.path("days.safetensors")).unwrap());
}

#[test]
fn a_backtest_is_told_before_the_fit_what_cannot_come_out_of_it() {
    let files = Files::new();
    // The default configuration fits for long.
    let backtest = |code: i32, more: &[&str]| {
        let arguments = ["backtest", "--train", "train", "--test", "test"];
        let told = expect(files.folder.path(), code, &[&arguments, more].concat()).stderr;
        assert!(!told.contains("fitted in"), "{told}");
        told
    };
    for (flag, name) in [("--scores", "s.csv"), ("--alerts", "a.csv"), ("--report", "r.html")] {
        let told = backtest(73, &[flag, &format!("/proc/nowhere/{name}")]);
        assert!(
            told.contains(&format!("cannot write /proc/nowhere/{name} ({flag})")),
            "{told}"
        );
    }
    let told = backtest(2, &["--model", "nowhere.safetensors"]);
    assert!(told.contains("nowhere.safetensors"), "{told}");
    fs::write(
        files.path("outside.csv"),
        "instrument,start_seq,end_seq,kind\nACME,1,999999,gap\n",
    )
    .unwrap();
    let told = backtest(2, &["--labels", "outside.csv"]);
    assert!(told.contains("event 1..=999999 lies outside"), "{told}");
    fs::write(
        files.path("others.csv"),
        "instrument,start_seq,end_seq,kind\nBTC-USDT,1,2,gap\n",
    )
    .unwrap();
    let told = backtest(2, &["--labels", "others.csv"]);
    assert!(told.contains("they name BTC-USDT, and the ticks ACME"), "{told}");
    let unwritable = ["train", "--ticks", "train", "--output", "/proc/nowhere/m.safetensors"];
    let told = expect(files.folder.path(), 73, &unwritable).stderr;
    assert!(
        told.contains("(--output)") && !told.contains("retrain.models_dir"),
        "{told}"
    );
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
