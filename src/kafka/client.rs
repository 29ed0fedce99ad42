//! Client settings: what every consumer and producer of ours is made with.
//!
//! Promises that secrets are read from files and never printed, and that any librdkafka property can be passed through,
//! save those that `properties.rs` names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;
use serde::{Deserialize, Serialize};

pub use super::error::BrokerError;
use super::properties;

/// Brokers and client properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to start from, comma-separated host:port.
    pub brokers: String,
    /// Consumer group.
    pub group: String,
    /// How long to look for brokers and topics at start (seconds, > 0).
    pub start_timeout_secs: u64,
    /// librdkafka properties for every client.
    pub properties: BTreeMap<String, String>,
    /// librdkafka properties for consumers.
    pub consumer_properties: BTreeMap<String, String>,
    /// librdkafka properties for producers.
    pub producer_properties: BTreeMap<String, String>,
    /// librdkafka properties whose value stands in a file.
    pub secret_files: BTreeMap<String, PathBuf>,
}

/// Name of a member that comes back as the same one.
const GROUP_INSTANCE: &str = "group.instance.id";

/// How a group shares partitions out, where the members decide it.
const ASSIGNMENT_STRATEGY: &str = "partition.assignment.strategy";

/// Properties of a consumer of ours, before the user's.
const CONSUMER_DEFAULTS: [(&str, &str); 13] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("isolation.level", "read_committed"),
    // At the default of 1000 a consumer slower than the prefetch falls to a third of its speed.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "50"),
    // What waits to be polled is bounded by bytes over all partitions of the consumer; an answer of a broker, and what it
    // unpacks to, comes on top.
    ("queued.max.messages.kbytes", "32768"),
    ("fetch.max.bytes", "16777216"),
    ("receive.message.max.bytes", "67108864"),
    (ASSIGNMENT_STRATEGY, "cooperative-sticky"),
    ("statistics.interval.ms", "1000"),
    // Where a partition begins is decided when it is assigned; what is no longer there is passed over and counted.
    ("auto.offset.reset", "earliest"),
    // New partitions are found within this time.
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("allow.auto.create.topics", "false"),
];

/// Properties of a producer of ours, before the user's.
const PRODUCER_DEFAULTS: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("linger.ms", "2"),
    // At the default of 1 MB a dead letter is refused that the broker, whose limit is a little higher, let in.
    ("message.max.bytes", "16777216"),
    // Java's default partitioner, so that an instrument's alerts land where its other producers put them.
    ("partitioner", "murmur2_random"),
    // A topic that is gone is noticed within this time.
    ("topic.metadata.refresh.interval.ms", "30000"),
];

/// Properties of ours that librdkafka knows by another name too.
const ALIASES: [(&str, &str); 3] = [
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
];

impl KafkaConfig {
    /// Says which properties we cannot work with: the key, and what to do.
    pub fn problems(&self) -> Vec<(String, String)> {
        let tables = [
            ("kafka.properties", &self.properties),
            ("kafka.consumer_properties", &self.consumer_properties),
            ("kafka.producer_properties", &self.producer_properties),
        ];
        let of_table = |(table, properties): (&str, _)| {
            let named = |(property, text): (&str, String)| (format!("{table}.\"{property}\""), text);
            properties::problems(properties)
                .into_iter()
                .map(named)
                .collect::<Vec<_>>()
        };
        let of_secret = |property: &String| {
            let text = properties::problem_of(property, None)?;
            Some((format!("kafka.secret_files.\"{property}\""), text))
        };
        let of_tables = tables.into_iter().flat_map(of_table);
        of_tables
            .chain(self.secret_files.keys().filter_map(of_secret))
            .collect()
    }

    /// Reads the secrets and makes a consumer and a producer, which tries the properties; connects to nobody for long.
    ///
    /// # Errors
    /// [`BrokerError`] that names the property, and never a value.
    pub fn try_properties(&self) -> Result<(), BrokerError> {
        let consumer: BaseConsumer<QuietContext> = self.consumer()?.create_with_context(QuietContext)?;
        let producer: BaseProducer<QuietContext> = self.producer()?.create_with_context(QuietContext)?;
        drop((consumer, producer));
        Ok(())
    }

