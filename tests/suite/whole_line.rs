//! The whole line on a real Kafka: recorded ticks replayed into a topic, the daemon as a process of its own, training
//! while it scores, stopped by signals gentle and rude, and every count compared with the broker's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tapewatch::config::Config;
use tapewatch::model::artifact::Artifact;
use tapewatch::offline::backtest::score_recording;
use tapewatch::offline::tick_files::Recording;
use tapewatch::pipeline::alert::Alert;
use tapewatch::pipeline::tick::InstrumentTicks;
use tapewatch::store::ModelStore;

use crate::cli::write_ticks;
use crate::client::Client;
use crate::process::{self, Running, expect};
use crate::real_kafka::{self, Kafka};
use crate::wait::{self, Sample, free_address, sum};
use crate::{market, schema};

/// Recorded ticks beside the checkout; without them the synthetic market is written to files.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/bench/ticks");
/// Three feeds are a hundred thousand ticks: seconds to score.
const FILES_MAX: usize = 3;
const PARTITIONS: i32 = 4;
/// A training, a rebalance after a crash, or a hundred thousand ticks, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// A process starts and joins within some seconds; a session lasts 45 seconds.
const LEFT_GROUP_MAX: Duration = Duration::from_secs(20);

/// A cluster with topics of this test's own, and the daemon's configuration.
struct Scene {
    kafka: Kafka,
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
    name: String,
    address: String,
}

impl Scene {
    /// `consumer`: keys of `[kafka.consumer_properties]`; `retrain`: keys of `[retrain]`.
    fn new(test: &str, consumer: &str, retrain: &str) -> Option<Self> {
        let kafka = real_kafka::start_or_skip()?;
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let name = format!("{test}-{}", std::process::id());
        kafka.create_topic(&format!("{name}-ticks"), PARTITIONS, &[]);
        kafka.create_topic(&format!("{name}-alerts"), 1, &[]);
        kafka.create_topic(&format!("{name}-dead-letters"), 1, &[]);
        let address = free_address();
        let text = config(&kafka, &name, &address, consumer, retrain);
        fs::write(folder.path().join("tapewatch.toml"), text).unwrap();
        Some(Scene {
            kafka,
            folder,
            files,
            name,
            address,
        })
    }

    fn ticks(&self) -> String {
        format!("{}-ticks", self.name)
    }

    /// Sends recorded ticks to the topic.
    fn replay(&self, files: &[PathBuf]) {
        let (brokers, topic) = (self.kafka.brokers.clone(), self.ticks());
        let mut arguments = vec!["replay".into(), "--brokers".into(), brokers, "--topic".into(), topic];
        arguments.extend(files.iter().map(|file| file.display().to_string()));
        expect(self.folder.path(), 0, &arguments);
    }

    fn start(&self) -> Running {
        process::start(self.folder.path(), &["run", "--config", "tapewatch.toml"])
    }

    /// Metrics, once they are up.
    fn metrics(&self, daemon: &mut Running) -> Vec<Sample> {
        wait::until_some("metrics are up", DEADLINE, || {
            assert!(daemon.is_running(), "the daemon has ended");
            let (_, text) = wait::get(&self.address, "/metrics")?;
            Some(wait::samples(&text))
        })
    }

    /// Waits until the metrics are as `hold` says.
    fn wait_for(&self, what: &str, daemon: &mut Running, hold: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
        wait::until_some(what, DEADLINE, || {
            let samples = self.metrics(daemon);
            hold(&samples).then_some(samples)
        })
    }

    fn ends(&self) -> Vec<i64> {
        self.kafka.end_offsets(&self.ticks())
    }

    fn committed(&self) -> Vec<i64> {
        let committed = self.kafka.committed(&self.name, &self.ticks());
        committed.into_iter().map(|next| next.max(0)).collect()
    }

