//! The sink: alerts and dead letters on their way out, and what may be committed once they are there.
//!
//! Promises that nothing is dropped: a full queue is waited for, a failed delivery is sent again, and until the broker
//! has acknowledged, no offset that covers it is given out. A record that is too large is made smaller: a dead letter
//! goes without its value, since with the reason it is longer than what it tells of, and an alert loses its smallest features. An error that no retry can mend ends the worker.

use std::borrow::Cow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::alert_record::shortened;
use super::client::BrokerError;
use super::ledger::{BatchNumber, Ledger};
use crate::pipeline::position::{NextOffset, TopicPartition};

/// Header of a dead letter that says why it is one.
pub const DEAD_LETTER_REASON: &str = "tapewatch-reason";
/// Longest wait for room in librdkafka's queue before the deliveries are looked at again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(20);
/// Pause before failed deliveries are sent again: librdkafka has itself tried again whatever a moment can mend.
const RESEND_PAUSE: Duration = Duration::from_millis(500);
/// Longest time for one pass of librdkafka's events while draining.
const DRAIN_STEP: Duration = Duration::from_millis(50);

/// One record to send.
pub struct Outgoing<'a> {
    /// Topic it goes to.
    pub topic: &'a str,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; a dead letter keeps the absence of one.
    pub payload: Option<Cow<'a, [u8]>>,
    /// Its headers.
    pub headers: OwnedHeaders,
}

impl<'a> Outgoing<'a> {
    /// Header that says what was left out.
    const OMITTED: &'static str = "tapewatch-omitted";

    /// Gives a smaller record in place of this one when `error` says that it is too large and something can be left out: an
    /// alert is shortened, and a dead letter goes without its value, or if it has none without its key. What a dead letter
    /// leaves out still stands where the record came from, as its headers tell.
    fn lessened(&self, error: &KafkaError) -> Option<Outgoing<'a>> {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            return None;
        }
        if !self.is_dead_letter() {
            return Some(Outgoing {
                topic: self.topic,
                key: self.key,
                payload: Some(Cow::Owned(shortened(self.payload.as_deref()?)?)),
                headers: self.headers.clone(),
            });
        }
        let (key, omitted) = match (&self.payload, self.key) {
            (Some(_), key) => (key, "value"),
            (None, Some(_)) => (None, "key"),
            (None, None) => return None,
        };
        let header = Header {
            key: Self::OMITTED,
            value: Some(omitted),
        };
        Some(Outgoing {
            topic: self.topic,
            key,
            payload: None,
            headers: self.headers.clone().insert(header),
        })
    }

    /// Tells a dead letter from an alert: alone among ours it says why.
    fn is_dead_letter(&self) -> bool {
        self.headers.iter().any(|header| header.key == DEAD_LETTER_REASON)
    }
}

/// What became of deliveries since the last look. Filled by librdkafka's callback, which runs within `poll` on the
/// worker's own thread; the mutex is what rdkafka's `Sync` asks for and is never contended.
#[derive(Default)]
struct Deliveries {
    acknowledged: Vec<BatchNumber>,
    failed: Vec<(BatchNumber, OwnedMessage, KafkaError)>,
}

#[derive(Default)]
struct SinkContext {
    deliveries: Mutex<Deliveries>,
}

impl ClientContext for SinkContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::warn!(facility, message, "producer");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "producer");
    }
}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: usize) {
        // A poisoned mutex means a panic on this very thread, which ends the process anyway.
        let Ok(mut deliveries) = self.deliveries.lock() else {
            return;
        };
        match result {
            Ok(_) => deliveries.acknowledged.push(BatchNumber(batch)),
            Err((error, message)) => deliveries
                .failed
                .push((BatchNumber(batch), message.detach(), error.clone())),
        }
    }
}

/// What a look at the deliveries found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pumped {
    /// Records that the broker has.
    pub acknowledged: usize,
    /// Deliveries that failed and were sent again.
    pub failed: usize,
}

/// Sends records and keeps the ledger.
pub struct Sink {
    producer: BaseProducer<SinkContext>,
    ledger: Ledger,
    /// Deliveries that failed and wait to be sent again.
    failed: Vec<(BatchNumber, OwnedMessage, KafkaError)>,
    /// When they are sent again.
    resend_at: Instant,
    /// An error that no retry can mend has come up: nothing more is waited for.
    broken: bool,
}

