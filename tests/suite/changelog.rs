//! Transactions, the changelog and topics of tapewatch's own, on a real Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tapewatch::kafka::changelog::Changelog;
use tapewatch::kafka::client::KafkaConfig;
use tapewatch::kafka::topics::OwnTopic;
use tapewatch::kafka::transactions::{TransactionRecord, Transactions};

use crate::real_kafka;
use crate::wait;

const DEADLINE: Duration = Duration::from_secs(20);

fn kafka(brokers: &str, group: &str) -> KafkaConfig {
    let config = tapewatch::config::Config::from_toml(&format!(
        "[kafka]\nbrokers = \"{brokers}\"\ngroup = \"{group}\"\nstart_timeout_secs = 20"
    ));
    config.unwrap().kafka
}

/// A member of a group that has its partition.
fn member(client: &ClientConfig, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = client.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    wait::until("a partition is assigned", DEADLINE, || {
        drop(consumer.poll(Duration::from_millis(50)));
        consumer.assignment().unwrap().count() == 1
    });
    consumer
}

fn offsets(topic: &str, next: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(next)).unwrap();
    list
}

fn record<'a>(topic: &'a str, key: &'a str, value: Option<&'a str>) -> TransactionRecord<'a> {
    TransactionRecord {
        topic,
        partition: 0,
        key: key.as_bytes(),
        value: value.map(str::as_bytes),
    }
}

/// What a changelog says: the newest value of each key.
fn contents(kafka: &KafkaConfig, topic: &str) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let changelog = Changelog::open(kafka, topic).unwrap();
    let mut contents = BTreeMap::new();
    changelog.begin(0).unwrap();
    let take = |key: &[u8], value: Option<&[u8]>| match value {
        Some(value) => drop(contents.insert(text(key), text(value))),
        None => drop(contents.remove(&text(key))),
    };
    changelog.read_on(Instant::now() + DEADLINE, take).unwrap();
    contents
}

#[test]
fn offsets_and_state_are_written_together_and_only_by_the_owner() {
    let Some(broker) = real_kafka::start_or_skip() else {
        return;
    };
    let name = format!("transactions-{}", std::process::id());
    let (ticks, log) = (format!("{name}-ticks"), format!("{name}-log"));
    let kafka = kafka(&broker.brokers, &name);
    broker.create_topic(&ticks, 1, &[]);
    let own = OwnTopic {
        name: &log,
        partitions: 1,
        is_compacted: true,
    };
    assert_eq!(
        kafka.prepare_topics(std::slice::from_ref(&own), true).unwrap(),
        [log.as_str()]
    );
    assert!(kafka.prepare_topics(&[own], true).unwrap().is_empty());
    assert!(contents(&kafka, &log).is_empty());

    let consumer = member(&kafka.member(0, 1).unwrap(), &ticks);
    let group = consumer.group_metadata().unwrap();
    let mut first = Transactions::new(kafka.producer().unwrap(), &name).unwrap();
    let records = [
        record(&log, "a", Some("1")),
        record(&log, "b", Some("2")),
        record(&log, "a", Some("3")),
    ];
    first.commit(records.into_iter(), &offsets(&ticks, 7), &group).unwrap();
    let records = [record(&log, "b", None), record(&log, "c", Some("4"))];
    first.commit(records.into_iter(), &offsets(&ticks, 9), &group).unwrap();
    let expected: BTreeMap<String, String> = [("a", "3"), ("c", "4")].map(|(k, v)| (k.into(), v.into())).into();
    assert_eq!(contents(&kafka, &log), expected);
    assert_eq!(broker.committed(&name, &ticks), [9]);

    // Whoever takes the id over shuts the one before out; nothing of what that one writes is seen.
    let mut second = Transactions::new(kafka.producer().unwrap(), &name).unwrap();
    let zombie = [record(&log, "a", Some("zombie"))];
    let refused = first.commit(zombie.into_iter(), &offsets(&ticks, 100), &group);
    assert!(refused.is_err());
    // A member that has lost its place in the group is refused too, whatever its id.
    drop(consumer);
    let next = member(&kafka.member(0, 1).unwrap(), &ticks);
    let zombie = [record(&log, "a", Some("ghost"))];
    assert!(
        second
            .commit(zombie.into_iter(), &offsets(&ticks, 100), &group)
            .is_err()
    );
    drop(second);
    let mut third = Transactions::new(kafka.producer().unwrap(), &name).unwrap();
    let records = [record(&log, "d", Some("5"))];
    let group = next.group_metadata().unwrap();
    third.commit(records.into_iter(), &offsets(&ticks, 11), &group).unwrap();
    let mut expected = expected;
    expected.insert("d".into(), "5".into());
    assert_eq!(contents(&kafka, &log), expected);
    assert_eq!(broker.committed(&name, &ticks), [11]);
}

#[test]
fn a_topic_that_is_not_as_it_must_be_is_refused_with_the_command_that_mends_it() {
    let Some(broker) = real_kafka::start_or_skip() else {
        return;
    };
    let name = format!("own-topics-{}", std::process::id());
    let kafka = kafka(&broker.brokers, &name);
    let own = |partitions, is_compacted| OwnTopic {
        name: &name,
        partitions,
        is_compacted,
    };
    let refused = kafka.prepare_topics(&[own(2, true)], false).unwrap_err().to_string();
    assert!(
        refused.contains("does not exist") && refused.contains("--create --topic"),
        "{refused}"
    );
    broker.create_topic(&name, 1, &[("cleanup.policy", "delete")]);
    let refused = kafka.prepare_topics(&[own(1, true)], true).unwrap_err().to_string();
    assert!(
        refused.contains("cleanup.policy=delete") && refused.contains("kafka-configs.sh"),
        "{refused}"
    );
    let refused = kafka.prepare_topics(&[own(3, false)], true).unwrap_err().to_string();
    assert!(refused.contains("has 1 partitions and needs 3"), "{refused}");
    assert!(kafka.prepare_topics(&[own(1, false)], true).unwrap().is_empty());
}