    /// Asks the daemon to stop and makes sure that it did as it should; gives its log.
    fn stop(&self, daemon: Running) -> Vec<serde_json::Value> {
        daemon.terminate();
        let output = daemon.output();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert_eq!(self.committed(), self.ends(), "{log}");
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Keys of `[retrain]` that train every other second.
const RETRAINS: &str = "interval_secs = 2\nwatch_interval_secs = 1\nhistory_ticks_max = 24000";

/// Small models.
fn config(client: &Client, name: &str, address: &str, consumer: &str, retrain: &str) -> String {
    format!(
        r#"
[kafka]
brokers = "{brokers}"
group = "{name}"
[kafka.consumer_properties]
{consumer}
[input]
topics = ["{name}-ticks"]
[output]
alerts_topic = "{name}-alerts"
dead_letters_topic = "{name}-dead-letters"
[retrain]
{retrain}
models_dir = "models"
[worker]
commit_interval_ms = 300
drain_secs = 5
[http]
listen = "{address}"
[log]
format = "json"
{small}"#,
        brokers = client.brokers,
        small = market::SMALL,
    )
}

/// An address that is free now.
/// Files of recorded ticks, the smallest first, or synthetic ones.
fn files(folder: &Path) -> Vec<PathBuf> {
    let recorded = fs::read_dir(RECORDED).map(|entries| {
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.to_string_lossy().ends_with(".csv.gz"))
            .collect();
        paths.sort_by_key(|path| (fs::metadata(path).unwrap().len(), path.clone()));
        paths.truncate(FILES_MAX);
        paths
    });
    match recorded {
        Ok(paths) if !paths.is_empty() => paths,
        _ => {
            let market = market::with_faults(&market::ticks(4, 80_000, 71), 71).0;
            write_ticks(&folder.join("ticks"), &market);
            vec![folder.join("ticks")]
        }
    }
}

/// The longest swap in a log (milliseconds), and how many there were.
fn swaps(log: &[serde_json::Value]) -> (f64, usize) {
    let pauses = log.iter().filter_map(|line| {
        let fields = line.get("fields").unwrap_or(line);
        fields.get("pause_ms")?.as_f64()
    });
    pauses.fold((0.0, 0), |(longest, count), pause| {
        (f64::max(longest, pause), count + 1)
    })
}

#[test]
fn every_tick_is_accounted_for_while_models_are_trained_and_swapped() {
    let Some(scene) = Scene::new("line", "", RETRAINS) else {
        return;
    };
    scene.replay(&scene.files);
    let backlog: i64 = scene.ends().iter().sum();
    assert!(backlog > 10_000);
    let mut daemon = scene.start();
    scene.wait_for("a first model is at work", &mut daemon, |samples| {
        sum(samples, "tapewatch_windows_scored_total") > 0.0
    });
    let started = Instant::now();
    scene.wait_for("the backlog is scored", &mut daemon, |samples| {
        sum(samples, "tapewatch_records_total") >= backlog as f64
    });
    let seconds = started.elapsed().as_secs_f64();

    // Ticks go on coming until a second model has taken over, and once more after that.
    let mut rounds = 0;
    loop {
        let versions = sum(&scene.metrics(&mut daemon), "tapewatch_model_version");
        scene.replay(&scene.files[..1]);
        rounds += 1;
        if versions >= 2.0 {
            break;
        }
        assert!(rounds < 60, "no second model took over");
    }
    let records: i64 = scene.ends().iter().sum();
    let samples = scene.wait_for("all is scored", &mut daemon, |samples| {
        sum(samples, "tapewatch_records_total") >= records as f64
    });
    // Both counts agree with each other and with the broker.
    assert_eq!(sum(&samples, "tapewatch_records_total"), records as f64);
    assert_eq!(sum(&samples, "tapewatch_records_in_total"), records as f64);
    assert!(sum(&samples, "tapewatch_swap_pause_seconds_count") >= 2.0);
    assert!(sum(&samples, "tapewatch_model_version") >= 2.0);
    let by_training = |outcome: &str| {
        let is = |sample: &&Sample| {
            sample.name == "tapewatch_trainings_total" && sample.labels.contains(&("outcome".into(), outcome.into()))
        };
        samples.iter().find(is).map_or(0.0, |sample| sample.value)
    };
    assert!(by_training("accepted") >= 2.0);
    assert_eq!(by_training("failed"), 0.0);

    let log = scene.stop(daemon);
    // It has left the group: whoever comes next need not wait until its session is over.
    let mut next = scene.start();
    let started = Instant::now();
    wait::until("the next one has joined", LEFT_GROUP_MAX, || {
        assert!(next.is_running(), "the daemon has ended");
        wait::get(&scene.address, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    println!("the next one joined within {:?}", started.elapsed());
    scene.stop(next);
    let alerts = scene.kafka.read_all(&format!("{}-alerts", scene.name));
    assert!(!alerts.is_empty());
    for record in &alerts {
        let alert = schema::assert_valid(record.payload.as_deref().unwrap());
        assert_eq!(alert["latest"]["topic"].as_str(), Some(scene.ticks().as_str()));
    }
    assert!(scene.kafka.read_all(&format!("{}-dead-letters", scene.name)).is_empty());
    let (longest_ms, count) = swaps(&log);
    assert!(count >= 2);
    println!(
        "{backlog} ticks at {:.0} per second, then {}; {count} swaps, the longest {longest_ms:.3} ms; \
         {} alert revisions; trainings accepted {}, refused {}",
        backlog as f64 / seconds,
        records - backlog,
        alerts.len(),
        by_training("accepted"),
        by_training("refused"),
    );
}

#[test]
fn killed_daemon_goes_on_at_its_last_commit() {
    // The group notices the crash within six seconds.
    let session = "\"session.timeout.ms\" = \"6000\"\n\"heartbeat.interval.ms\" = \"300\"";
    let Some(scene) = Scene::new("kill", session, RETRAINS) else {
        return;
    };
    scene.replay(&scene.files);
    let ends = scene.ends();
    let mut daemon = scene.start();
    wait::until("a first commit", DEADLINE, || {
        assert!(daemon.is_running(), "the daemon has ended");
        scene.committed().iter().sum::<i64>() > 0
    });
    daemon.kill();
    drop(daemon.output());
    let committed = scene.committed();
    let left: i64 = ends.iter().zip(&committed).map(|(end, next)| end - next).sum();
    println!("killed at {committed:?} of {ends:?}");
    assert!(left > 0, "it had already committed everything");

    let mut daemon = scene.start();
    scene.wait_for("the rest is scored", &mut daemon, |samples| {
        sum(samples, "tapewatch_records_total") >= left as f64
    });
    wait::until("the rest is committed", DEADLINE, || scene.committed() == ends);
    let samples = scene.metrics(&mut daemon);
    assert_eq!(sum(&samples, "tapewatch_records_total"), left as f64);
    assert_eq!(sum(&samples, "tapewatch_records_in_total"), left as f64);
    scene.stop(daemon);
}

/// The opened alerts of the ticks after the past, as both drivers tell them: instrument, event time, arm and score.
type Opened = Vec<(String, String, String, f32)>;

/// What a backtest with the same model opens, in order of instrument and time.
fn opened_by_backtest(folder: &Path, artifact: &Artifact) -> Opened {
    let config = Config::load(Some(&folder.join("tapewatch.toml"))).unwrap();
    let open = |name: &str| Recording::open(&[folder.join(name)], &config.decode, &mut |_| {}).unwrap();
    let outcome = score_recording(&open("past"), &open("now"), artifact, &config).unwrap();
    let told = |(_, alert): &(usize, Alert)| {
        let time = alert.opened_by.tick.event_time.to_string();
        (
            alert.instrument.to_string(),
            time,
            alert.arm.name().to_owned(),
            alert.score,
        )
    };
    let mut opened: Opened = outcome.opened.iter().map(told).collect();
    opened.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    opened
}

#[test]
fn a_recording_that_is_replayed_at_full_speed_gives_the_alerts_of_a_backtest() {
    const PAST_TICKS: usize = 500;
    let Some(scene) = Scene::new("replay", "", "enabled = false") else {
        return;
    };
    let (market, _) = market::with_faults(&market::ticks(6, 60_000, 83), 83);
    let part = |range: fn(usize) -> std::ops::Range<usize>| -> Vec<InstrumentTicks> {
        let of = |of: &InstrumentTicks| InstrumentTicks {
            instrument: of.instrument.clone(),
            ticks: of.ticks[range(of.ticks.len())].to_vec(),
        };
        market.iter().map(of).collect()
    };
    let folder = scene.folder.path();
    write_ticks(&folder.join("past"), &part(|_| 0..PAST_TICKS));
    write_ticks(&folder.join("now"), &part(|ticks| PAST_TICKS..ticks));
    let artifact = market::trained();
    ModelStore::open(&folder.join("models"), 1)
        .unwrap()
        .save(artifact)
        .unwrap();
    let expected = opened_by_backtest(folder, artifact);
    assert!(expected.len() > 20, "{}", expected.len());

    scene.replay(&[folder.join("past")]);
    let past_ends = scene.ends();
    scene.replay(&[folder.join("now")]);
    let records: i64 = scene.ends().iter().sum();
    let mut daemon = scene.start();
    scene.wait_for("all is scored", &mut daemon, |samples| {
        sum(samples, "tapewatch_records_total") >= records as f64
    });
    scene.stop(daemon);
    let alerts = scene.kafka.read_all(&format!("{}-alerts", scene.name));
    let opened = alerts.iter().filter_map(|record| {
        let alert = schema::assert_valid(record.payload.as_deref().unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let by = &alert["opened_by"];
        let number = |name: &str| by[name].as_i64().unwrap();
        let is_now = number("offset") >= past_ends[number("partition") as usize];
        let score = alert["score"].as_f64().unwrap() as f32;
        (is_now && alert["state"] == "opened").then(|| {
            let (instrument, time) = (text(&alert["instrument"]), text(&by["event_time"]));
            (instrument, time, text(&alert["arm"]), score)
        })
    });
    let mut opened: Opened = opened.collect();
    opened.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    assert_eq!(opened, expected);
    println!(
        "{records} ticks at full speed: {} alerts, the same as in a backtest",
        opened.len()
    );
}

/// Alerts as a reader sees them who drops repeats: each id and revision once, in order.
fn told_once(scene: &Scene, topic: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let records = scene
        .kafka
        .read_all(topic)
        .into_iter()
        .map(|record| record.payload.unwrap());
    let texts = records.map(|payload| String::from_utf8(payload).unwrap());
    texts.filter(|text| seen.insert(text.clone())).collect()
}

#[test]
fn a_daemon_that_is_killed_again_and_again_tells_what_an_undisturbed_one_tells() {
    // A static member takes its own place again at once.
    let Some(scene) = Scene::new("state", "\"group.instance.id\" = \"one\"", "enabled = false") else {
        return;
    };
    let (market, _) = market::with_faults(&market::ticks(6, 60_000, 91), 91);
    let folder = scene.folder.path();
    write_ticks(&folder.join("ticks"), &market);
    let models = ModelStore::open(&folder.join("models"), 1).unwrap();
    models.save(market::trained()).unwrap();
    let text = fs::read_to_string(folder.join("tapewatch.toml")).unwrap();
    let quiet = format!("{}-quiet", scene.name);
    for topic in [format!("{quiet}-alerts"), format!("{quiet}-dead-letters")] {
        scene.kafka.create_topic(&topic, 1, &[]);
    }
    // The undisturbed one is a group of its own on the same ticks.
    let other = text
        .replace(&format!("group = \"{}\"", scene.name), &format!("group = \"{quiet}\""))
        .replace(&format!("{}-alerts", scene.name), &format!("{quiet}-alerts"))
        .replace(
            &format!("{}-dead-letters", scene.name),
            &format!("{quiet}-dead-letters"),
        );
    let state = format!("\n[state]\nchangelog_topic = \"{}-changelog\"\n", scene.name);
    // It commits often, so that it can be killed often before it has read all.
    let often = text.replace("commit_interval_ms = 300", "commit_interval_ms = 100");
    fs::write(folder.join("tapewatch.toml"), often + &state).unwrap();
    fs::write(folder.join("quiet.toml"), other).unwrap();
    scene.replay(&[folder.join("ticks")]);
    let ends = scene.ends();

    let undisturbed = process::start(folder, &["run", "--config", "quiet.toml"]);
    wait::until("the undisturbed one has read all", DEADLINE, || {
        let committed = scene.kafka.committed(&quiet, &scene.ticks());
        committed.into_iter().map(|next| next.max(0)).eq(ends.iter().copied())
    });
    undisturbed.terminate();
    drop(undisturbed.output());

    let mut kills = 0;
    loop {
        let before: i64 = scene.committed().iter().sum();
        let mut daemon = scene.start();
        wait::until("it goes on", DEADLINE, || {
            assert!(daemon.is_running(), "the daemon has ended");
            scene.committed().iter().sum::<i64>() > before || scene.committed() == ends
        });
        if scene.committed() == ends {
            scene.stop(daemon);
            break;
        }
        daemon.kill();
        drop(daemon.output());
        kills += 1;
    }
    let found = told_once(&scene, &format!("{}-alerts", scene.name));
    let expected = told_once(&scene, &format!("{quiet}-alerts"));
    assert!(expected.len() > 20, "{}", expected.len());
    let lost = expected.iter().filter(|alert| !found.contains(alert)).count();
    let new = found.iter().filter(|alert| !expected.contains(alert)).count();
    println!(
        "{kills} kills; {} revisions, lost or changed {lost}, new {new}",
        expected.len()
    );
    assert_eq!((lost, new), (0, 0));
}
