//! The sender: ticks of a scenario → the ticks topic, never further ahead of the daemon's commits than the embedded
//! broker keeps.

use std::collections::HashMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::scenario::Scenario;
use crate::kafka::client::{BrokerError, KafkaConfig, METADATA_TIMEOUT, QuietContext};
use crate::kafka::feeder::Feeder;
use crate::offline::replay::to_json;

/// Ticks of one partition that may wait for the daemon's commit. A tick takes less than 300 bytes with all that the
/// broker adds, and it keeps 5 MiB per partition (`embedded::PARTITION_BYTES`).
pub const AHEAD_TICKS_MAX: i64 = 12_000;

/// Where a tick of the scenario stands.
pub type Place = (i32, i64);

/// Sends each feed to a partition of its own.
pub struct Sender {
    feeder: Feeder,
    group: BaseConsumer<QuietContext>,
    topic: String,
    /// Next offset per partition.
    sent: Vec<i64>,
    /// Next offset per partition as the group last committed it.
    committed: Vec<i64>,
    /// Feed and index of every tick sent.
    places: HashMap<Place, (usize, usize)>,
}

impl Sender {
    /// Makes a sender for a topic with so many partitions.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(kafka: &KafkaConfig, topic: &str, partitions: usize) -> Result<Self, BrokerError> {
        let mut client = kafka.reader()?;
        client.set("group.id", &kafka.group);
        Ok(Sender {
            feeder: Feeder::new(&kafka.producer()?, topic)?,
            group: client.create_with_context(QuietContext)?,
            topic: topic.into(),
            sent: vec![0; partitions],
            committed: vec![0; partitions],
            places: HashMap::new(),
        })
    }

    /// Sends one tick.
    ///
    /// # Errors
    /// When it cannot be delivered.
    pub fn send(&mut self, scenario: &Scenario, feed: usize, index: usize) -> Result<(), BrokerError> {
        let part = &scenario.feeds[feed];
        let payload = to_json(&part.instrument, &part.ticks[index]);
        self.feeder
            .send(Some(feed as i32), part.instrument.as_bytes(), payload.as_bytes())?;
        self.places.insert((feed as i32, self.sent[feed]), (feed, index));
        self.sent[feed] += 1;
        Ok(())
    }

    /// Waits until everything sent is with the broker.
    ///
    /// # Errors
    /// When that is not so.
    pub fn flush(&mut self) -> Result<(), BrokerError> {
        self.feeder.finish()
    }

    /// Tells whether a partition has room for one more tick; asks the broker for commits only when it seems to have none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn has_room(&mut self, feed: usize) -> Result<bool, BrokerError> {
        if self.ahead(feed) < AHEAD_TICKS_MAX {
            return Ok(true);
        }
        self.look_at_commits()?;
        Ok(self.ahead(feed) < AHEAD_TICKS_MAX)
    }

    fn ahead(&self, feed: usize) -> i64 {
        self.sent[feed] - self.committed[feed]
    }

    /// Tells whether everything sent is committed.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn is_all_committed(&mut self) -> Result<bool, BrokerError> {
        self.look_at_commits()?;
        Ok(self.committed == self.sent)
    }

    /// Gives for each feed how many of its ticks were committed when last looked at.
    pub fn committed_ticks(&self) -> Vec<usize> {
        self.committed.iter().map(|next| *next as usize).collect()
    }

    fn look_at_commits(&mut self) -> Result<(), BrokerError> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.sent.len() {
            list.add_partition(&self.topic, partition as i32);
        }
        for element in self.group.committed_offsets(list, METADATA_TIMEOUT)?.elements() {
            if let (KafkaOffset::Offset(next), Some(place)) =
                (element.offset(), self.committed.get_mut(element.partition() as usize))
            {
                *place = next;
            }
        }
        Ok(())
    }

    /// Gives the number of ticks sent.
    pub fn total(&self) -> i64 {
        self.sent.iter().sum()
    }

    /// Forgets where ticks were sent.
    pub fn forget_places(&mut self) {
        self.places.clear();
    }

    /// Gives feed and index of the tick at a place.
    pub fn tick_at(&self, place: Place) -> Option<(usize, usize)> {
        self.places.get(&place).copied()
    }
}
