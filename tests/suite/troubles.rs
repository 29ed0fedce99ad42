//! What operators meet, on a real Kafka and with the daemon as a process of its own: topics that grow, shrink, go and come
//! back, brokers that are away, limits, members of one name, and stops that cannot be orderly.

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, Ended, Running};
use crate::real_kafka::{self, Kafka};
use crate::wait::{self, Sample, free_address, sum};
use crate::{market, schema};

/// A start, a rebalance or a restart of the broker, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster with topics, and the daemon's configuration.
struct Scene {
    kafka: Kafka,
    folder: TempDir,
    address: String,
}

fn trade(price: f64) -> Vec<u8> {
    format!(r#"{{"instrument":"X","ts_ns":1704205800000000000,"kind":"trade","price":{price}}}"#).into_bytes()
}

/// A quote that raises an alert at once, without any model.
fn crossed(number: usize) -> Vec<u8> {
    let text =
        format!(r#"{{"instrument":"I{number}","ts_ns":1704205800000000000,"kind":"quote","bid":2.0,"ask":1.0}}"#);
    text.into_bytes()
}

impl Scene {
    fn new(partitions: i32, limits: &[(&str, &str)]) -> Option<Self> {
        let kafka = real_kafka::start_or_skip()?;
        kafka.create_topic("ticks", partitions, &[]);
        kafka.create_topic("alerts", 1, limits);
        kafka.create_topic("letters", 1, limits);
        Some(Scene {
            kafka,
            folder: tempfile::tempdir().unwrap(),
            address: free_address(),
        })
    }

    fn config(&self, address: &str, more: &str) -> String {
        format!(
            "{small}\n[output]\nalerts_topic = \"alerts\"\ndead_letters_topic = \"letters\"\n\
             [retrain]\nenabled = false\nmodels_dir = \"models\"\n\
             [http]\nlisten = \"{address}\"\n[log]\nformat = \"json\"\n\
             [worker]\ndrain_secs = 2\nstall_secs = 4\ncommit_interval_ms = 100\n{more}",
            small = market::SMALL,
        )
    }

    /// Starts a daemon; `more`: keys of `[worker]`, then other sections.
    fn start(&self, more: &str) -> Running {
        self.start_at("tapewatch.toml", &self.address, more)
    }

    fn start_at(&self, file: &str, address: &str, more: &str) -> Running {
        let brokers = format!(
            "\n[kafka]\nbrokers = \"{}\"\nstart_timeout_secs = 5\n",
            self.kafka.brokers
        );
        let text = self.config(address, &(more.to_owned() + &brokers));
        fs::write(self.folder.path().join(file), text).unwrap();
        process::start(self.folder.path(), &["run", "--config", file])
    }

    fn produce(&self, partition: i32, values: impl IntoIterator<Item = Vec<u8>>) {
        let values: Vec<Vec<u8>> = values.into_iter().collect();
        let records: Vec<_> = values
            .iter()
            .map(|value| (Some(partition), None, Some(value.as_slice())))
            .collect();
        self.kafka.produce("ticks", &records);
    }

    fn samples(&self, daemon: &mut Running) -> Option<Vec<Sample>> {
        assert!(daemon.is_running(), "the daemon has ended");
        let (_, text) = wait::get(&self.address, "/metrics")?;
        Some(wait::samples(&text))
    }

    /// Waits until a metric's sum is `value`.
    fn wait_for(&self, daemon: &mut Running, metric: &str, value: f64) {
        wait::until(&format!("{metric} is {value}"), DEADLINE, || {
            let samples = self.samples(daemon);
            samples.is_some_and(|samples| samples.iter().any(|of| of.name == metric) && sum(&samples, metric) == value)
        });
    }

    fn wait_until_ready(&self, daemon: &mut Running) {
        wait::until("ready", DEADLINE, || {
            assert!(daemon.is_running(), "the daemon has ended");
            wait::get(&self.address, "/readyz").is_some_and(|(status, _)| status == 200)
        });
    }

    /// Waits until the daemon is not ready for a reason.
    fn wait_for_reason(&self, daemon: &mut Running, reason: &str, limit: Duration) {
        let mut last = String::new();
        let deadline = Instant::now() + limit;
        loop {
            assert!(daemon.is_running(), "the daemon has ended");
            let answer = wait::get(&self.address, "/readyz");
            if let Some((status, body)) = answer {
                if status == 503 && body.contains(reason) {
                    return;
                }
                last = body;
            }
            assert!(Instant::now() < deadline, "not within {limit:?}: {reason}: {last}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for_commits(&self, group: &str) {
        let ends = self.kafka.end_offsets("ticks");
        wait::until("all is committed", DEADLINE, || {
            self.kafka.committed(group, "ticks") == ends
        });
    }
}

fn stop(daemon: Running) -> Ended {
    daemon.terminate();
    let ended = daemon.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

const LATEST: &str = "[input]\nstart = \"latest\"\n";

#[test]
fn latest_passes_nothing_over_but_what_was_there_at_the_first_start_and_lag_counts_from_the_position() {
    let Some(scene) = Scene::new(2, &[]) else { return };
    scene.produce(0, (0..300).map(|_| trade(1.0)));
    let mut daemon = scene.start(LATEST);
    scene.wait_until_ready(&mut daemon);
    scene.wait_for_commits("tapewatch");
    scene.wait_for(&mut daemon, "tapewatch_lag_records", 0.0);
    wait::holds_for("nobody writes, and it is alive", Duration::from_secs(7), || {
        wait::get(&scene.address, "/livez").is_some_and(|(status, _)| status == 200)
    });
    assert_eq!(
        sum(&scene.samples(&mut daemon).unwrap(), "tapewatch_records_in_total"),
        0.0
    );
    stop(daemon);
    // A partition that was idle gets ticks while nobody reads, and a new one has some.
    scene.produce(1, (0..100).map(|_| trade(1.0)));
    scene.kafka.add_partitions("ticks", 3);
    scene.produce(2, (0..50).map(|_| trade(1.0)));
    let mut daemon = scene.start(LATEST);
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 150.0);
    scene.wait_for_commits("tapewatch");
    stop(daemon);
    // Retention passes a stopped reader.
    scene.produce(0, (0..200).map(|_| trade(1.0)));
    scene.kafka.delete_records("ticks", 0, 450);
    let mut daemon = scene.start(LATEST);
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 50.0);
    scene.wait_for(&mut daemon, "tapewatch_records_passed_over_total", 150.0);
    scene.wait_for_commits("tapewatch");
    let ended = stop(daemon);
    assert_eq!(
        ended.stderr.matches("records passed over").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning_and_told_once() {
    let Some(scene) = Scene::new(1, &[]) else { return };
    scene.produce(0, (0..300).map(|_| trade(1.0)));
    let mut daemon = scene.start("");
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 300.0);
    scene.wait_for_commits("tapewatch");
    scene.kafka.delete_topic("ticks");
    scene.kafka.create_topic("ticks", 1, &[]);
    scene.produce(0, (0..10).map(|_| trade(1.0)));
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 310.0);
    scene.wait_for_commits("tapewatch");
    let samples = scene.samples(&mut daemon).unwrap();
    let applied = |sample: &&Sample| sample.labels.iter().any(|(_, value)| value == "already_applied");
    let applied: Vec<f64> = samples.iter().filter(applied).map(|sample| sample.value).collect();
    // Of records, and of ticks.
    assert_eq!(applied, [0.0, 0.0]);
    assert_eq!(sum(&samples, "tapewatch_partitions_begun_anew_total"), 1.0);
    let ended = stop(daemon);
    assert_eq!(
        ended.stderr.matches("offsets begin again").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(scene.kafka.committed("tapewatch", "ticks"), [10]);
}

#[test]
fn topics_with_low_limits_get_whole_alerts_and_whole_dead_letters_and_too_low_ones_are_refused() {
    let Some(scene) = Scene::new(1, &[("max.message.bytes", "30000")]) else {
        return;
    };
    let letters = (0..60).map(|number| format!("no tick {number} {}", "x".repeat(1500)).into_bytes());
    scene.produce(0, (0..60).map(crossed).chain(letters));
    let mut daemon = scene.start("[alerts]\nshock_instruments_min = 0\n");
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 120.0);
    scene.wait_for_commits("tapewatch");
    let alerts = scene.kafka.read_all("alerts");
    assert!(alerts.len() >= 60, "{}", alerts.len());
    for record in &alerts {
        let alert = schema::assert_valid(record.payload.as_deref().unwrap());
        assert_eq!(alert.get("omitted"), None, "{alert}");
    }
    let letters = scene.kafka.read_all("letters");
    assert_eq!(letters.len(), 60);
    assert!(
        letters
            .iter()
            .all(|letter| letter.payload.as_ref().is_some_and(|value| value.len() > 1500))
    );
    stop(daemon);
    scene.kafka.create_topic("small", 1, &[("max.message.bytes", "900")]);
    drop(scene.start(""));
    let path = scene.folder.path().join("tapewatch.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"alerts\"", "\"small\"")).unwrap();
    let ended = process::run(scene.folder.path(), &["run", "--config", "tapewatch.toml"]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("max.message.bytes") && ended.stderr.contains("small"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_member_of_the_same_name_ends_the_older_one_and_each_worker_has_a_name_of_its_own() {
    let Some(scene) = Scene::new(2, &[]) else { return };
    let named = "[kafka.consumer_properties]\n\"group.instance.id\" = \"one\"\n\"session.timeout.ms\" = \"6000\"\n";
    let mut first = scene.start(&format!("workers = 2\n{named}"));
    wait::until("both workers have a partition", DEADLINE, || {
        assert!(first.is_running(), "the daemon has ended");
        let Some((200, body)) = wait::get(&scene.address, "/status") else {
            return false;
        };
        let status: serde_json::Value = serde_json::from_str(&body).unwrap();
        let workers = status["workers"].as_array().unwrap();
        workers
            .iter()
            .all(|worker| worker["partitions"].as_array().unwrap().len() == 1)
    });
    let second = scene.start_at("second.toml", &free_address(), &format!("workers = 2\n{named}"));
    let ended = first.ended();
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains("group.instance.id"), "{}", ended.stderr);
    drop(second);
}

#[test]
fn a_broker_that_is_away_is_told_once_and_readiness_follows() {
    let Some(mut scene) = Scene::new(1, &[]) else { return };
    if std::env::var("TAPEWATCH_TEST_BROKERS").is_ok() {
        return eprintln!("skipped: the broker must be one of ours");
    }
    let mut daemon = scene.start("");
    scene.wait_until_ready(&mut daemon);
    scene.kafka.kill();
    scene.wait_for_reason(&mut daemon, "is not connected", Duration::from_secs(20));
    wait::holds_for("alive without a broker", Duration::from_secs(10), || {
        wait::get(&scene.address, "/livez").is_some_and(|(status, _)| status == 200)
    });
    scene.kafka.start_again();
    scene.wait_until_ready(&mut daemon);
    scene.produce(0, [trade(1.0)]);
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 1.0);
    scene.wait_for_commits("tapewatch");
    let ended = stop(daemon);
    let complaints: Vec<&str> = ended.stderr.lines().filter(|line| !line.contains("\"INFO\"")).collect();
    assert!((1..=6).contains(&complaints.len()), "{complaints:#?}");
    assert!(complaints[0].contains("trouble with kafka"), "{complaints:#?}");
}

#[test]
fn alerts_that_nobody_acknowledges_are_told_and_a_stop_drains_once_or_ends_at_a_second_signal() {
    let Some(scene) = Scene::new(1, &[]) else { return };
    // A daemon whose alerts go to a topic that is gone.
    let start = |number: usize| {
        let mut daemon = scene.start("");
        scene.produce(0, [crossed(number)]);
        scene.wait_for(&mut daemon, "tapewatch_records_in_total", 1.0);
        scene.wait_for_commits("tapewatch");
        scene.kafka.delete_topic("alerts");
        scene.produce(0, [crossed(number + 1)]);
        scene.wait_for_reason(&mut daemon, "not acknowledged", Duration::from_secs(20));
        daemon
    };
    let daemon = start(1);
    let asked = Instant::now();
    daemon.terminate();
    let ended = daemon.ended();
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(74), "{}", ended.stderr);
    assert!(!ended.stderr.contains("\"drained\""), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("not everything was delivered").count(),
        1,
        "{}",
        ended.stderr
    );
    let last: serde_json::Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");

    scene.kafka.create_topic("alerts", 1, &[]);
    let mut daemon = scene.start("");
    scene.wait_for_commits("tapewatch");
    stop(daemon);
    daemon = start(3);
    daemon.terminate();
    // The first signal is heard before the second is sent, or they are one.
    wait::until("it drains", DEADLINE, || wait::get(&scene.address, "/readyz").is_some());
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    daemon.terminate();
    let ended = daemon.ended();
    assert_eq!(ended.code, Some(128 + 15), "{}", ended.stderr);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[test]
fn a_hang_up_drains_and_a_topic_of_alerts_that_is_gone_is_told_within_seconds() {
    let Some(scene) = Scene::new(1, &[]) else { return };
    let mut daemon = scene.start("");
    scene.produce(0, [crossed(1)]);
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", 1.0);
    scene.wait_for_commits("tapewatch");
    scene.kafka.delete_topic("alerts");
    scene.produce(0, [crossed(2)]);
    scene.wait_for_reason(&mut daemon, "alerts: the topic does not exist", Duration::from_secs(10));
    scene.kafka.create_topic("alerts", 1, &[]);
    scene.wait_until_ready(&mut daemon);
    scene.wait_for_commits("tapewatch");
    daemon.hang_up();
    let ended = daemon.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("\"drained\""), "{}", ended.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn large_records_that_are_no_ticks_are_held_within_bounds() {
    const RECORDS: usize = 700;
    let Some(scene) = Scene::new(1, &[]) else { return };
    let junk = vec![b'x'; 900_000];
    for _ in 0..RECORDS / 50 {
        scene.produce(0, (0..50).map(|_| junk.clone()));
    }
    let mut daemon = scene.start("");
    scene.wait_for(&mut daemon, "tapewatch_records_in_total", RECORDS as f64);
    scene.wait_for_commits("tapewatch");
    let peak = daemon.peak_bytes() >> 20;
    println!("peak {peak} MiB");
    assert!(peak < 320, "{peak} MiB");
    stop(daemon);
}
