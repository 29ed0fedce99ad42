//! What a test asks of a Kafka cluster: topics made, records written and read back, offsets looked up.
//!
//! Works on any address, real broker or librdkafka's mock cluster (which refuses `create_topic`: there the cluster's
//! own is used). Every call blocks, has a deadline, and panics with the reason when the cluster does not do as asked.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

/// One request and its answer: a loaded two-core machine takes a second at worst, a first look-up of a group some more.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);
/// Writing or reading one topic: a hundred thousand small records take two seconds.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(60);
/// A broker answers a commit or abort before its markers are in the partitions (milliseconds, under load a second);
/// what is then still behind an open transaction is meant to be.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks at what a broker cannot be asked to tell of: that it knows a new topic, that markers are written.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// The longest wait in one call of librdkafka, after which the deadline is looked at again.
const POLL: Duration = Duration::from_millis(100);
/// The largest request of the client: a payload of 2 MiB and 64 KiB for key, headers and framing.
pub const REQUEST_BYTES_MAX: usize = (2 << 20) + (64 << 10);

/// A test's view of the cluster at `brokers`.
#[derive(Debug, Clone)]
pub struct Client {
    /// Addresses as librdkafka's `bootstrap.servers` takes them.
    pub brokers: String,
}

/// A record as read back from a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// The record's stamp (milliseconds since 1970; −1 where it has none).
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    /// In the order written; a header without a value reads as an empty one.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record to write: partition (without one the key decides), key, payload (without one it is a tombstone).
pub type Outgoing<'a> = (Option<i32>, Option<&'a [u8]>, Option<&'a [u8]>);

