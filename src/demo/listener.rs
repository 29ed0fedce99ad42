//! The listener: reads the alerts topic as any subscriber would.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use serde::Deserialize;

use crate::kafka::client::{BrokerError, KafkaConfig, QuietContext};

/// What the demo reads of an alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    /// Where it stands in its life.
    pub state: String,
    /// Name of the instrument.
    pub instrument: String,
    /// How bad it is.
    pub severity: String,
    /// The score of the tick that made this revision.
    pub score: f64,
    /// One sentence for people.
    pub summary: String,
    /// The tick that opened it.
    pub opened_by: HeardOpening,
    /// The tick that made this revision.
    pub latest: HeardPosition,
    /// The model that scored the worst tick.
    pub model_version: Option<u32>,
}

/// What the demo reads of the tick that opened an alert.
#[derive(Clone, Debug, Deserialize)]
pub struct HeardOpening {
    /// Its stamp (RFC 3339).
    pub event_time: String,
}

/// Where a tick stands.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct HeardPosition {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Reads the alerts topic, all of it.
pub struct Listener {
    consumer: BaseConsumer<QuietContext>,
}

impl Listener {
    /// Starts at the first alert; the topic has `partitions` partitions.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(kafka: &KafkaConfig, topic: &str, partitions: i32) -> Result<Self, BrokerError> {
        let mut client = kafka.reader()?;
        client.set("enable.partition.eof", "false");
        let consumer: BaseConsumer<QuietContext> = client.create_with_context(QuietContext)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, KafkaOffset::Beginning)?;
        }
        consumer.assign(&list)?;
        Ok(Listener { consumer })
    }

    /// Waits at most `timeout` for the next alert.
    pub fn next(&self, timeout: Duration) -> Option<Heard> {
        let message = self.consumer.poll(timeout)?.ok()?;
        serde_json::from_slice(message.payload()?).ok()
    }
}