impl Sink {
    /// Makes a sink.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(client: &ClientConfig) -> Result<Self, BrokerError> {
        Ok(Sink {
            producer: client.create_with_context(SinkContext::default())?,
            ledger: Ledger::default(),
            failed: Vec::new(),
            resend_at: Instant::now(),
            broken: false,
        })
    }

    /// Sends one record as part of the open batch; waits while the queue is full.
    ///
    /// # Errors
    /// When librdkafka refuses the record for good.
    pub fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError> {
        let batch = self.ledger.open();
        self.enqueue(batch, &record)?;
        self.ledger.sent(batch);
        Ok(())
    }

    fn enqueue(&mut self, batch: BatchNumber, record: &Outgoing<'_>) -> Result<(), BrokerError> {
        loop {
            let mut outgoing = BaseRecord::<[u8], [u8], usize>::with_opaque_to(record.topic, batch.0);
            outgoing.key = record.key;
            outgoing.payload = record.payload.as_deref();
            match self.producer.send(outgoing.headers(record.headers.clone())) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(QUEUE_FULL_WAIT);
                }
                Err((error, _)) => match record.lessened(&error) {
                    Some(lessened) => return self.enqueue(batch, &lessened),
                    None => {
                        self.broken = true;
                        return Err(error.into());
                    }
                },
            }
        }
    }

    /// Closes the open batch: these offsets may be committed once everything sent so far is acknowledged.
    pub fn close_batch(&mut self, commits: Vec<(TopicPartition, NextOffset)>) {
        self.ledger.close(commits);
    }

    /// Looks at deliveries for at most `wait`: acknowledged ones free offsets, failed ones are sent again.
    ///
    /// # Errors
    /// A fatal error of the producer.
    pub fn pump(&mut self, wait: Duration) -> Result<Pumped, BrokerError> {
        self.producer.poll(wait);
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            self.broken = true;
            return Err(BrokerError::Refused {
                reason: format!("{code}: {reason}"),
            });
        }
        let deliveries = match self.producer.context().deliveries.lock() {
            Ok(mut deliveries) => std::mem::take(&mut *deliveries),
            Err(_) => Deliveries::default(),
        };
        let pumped = Pumped {
            acknowledged: deliveries.acknowledged.len(),
            failed: deliveries.failed.len(),
        };
        for batch in deliveries.acknowledged {
            self.ledger.acknowledged(batch);
        }
        if let Some((_, message, error)) = deliveries.failed.first() {
            let (topic, records) = (message.topic(), deliveries.failed.len());
            tracing::warn!(topic, records, %error, "delivery failed; sending again");
            self.resend_at = Instant::now() + RESEND_PAUSE;
        }
        self.failed.extend(deliveries.failed);
        if Instant::now() >= self.resend_at {
            self.resend()?;
        }
        Ok(pumped)
    }

    /// Sends again what has failed.
    fn resend(&mut self) -> Result<(), BrokerError> {
        for (batch, message, error) in std::mem::take(&mut self.failed) {
            let record = Outgoing {
                topic: message.topic(),
                key: message.key(),
                payload: message.payload().map(Cow::Borrowed),
                headers: message.headers().map_or_else(OwnedHeaders::new, copy_of),
            };
            self.enqueue(batch, record.lessened(&error).as_ref().unwrap_or(&record))?;
        }
        Ok(())
    }

    /// Waits until everything is acknowledged, at most until `deadline`; tells whether it is.
    ///
    /// # Errors
    /// A fatal error of the producer.
    pub fn drain(&mut self, deadline: Instant) -> Result<bool, BrokerError> {
        while self.in_flight() > 0 && !self.broken && Instant::now() < deadline {
            self.pump(DRAIN_STEP)?;
        }
        Ok(self.in_flight() == 0)
    }

    /// Gives the records that are under way.
    pub fn in_flight(&self) -> usize {
        self.ledger.in_flight()
    }

    /// Takes the offsets that may be committed.
    pub fn take_committable(&mut self) -> Vec<(TopicPartition, NextOffset)> {
        self.ledger.take_committable()
    }

    /// Notes that a commit of these partitions failed, so that it is made again.
    pub fn put_back(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.ledger.put_back(partitions);
    }

    /// Forgets offsets of partitions that belong to someone else now.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.ledger.forget(partitions);
    }
}

/// Copies headers, so that a record can be sent on with them.
pub fn copy_of<H: Headers>(headers: &H) -> OwnedHeaders {
    headers
        .iter()
        .fold(OwnedHeaders::new_with_capacity(headers.count()), |copy, header| {
            copy.insert(Header {
                key: header.key,
                value: header.value,
            })
        })
}
