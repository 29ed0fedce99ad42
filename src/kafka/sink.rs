//! The sink: alerts and dead letters on their way out, and what may be committed once they are there.
//!
//! Promises that nothing is dropped: a full queue is waited for, a failed delivery is sent again, and until the broker
//! has acknowledged, no offset that covers it is given out. A batch that is too large for its topic is sent record by
//! record, and a record that is still too large is made smaller ([`outgoing`](super::outgoing) says how). An error that no
//! retry can mend ends the worker.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

use super::client::BrokerError;
use super::ledger::{BatchNumber, Ledger};
use super::outgoing::{Kind, Outgoing, Tag};
use super::trouble::{self, Troubles};
use crate::pipeline::position::{NextOffset, TopicPartition};

/// Longest wait for room in librdkafka's queue before the deliveries are looked at again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(20);
/// Pause before failed deliveries are sent again: librdkafka has itself tried again whatever a moment can mend.
const RESEND_PAUSE: Duration = Duration::from_millis(500);
/// Longest time for one pass of librdkafka's events while draining.
const DRAIN_STEP: Duration = Duration::from_millis(50);
/// Longest time in one look at the deliveries that goes into sending records one by one.
const ALONE_TIME: Duration = Duration::from_secs(2);
/// Longest time for one pass of librdkafka's events while a record is sent by itself.
const ALONE_STEP: Duration = Duration::from_millis(1);
/// Acknowledgements come within milliseconds; what lasts longer than this is worth a word.
const WAIT_USUAL: Duration = Duration::from_secs(3);
/// Time between two questions whether the topics are there.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for an answer to one.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Room in librdkafka's queue beyond what may be under way: one batch of records is taken in before the worker pauses.
const QUEUE_RECORDS_SPARE: usize = 200_000;
const QUEUE_BYTES_SPARE: usize = 32 << 20;
/// What a topic's limit leaves for a batch's own head (bytes).
const BATCH_FRAME_BYTES: usize = 128;
/// librdkafka's own limit of a batch (bytes).
const BATCH_BYTES_MAX: usize = 1_000_000;

/// What the sink keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkLimits {
    /// Largest batch that the topic of alerts takes, if it is known (bytes).
    pub alert_bytes_max: Option<usize>,
    /// Largest batch that the topic of dead letters takes, if it is known (bytes).
    pub dead_letter_bytes_max: Option<usize>,
    /// Records that may be under way before the worker pauses.
    pub in_flight_max: usize,
    /// Bytes that may be under way before the worker pauses.
    pub in_flight_bytes_max: usize,
}

impl SinkLimits {
    fn of(&self, kind: Kind) -> Option<usize> {
        match kind {
            Kind::Alert => self.alert_bytes_max,
            Kind::DeadLetter => self.dead_letter_bytes_max,
        }
    }

    /// Sets what librdkafka needs to know of them; a batch that the user wants smaller stays so.
    fn tell(&self, client: &mut ClientConfig) {
        let smallest = self.alert_bytes_max.into_iter().chain(self.dead_letter_bytes_max).min();
        if let Some(smallest) = smallest {
            let wanted = client.get("batch.size").and_then(|size| size.parse().ok());
            let most = smallest.saturating_sub(BATCH_FRAME_BYTES).max(1);
            client.set("batch.size", wanted.unwrap_or(BATCH_BYTES_MAX).min(most).to_string());
        }
        let kbytes = self.in_flight_bytes_max.saturating_add(QUEUE_BYTES_SPARE) / 1024;
        let records = self.in_flight_max.saturating_add(QUEUE_RECORDS_SPARE);
        for (property, value) in [
            ("queue.buffering.max.kbytes", kbytes.min(i32::MAX as usize)),
            ("queue.buffering.max.messages", records.min(i32::MAX as usize)),
        ] {
            if client.get(property).is_none() {
                client.set(property, value.to_string());
            }
        }
    }
}

/// What became of deliveries since the last look. Filled by librdkafka's callback, which runs within `poll` on the
/// worker's own thread; the mutex is what rdkafka's `Sync` asks for and is never contended.
#[derive(Default)]
struct Deliveries {
    /// Batches, and the bytes that the record counts with.
    acknowledged: Vec<(BatchNumber, usize)>,
    failed: Vec<Failed>,
}

/// A delivery that failed.
struct Failed {
    tag: Box<Tag>,
    message: OwnedMessage,
    error: KafkaError,
}

