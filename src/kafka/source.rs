//! The source: one consumer, polled from the worker's own thread.
//!
//! Rebalance callbacks run within `poll`, so on that same thread; they call back into the worker's hook before partitions
//! are given up. Knows nothing of detectors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::client::BrokerError;
use crate::pipeline::position::{NextOffset, Partition, TopicIndex, TopicPartition};

/// Called before partitions are given up: deliver, and say which offsets may be committed.
pub type BeforeRevoke = Box<dyn Fn() -> Vec<(TopicPartition, NextOffset)> + Send + Sync>;

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
    before_revoke: BeforeRevoke,
    revoked: Mutex<Vec<TopicPartition>>,
    has_revoked: AtomicBool,
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

    fn list(&self, offsets: &[(TopicPartition, NextOffset)]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (at, next) in offsets {
            if let Some(topic) = self.topics.get(usize::from(at.topic.0)) {
                // Setting an offset of zero or more cannot fail.
                let _ = list.add_partition_offset(topic, at.partition.0, KafkaOffset::Offset(next.0));
            }
        }
        list
    }
}

/// Pushes into what a callback leaves behind.
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

    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let revoked = self.partitions(list);
        if revoked.is_empty() {
            return;
        }
        let committable = (self.before_revoke)();
        if !committable.is_empty() {
            let result = consumer.commit(&self.list(&committable), CommitMode::Sync);
            if let Err(error) = &result {
                // The next owner starts at the last commit and sees these records again: repeated, not lost. What is not
                // of the revoked partitions is committed again by this worker.
                tracing::warn!(%error, "cannot commit before giving partitions up");
            }
            self.note_commit(committable.into_iter().map(|(at, _)| at).collect(), result);
        }
        tracing::info!(partitions = revoked.len(), "partitions revoked");
        push(&self.revoked, revoked);
        self.has_revoked.store(true, Ordering::Relaxed);
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else { return };
        self.joined.store(true, Ordering::Relaxed);
        if list.count() == 0 {
            return;
        }
        tracing::info!(partitions = list.count(), "partitions assigned");
        if self.paused.load(Ordering::Relaxed)
            && let Err(error) = consumer.pause(list)
        {
            tracing::warn!(%error, "cannot pause new partitions");
        }
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
    pub fn new(
        client: &ClientConfig,
        topics: &[String],
        before_revoke: BeforeRevoke,
        paused: bool,
    ) -> Result<Self, BrokerError> {
        let context = SourceContext {
            topics: topics.to_vec(),
            before_revoke,
            revoked: Mutex::default(),
            has_revoked: AtomicBool::new(false),
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

    /// Takes the partitions that were given up since the last call.
    pub fn take_revoked(&self) -> Vec<TopicPartition> {
        self.consumer.context().has_revoked.store(false, Ordering::Relaxed);
        take(&self.consumer.context().revoked)
    }

    /// Tells whether partitions were given up since they were last taken.
    pub fn has_revoked(&self) -> bool {
        self.consumer.context().has_revoked.load(Ordering::Relaxed)
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
        let result = self.consumer.commit(&context.list(offsets), mode);
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
