//! Client settings: what every consumer and producer of ours is made with.
//!
//! Promises that secrets are read from files and never printed, and that any librdkafka property can be passed through.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// What can go wrong with Kafka.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// No broker answers.
    #[error("no broker answers at {brokers} within {waited_secs} s: {source}")]
    Unreachable {
        /// Where we looked.
        brokers: String,
        /// How long (seconds).
        waited_secs: u64,
        /// The last error.
        source: KafkaError,
    },
    /// A topic is not there.
    #[error("topic {topic} does not exist at {brokers}; create it, or correct input.topics and output")]
    NoTopic {
        /// Name of the topic.
        topic: String,
        /// Where we looked.
        brokers: String,
    },
    /// The broker refuses us.
    #[error("the broker refuses us: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// A secret cannot be read.
    #[error("kafka.secret_files: cannot read {path} for {property}: {source}")]
    Secret {
        /// Property that it is for.
        property: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else.
    #[error("kafka: {0}")]
    Client(#[from] KafkaError),
}

impl BrokerError {
    /// Tells whether a setting is to blame: a secret that cannot be read, or a property that librdkafka does not know.
    pub fn is_of_settings(&self) -> bool {
        matches!(
            self,
            BrokerError::Secret { .. } | BrokerError::Client(KafkaError::ClientConfig(..))
        )
    }

    /// Tells whether trying again may help.
    pub fn retryable(&self) -> bool {
        match self {
            BrokerError::Unreachable { .. } | BrokerError::NoTopic { .. } => true,
            BrokerError::Refused { .. } | BrokerError::Secret { .. } | BrokerError::Client(_) => false,
        }
    }
}

/// Properties of a consumer of ours, before the user's.
const CONSUMER_DEFAULTS: [(&str, &str); 9] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("isolation.level", "read_committed"),
    // At the default of 1000 a consumer slower than the prefetch falls to a third of its speed.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "50"),
    ("queued.max.messages.kbytes", "32768"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("statistics.interval.ms", "1000"),
    ("allow.auto.create.topics", "false"),
];

/// Properties of a producer of ours, before the user's.
const PRODUCER_DEFAULTS: [(&str, &str); 5] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("linger.ms", "2"),
    // At the default of 1 MB a dead letter is refused that the broker, whose limit is a little higher, let in.
    ("message.max.bytes", "16777216"),
    // Java's default partitioner, so that an instrument's alerts land where its other producers put them.
    ("partitioner", "murmur2_random"),
];

impl KafkaConfig {
    /// Gives the settings of a consumer in the group.
    ///
    /// # Errors
    /// [`BrokerError::Secret`] when a secret cannot be read.
    pub fn consumer(&self) -> Result<ClientConfig, BrokerError> {
        let mut client = self.client(&CONSUMER_DEFAULTS, &self.consumer_properties)?;
        client.set("group.id", &self.group);
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

    /// Waits until a broker answers and knows all topics; gives each topic's partitions.
    ///
    /// # Errors
    /// [`BrokerError`] when that is not so within `start_timeout_secs`, or when trying again cannot help.
    pub fn wait_for_topics(&self, topics: &[&str]) -> Result<Vec<usize>, BrokerError> {
        let deadline = Instant::now() + Duration::from_secs(self.start_timeout_secs);
        let consumer: BaseConsumer<QuietContext> = self.reader()?.create_with_context(QuietContext)?;
        let mut logged = false;
        loop {
            // Errors such as a wrong password arrive as events, which only a poll serves.
            if let Some(Err(KafkaError::Global(code))) = consumer.poll(Duration::ZERO).map(|polled| polled.map(drop))
                && matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)
            {
                return Err(BrokerError::Refused {
                    reason: code.to_string(),
                });
            }
            let error = match self.partitions_of(&consumer, topics) {
                Ok(partitions) => return Ok(partitions),
                Err(error) => error,
            };
            if Instant::now() >= deadline || !error.retryable() {
                return Err(error);
            }
            if !logged {
                tracing::warn!(brokers = self.brokers, timeout_secs = self.start_timeout_secs, %error, "waiting for kafka");
                logged = true;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    fn partitions_of<C: rdkafka::consumer::ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topics: &[&str],
    ) -> Result<Vec<usize>, BrokerError> {
        let waited_secs = self.start_timeout_secs;
        let unreachable = |source| BrokerError::Unreachable {
            brokers: self.brokers.clone(),
            waited_secs,
            source,
        };
        let metadata = consumer.fetch_metadata(None, METADATA_TIMEOUT).map_err(unreachable)?;
        let partitions = |topic: &&str| {
            let found = metadata.topics().iter().find(|found| found.name() == *topic);
            match found.map_or(0, |found| found.partitions().len()) {
                0 => Err(BrokerError::NoTopic {
                    topic: (*topic).into(),
                    brokers: self.brokers.clone(),
                }),
                partitions => Ok(partitions),
            }
        };
        topics.iter().map(partitions).collect()
    }
}

/// Pause between two looks for brokers and topics at start.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
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
