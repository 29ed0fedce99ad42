//! The source: one consumer, polled from the worker's own thread.
//!
//! A rebalance is noted within `poll` and carried out by the worker, after the batch that it came into: until then the
//! group waits, and no record comes. So what has to happen before partitions are given up, or before the first record of
//! new ones, is a line of the worker's loop and not a callback. Knows nothing of detectors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::begin;
use super::client::BrokerError;
pub use super::committer::CommitAnswer;
use super::committer::Committer;
use super::health::Health;
use super::positions::{Ends, Positions, Standing, Step};
use super::trouble::{self, Troubles};
use crate::pipeline::position::{NextOffset, Partition, TopicIndex, TopicPartition};

/// The end of a partition is known once its first records have been asked for.
const BLIND_USUAL: Duration = Duration::from_secs(15);
/// A refusal shows in the statistics of the second after.
const REFUSAL_SETTLES: Duration = Duration::from_secs(3);

/// Longest wait for what is committed, transactions that are under way included.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(30);

/// A change of this member's share of the partitions, which the group waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// Partitions come: [`Source::assign`] carries it out.
    Assign(Vec<TopicPartition>),
    /// Partitions go: [`Source::unassign`] carries it out.
    Revoke {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// Others may have them already, so a commit would be refused.
        lost: bool,
    },
}

/// How far a partition is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub at: TopicPartition,
    /// Records that are there and have not been polled.
    pub records: i64,
}

/// A record that was polled.
pub struct Polled<'a> {
    /// The partition that it is on.
    pub at: TopicPartition,
    /// The record.
    pub message: BorrowedMessage<'a>,
    /// Whether its topic was made anew, so that its offset was there before and everything known of the partition is of
    /// another topic.
    pub is_anew: bool,
}

/// How a source reads.
pub struct SourceOptions {
    /// Topics with ticks.
    pub topics: Vec<String>,
    /// A group without any commit begins after the newest record.
    pub starts_at_latest: bool,
    /// Partitions begin paused, until [`Source::set_paused`].
    pub paused: bool,
}

/// What callbacks leave behind for the worker. All of them run within `poll` on the worker's thread; the mutexes are
/// what rdkafka's `Sync` asks for and are never contended.
struct SourceContext {
    topics: Vec<String>,
    starts_at_latest: bool,
    troubles: Arc<Troubles>,
    /// At most one: the group waits for it.
    rebalance: Mutex<Option<Rebalance>>,
    /// Partitions that are revoked now are given up at once: the worker is done.
    leaving: AtomicBool,
    positions: Mutex<Positions>,
    /// What the last second's statistics say of each partition, and of the brokers.
    ends: Mutex<Vec<Ends>>,
    passed_over: Mutex<u64>,
    health: Mutex<Health>,
    /// What the broker last said when it did not let us read a topic: it says so once.
    refusal: Mutex<Option<(String, Instant)>>,
    errors: Mutex<Vec<KafkaError>>,
    joined: AtomicBool,
    /// Partitions that are assigned now begin paused.
    paused: AtomicBool,
}

impl SourceContext {
    fn partitions(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let partition = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            Some(TopicPartition {
                topic: self.index_of(element.topic())?,
                partition: Partition(element.partition()),
            })
        };
        list.elements().into_iter().filter_map(partition).collect()
    }

    fn index_of(&self, topic: &str) -> Option<TopicIndex> {
        self.topics
            .iter()
            .position(|known| known == topic)
            .map(|index| TopicIndex(index as u16))
    }

    /// Notes where partitions begin.
    fn begin(&self, list: &TopicPartitionList) {
        let Ok(mut positions) = self.positions.lock() else {
            return;
        };
        for element in list.elements() {
            let Some(topic) = self.index_of(element.topic()) else {
                continue;
            };
            let partition = Partition(element.partition());
            let standing = match element.offset() {
                KafkaOffset::Offset(next) => Standing::At(next),
                KafkaOffset::Beginning => Standing::Oldest,
                _ => Standing::Unknown,
            };
            positions.begin(TopicPartition { topic, partition }, standing);
        }
    }

    fn list(&self, offsets: impl IntoIterator<Item = (TopicPartition, KafkaOffset)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (at, offset) in offsets {
            if let Some(topic) = self.topics.get(usize::from(at.topic.0)) {
                // Only a negative offset is refused, and none of ours is.
                let _ = list.add_partition_offset(topic, at.partition.0, offset);
            }
        }
        list
    }
}

