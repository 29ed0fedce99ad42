//! The synthetic market on a topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tapewatch::inject::Fault;
use tapewatch::kafka::embedded::EmbeddedBroker;

use crate::client::Client;
use crate::process::{expect, start};
use crate::wait;

const TOPIC: &str = "ticks";

/// Runs `generate` on a broker of its own; gives stdout and what stands in the topic.
fn generated(arguments: &[&str]) -> (String, Vec<crate::client::Record>) {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let brokers = broker.brokers();
    let base = [
        "generate",
        "--brokers",
        &brokers,
        "--topic",
        TOPIC,
        "--ticks-per-sec",
        "20000",
    ];
    let ended = expect(folder.path(), 0, &[&base, arguments].concat());
    (ended.stdout, Client::new(brokers).read_all(TOPIC))
}

#[test]
fn as_many_ticks_as_asked_are_written_keyed_by_instrument_and_stamped_now() {
    let asked_at = jiff::Timestamp::now().as_nanosecond() as i64;
    let (stdout, records) = generated(&["--ticks", "6000", "--no-faults", "--seed", "2"]);
    assert_eq!((records.len(), stdout.as_str()), (6_000, ""));
    let mut by_instrument: BTreeMap<Vec<u8>, (i32, i64, usize)> = BTreeMap::new();
    for record in &records {
        let tick: Value = serde_json::from_slice(record.payload.as_deref().unwrap()).unwrap();
        let key = record.key.clone().unwrap();
        assert_eq!(key, tick["instrument"].as_str().unwrap().as_bytes());
        let time = tick["ts_ns"].as_i64().unwrap();
        let (partition, before, count) = by_instrument.entry(key).or_insert((record.partition, time, 0));
        assert!(*partition == record.partition && *before <= time && time >= asked_at);
        (*before, *count) = (time, *count + 1);
    }
    assert_eq!(by_instrument.len(), 4);
}

#[test]
fn faults_are_told_as_they_are_written() {
    let (stdout, records) = generated(&["--seconds", "1", "--ticks-per-fault", "500"]);
    assert!(records.len() > 5_000, "{} ticks in a second", records.len());
    let faults: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(faults.len() >= 5, "{stdout}");
    for fault in &faults {
        assert!(Fault::from_name(fault["fault"].as_str().unwrap()).is_some(), "{fault}");
        let time = |key: &str| fault[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(time("first") <= time("last"), "{fault}");
    }
}

#[test]
fn market_goes_on_until_it_is_stopped() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let brokers = broker.brokers();
    let arguments = [
        "generate",
        "--brokers",
        &brokers,
        "--topic",
        TOPIC,
        "--ticks-per-sec",
        "2000",
    ];
    let generating = start(folder.path(), &arguments);
    let client = Client::new(brokers.clone());
    wait::until("ticks in the topic", Duration::from_secs(30), || {
        client.end_offsets(TOPIC).iter().sum::<i64>() > 500
    });
    let asked_at = Instant::now();
    generating.terminate();
    let output = generating.output();
    assert!(asked_at.elapsed() < Duration::from_secs(2));
    assert!(!output.status.success());
}
