//! The real daemon on librdkafka's mock cluster: bad input, failing deliveries, two workers, endpoints, stop and restart.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tapewatch::daemon::Daemon;
use tapewatch::pipeline::detector::Outcome;
use tapewatch::status::TrainingPhase;

use crate::broker::{ALERTS, DEAD_LETTERS, DEADLINE, Scene, TICKS, both_counts, counted, wait_for_records};
use crate::client::Record;
use crate::market::{self, Line};
use crate::raw_produce::{self, RawRecord};
use crate::{process, schema, wait};

/// Injected errors: more than the daemon can use up.
const ERRORS: usize = 1_000_000;
/// How long a commit is given to move although it must not: ten commit intervals.
const STILL: Duration = Duration::from_secs(1);

/// A record that raises an alert at once, without any model.
const CROSSED: &[u8] = br#"{"instrument":"CROSSED","ts_ns":1704205800000000000,"kind":"quote","bid":2.0,"ask":1.0}"#;

fn of_partition(partition: i32, payload: Option<&[u8]>) -> Line {
    Line {
        partition,
        offset: 0,
        key: Some(b"KEY".to_vec()),
        payload: payload.map(<[u8]>::to_vec),
    }
}

/// A market with faults whose instruments share `partitions` partitions, seed 41.
fn faulty_lines(ticks: usize, partitions: i32) -> Vec<Line> {
    let mut lines = market::lines(&market::with_faults(&market::ticks(3, ticks, 41), 41).0);
    lines.iter_mut().for_each(|line| line.partition %= partitions);
    lines
}

fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let value = record
        .headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)?;
    std::str::from_utf8(value).ok()
}

/// Dead letters, by the offset of the record that they are.
fn dead_letters(scene: &Scene) -> BTreeMap<i64, Record> {
    let records = scene.client.read_all(DEAD_LETTERS);
    let offset = |record: &Record| header(record, "tapewatch-offset").unwrap().parse().unwrap();
    records.into_iter().map(|record| (offset(&record), record)).collect()
}