impl Client {
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
        }
    }

    /// Whether a broker answers within `timeout`; waits for one that is just starting.
    pub fn answers(&self, timeout: Duration) -> bool {
        let metadata = self.consumer(&[]).fetch_metadata(None, timeout);
        metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    /// Creates a topic with topic configs such as `("cleanup.policy", "compact")`, and waits until it has its leaders.
    ///
    /// # Panics
    /// When the topic exists: tests on a shared cluster choose fresh names.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.connect(&self.config());
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_DEADLINE))
            .operation_timeout(Some(REQUEST_DEADLINE));
        let created = block_on(admin.create_topics([&topic], &options), 2 * REQUEST_DEADLINE)
            .unwrap_or_else(|| panic!("no answer to the creation of topic {name}"));
        for result in created.unwrap_or_else(|error| panic!("topic {name} was not created: {error}")) {
            result.unwrap_or_else(|(_, code)| panic!("topic {name} was not created: {code}"));
        }
        let consumer = self.consumer(&[]);
        let deadline = Instant::now() + REQUEST_DEADLINE;
        while !has_leaders(&consumer, name, partitions) {
            assert!(Instant::now() < deadline, "topic {name} was created but has no leaders");
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// Deletes a topic and waits until the cluster knows it no more.
    pub fn delete_topic(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> = self.connect(&self.config());
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_DEADLINE));
        let deleted = block_on(admin.delete_topics(&[name], &options), 2 * REQUEST_DEADLINE)
            .unwrap_or_else(|| panic!("no answer to the deletion of topic {name}"));
        assert!(
            deleted.is_ok_and(|results| results.iter().all(Result::is_ok)),
            "topic {name}"
        );
        let consumer = self.consumer(&[]);
        let deadline = Instant::now() + REQUEST_DEADLINE;
        let is_there = || {
            let metadata = consumer.fetch_metadata(Some(name), REQUEST_DEADLINE);
            metadata.is_ok_and(|metadata| metadata.topics().iter().any(|found| found.error().is_none()))
        };
        while is_there() {
            assert!(Instant::now() < deadline, "topic {name} is still there");
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// Adds partitions to a topic, up to so many.
    pub fn add_partitions(&self, name: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.connect(&self.config());
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_DEADLINE));
        let added = block_on(
            admin.create_partitions(&[NewPartitions::new(name, partitions)], &options),
            2 * REQUEST_DEADLINE,
        );
        assert!(
            added.is_some_and(|added| added.is_ok_and(|results| results.iter().all(Result::is_ok))),
            "topic {name}"
        );
        let consumer = self.consumer(&[]);
        let deadline = Instant::now() + REQUEST_DEADLINE;
        while !has_leaders(&consumer, name, partitions as i32) {
            assert!(Instant::now() < deadline, "topic {name} has no new leaders");
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) {
        let admin: AdminClient<DefaultClientContext> = self.connect(&self.config());
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_DEADLINE));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below))
            .unwrap();
        let deleted = block_on(admin.delete_records(&list, &options), 2 * REQUEST_DEADLINE);
        assert!(deleted.is_some_and(|deleted| deleted.is_ok()), "{topic}/{partition}");
    }

    /// The offset after the last record a `read_committed` consumer may see, by partition: records of an open
    /// transaction, and all behind them, do not count; markers and records of ended ones do.
    ///
    /// A transaction ended just now is waited for; with one that stays open the call takes [`SETTLE_DEADLINE`].
    pub fn end_offsets(&self, topic: &str) -> Vec<i64> {
        self.settled_ends(&self.consumer(&[]), topic)
    }

    /// Everything a `read_committed` consumer may see up to the [`Client::end_offsets`] at the time of the call,
    /// ordered by partition and offset.
    pub fn read_all(&self, topic: &str) -> Vec<Record> {
        // Assigned by hand it joins no group, yet must name one.
        let consumer = self.consumer(&[("group.id", "tapewatch-tests"), ("enable.partition.eof", "true")]);
        let ends = self.settled_ends(&consumer, topic);
        let mut unread: Vec<bool> = ends.iter().map(|&end| end > 0).collect();
        let mut assignment = TopicPartitionList::new();
        for partition in partitions_where(&unread) {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("valid offset");
        }
        consumer
            .assign(&assignment)
            .unwrap_or_else(|error| panic!("topic {topic} was not assigned: {error}"));

        let deadline = Instant::now() + TRANSFER_DEADLINE;
        let mut records: Vec<Record> = Vec::new();
        let mut last_error = None;
        while unread.contains(&true) {
            assert!(
                Instant::now() < deadline,
                "topic {topic} could not be read up to {ends:?}: {} records, last error {last_error:?}",
                records.len()
            );
            match consumer.poll(POLL) {
                None => {}
                // The rest of the partition, up to its end, is markers or aborted records.
                Some(Err(KafkaError::PartitionEOF(partition))) => unread[partition as usize] = false,
                Some(Err(error)) => last_error = Some(error),
                Some(Ok(message)) => {
                    let (partition, next_offset) = (message.partition() as usize, message.offset() + 1);
                    if next_offset <= ends[partition] {
                        records.push(record(&message));
                    }
                    if next_offset >= ends[partition] {
                        unread[partition] = false;
                    }
                }
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// The next offset that `group` has committed, by partition; −1 where it has committed none.
    ///
    /// Offsets in a transaction that is ending are waited for.
    pub fn committed(&self, group: &str, topic: &str) -> Vec<i64> {
        let consumer = self.consumer(&[("group.id", group)]);
        let count = partition_count(&consumer, topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, count - 1);
        let committed = consumer
            .committed_offsets(list, REQUEST_DEADLINE)
            .unwrap_or_else(|error| panic!("offsets of group {group} on {topic} were not read: {error}"));
        let next_offset = |partition| match committed.find_partition(topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(next_offset)) => next_offset,
            _ => -1,
        };
        (0..count).map(next_offset).collect()
    }

    /// Writes records in their order and waits until the cluster has them all.
    pub fn produce(&self, topic: &str, records: &[Outgoing<'_>]) {
        let mut config = self.config();
        config
            // Keeps the order; idempotence would too, but takes half a second to begin.
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", "1")
            .set("message.max.bytes", REQUEST_BYTES_MAX.to_string())
            .set("message.timeout.ms", TRANSFER_DEADLINE.as_millis().to_string());
        let deliveries = Deliveries::default();
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(deliveries.clone())
            .unwrap_or_else(|error| panic!("no producer for {}: {error}", self.brokers));

        let deadline = Instant::now() + TRANSFER_DEADLINE;
        for &(partition, key, payload) in records {
            let mut record: BaseRecord<[u8], [u8]> = BaseRecord::to(topic);
            (record.partition, record.key, record.payload) = (partition, key, payload);
            while let Err((error, refused)) = producer.send(record) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                assert!(
                    full && Instant::now() < deadline,
                    "a record for {topic} was refused: {error}"
                );
                producer.poll(POLL);
                record = refused;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let flushed = producer.flush(left);
        let failure = deliveries.failure.lock().expect("no panic under this lock").take();
        let delivered = deliveries.delivered.load(Ordering::Relaxed);
        assert!(
            flushed.is_ok() && failure.is_none() && delivered == records.len(),
            "{delivered} of {} records reached {topic}: {flushed:?}, first failure {failure:?}",
            records.len()
        );
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            // A starting broker is found as soon as it listens.
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100");
        config
    }

    /// A consumer with `settings` beside what they all need.
    fn consumer(&self, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.config();
        config
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            // The mock cluster waits this out at every fetch.
            .set("fetch.wait.max.ms", "10");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        self.connect(&config)
    }

    /// What [`Client::end_offsets`] promises, as `consumer`, a `read_committed` one, sees it.
    fn settled_ends(&self, consumer: &BaseConsumer, topic: &str) -> Vec<i64> {
        let high_watermarks = watermarks(&self.consumer(&[("isolation.level", "read_uncommitted")]), topic);
        let deadline = Instant::now() + SETTLE_DEADLINE;
        loop {
            let ends = watermarks(consumer, topic);
            let settled = ends.iter().zip(&high_watermarks).all(|(end, high)| end >= high);
            if settled || Instant::now() >= deadline {
                return ends;
            }
            thread::sleep(LOOK_PAUSE);
        }
    }

    fn connect<T: FromClientConfig>(&self, config: &ClientConfig) -> T {
        config
            .create()
            .unwrap_or_else(|error| panic!("no client for {}: {error}", self.brokers))
    }
}

/// The ends of the partitions, as far as the consumer's isolation level lets it see.
fn watermarks(consumer: &BaseConsumer, topic: &str) -> Vec<i64> {
    let end = |partition| match consumer.fetch_watermarks(topic, partition, REQUEST_DEADLINE) {
        Ok((_, end)) => end,
        Err(error) => panic!("the end of {topic}/{partition} was not read: {error}"),
    };
    (0..partition_count(consumer, topic)).map(end).collect()
}

fn partition_count(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer
        .fetch_metadata(Some(topic), REQUEST_DEADLINE)
        .unwrap_or_else(|error| panic!("no metadata of topic {topic}: {error}"));
    let found = &metadata.topics()[0];
    assert!(
        found.error().is_none() && !found.partitions().is_empty(),
        "topic {topic}: {:?}",
        found.error()
    );
    found.partitions().len() as i32
}

fn has_leaders(consumer: &BaseConsumer, topic: &str, partitions: i32) -> bool {
    let Ok(metadata) = consumer.fetch_metadata(Some(topic), REQUEST_DEADLINE) else {
        return false;
    };
    metadata.topics().iter().any(|found| {
        let led = found
            .partitions()
            .iter()
            .filter(|partition| partition.leader() >= 0)
            .count();
        found.error().is_none() && led == partitions as usize
    })
}

fn partitions_where(flags: &[bool]) -> impl Iterator<Item = i32> {
    (0..)
        .zip(flags)
        .filter(|(_, flag)| **flag)
        .map(|(partition, _)| partition)
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let owned = |key: &str, value: Option<&[u8]>| (key.to_owned(), value.unwrap_or_default().to_vec());
        headers.iter().map(|header| owned(header.key, header.value)).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// Counts what was delivered and keeps the first failure; librdkafka reports them from within `poll` and `flush`.
#[derive(Debug, Clone, Default)]
struct Deliveries {
    delivered: Arc<AtomicUsize>,
    /// Shared because the producer owns its context: there is no message to send it back with.
    failure: Arc<Mutex<Option<KafkaError>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.failure
                    .lock()
                    .expect("no panic under this lock")
                    .get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// Runs `future` on this thread; `None` when it is not ready within `timeout`.
fn block_on<F: Future>(future: F, timeout: Duration) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let deadline = Instant::now() + timeout;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        thread::park_timeout(left);
    }
}
