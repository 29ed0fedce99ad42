//! The source: one consumer, polled from the worker's own thread.
//!
//! A rebalance is noted within `poll` and carried out by the worker, after the batch that it came into: until then the
//! group waits, and no record comes. So what has to happen before partitions are given up, or before the first record of
//! new ones, is a line of the worker's loop and not a callback. Knows nothing of detectors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::client::BrokerError;
use crate::pipeline::position::{NextOffset, Partition, TopicIndex, TopicPartition};

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

/// What the broker said to a commit.
#[derive(Clone, Debug)]
pub struct CommitAnswer {
    /// The partitions whose offsets were to be committed.
    pub partitions: Vec<TopicPartition>,
    /// Why they were not; none when they were.
    pub error: Option<KafkaError>,
}

/// What callbacks leave behind for the worker. All of them run within `poll` on the worker's thread; the mutexes are
/// what rdkafka's `Sync` asks for and are never contended.
struct SourceContext {
    topics: Vec<String>,
    /// At most one: the group waits for it.
    rebalance: Mutex<Option<Rebalance>>,
    /// Partitions that are revoked now are given up at once: the worker is done.
    leaving: AtomicBool,
    lags: Mutex<Vec<Lag>>,
    commits: Mutex<Vec<CommitAnswer>>,
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

    /// Keeps the broker's answer to a commit for the worker.
    fn note_commit(&self, partitions: Vec<TopicPartition>, result: Result<(), KafkaError>) {
        let error = result.err();
        push(&self.commits, [CommitAnswer { partitions, error }]);
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

fn take<T>(place: &Mutex<Vec<T>>) -> Vec<T> {
    place
        .lock()
        .map_or_else(|_| Vec::new(), |mut place| std::mem::take(&mut *place))
}

impl ClientContext for SourceContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::warn!(facility, message, "consumer");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "consumer");
        push(&self.errors, [error]);
    }

    fn stats(&self, statistics: Statistics) {
        let mut lags = Vec::new();
        for (topic, statistics) in &statistics.topics {
            let Some(topic) = self.index_of(topic) else { continue };
            for (partition, statistics) in &statistics.partitions {
                let known = statistics.desired && *partition >= 0 && statistics.ls_offset >= 0;
                let read = statistics
                    .app_offset
                    .max(statistics.committed_offset)
                    .max(statistics.lo_offset);
                if known {
                    let at = TopicPartition {
                        topic,
                        partition: Partition(*partition),
                    };
                    lags.push(Lag {
                        at,
                        records: (statistics.ls_offset - read).max(0),
                    });
                }
            }
        }
        if let Ok(mut place) = self.lags.lock() {
            *place = lags;
        }
    }
}

impl ConsumerContext for SourceContext {
    fn commit_callback(&self, result: Result<(), KafkaError>, offsets: &TopicPartitionList) {
        self.note_commit(self.partitions(offsets), result);
    }

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
    consumer: BaseConsumer<SourceContext>,
}

impl Source {
    /// Joins the group and subscribes to the topics; `paused`: partitions begin paused, until [`Source::set_paused`].
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(client: &ClientConfig, topics: &[String], paused: bool) -> Result<Self, BrokerError> {
        let context = SourceContext {
            topics: topics.to_vec(),
            rebalance: Mutex::default(),
            leaving: AtomicBool::new(false),
            lags: Mutex::default(),
            commits: Mutex::default(),
            errors: Mutex::default(),
            joined: AtomicBool::new(false),
            paused: AtomicBool::new(paused),
        };
        let consumer: BaseConsumer<SourceContext> = client.create_with_context(context)?;
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Source { consumer })
    }

    /// Waits at most `timeout` for the next record; callbacks run in here.
    pub fn poll(&self, timeout: Duration) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        self.consumer.poll(timeout)
    }

    /// Gives the index of a topic.
    pub fn topic_index(&self, topic: &str) -> Option<TopicIndex> {
        self.consumer.context().index_of(topic)
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

    /// Takes new partitions on. Each begins where the group has committed, or else where `input.start` says.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn assign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let context = self.consumer.context();
        let list = context.list(partitions.iter().map(|at| (*at, KafkaOffset::Invalid)));
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

    /// Gives partitions up.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let context = self.consumer.context();
        unassign(
            &self.consumer,
            &context.list(partitions.iter().map(|at| (*at, KafkaOffset::Invalid))),
        )
    }

    /// Takes the errors that librdkafka reported since the last call.
    pub fn take_errors(&self) -> Vec<KafkaError> {
        take(&self.consumer.context().errors)
    }

    /// Gives the lags of the last second's statistics.
    pub fn lags(&self) -> Vec<Lag> {
        self.consumer
            .context()
            .lags
            .lock()
            .map_or_else(|_| Vec::new(), |lags| lags.clone())
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

    /// Commits offsets. With `wait` the broker's answer is there when this returns, else when a later poll brings it;
    /// [`Source::take_commits`] gives it.
    pub fn commit(&self, offsets: &[(TopicPartition, NextOffset)], wait: bool) {
        if offsets.is_empty() {
            return;
        }
        let context = self.consumer.context();
        let mode = if wait { CommitMode::Sync } else { CommitMode::Async };
        let list = context.list(offsets.iter().map(|(at, next)| (*at, KafkaOffset::Offset(next.0))));
        let result = self.consumer.commit(&list, mode);
        // Queued is not committed: an answer to what was queued comes through the callback.
        if wait || result.is_err() {
            context.note_commit(offsets.iter().map(|(at, _)| *at).collect(), result);
        }
    }

    /// Takes the broker's answers to commits since the last call.
    pub fn take_commits(&self) -> Vec<CommitAnswer> {
        take(&self.consumer.context().commits)
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
            Some(Rebalance::Assign(partitions)) => self.assign(&partitions),
            Some(Rebalance::Revoke { partitions, .. }) => self.unassign(&partitions),
            None => Ok(()),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "cannot end a rebalance");
        }
    }
}
