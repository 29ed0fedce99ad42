//! Topics of tapewatch's own: made where they are missing, and checked where they are there.

use std::time::Duration;

use pollster::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{BrokerError, KafkaConfig, METADATA_TIMEOUT, QuietContext};

/// Longest wait for the broker's answer to one request.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a new topic may take until the broker tells of it.
const APPEAR_LOOKS: u32 = 100;
const APPEAR_PAUSE: Duration = Duration::from_millis(50);

/// A topic that tapewatch writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Fewest partitions (> 0).
    pub partitions: usize,
    /// Whether it holds the newest record of each key, for ever, in place of all records for a time.
    pub is_compacted: bool,
}

impl OwnTopic<'_> {
    /// Gives the command that makes it by hand.
    fn command(&self, brokers: &str) -> String {
        let compacted = if self.is_compacted {
            " --config cleanup.policy=compact"
        } else {
            ""
        };
        let OwnTopic { name, partitions, .. } = self;
        format!(
            "kafka-topics.sh --bootstrap-server {brokers} --create --topic {name} --partitions {partitions}{compacted}"
        )
    }
}

impl KafkaConfig {
    /// Makes the topics that are missing, if `create` allows it, and checks the others; gives the names of those that it made.
    ///
    /// # Errors
    /// [`BrokerError`] that names the command that mends it, when a topic can't be made or is not as it must be.
    pub fn prepare_topics(&self, topics: &[OwnTopic<'_>], create: bool) -> Result<Vec<String>, BrokerError> {
        let consumer: BaseConsumer<QuietContext> = self.reader()?.create_with_context(QuietContext)?;
        let mut made = Vec::new();
        for topic in topics {
            match self.partition_count(&consumer, topic.name)? {
                0 if create => {
                    self.make(topic)?;
                    for _ in 0..APPEAR_LOOKS {
                        if self.partition_count(&consumer, topic.name)? > 0 {
                            break;
                        }
                        std::thread::sleep(APPEAR_PAUSE);
                    }
                    made.push(topic.name.to_owned());
                }
                0 => {
                    return Err(self.wrong(topic, "does not exist".into(), topic.command(&self.brokers)));
                }
                found => self.check(topic, found)?,
            }
        }
        Ok(made)
    }

    fn partition_count(&self, consumer: &BaseConsumer<QuietContext>, topic: &str) -> Result<usize, BrokerError> {
        let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(0, |found| found.partitions().len()))
    }

    fn make(&self, topic: &OwnTopic<'_>) -> Result<(), BrokerError> {
        let admin: AdminClient<QuietContext> = self.producer()?.create_with_context(QuietContext)?;
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        // As many copies as the cluster has by default.
        let mut new = NewTopic::new(topic.name, partitions, TopicReplication::Fixed(-1));
        if topic.is_compacted {
            new = new.set("cleanup.policy", "compact");
        }
        let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
        let answers = block_on(admin.create_topics([&new], &options))?;
        match answers.into_iter().next() {
            // Another member of the group was faster.
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
                tracing::info!(topic = topic.name, partitions, "topic created");
                Ok(())
            }
            Some(Err((_, code))) => {
                let problem = format!("does not exist and can't be created ({code})");
                Err(self.wrong(topic, problem, topic.command(&self.brokers)))
            }
        }
    }

    fn check(&self, topic: &OwnTopic<'_>, found: usize) -> Result<(), BrokerError> {
        let (brokers, name) = (&self.brokers, topic.name);
        if found < topic.partitions {
            let problem = format!("has {found} partitions and needs {}", topic.partitions);
            let command = format!(
                "kafka-topics.sh --bootstrap-server {brokers} --alter --topic {name} --partitions {}",
                topic.partitions
            );
            return Err(self.wrong(topic, problem, command));
        }
        match self.cleanup_policy(name) {
            Some(policy) if topic.is_compacted && policy != "compact" => {
                let problem = format!("has cleanup.policy={policy}, which would remove state that is needed");
                let command = format!(
                    "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {name} \
                     --add-config cleanup.policy=compact"
                );
                Err(self.wrong(topic, problem, command))
            }
            // Where it may not be described, it is taken for right.
            _ => Ok(()),
        }
    }

    fn cleanup_policy(&self, topic: &str) -> Option<String> {
        let admin: AdminClient<QuietContext> = self.producer().ok()?.create_with_context(QuietContext).ok()?;
        let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
        let answers = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options)).ok()?;
        let resource = answers.into_iter().next()?.ok()?;
        resource.get("cleanup.policy")?.value.clone()
    }

    fn wrong(&self, topic: &OwnTopic<'_>, problem: String, command: String) -> BrokerError {
        BrokerError::WrongTopic {
            topic: topic.name.to_owned(),
            brokers: self.brokers.clone(),
            problem,
            command,
        }
    }
}
