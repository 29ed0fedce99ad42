//! The daemon on the embedded broker, within the test's own process.

use std::time::{Duration, Instant};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, producer::DefaultProducerContext};
use tapewatch::config::Config;
use tapewatch::daemon::{Daemon, DaemonOptions};
use tapewatch::kafka::embedded::EmbeddedBroker;
use tapewatch::pipeline::detector::Outcome;
use tapewatch::store;
use tempfile::TempDir;

use crate::client::Client;
use crate::market::{self, Line};
use crate::wait;

pub const TICKS: &str = "ticks";
pub const ALERTS: &str = "tapewatch.alerts";
pub const DEAD_LETTERS: &str = "tapewatch.dead-letters";
pub const GROUP: &str = "tapewatch";

/// Anything that the daemon does with a few thousand records, on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// An embedded broker, a folder for models, and a view of the cluster.
pub struct Scene {
    pub client: Client,
    pub embedded: EmbeddedBroker,
    pub folder: TempDir,
}

impl Scene {
    /// Starts a broker whose ticks topic has so many partitions.
    pub fn new(partitions: i32) -> Self {
        let embedded = EmbeddedBroker::start(&[(TICKS, partitions), (ALERTS, 1), (DEAD_LETTERS, 1)]).unwrap();
        Scene {
            client: Client::new(embedded.brokers()),
            embedded,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Gives a configuration for this broker, `more` over the small one: no training, commits ten times a second.
    pub fn config(&self, more: &str) -> Config {
        let mut config = Config::from_toml(&format!("{}\n{more}", market::SMALL)).unwrap();
        config.kafka.brokers = self.embedded.brokers();
        // The mock cluster keeps a member that has left until its session is over, and lets new ones wait three seconds; a
        // real broker does not (see `whole_line`).
        for (property, value) in [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")] {
            config.kafka.consumer_properties.insert(property.into(), value.into());
        }
        config.retrain.models_dir = self.folder.path().join("models");
        config.retrain.enabled = false;
        config.worker.commit_interval_ms = 100;
        config.worker.poll_timeout_ms = 10;
        config.http.enabled = false;
        config
    }

    /// Starts the daemon with the trained model.
    pub fn start(&self, config: Config) -> Daemon {
        let path = self.folder.path().join("model.safetensors");
        store::save(market::trained(), &path).unwrap();
        Daemon::start(config, &DaemonOptions { model: Some(path) }).unwrap()
    }

    /// Starts the daemon without a model.
    pub fn start_without_model(&self, config: Config) -> Daemon {
        Daemon::start(config, &DaemonOptions::default()).unwrap()
    }

    /// Writes records to the ticks topic.
    pub fn produce(&self, lines: &[Line]) {
        let records: Vec<_> = lines
            .iter()
            .map(|line| (Some(line.partition), line.key.as_deref(), line.payload.as_deref()))
            .collect();
        self.client.produce(TICKS, &records);
    }

    /// Writes one record with a header.
    pub fn produce_with_header(&self, line: &Line, header: (&str, &[u8])) {
        let producer: BaseProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.client.brokers)
            .set("message.max.bytes", "3000000")
            .create()
            .unwrap();
        let mut record: BaseRecord<[u8], [u8]> = BaseRecord::to(TICKS).partition(line.partition);
        (record.key, record.payload) = (line.key.as_deref(), line.payload.as_deref());
        let value = Header {
            key: header.0,
            value: Some(header.1),
        };
        producer
            .send(record.headers(OwnedHeaders::new().insert(value)))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(DEADLINE).unwrap();
    }

    /// Waits until the group has committed all that is in the ticks topic.
    pub fn wait_for_commits(&self, daemon: &Daemon) {
        let ends = self.client.end_offsets(TICKS);
        wait::until("everything is committed", DEADLINE, || {
            daemon.check().unwrap();
            self.committed() == ends
        });
    }

    /// The group's next offsets, 0 where it has committed none.
    pub fn committed(&self) -> Vec<i64> {
        self.client
            .committed(GROUP, TICKS)
            .iter()
            .map(|next| (*next).max(0))
            .collect()
    }
}

/// Records counted by outcome.
pub fn counted(daemon: &Daemon, outcome: Outcome) -> u64 {
    daemon.metrics.records.with_label_values(&[outcome.name()]).get()
}

/// Both counts of records: taken at the poll, and summed over outcomes.
pub fn both_counts(daemon: &Daemon) -> (u64, u64) {
    let by_outcome = Outcome::ALL.into_iter().map(|outcome| counted(daemon, outcome)).sum();
    (daemon.metrics.records_in.get(), by_outcome)
}

/// Waits until both counts are `records`.
pub fn wait_for_records(daemon: &Daemon, records: usize) {
    let started = Instant::now();
    while both_counts(daemon) != (records as u64, records as u64) {
        daemon.check().unwrap();
        assert!(
            started.elapsed() < DEADLINE,
            "{records} records were sent, counted: {:?}",
            both_counts(daemon)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