#[test]
fn bad_records_become_dead_letters_and_the_stream_goes_on() {
    let scene = Scene::new(1);
    let daemon = scene.start(scene.config("[detector]\ninstruments_max = 5"));
    let good = faulty_lines(4000, 1);
    let garbage = vec![0xA5; 1 << 20];
    let bad: [(&str, Option<&[u8]>); 12] = [
        ("not_json", Some(b"ticks, ticks, ticks")),
        (
            "not_json",
            Some(br#"{"instrument":"X","ts_ns":1704205800000000000,"kind":"trade","price":NaN}"#),
        ),
        (
            "missing_field",
            Some(br#"{"instrument":"X","ts_ns":1704205800000000000,"kind":"trade"}"#),
        ),
        (
            "missing_field",
            Some(br#"{"instrument":"X","kind":"trade","price":1.0}"#),
        ),
        (
            "bad_number",
            Some(br#"{"instrument":"X","ts_ns":1704205800000000000,"kind":"trade","price":"NaN"}"#),
        ),
        (
            "bad_time",
            Some(br#"{"instrument":"X","ts_ns":"noon","kind":"trade","price":1.0}"#),
        ),
        (
            "absurd_time",
            Some(br#"{"instrument":"X","ts_ns":7,"kind":"trade","price":1.0}"#),
        ),
        (
            "bad_kind",
            Some(br#"{"instrument":"X","ts_ns":1704205800000000000,"kind":"rumour","price":1.0}"#),
        ),
        (
            "bad_instrument",
            Some(br#"{"instrument":"","ts_ns":1704205800000000000,"kind":"trade","price":1.0}"#),
        ),
        ("empty", Some(b"")),
        ("empty", None),
        ("too_large", Some(&garbage)),
    ];
    let (before, after) = good.split_at(600);
    scene.produce(before);
    let lines: Vec<Line> = bad.iter().map(|(_, payload)| of_partition(0, *payload)).collect();
    scene.produce(&lines);
    scene.produce_with_header(&of_partition(0, Some(b"with a header")), ("trace", b"abc\xff"));
    let flood: Vec<Line> = (0..50)
        .map(|number| {
            let text =
                format!(r#"{{"instrument":"FLOOD{number}","ts_ns":1704205800000000000,"kind":"trade","price":1.0}}"#);
            of_partition(0, Some(text.as_bytes()))
        })
        .collect();
    scene.produce(&flood);
    scene.produce(after);

    let records = good.len() + lines.len() + 1 + flood.len();
    wait_for_records(&daemon, records);
    scene.wait_for_commits(&daemon);
    assert_eq!(scene.client.end_offsets(TICKS), [records as i64]);
    assert_eq!(counted(&daemon, Outcome::Rejected), bad.len() as u64 + 1);
    // Three instruments of the market, two of the flood; the rest is counted and not looked at.
    assert_eq!(counted(&daemon, Outcome::OverCap), flood.len() as u64 - 2);
    assert!(counted(&daemon, Outcome::Scored) > 1000);

    let letters = dead_letters(&scene);
    assert_eq!(letters.len(), bad.len() + 1);
    for (place, (reason, payload)) in bad.iter().enumerate() {
        let offset = (before.len() + place) as i64;
        let letter = &letters[&offset];
        assert_eq!(letter.payload.as_deref(), *payload, "{reason}");
        assert_eq!(letter.key.as_deref(), Some(&b"KEY"[..]));
        assert_eq!(header(letter, "tapewatch-reason"), Some(*reason));
        assert_eq!(header(letter, "tapewatch-topic"), Some(TICKS));
        assert_eq!(header(letter, "tapewatch-partition"), Some("0"));
        assert!(!header(letter, "tapewatch-detail").unwrap().is_empty());
    }
    let with_header = &letters[&((before.len() + bad.len()) as i64)];
    assert!(with_header.headers.contains(&("trace".into(), b"abc\xff".to_vec())));
    let by_reason: u64 = bad
        .iter()
        .map(|(reason, _)| *reason)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|reason| daemon.metrics.dead_letters.with_label_values(&[reason]).get())
        .sum();
    assert_eq!(by_reason, bad.len() as u64 + 1);
    daemon.stop().unwrap();
}

#[test]
fn dead_letter_that_the_broker_finds_too_large_goes_without_its_value() {
    let scene = Scene::new(1);
    scene.produce(&[of_partition(0, Some(b"no tick")), of_partition(0, Some(b"nor this"))]);
    // Once as part of a batch, and once by itself.
    let refusal = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 3];
    scene
        .embedded
        .cluster()
        .request_errors(RDKafkaApiKey::Produce, &refusal);
    let daemon = scene.start_without_model(scene.config("[worker]\nbatch_records_max = 1"));
    wait_for_records(&daemon, 2);
    scene.wait_for_commits(&daemon);
    let letters = dead_letters(&scene);
    assert_eq!(letters.len(), 2);
    let without: Vec<&Record> = letters.values().filter(|letter| letter.payload.is_none()).collect();
    assert!(!without.is_empty());
    for letter in without {
        assert_eq!(header(letter, "tapewatch-omitted"), Some("value"));
        assert_eq!(header(letter, "tapewatch-reason"), Some("not_json"));
        assert_eq!(letter.key.as_deref(), Some(&b"KEY"[..]));
    }
    daemon.stop().unwrap();
}

/// Anything that a record can be, headers' names included.
fn any_record() -> impl Strategy<Value = RawRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let value = prop_oneof![
        prop::option::of(bytes()),
        Just(Some(CROSSED.to_vec())),
        Just(Some(
            br#"{"instrument":"X","ts_ns":1704205800000000000,"kind":"trade","price":1.0}"#.to_vec()
        )),
    ];
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..6);
    (prop::option::of(bytes()), value, headers).prop_map(|(key, value, headers)| RawRecord { key, value, headers })
}

#[test]
fn nothing_in_a_record_ends_a_worker_and_its_headers_are_carried_as_bytes() {
    let scene = Scene::new(1);
    let daemon = scene.start_without_model(scene.config(""));
    let mut runner = TestRunner::new_with_rng(
        proptest::test_runner::Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let records = prop::collection::vec(any_record(), 400);
    let mut records = records.new_tree(&mut runner).unwrap().current();
    records.push(RawRecord {
        value: Some(b"no tick".to_vec()),
        headers: vec![(b"caf\xe9".to_vec(), Some(b"old".to_vec())), (Vec::new(), None)],
        ..RawRecord::default()
    });
    let broker = scene.client.brokers.split(',').next().unwrap();
    raw_produce::produce(broker, TICKS, &records);
    wait_for_records(&daemon, records.len());
    scene.wait_for_commits(&daemon);
    let letters = scene.client.end_offsets(DEAD_LETTERS)[0] as u64;
    assert_eq!(letters, counted(&daemon, Outcome::Rejected));
    assert!(letters > 100 && counted(&daemon, Outcome::NoModel) > 100, "{letters}");
    daemon.stop().unwrap();
    // Read by the protocol's bytes: the last letter names its header as it was.
    let log = raw_produce::fetch(broker, DEAD_LETTERS, letters as i64 - 1);
    assert!(
        log.windows(4).any(|window| window == b"caf\xe9"),
        "the header's name is lost"
    );
}

/// Lets every delivery fail by `error` and shows that nothing is committed until that ends.
fn assert_nothing_is_committed_before_delivery(error: RDKafkaRespErr) {
    let scene = Scene::new(1);
    // The first record raises an alert at once, so that no offset at all may be committed without it.
    let mut lines = vec![of_partition(0, Some(CROSSED))];
    lines.extend(faulty_lines(3000, 1));
    scene.produce(&lines);
    scene
        .embedded
        .cluster()
        .request_errors(RDKafkaApiKey::Produce, &vec![error; ERRORS]);

    let daemon = scene.start(scene.config(""));
    wait_for_records(&daemon, lines.len());
    wait::holds_for("no offset is committed, no alert is there", STILL, || {
        daemon.check().unwrap();
        scene.committed() == [0] && scene.client.end_offsets(ALERTS) == [0]
    });
    assert!(daemon.metrics.in_flight_records.get() > 0);
    scene.embedded.cluster().clear_request_errors(RDKafkaApiKey::Produce);
    scene.wait_for_commits(&daemon);

    let alerts = scene.client.read_all(ALERTS);
    let names = alerts.iter().map(|record| {
        let alert = schema::assert_valid(record.payload.as_deref().unwrap());
        (alert["id"].to_string(), alert["revision"].as_u64())
    });
    let unique: BTreeSet<_> = names.collect();
    let published = wait::sum(&wait::samples(&daemon.metrics.text()), "tapewatch_alerts_total");
    assert_eq!(unique.len() as f64, published, "an alert is missing");
    assert_eq!(unique.len(), alerts.len(), "a revision was sent twice");
    daemon.stop().unwrap();
}

#[test]
fn delivery_that_fails_for_good_holds_the_commit_until_it_succeeds() {
    assert_nothing_is_committed_before_delivery(RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION);
}

#[test]
fn delivery_that_fails_for_now_holds_the_commit_until_it_succeeds() {
    assert_nothing_is_committed_before_delivery(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
}

#[test]
fn daemon_that_may_not_write_ends_with_an_error_and_loses_nothing() {
    let scene = Scene::new(1);
    let mut lines = vec![of_partition(0, Some(CROSSED))];
    lines.extend(faulty_lines(3000, 1));
    scene.produce(&lines);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    scene
        .embedded
        .cluster()
        .request_errors(RDKafkaApiKey::Produce, &vec![refusal; ERRORS]);
    let daemon = scene.start(scene.config(""));
    let error = wait::until_some("the daemon gives up", DEADLINE, || daemon.check().err());
    assert!(error.to_string().contains("authorization"), "{error}");
    assert_eq!(scene.committed(), [0]);
    drop(daemon.stop());

    scene.embedded.cluster().clear_request_errors(RDKafkaApiKey::Produce);
    let daemon = scene.start(scene.config(""));
    scene.wait_for_commits(&daemon);
    assert_eq!(both_counts(&daemon), (lines.len() as u64, lines.len() as u64));
    let ids: Vec<_> = scene
        .client
        .read_all(ALERTS)
        .into_iter()
        .filter_map(|record| record.payload)
        .collect();
    assert!(ids.iter().any(|alert| schema::assert_valid(alert)["id"] == "ticks-0-0"));
    daemon.stop().unwrap();
}

#[test]
fn two_workers_share_the_partitions_and_account_for_every_record_once() {
    let scene = Scene::new(4);
    let daemon = scene.start(scene.config("[worker]\nworkers = 2"));
    wait::until("both workers have two partitions", DEADLINE, || {
        daemon.check().unwrap();
        daemon
            .status
            .workers()
            .iter()
            .all(|worker| worker.partitions.len() == 2)
    });
    let market = market::ticks(8, 6000, 43);
    let mut lines = market::lines(&market::with_faults(&market, 43).0);
    lines.iter_mut().for_each(|line| line.partition %= 4);
    scene.produce(&lines);
    wait_for_records(&daemon, lines.len());
    scene.wait_for_commits(&daemon);
    assert_eq!(counted(&daemon, Outcome::AlreadyApplied), 0);
    assert_eq!(both_counts(&daemon), (lines.len() as u64, lines.len() as u64));
    assert_eq!(scene.client.end_offsets(TICKS).iter().sum::<i64>(), lines.len() as i64);
    wait::until("both workers have instruments", DEADLINE, || {
        let workers = daemon.status.workers();
        let instruments: Vec<usize> = workers.iter().map(|worker| worker.detector.instruments).collect();
        instruments.iter().all(|instruments| *instruments > 0) && instruments.iter().sum::<usize>() == 8
    });
    let alerts = scene.client.read_all(ALERTS);
    assert!(!alerts.is_empty());
    for record in &alerts {
        let alert = schema::assert_valid(record.payload.as_deref().unwrap());
        assert_eq!(record.key.as_deref(), alert["instrument"].as_str().map(str::as_bytes));
        assert_eq!(header(record, "ce_subject"), alert["instrument"].as_str());
        assert_eq!(header(record, "ce_specversion"), Some("1.0"));
    }
    daemon.stop().unwrap();
}

#[test]
fn endpoints_tell_how_the_daemon_is() {
    let scene = Scene::new(2);
    let mut config = scene.config("");
    config.http.enabled = true;
    config.http.listen = "127.0.0.1:0".into();
    let daemon = scene.start(config);
    let address = daemon.address.unwrap().to_string();
    assert_eq!(wait::get(&address, "/livez").unwrap().0, 200);
    wait::until("ready", DEADLINE, || wait::get(&address, "/readyz").unwrap().0 == 200);
    let lines = faulty_lines(1500, 2);
    scene.produce(&lines);
    wait_for_records(&daemon, lines.len());

    let (status, text) = wait::get(&address, "/metrics").unwrap();
    assert_eq!(status, 200);
    let samples = wait::samples(&text);
    assert_eq!(wait::sum(&samples, "tapewatch_records_in_total"), lines.len() as f64);
    assert_eq!(wait::sum(&samples, "tapewatch_records_total"), lines.len() as f64);
    let is_named = |sample: &wait::Sample| {
        ["tapewatch_", "process_"]
            .iter()
            .any(|room| sample.name.starts_with(room))
    };
    assert!(samples.iter().all(is_named));
    assert_eq!(wait::sum(&samples, "tapewatch_model_version"), 1.0);
    assert_eq!(wait::sum(&samples, "tapewatch_build_info"), 1.0);

    wait::until("the status tells of both partitions", DEADLINE, || {
        let (status, body) = wait::get(&address, "/status").unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["program"].as_str()), (200, Some("tapewatch")));
        let worker = &body["workers"][0];
        worker["partitions"]
            .as_array()
            .is_some_and(|partitions| partitions.len() == 2)
            && worker["detector"]["instruments"].as_u64() == Some(3)
    });
    assert_eq!(wait::get(&address, "/nowhere").unwrap().0, 404);
    assert_eq!(wait::get(&address, "/livez").unwrap(), (200, "ok\n".into()));
    daemon.stop().unwrap();
}

/// A daemon that commits only when it stops.
fn start_committing_at_stop(scene: &Scene) -> Daemon {
    let mut config = scene.config("");
    config.worker.commit_interval_ms = 3_600_000;
    scene.start(config)
}

#[test]
fn stopping_commits_everything_and_a_restart_reads_nothing_again() {
    let scene = Scene::new(2);
    let lines = faulty_lines(2000, 2);
    let (first, second) = lines.split_at(1200);
    let daemon = start_committing_at_stop(&scene);
    scene.produce(first);
    wait_for_records(&daemon, first.len());
    assert_eq!(scene.committed(), [0, 0]);
    let metrics = Arc::clone(&daemon.metrics);
    daemon.stop().unwrap();
    assert_eq!(scene.committed(), scene.client.end_offsets(TICKS));
    assert_eq!(
        metrics.commits.with_label_values(&["ok"]).get(),
        1,
        "the broker's answer is counted"
    );
    let alerts = scene.client.read_all(ALERTS).len();

    let daemon = start_committing_at_stop(&scene);
    scene.produce(second);
    wait_for_records(&daemon, second.len());
    daemon.stop().unwrap();
    assert_eq!(scene.committed(), scene.client.end_offsets(TICKS));
    assert!(scene.client.read_all(ALERTS).len() >= alerts);
}

#[test]
fn daemon_that_is_training_stops_at_once() {
    /// Far below the limit for draining, after which the daemon would leave the training alone.
    const STOP_MAX: Duration = Duration::from_secs(5);
    let scene = Scene::new(1);
    let mut config = scene.config("");
    config.retrain.enabled = true;
    config.training.fit.epochs_max = 10_000;
    config.training.fit.patience_epochs = 10_000;
    config.training.exposure.copies = 10_000;
    config.training.exposure.ticks_max = usize::MAX;
    let daemon = scene.start_without_model(config);
    scene.produce(&faulty_lines(6000, 1));
    wait::until("the training has begun", DEADLINE, || {
        daemon.check().unwrap();
        daemon.status.training().phase == TrainingPhase::Fitting
    });
    let started = Instant::now();
    daemon.stop().unwrap();
    assert!(started.elapsed() < STOP_MAX, "{:?}", started.elapsed());
}

#[test]
fn without_a_model_the_guards_watch_from_the_first_tick() {
    let scene = Scene::new(1);
    let daemon = scene.start_without_model(scene.config(""));
    scene.produce(&[of_partition(0, Some(CROSSED))]);
    wait_for_records(&daemon, 1);
    scene.wait_for_commits(&daemon);
    assert_eq!(counted(&daemon, Outcome::NoModel), 1);
    let alerts = scene.client.read_all(ALERTS);
    let alert = schema::assert_valid(alerts[0].payload.as_deref().unwrap());
    assert_eq!(
        (alert["arm"].as_str(), alert["kind"].as_str()),
        (Some("guard"), Some("crossed_quote"))
    );
    assert_eq!(alert["id"].as_str(), Some("ticks-0-0"));
    daemon.stop().unwrap();
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing_and_changes_no_exit_code() {
    let scene = Scene::new(1);
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[kafka]\nbrokers = \"{}\"\n[retrain]\nenabled = false\n[http]\nenabled = false\n",
        scene.client.brokers
    );
    std::fs::write(folder.path().join("tapewatch.toml"), text).unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "[worker]\nworkers = 0\n").unwrap();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    // Its reader is dropped at once.
    let unread = || Stdio::from(std::io::pipe().unwrap().1);
    let run = |file: &str, stderr: Stdio| {
        process::run_unheard(
            folder.path(),
            &["run", "--config", file],
            stderr,
            Duration::from_secs(5),
        )
    };
    for stderr in [full as fn() -> Stdio, unread] {
        assert_eq!(run("wrong.toml", stderr()), Some(78));
        assert_eq!(run("tapewatch.toml", stderr()), None, "it goes on");
    }
}
