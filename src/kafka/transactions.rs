//! Transactions: offsets and what is written beside them, all of it or nothing.
//!
//! A transaction is short: it begins when everything that it holds is at hand, so that nobody waits for an open one.
//! Offsets go in with the group's present metadata (KIP-447), so the broker refuses those of a member that has lost its
//! partitions. After an error nobody knows what of the transaction holds, and a marker that comes late could end the next
//! one. So whoever meets an error makes the producer anew before going on; nothing here retries. Knows no detector.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use thiserror::Error;

use super::client::BrokerError;

/// Longest time for a transaction from its begin to the broker's word (milliseconds). It also bounds how long the records of
/// a producer that was killed within one keep readers waiting.
const TIMEOUT_MS: u64 = 10_000;
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// Why a transaction may not hold.
#[derive(Debug, Error)]
#[error("transaction, at {step}: {source}")]
pub struct TransactionError {
    /// What was being done.
    step: &'static str,
    /// What the client says.
    source: KafkaError,
}

/// One record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; none deletes the key of a compacted topic.
    pub value: Option<&'a [u8]>,
}

struct TransactionContext;

impl ClientContext for TransactionContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "transactions");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "transactions");
    }
}

impl ProducerContext for TransactionContext {
    type DeliveryOpaque = ();

    // A delivery that failed makes the commit fail.
    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// A producer of transactions.
pub struct Transactions {
    producer: BaseProducer<TransactionContext>,
}

impl Transactions {
    /// Takes the id over: a producer that had it before can write no more, and what it left open is undone.
    ///
    /// # Errors
    /// When librdkafka refuses the settings, or the broker does not answer.
    pub fn new(mut client: ClientConfig, id: &str) -> Result<Self, BrokerError> {
        client.set("transactional.id", id);
        client.set("transaction.timeout.ms", TIMEOUT_MS.to_string());
        // What a transaction holds is at hand when it begins: nothing is waited for.
        client.set("linger.ms", "0");
        let producer: BaseProducer<TransactionContext> = client.create_with_context(TransactionContext)?;
        producer.init_transactions(Duration::from_millis(TIMEOUT_MS))?;
        Ok(Transactions { producer })
    }

    /// Writes the records and commits the offsets, or neither.
    ///
    /// # Errors
    /// [`TransactionError`]: it may hold or not, and this producer must not be used again.
    pub fn commit<'a>(
        &mut self,
        records: impl Iterator<Item = TransactionRecord<'a>>,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), TransactionError> {
        let deadline = Instant::now() + Duration::from_millis(TIMEOUT_MS);
        let left = || deadline.saturating_duration_since(Instant::now());
        let at = |step| move |source| TransactionError { step, source };
        self.producer.begin_transaction().map_err(at("begin"))?;
        for record in records {
            self.write(&record, deadline).map_err(at("write"))?;
        }
        self.producer
            .send_offsets_to_transaction(offsets, group, left())
            .map_err(at("offsets"))?;
        self.producer.commit_transaction(left()).map_err(at("commit"))
    }

    fn write(&self, record: &TransactionRecord<'_>, deadline: Instant) -> Result<(), KafkaError> {
        loop {
            let mut outgoing = BaseRecord::<[u8], [u8]>::to(record.topic)
                .partition(record.partition)
                .key(record.key);
            outgoing.payload = record.value;
            match self.producer.send(outgoing) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if Instant::now() < deadline => {
                    self.producer.poll(QUEUE_FULL_WAIT);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}