fn push<T>(place: &Mutex<Vec<T>>, values: impl IntoIterator<Item = T>) {
    if let Ok(mut place) = place.lock() {
        place.extend(values);
    }
}

fn take<T: Default>(place: &Mutex<T>) -> T {
    place
        .lock()
        .map_or_else(|_| T::default(), |mut place| std::mem::take(&mut *place))
}

impl ClientContext for SourceContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        trouble::hear_log(&self.troubles, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = trouble::kind_of(trouble::Client::Consumer, error.rdkafka_error_code());
        self.troubles.note(kind, reason);
        if let (trouble::INPUT, Ok(mut refusal)) = (kind, self.refusal.lock()) {
            *refusal = Some((reason.into(), Instant::now()));
        }
        push(&self.errors, [error]);
    }

    fn stats(&self, statistics: Statistics) {
        let mut all = Vec::new();
        let offset = |offset: i64| (offset >= 0).then_some(offset);
        for (topic, statistics) in &statistics.topics {
            let Some(topic) = self.index_of(topic) else { continue };
            let partitions = statistics.partitions.iter();
            for (partition, of) in partitions.filter(|(partition, of)| **partition >= 0 && of.desired) {
                all.push(Ends {
                    at: TopicPartition {
                        topic,
                        partition: Partition(*partition),
                    },
                    oldest: offset(of.lo_offset),
                    end: offset(of.ls_offset),
                    handed_in: offset(of.next_offset).filter(|_| of.fetchq_cnt == 0),
                });
            }
        }
        if let (Ok(mut positions), Ok(mut passed_over)) = (self.positions.lock(), self.passed_over.lock()) {
            *passed_over += positions.passed_over(&all);
        }
        if let Ok(mut health) = self.health.lock() {
            health.hear(&statistics, Instant::now());
        }
        if let Ok(mut ends) = self.ends.lock() {
            *ends = all;
        }
    }
}

impl ConsumerContext for SourceContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = self.partitions(list);
        if self.leaving.load(Ordering::Relaxed) {
            if let Err(error) = unassign(consumer, list) {
                tracing::warn!(%error, "cannot give partitions up");
            }
            return;
        }
        let rebalance = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions),
            _ => Rebalance::Revoke {
                partitions,
                lost: consumer.assignment_lost(),
            },
        };
        if let Ok(mut place) = self.rebalance.lock() {
            *place = Some(rebalance);
        }
    }
}

fn unassign<C: ConsumerContext>(consumer: &BaseConsumer<C>, list: &TopicPartitionList) -> Result<(), KafkaError> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

/// One member of the consumer group.
pub struct Source {
    /// Dropped before the consumer, with which its thread commits.
    committer: Committer,
    consumer: Arc<BaseConsumer<SourceContext>>,
}