impl Failed {
    fn is_too_large(&self) -> bool {
        is_too_large(&self.error)
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

struct SinkContext {
    deliveries: Mutex<Deliveries>,
    troubles: Arc<Troubles>,
}

impl ClientContext for SinkContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        trouble::hear_log(&self.troubles, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = trouble::kind_of(trouble::Client::Producer, error.rdkafka_error_code());
        self.troubles.note(kind, reason);
    }
}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = Box<Tag>;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: Box<Tag>) {
        // A poisoned mutex means a panic on this very thread, which ends the process anyway.
        let Ok(mut deliveries) = self.deliveries.lock() else {
            return;
        };
        match result {
            Ok(_) => deliveries.acknowledged.push((tag.batch, tag.bytes)),
            Err((error, message)) => deliveries.failed.push(Failed {
                tag,
                message: message.detach(),
                error: error.clone(),
            }),
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
    limits: SinkLimits,
    ledger: Ledger,
    /// Bytes under way.
    bytes: usize,
    /// Deliveries that failed and wait to be sent again.
    failed: Vec<Failed>,
    /// When they are sent again.
    resend_at: Instant,
    /// Records whose batch was too large, to be sent one by one.
    alone: VecDeque<Failed>,
    /// Topics that were written to.
    topics: BTreeSet<String>,
    /// Since when nothing has been acknowledged although something is under way.
    waits_since: Option<Instant>,
    /// When the topics were last asked for, to say why nothing is acknowledged.
    asked_at: Option<Instant>,
    /// An error that no retry can mend has come up: nothing more is waited for.
    broken: bool,
}

impl Sink {
    /// Makes a sink.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(client: &ClientConfig, limits: SinkLimits, troubles: Arc<Troubles>) -> Result<Self, BrokerError> {
        let mut client = client.clone();
        limits.tell(&mut client);
        let context = SinkContext {
            deliveries: Mutex::default(),
            troubles,
        };
        Ok(Sink {
            producer: client.create_with_context(context)?,
            limits,
            ledger: Ledger::default(),
            bytes: 0,
            failed: Vec::new(),
            resend_at: Instant::now(),
            alone: VecDeque::new(),
            topics: BTreeSet::new(),
            waits_since: None,
            asked_at: None,
            broken: false,
        })
    }

    /// Sends one record as part of the open batch; waits while the queue is full.
    ///
    /// # Errors
    /// When librdkafka refuses the record for good.
    pub fn send(&mut self, mut record: Outgoing<'_>) -> Result<(), BrokerError> {
        let batch = self.ledger.open();
        if !self.topics.contains(record.topic) {
            self.topics.insert(record.topic.into());
        }
        self.waits_since.get_or_insert_with(Instant::now);
        let limit = self.limits.of(record.kind);
        let tag = Tag::fitting(&mut record, batch, limit);
        self.enqueue(Box::new(tag), record)?;
        self.ledger.sent(batch);
        Ok(())
    }

    fn enqueue(&mut self, mut tag: Box<Tag>, mut record: Outgoing<'_>) -> Result<(), BrokerError> {
        loop {
            let bytes = tag.bytes;
            let mut outgoing = BaseRecord::<[u8], [u8], Box<Tag>>::with_opaque_to(record.topic, tag);
            outgoing.key = record.key;
            outgoing.payload = record.payload.as_deref();
            let (error, refused) = match self.producer.send(outgoing.headers(record.all_headers())) {
                Ok(()) => {
                    self.bytes += bytes;
                    return Ok(());
                }
                Err(refused) => refused,
            };
            tag = refused.delivery_opaque;
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                self.producer.poll(QUEUE_FULL_WAIT);
                continue;
            }
            let lessened = is_too_large(&error).then(|| tag.lessened(&mut record)).flatten();
            let Some(lessened) = lessened else {
                self.broken = true;
                return Err(error.into());
            };
            tag = Box::new(lessened);
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
        let pumped = self.take_deliveries();
        if Instant::now() >= self.resend_at {
            self.resend()?;
        }
        self.send_alone()?;
        Ok(pumped)
    }

    /// Takes in what became of deliveries.
    fn take_deliveries(&mut self) -> Pumped {
        let deliveries = match self.producer.context().deliveries.lock() {
            Ok(mut deliveries) => std::mem::take(&mut *deliveries),
            Err(_) => Deliveries::default(),
        };
        let pumped = Pumped {
            acknowledged: deliveries.acknowledged.len(),
            failed: deliveries.failed.len(),
        };
        for (batch, bytes) in deliveries.acknowledged {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.ledger.acknowledged(batch);
        }
        if pumped.acknowledged > 0 {
            self.waits_since = (self.in_flight() > 0).then(Instant::now);
            self.troubles().over(trouble::DELIVERY);
        }
        if let Some(Failed { message, error, .. }) = deliveries.failed.first() {
            let code = error.rdkafka_error_code();
            let text = code.map_or_else(|| error.to_string(), |code| code.to_string());
            let text = format!("{}: {text}; sending again", message.topic());
            self.troubles().note(trouble::DELIVERY, &text);
            self.resend_at = Instant::now() + RESEND_PAUSE;
        }
        for failed in deliveries.failed {
            match failed.is_too_large() {
                // The batch was, or the record itself: by itself it tells.
                true if !failed.tag.is_alone => self.alone.push_back(failed),
                _ => self.failed.push(failed),
            }
        }
        pumped
    }

    /// Sends again what has failed.
    fn resend(&mut self) -> Result<(), BrokerError> {
        for Failed { tag, message, error } in std::mem::take(&mut self.failed) {
            self.bytes = self.bytes.saturating_sub(tag.bytes);
            let mut record = tag.record(&message);
            let tag = match is_too_large(&error) {
                false => tag,
                true => match tag.lessened(&mut record) {
                    Some(lessened) => Box::new(lessened),
                    None => {
                        self.broken = true;
                        return Err(error.into());
                    }
                },
            };
            self.enqueue(tag, record)?;
        }
        Ok(())
    }

    /// Sends records whose batch was too large one by one, as many as there is time for.
    fn send_alone(&mut self) -> Result<(), BrokerError> {
        let deadline = Instant::now() + ALONE_TIME;
        while !self.alone.is_empty() && self.settle(deadline) {
            if let Some(Failed { mut tag, message, .. }) = self.alone.pop_front() {
                tag.is_alone = true;
                self.bytes = self.bytes.saturating_sub(tag.bytes);
                let record = tag.record(&message);
                self.enqueue(tag, record)?;
                self.settle(deadline);
            }
        }
        Ok(())
    }

    /// Waits until librdkafka has nothing under way; tells whether it has not.
    fn settle(&self, deadline: Instant) -> bool {
        while self.producer.in_flight_count() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            self.producer.poll(ALONE_STEP);
        }
        true
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

    /// Says why nothing is acknowledged, when that has lasted for longer than a moment.
    pub fn ailment(&mut self) -> Option<String> {
        let waits = self.waits_since.map(|since| since.elapsed())?;
        if waits < WAIT_USUAL {
            return None;
        }
        if self.asked_at.is_none_or(|asked| asked.elapsed() >= ASK_INTERVAL) {
            self.asked_at = Some(Instant::now());
            let text = self.missing_topic().unwrap_or_else(|| {
                let known = self.troubles().standing(trouble::DELIVERY);
                known.map_or_else(|| "no answer from the broker".into(), |(_, text)| text)
            });
            self.troubles().note(trouble::DELIVERY, &text);
        }
        let reason = self.troubles().standing(trouble::DELIVERY);
        Some(format!(
            "{} alerts and dead letters are not acknowledged for {} s: {}",
            self.in_flight(),
            waits.as_secs(),
            reason.map_or_else(|| "no answer".into(), |(_, text)| text)
        ))
    }

    /// Asks whether the topics that are written to are there.
    fn missing_topic(&self) -> Option<String> {
        self.topics.iter().find_map(|topic| {
            let metadata = self.producer.client().fetch_metadata(Some(topic), ASK_TIMEOUT).ok()?;
            let error = metadata.topics().iter().find(|found| found.name() == topic)?.error()?;
            match error {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => {
                    Some(format!("{topic}: the topic does not exist"))
                }
                error => Some(format!("{topic}: {}", RDKafkaErrorCode::from(error))),
            }
        })
    }

    fn troubles(&self) -> &Troubles {
        &self.producer.context().troubles
    }

    /// Gives the records that are under way.
    pub fn in_flight(&self) -> usize {
        self.ledger.in_flight()
    }

    /// Tells whether so much is under way that nothing more should be taken in.
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.limits.in_flight_max || self.bytes >= self.limits.in_flight_bytes_max
    }

    /// Tells whether so little is under way that one can go on after a pause: half, so that pausing and going on do not
    /// alternate.
    pub fn has_room(&self) -> bool {
        self.in_flight() <= self.limits.in_flight_max / 2 && self.bytes <= self.limits.in_flight_bytes_max / 2
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
