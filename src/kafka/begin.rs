//! Where assigned partitions begin: at the group's commit; without one at the oldest record, save in a group that has never
//! committed anything on the topic and starts at the latest.
//!
//! A new group's positions are committed at once, for the partitions of other members too. So a partition without a commit
//! is a new partition ever after, and nothing on it is passed over.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Longest wait for one answer about offsets.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives assigned partitions with the offsets at which they begin.
///
/// # Errors
/// When the broker does not tell what is committed.
pub(super) fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[String],
    assigned: TopicPartitionList,
    starts_at_latest: bool,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = consumer.committed_offsets(assigned, OFFSETS_TIMEOUT)?;
    for topic in topics {
        let elements = list.elements_for_topic(topic);
        let without = elements.iter().filter(|element| !is_committed(element.offset()));
        let without: Vec<i32> = without.map(|element| element.partition()).collect();
        if without.is_empty() {
            continue;
        }
        let ends = match starts_at_latest {
            true => ends_of_new_group(consumer, topic).unwrap_or_else(|error| {
                tracing::warn!(topic, %error, "the ends of a topic cannot be looked up; reading from the oldest record");
                TopicPartitionList::new()
            }),
            false => TopicPartitionList::new(),
        };
        for partition in without {
            let end = ends.find_partition(topic, partition).map(|element| element.offset());
            list.set_partition_offset(topic, partition, end.unwrap_or(Offset::Beginning))?;
        }
    }
    Ok(list)
}

fn is_committed(offset: Offset) -> bool {
    matches!(offset, Offset::Offset(_))
}

/// Gives the ends of all partitions of a topic that the group has never read, and commits them; nothing when the group has
/// a commit there.
fn ends_of_new_group<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> Result<TopicPartitionList, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), OFFSETS_TIMEOUT)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        all.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(all, OFFSETS_TIMEOUT)?;
    let mut ends = TopicPartitionList::new();
    for element in committed.elements() {
        if is_committed(element.offset()) {
            return Ok(TopicPartitionList::new());
        }
        let (_, end) = consumer.fetch_watermarks(topic, element.partition(), OFFSETS_TIMEOUT)?;
        ends.add_partition_offset(topic, element.partition(), Offset::Offset(end))?;
    }
    if let Err(error) = consumer.commit(&ends, CommitMode::Sync) {
        // What is read will be committed; what stays idle begins anew with the group.
        tracing::warn!(topic, %error, "the positions of a new group cannot be committed");
    }
    Ok(ends)
}
