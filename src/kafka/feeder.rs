//! The feeder: ticks → a topic, for replays and the demo.
//!
//! Promises that every record is delivered, or an error says so.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::client::BrokerError;

/// Longest wait for room in librdkafka's queue before looking again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(20);
/// Longest wait for the last records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// Records between two looks at deliveries.
const POLL_RECORDS: u64 = 1000;

/// Keeps the first delivery that failed. Filled within `poll` on the caller's thread; the mutex is what rdkafka's `Sync`
/// asks for.
#[derive(Default)]
struct FeederContext {
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for FeederContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::warn!(facility, message, "feeder");
    }
}

impl ProducerContext for FeederContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut failed)) = (result, self.failed.lock()) {
            failed.get_or_insert_with(|| error.clone());
        }
    }
}

/// Sends ticks to one topic.
pub struct Feeder {
    producer: BaseProducer<FeederContext>,
    topic: String,
    sent: u64,
}

impl Feeder {
    /// Makes a feeder.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(client: &ClientConfig, topic: &str) -> Result<Self, BrokerError> {
        let producer = client.create_with_context(FeederContext::default())?;
        Ok(Feeder {
            producer,
            topic: topic.into(),
            sent: 0,
        })
    }

    /// Sends one record, to a partition or where its key belongs; waits while the queue is full.
    ///
    /// # Errors
    /// When librdkafka refuses it, or an earlier one was not delivered.
    pub fn send(&mut self, partition: Option<i32>, key: &[u8], payload: &[u8]) -> Result<(), BrokerError> {
        self.sent += 1;
        if self.sent.is_multiple_of(POLL_RECORDS) {
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        let mut record = BaseRecord::to(&self.topic).key(key).payload(payload);
        record.partition = partition;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    self.producer.poll(QUEUE_FULL_WAIT);
                    record = refused;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until a record that lies `elapsed_nanos` after the first is due at `speed` times the recorded pace; false when
    /// `is_stopped` came first.
    ///
    /// # Errors
    /// When an earlier record was not delivered.
    pub fn wait_until(
        &mut self,
        started: Instant,
        elapsed_nanos: i64,
        speed: f64,
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, BrokerError> {
        let due = started + Duration::from_secs_f64((elapsed_nanos.max(0) as f64 * 1e-9) / speed);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || is_stopped() {
                self.check()?;
                return Ok(left.is_zero());
            }
            self.producer.poll(left.min(QUEUE_FULL_WAIT));
        }
    }

    /// Waits until everything is delivered.
    ///
    /// # Errors
    /// When that is not so.
    pub fn finish(&mut self) -> Result<(), BrokerError> {
        self.producer.flush(FLUSH_TIMEOUT)?;
        self.check()
    }

    fn check(&self) -> Result<(), BrokerError> {
        match self.producer.context().failed.lock() {
            Ok(mut failed) => failed.take().map_or(Ok(()), |error| Err(error.into())),
            Err(_) => Ok(()),
        }
    }
}
