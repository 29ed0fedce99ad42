//! Asking a broker what a daemon will need of it, before one runs: topics, rights, limits, and a record to look at.
//!
//! Joins no group, commits nothing and writes nothing. Whether a topic may be written to is found out with a record that the
//! broker must refuse: brokers look at the right first and at the size after it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{BrokerError, KafkaConfig, METADATA_TIMEOUT, QuietContext};
use crate::pipeline::time::ArrivalTime;

/// Longest wait for a broker at all (seconds): somebody sits before the terminal.
const REACH_SECS: u64 = 10;
/// Longest wait for a topic at a broker that answers (seconds).
const TOPIC_SECS: u64 = 1;
/// Longest wait for a record, and for the answer to one.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// Partitions that are looked at for a record.
const PARTITIONS_MAX: usize = 64;
/// Offsets before the end of a partition where a record is looked for: the last ones can be marks of transactions.
const OFFSETS_BACK: i64 = 10;
/// Bytes by which a record is too large.
const TOO_MANY_BYTES: usize = 1024;
/// The largest limit for which a record is sent that is above it (bytes).
const LIMIT_MAX: usize = 16 << 20;

/// A record as it lies in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Number of the partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its stamp.
    pub arrival_time: ArrivalTime,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Option<Vec<u8>>,
}

/// Asks a broker.
pub struct Probe {
    kafka: KafkaConfig,
    is_reached: bool,
}

impl Probe {
    /// Makes a probe; nothing is asked yet.
    pub fn new(kafka: &KafkaConfig) -> Self {
        Probe {
            kafka: kafka.clone(),
            is_reached: false,
        }
    }

    /// Gives the number of a topic's partitions.
    ///
    /// # Errors
    /// [`BrokerError`]; of [`BrokerError::NoTopic`] others may be there.
    pub fn partitions(&mut self, topic: &str) -> Result<usize, BrokerError> {
        let patience = if self.is_reached { TOPIC_SECS } else { REACH_SECS };
        self.kafka.start_timeout_secs = patience.min(self.kafka.start_timeout_secs);
        let found = self.kafka.wait_for_topics(&[topic]);
        self.is_reached |= matches!(found, Ok(_) | Err(BrokerError::NoTopic { .. }));
        Ok(found?.first().copied().unwrap_or(0))
    }

    /// Reads one of the newest records; none where the topic is empty.
    ///
    /// # Errors
    /// [`BrokerError`] when the topic may not be read.
    pub fn recent_record(&self, topic: &str, partitions: usize) -> Result<Option<FoundRecord>, BrokerError> {
        let consumer: BaseConsumer<QuietContext> = self.kafka.reader()?.create_with_context(QuietContext)?;
        let mut places = TopicPartitionList::new();
        for partition in 0..partitions.min(PARTITIONS_MAX) as i32 {
            let (low, high) = consumer.fetch_watermarks(topic, partition, METADATA_TIMEOUT)?;
            if high > low || partition == 0 {
                let from = Offset::Offset(low.max(high - OFFSETS_BACK));
                places.add_partition_offset(topic, partition, from)?;
            }
        }
        consumer.assign(&places)?;
        let deadline = Instant::now() + RECORD_TIMEOUT;
        let mut ended = 0;
        while ended < places.count() && Instant::now() < deadline {
            match consumer.poll(deadline.saturating_duration_since(Instant::now())) {
                Some(Ok(record)) => {
                    return Ok(Some(FoundRecord {
                        partition: record.partition(),
                        offset: record.offset(),
                        arrival_time: ArrivalTime::from_millis(record.timestamp().to_millis().unwrap_or(0)),
                        key: record.key().map(<[u8]>::to_vec),
                        payload: record.payload().map(<[u8]>::to_vec),
                    }));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => return Err(refused(&format!("topic {topic} cannot be read"), &error)),
                None => {}
            }
        }
        Ok(None)
    }

    /// Looks whether the consumer group may be used.
    ///
    /// # Errors
    /// [`BrokerError`] when it may not.
    pub fn group(&self, topic: &str) -> Result<(), BrokerError> {
        let mut client = self.kafka.reader()?;
        client.set("group.id", &self.kafka.group);
        let consumer: BaseConsumer<QuietContext> = client.create_with_context(QuietContext)?;
        let mut places = TopicPartitionList::new();
        places.add_partition(topic, 0);
        let committed = consumer.committed_offsets(places, METADATA_TIMEOUT);
        let of_partition = committed.and_then(|list| list.elements().iter().try_for_each(|place| place.error()));
        of_partition.map_err(|error| refused(&format!("group {} cannot be used", self.kafka.group), &error))
    }

    /// Gives the largest batch that a topic takes (bytes); none where the broker does not say, or not to us.
    pub fn batch_limit(&self, topic: &str) -> Option<usize> {
        self.kafka.batch_limits(&[topic]).into_iter().next().flatten()
    }

    /// Looks whether a topic may be written to, whose largest batch is known (bytes); false where that cannot be found out
    /// without writing.
    ///
    /// # Errors
    /// [`BrokerError`] when it may not.
    pub fn may_write(&self, topic: &str, limit: Option<usize>) -> Result<bool, BrokerError> {
        let Some(limit) = limit.filter(|limit| *limit <= LIMIT_MAX) else {
            return Ok(false);
        };
        let mut client = self.kafka.producer()?;
        ["compression.codec", "compression.type"].iter().for_each(|property| {
            client.remove(property);
        });
        // Above the limit on its way too: nothing on it may make it smaller.
        client.set("compression.type", "none");
        client.set("message.max.bytes", (limit + 64 * TOO_MANY_BYTES).to_string());
        client.set("message.timeout.ms", RECORD_TIMEOUT.as_millis().to_string());
        let producer: BaseProducer<AnswerContext> = client.create_with_context(AnswerContext::default())?;
        let payload = noise(limit + TOO_MANY_BYTES);
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).key(&b"tapewatch check"[..]).payload(&payload);
        producer.send(record).map_err(|(error, _)| error)?;
        let deadline = Instant::now() + RECORD_TIMEOUT;
        loop {
            producer.poll(Duration::from_millis(100));
            match producer.context().take() {
                Some(Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge))) => return Ok(true),
                Some(Err(error)) => return Err(refused(&format!("topic {topic} cannot be written to"), &error)),
                // Who takes too large a record takes others.
                Some(Ok(())) => return Ok(true),
                None if Instant::now() >= deadline => return Ok(false),
                None => {}
            }
        }
    }
}

/// Says what a right or the like is missing for, and why.
fn refused(what: &str, error: &KafkaError) -> BrokerError {
    let reason = error
        .rdkafka_error_code()
        .map_or_else(|| error.to_string(), |code| code.to_string());
    BrokerError::Refused {
        reason: format!("{what}: {reason}"),
    }
}

/// Bytes that no compression makes fewer (xorshift; Marsaglia 2003).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Keeps the broker's answer to the one record. Filled within `poll` on the caller's thread; the mutex is what rdkafka's
/// `Sync` asks for.
#[derive(Default)]
struct AnswerContext {
    answer: Mutex<Option<Result<(), KafkaError>>>,
}

impl AnswerContext {
    fn take(&self) -> Option<Result<(), KafkaError>> {
        self.answer.lock().ok()?.take()
    }
}

impl ClientContext for AnswerContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for AnswerContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(mut answer) = self.answer.lock() {
            *answer = Some(match result {
                Ok(_) => Ok(()),
                Err((error, _)) => Err(error.clone()),
            });
        }
    }
}
