//! The changelog: a compacted topic, partitioned like the input, that holds the state of every partition.
//!
//! Here it is keys and values; what they mean is the detector's. A partition is read from its beginning to its last
//! committed record. Knows no detector.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::client::{BrokerError, KafkaConfig, QuietContext};

const POLL: Duration = Duration::from_millis(100);

/// A reader of one changelog.
pub struct Changelog {
    topic: String,
    consumer: BaseConsumer<QuietContext>,
}

impl Changelog {
    /// Opens the topic for reading.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn open(kafka: &KafkaConfig, topic: &str) -> Result<Self, BrokerError> {
        Ok(Changelog {
            topic: topic.to_owned(),
            consumer: kafka.reader()?.create_with_context(QuietContext)?,
        })
    }

    /// Begins to read a partition; the first record is the oldest.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn begin(&self, partition: i32) -> Result<(), BrokerError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, KafkaOffset::Beginning)?;
        self.consumer.assign(&list)?;
        Ok(())
    }

    /// Hands key and value of every further record, oldest first, to `take`, up to the last committed one there is now. A
    /// value that is none deletes its key.
    ///
    /// # Errors
    /// When the end is not reached before the deadline, or the client says that it never will be.
    pub fn read_on(&self, deadline: Instant, mut take: impl FnMut(&[u8], Option<&[u8]>)) -> Result<(), BrokerError> {
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => take(message.key().unwrap_or_default(), message.payload()),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error.into()),
                // Errors of the moment, which librdkafka retries.
                Some(Err(_)) | None if Instant::now() < deadline => {}
                Some(Err(error)) => return Err(error.into()),
                None => {
                    return Err(BrokerError::Refused {
                        reason: format!("the changelog {} could not be read to its end in time", self.topic),
                    });
                }
            }
        }
    }
}
