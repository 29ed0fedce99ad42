//! Reading back: the recent past of the input topics, without joining the group.
//!
//! Starts by time, or at the oldest record that is kept where the broker cannot look up times; ends at what is there when
//! it starts. Bounded by a number of records.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::client::{BrokerError, KafkaConfig, METADATA_TIMEOUT, QuietContext};
use crate::pipeline::input::Record;
use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use crate::pipeline::time::ArrivalTime;

/// Longest wait for one record before the broker counts as gone.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadProgress {
    /// Records read.
    pub records: u64,
    /// Records that there are to read.
    pub total: u64,
}

/// Counts the records that [`read_back`] would find.
///
/// # Errors
/// [`BrokerError`].
pub fn count_back(kafka: &KafkaConfig, topics: &[String], since: ArrivalTime, max: usize) -> Result<u64, BrokerError> {
    let consumer: BaseConsumer<QuietContext> = kafka.reader()?.create_with_context(QuietContext)?;
    Ok(spans(&consumer, topics, since, max)?.iter().map(Span::len).sum())
}

/// Reads at most about `max` records that arrived after `since`, the newest ones, in the order of each partition. `take`
/// gets each and returns false to stop.
///
/// # Errors
/// [`BrokerError`].
pub fn read_back(
    kafka: &KafkaConfig,
    topics: &[String],
    since: ArrivalTime,
    max: usize,
    mut take: impl FnMut(&Record<'_>, ReadProgress) -> bool,
) -> Result<(), BrokerError> {
    let consumer: BaseConsumer<QuietContext> = kafka.reader()?.create_with_context(QuietContext)?;
    let spans = spans(&consumer, topics, since, max)?;
    let mut left: u64 = spans.iter().filter(|span| span.len() > 0).count() as u64;
    let total = spans.iter().map(Span::len).sum();
    let mut list = TopicPartitionList::new();
    for span in spans.iter().filter(|span| span.len() > 0) {
        list.add_partition_offset(&span.topic, span.partition, KafkaOffset::Offset(span.start))?;
    }
    consumer.assign(&list)?;
    let mut records = 0;
    while left > 0 {
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                let is_end = |span: &&Span| span.topic == message.topic() && span.partition == message.partition();
                let end = spans.iter().find(is_end).map_or(0, |span| span.end);
                if message.offset() < end {
                    records += 1;
                    if !take(&record_of(&message, topics), ReadProgress { records, total }) {
                        return Ok(());
                    }
                }
                if message.offset() + 1 == end {
                    left -= 1;
                }
            }
            // The end of a partition whose last records are aborted or markers, so never reach us.
            Some(Err(KafkaError::PartitionEOF(_))) => left = left.min(unread(&consumer, &spans)),
            Some(Err(error)) => return Err(error.into()),
            None => {
                return Err(KafkaError::MessageConsumption(rdkafka::types::RDKafkaErrorCode::OperationTimedOut).into());
            }
        }
    }
    Ok(())
}

/// Gives a message as a decoder sees it.
fn record_of<'a>(message: &'a BorrowedMessage<'_>, topics: &[String]) -> Record<'a> {
    // Only these topics are read.
    let topic = topics
        .iter()
        .position(|topic| topic == message.topic())
        .unwrap_or_default();
    Record {
        position: Position {
            at: TopicPartition {
                topic: TopicIndex(topic as u16),
                partition: Partition(message.partition()),
            },
            offset: Offset(message.offset()),
        },
        arrival_time: ArrivalTime::from_millis(message.timestamp().to_millis().unwrap_or_default()),
        key: message.key(),
        payload: message.payload(),
    }
}

/// What is to be read of one partition.
struct Span {
    topic: String,
    partition: i32,
    start: i64,
    end: i64,
}

impl Span {
    fn len(&self) -> u64 {
        (self.end - self.start).max(0) as u64
    }
}

/// Counts the spans whose end has not been reached.
fn unread(consumer: &BaseConsumer<QuietContext>, spans: &[Span]) -> u64 {
    let Ok(positions) = consumer.position() else {
        return spans.len() as u64;
    };
    let is_unread = |span: &&Span| {
        let position = positions
            .find_partition(&span.topic, span.partition)
            .map(|element| element.offset());
        span.len() > 0 && !matches!(position, Some(KafkaOffset::Offset(offset)) if offset >= span.end)
    };
    spans.iter().filter(is_unread).count() as u64
}

fn spans(
    consumer: &BaseConsumer<QuietContext>,
    topics: &[String],
    since: ArrivalTime,
    max: usize,
) -> Result<Vec<Span>, BrokerError> {
    let mut spans = Vec::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        for partition in partitions.map(|partition| partition.id()) {
            let (low, high) = consumer.fetch_watermarks(topic, partition, METADATA_TIMEOUT)?;
            spans.push(Span {
                topic: topic.clone(),
                partition,
                start: low,
                end: high,
            });
        }
    }
    start_by_time(consumer, &mut spans, since);
    let total: u64 = spans.iter().map(Span::len).sum();
    if total > max as u64 {
        // The newest records of every partition, each giving up the same share.
        for span in &mut spans {
            let kept = (span.len() as f64 * max as f64 / total as f64) as i64;
            span.start = span.end - kept;
        }
    }
    Ok(spans)
}

/// Moves starts to the first record after `since`; leaves them at the oldest record where times cannot be looked up.
fn start_by_time(consumer: &BaseConsumer<QuietContext>, spans: &mut [Span], since: ArrivalTime) {
    let found = match look_up(consumer, spans, since.millis().max(0)) {
        Some(found) => found,
        None => return tracing::debug!("broker has no look-up by time; reading from the oldest record"),
    };
    for (span, first) in spans.iter_mut().zip(found) {
        span.start = first.map_or(span.end, |first| first.clamp(span.start, span.end));
    }
}

/// Gives the first offset at or after a time for every span, `None` past the end; `None` in all where the broker cannot
/// tell. (librdkafka's mock answers every time with "past the end", so the beginning of time is asked for too.)
fn look_up(consumer: &BaseConsumer<QuietContext>, spans: &[Span], millis: i64) -> Option<Vec<Option<i64>>> {
    let ask = |millis: i64| {
        let mut list = TopicPartitionList::new();
        for span in spans {
            list.add_partition_offset(&span.topic, span.partition, KafkaOffset::Offset(millis))
                .ok()?;
        }
        let answer = consumer.offsets_for_times(list, METADATA_TIMEOUT).ok()?;
        let offset = |span: &Span| match answer.find_partition(&span.topic, span.partition)?.offset() {
            KafkaOffset::Offset(offset) => Some(offset),
            _ => None,
        };
        Some(spans.iter().map(offset).collect::<Vec<_>>())
    };
    let beginning = ask(0)?;
    let is_believable = spans
        .iter()
        .zip(&beginning)
        .all(|(span, first)| span.len() == 0 || first.is_some());
    if is_believable { ask(millis) } else { None }
}