    /// Gives the settings of one of `workers` consumers in the group, by its number from 0. Where the user names an instance,
    /// each of several gets a name of its own.
    ///
    /// # Errors
    /// [`BrokerError::Secret`] when a secret cannot be read.
    pub fn member(&self, index: usize, workers: usize) -> Result<ClientConfig, BrokerError> {
        let mut client = self.consumer()?;
        if workers > 1
            && let Some(instance) = client.get(GROUP_INSTANCE)
        {
            let own = format!("{instance}-{index}");
            client.set(GROUP_INSTANCE, own);
        }
        Ok(client)
    }

    /// Gives the settings of a consumer in the group.
    fn consumer(&self) -> Result<ClientConfig, BrokerError> {
        let mut client = self.client(&CONSUMER_DEFAULTS, &self.consumer_properties)?;
        client.set("group.id", &self.group);
        // There the broker shares the partitions out, and librdkafka takes no strategy of ours.
        if self.consumer_property("group.protocol") == Some("consumer")
            && self.consumer_property(ASSIGNMENT_STRATEGY).is_none()
        {
            client.remove(ASSIGNMENT_STRATEGY);
        }
        Ok(client)
    }

    /// Gives the value of a librdkafka property that consumers are given by the configuration, if it stands there.
    pub fn consumer_property(&self, property: &str) -> Option<&str> {
        let own = self.consumer_properties.get(property);
        own.or_else(|| self.properties.get(property)).map(String::as_str)
    }

    /// Gives the settings of a consumer outside the group, for reading back.
    ///
    /// # Errors
    /// [`BrokerError::Secret`] when a secret cannot be read.
    pub fn reader(&self) -> Result<ClientConfig, BrokerError> {
        let mut client = self.consumer()?;
        // librdkafka wants a group even where none is joined.
        client.set("group.id", format!("{}-reader", self.group));
        client.remove(GROUP_INSTANCE);
        client.set("statistics.interval.ms", "0");
        client.set("enable.partition.eof", "true");
        Ok(client)
    }

    /// Gives the settings of a producer.
    ///
    /// # Errors
    /// [`BrokerError::Secret`] when a secret cannot be read.
    pub fn producer(&self) -> Result<ClientConfig, BrokerError> {
        self.client(&PRODUCER_DEFAULTS, &self.producer_properties)
    }

    /// Gives the settings of a client that asks and tells about topics.
    pub(super) fn admin(&self) -> Result<ClientConfig, BrokerError> {
        self.client(&[], &BTreeMap::new())
    }

    fn client(
        &self,
        defaults: &[(&str, &str)],
        properties: &BTreeMap<String, String>,
    ) -> Result<ClientConfig, BrokerError> {
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Warning);
        defaults.iter().for_each(|(property, value)| {
            client.set(*property, *value);
        });
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "tapewatch");
        for (property, value) in self.properties.iter().chain(properties) {
            // Under its other name, ours would stand beside the user's.
            if let Some((_, ours)) = ALIASES.iter().find(|(alias, _)| alias == property) {
                client.remove(ours);
            }
            client.set(property, value);
        }
        for (property, path) in &self.secret_files {
            let secret = std::fs::read_to_string(path).map_err(|source| BrokerError::Secret {
                property: property.clone(),
                path: path.clone(),
                source,
            })?;
            client.set(property, secret.trim_end_matches(['\r', '\n']));
        }
        Ok(client)
    }
}

/// Longest wait for one answer about topics.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// A client whose complaints go to the log at debug level: whoever uses it reports the outcome itself.
pub struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl rdkafka::consumer::ConsumerContext for QuietContext {}

impl rdkafka::producer::ProducerContext for QuietContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}
