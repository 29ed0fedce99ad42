//! What can go wrong with Kafka, told once and without a value of any property: a value can be a secret.

use std::path::PathBuf;

use rdkafka::error::KafkaError;
use thiserror::Error;

/// What can go wrong with Kafka.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// No broker answers.
    #[error("no broker answers at {brokers} within {waited_secs} s: {reason}")]
    Unreachable {
        /// Where we looked.
        brokers: String,
        /// How long (seconds).
        waited_secs: u64,
        /// What librdkafka says of the last try.
        reason: String,
    },
    /// A topic is not there, or is not ours to see.
    #[error("topic {topic} {why} at {brokers}; create it, or correct input.topics and output")]
    NoTopic {
        /// Name of the topic.
        topic: String,
        /// Where we looked.
        brokers: String,
        /// What the broker says of it.
        why: &'static str,
    },
    /// A topic takes records that are too small for us.
    #[error(
        "topic {topic} takes batches of at most {found} bytes (max.message.bytes); expected at least {needed} bytes"
    )]
    TopicTooSmall {
        /// Name of the topic.
        topic: String,
        /// Its limit (bytes).
        found: usize,
        /// What we need (bytes).
        needed: usize,
    },
    /// A topic of tapewatch's own is missing, or is not as it must be.
    #[error("topic {topic} {problem} at {brokers}; mend it with: {command}")]
    WrongTopic {
        /// The topic.
        topic: String,
        /// The brokers.
        brokers: String,
        /// What is wrong.
        problem: String,
        /// The command that mends it.
        command: String,
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
    /// librdkafka does not take a property.
    #[error("kafka: librdkafka does not take the property {property}: {reason}")]
    Property {
        /// Its name.
        property: String,
        /// Why, without its value.
        reason: String,
    },
    /// librdkafka does not take the properties together.
    #[error("kafka: librdkafka does not take the properties: {reason}")]
    Properties {
        /// Why.
        reason: String,
    },
    /// The system has no thread to give.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// Anything else.
    #[error("kafka: {0}")]
    Client(KafkaError),
}

impl BrokerError {
    /// Tells whether a setting is to blame: a secret that cannot be read, or a property that librdkafka does not take.
    pub fn is_of_settings(&self) -> bool {
        match self {
            BrokerError::Secret { .. } | BrokerError::Property { .. } | BrokerError::Properties { .. } => true,
            BrokerError::Unreachable { .. }
            | BrokerError::NoTopic { .. }
            | BrokerError::TopicTooSmall { .. }
            | BrokerError::WrongTopic { .. }
            | BrokerError::Refused { .. }
            | BrokerError::Thread { .. }
            | BrokerError::Client(_) => false,
        }
    }

    /// Tells whether trying again may help.
    pub fn retryable(&self) -> bool {
        match self {
            BrokerError::Unreachable { .. } | BrokerError::NoTopic { .. } => true,
            BrokerError::TopicTooSmall { .. }
            | BrokerError::WrongTopic { .. }
            | BrokerError::Refused { .. }
            | BrokerError::Secret { .. }
            | BrokerError::Property { .. }
            | BrokerError::Properties { .. }
            | BrokerError::Thread { .. }
            | BrokerError::Client(_) => false,
        }
    }
}

impl From<KafkaError> for BrokerError {
    fn from(error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, reason, property, value) => {
                let reason = match value.is_empty() {
                    true => reason,
                    false => reason.replace(&value, "…"),
                };
                BrokerError::Property { property, reason }
            }
            KafkaError::ClientCreation(reason) => BrokerError::Properties { reason },
            KafkaError::Nul(_) => BrokerError::Properties {
                reason: "a value holds a zero byte".into(),
            },
            error => BrokerError::Client(error),
        }
    }
}