impl Source {
    /// Joins the group and subscribes to the topics.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(client: &ClientConfig, options: SourceOptions, troubles: Arc<Troubles>) -> Result<Self, BrokerError> {
        let topics = options.topics.clone();
        let context = SourceContext {
            topics: options.topics,
            starts_at_latest: options.starts_at_latest,
            troubles,
            rebalance: Mutex::default(),
            leaving: AtomicBool::new(false),
            positions: Mutex::default(),
            ends: Mutex::default(),
            passed_over: Mutex::default(),
            health: Mutex::default(),
            refusal: Mutex::default(),
            errors: Mutex::default(),
            joined: AtomicBool::new(false),
            paused: AtomicBool::new(options.paused),
        };
        let consumer: BaseConsumer<SourceContext> = client.create_with_context(context)?;
        let consumer = Arc::new(consumer);
        let committer =
            Committer::start(Arc::clone(&consumer)).map_err(|error| BrokerError::Thread { source: error })?;
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Source { committer, consumer })
    }

    /// Waits at most `timeout` for the next record; callbacks run in here.
    ///
    /// # Errors
    /// What came in place of a record. librdkafka goes on by itself after all but a fatal one.
    pub fn poll(&self, timeout: Duration) -> Option<Result<Polled<'_>, KafkaError>> {
        let message = match self.consumer.poll(timeout)? {
            Ok(message) => message,
            Err(error) => return Some(Err(error)),
        };
        let context = self.consumer.context();
        let at = TopicPartition {
            // Only subscribed topics are polled, so the index is there.
            topic: context.index_of(message.topic()).unwrap_or(TopicIndex(0)),
            partition: Partition(message.partition()),
        };
        let step = context
            .positions
            .lock()
            .map_or(Step::On, |mut positions| positions.take(at, message.offset()));
        Some(Ok(Polled {
            at,
            message,
            is_anew: step == Step::Anew,
        }))
    }

    /// Gives the error after which the client does nothing any more, if there was one.
    pub fn fatal_error(&self) -> Option<BrokerError> {
        let (code, reason) = self.consumer.client().fatal_error()?;
        Some(BrokerError::Refused {
            reason: match code {
                rdkafka::error::RDKafkaErrorCode::FencedInstanceId => {
                    format!("another member has joined with the same group.instance.id ({reason})")
                }
                _ => reason,
            },
        })
    }

    /// Tells whether a rebalance waits to be carried out.
    pub fn has_rebalance(&self) -> bool {
        let place = self.consumer.context().rebalance.lock();
        place.is_ok_and(|place| place.is_some())
    }

    /// Takes the rebalance that waits to be carried out.
    pub fn take_rebalance(&self) -> Option<Rebalance> {
        self.consumer.context().rebalance.lock().ok()?.take()
    }

    /// Takes new partitions on; `begin.rs` says where each begins.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn assign(
        &self,
        partitions: &[TopicPartition],
        starts: &[(TopicPartition, NextOffset)],
    ) -> Result<(), KafkaError> {
        let context = self.consumer.context();
        let unknown = context.list(partitions.iter().map(|at| (*at, KafkaOffset::Invalid)));
        let begun = begin::offsets(
            &self.consumer,
            &context.topics,
            unknown.clone(),
            context.starts_at_latest,
        );
        let mut list = begun.unwrap_or_else(|error| {
            // librdkafka asks again by itself, as often as it takes.
            context.troubles.note(trouble::GROUP, &error.to_string());
            unknown
        });
        for (at, next) in starts {
            if let Some(topic) = context.topics.get(usize::from(at.topic.0)) {
                list.set_partition_offset(topic, at.partition.0, KafkaOffset::Offset(next.0))?;
            }
        }
        context.begin(&list);
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list)?,
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(&list)?,
        }
        context.joined.store(true, Ordering::Relaxed);
        if context.paused.load(Ordering::Relaxed) && !partitions.is_empty() {
            self.consumer.pause(&list)?;
        }
        Ok(())
    }

    /// Gives the offsets that the group has committed, once no transaction with others is under way.
    ///
    /// # Errors
    /// When the broker does not tell.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, NextOffset)>, KafkaError> {
        let context = self.consumer.context();
        let asked = context.list(partitions.iter().map(|at| (*at, KafkaOffset::Invalid)));
        let committed = self.consumer.committed_offsets(asked, COMMITTED_TIMEOUT)?;
        let next = |at: &TopicPartition| {
            let topic = context.topics.get(usize::from(at.topic.0))?;
            match committed.find_partition(topic, at.partition.0)?.offset() {
                KafkaOffset::Offset(next) => Some((*at, NextOffset(next))),
                _ => None,
            }
        };
        Ok(partitions.iter().filter_map(next).collect())
    }

    /// Gives offsets as a transaction takes them, with this member's present place in the group.
    pub fn for_transaction(
        &self,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Option<(TopicPartitionList, ConsumerGroupMetadata)> {
        let context = self.consumer.context();
        let list = context.list(offsets.iter().map(|(at, next)| (*at, KafkaOffset::Offset(next.0))));
        Some((list, self.consumer.group_metadata()?))
    }

    /// Gives partitions up.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let context = self.consumer.context();
        if let Ok(mut positions) = context.positions.lock() {
            positions.end(partitions);
        }
        unassign(
            &self.consumer,
            &context.list(partitions.iter().map(|at| (*at, KafkaOffset::Invalid))),
        )
    }

    /// Takes the errors that librdkafka reported since the last call.
    pub fn take_errors(&self) -> Vec<KafkaError> {
        take(&self.consumer.context().errors)
    }

    /// Takes the number of records that were passed over since the last call: the broker no longer had them.
    pub fn take_passed_over(&self) -> u64 {
        take(&self.consumer.context().passed_over)
    }

    /// Gives the lags of assigned partitions by the last second's statistics, where they are known.
    pub fn lags(&self) -> Vec<Lag> {
        let context = self.consumer.context();
        let (Ok(ends), Ok(positions)) = (context.ends.lock(), context.positions.lock()) else {
            return Vec::new();
        };
        let lag = |ends: &Ends| {
            let (at, records) = (ends.at, positions.lag(ends)?);
            Some(Lag { at, records })
        };
        ends.iter().filter_map(lag).collect()
    }

    /// Says why a topic cannot be read, if there is one. `is_reading`: records have been asked for of late.
    pub fn unreadable(&self, is_reading: bool) -> Option<String> {
        let context = self.consumer.context();
        let blind = context.health.lock().ok()?.blind_for(Instant::now());
        let mut refusal = context.refusal.lock().ok()?;
        match (blind, &*refusal) {
            (Some(_), Some((reason, _))) => Some(reason.clone()),
            (Some(lasts), None) if is_reading && lasts >= BLIND_USUAL => {
                Some("the broker does not tell the end of a partition; was the topic deleted?".into())
            }
            (None, Some((_, heard))) if heard.elapsed() >= REFUSAL_SETTLES => {
                *refusal = None;
                context.troubles.over(trouble::INPUT);
                None
            }
            _ => None,
        }
    }

    /// Gives what keeps this member from reading, by the last second's statistics.
    pub fn ailments(&self) -> Vec<String> {
        let health = self.consumer.context().health.lock();
        health.map_or_else(|_| Vec::new(), |health| health.ailments(Instant::now()))
    }

    /// Tells whether the group has given this member its share, be it empty.
    pub fn has_joined(&self) -> bool {
        self.consumer.context().joined.load(Ordering::Relaxed)
    }

    /// Gives the partitions that this member has.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        match self.consumer.assignment() {
            Ok(list) => self.consumer.context().partitions(&list),
            Err(_) => Vec::new(),
        }
    }

    /// Tells whether the broker has not answered the last commit yet.
    pub fn is_committing(&self) -> bool {
        self.committer.is_busy()
    }

    /// Commits offsets; [`Source::take_commits`] gives the broker's answer when it is there.
    pub fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) {
        let context = self.consumer.context();
        let list = context.list(offsets.iter().map(|(at, next)| (*at, KafkaOffset::Offset(next.0))));
        self.committer.commit(offsets.iter().map(|(at, _)| *at).collect(), list);
    }

    /// Takes the broker's answers to commits since the last call.
    pub fn take_commits(&self) -> Vec<CommitAnswer> {
        self.committer.take_answers()
    }

    /// Stops fetching all partitions, those assigned later too, or goes on.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn set_paused(&self, paused: bool) -> Result<(), KafkaError> {
        self.consumer.context().paused.store(paused, Ordering::Relaxed);
        let assignment = self.consumer.assignment()?;
        if paused {
            self.consumer.pause(&assignment)
        } else {
            self.consumer.resume(&assignment)
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // The consumer leaves the group next, and nobody carries a rebalance out any more.
        self.consumer.context().leaving.store(true, Ordering::Relaxed);
        let ended = match self.take_rebalance() {
            Some(Rebalance::Assign(partitions)) => self.assign(&partitions, &[]),
            Some(Rebalance::Revoke { partitions, .. }) => self.unassign(&partitions),
            None => Ok(()),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "cannot end a rebalance");
        }
    }
}
