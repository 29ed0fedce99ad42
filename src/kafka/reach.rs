//! Reaching Kafka at start: is there a broker, are the topics there, and how large may a record be?
//!
//! Promises that what no waiting can mend is told at once, in the broker's or librdkafka's own words: a wrong password, a
//! certificate that is not trusted, a wrong mechanism, TLS on one side alone. Everything else is waited for, and the log
//! says so within two seconds.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::client::{KafkaConfig, METADATA_TIMEOUT, QuietContext};
use super::error::BrokerError;

/// Pause between two looks for brokers and topics, in which librdkafka's events are served.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for the first answer; later ones take twice as long each, up to [`METADATA_TIMEOUT`].
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// A broker that is starting, or a proxy before one, may close connections for a moment. Whoever closes them for longer than
/// this speaks another protocol.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// Property of a topic: its largest batch (bytes).
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// Keeps what librdkafka says while a broker is looked for.
#[derive(Default)]
struct LookContext {
    said: Mutex<Said>,
}

#[derive(Clone, Default)]
struct Said {
    /// What can't be mended by waiting.
    is_final: Option<String>,
    /// The last complaint.
    last: Option<String>,
    /// Complaints of a name that does not resolve.
    unresolved: Option<String>,
    /// Since when connections are had and closed again, and nothing else.
    closed_since: Option<Instant>,
}

impl Said {
    fn hear(&mut self, code: Option<RDKafkaErrorCode>, complaint: &str, now: Instant) {
        let reason = without_state(complaint);
        match code {
            // Says no more than the complaints before it.
            Some(RDKafkaErrorCode::AllBrokersDown) => return,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                self.is_final.get_or_insert_with(|| reason.clone());
            }
            Some(RDKafkaErrorCode::SSL) => {
                self.is_final.get_or_insert_with(|| reason.clone());
            }
            // One of many addresses speaks for a name.
            Some(RDKafkaErrorCode::Resolve) => self.unresolved = Some(reason.clone()),
            _ => {}
        }
        if reason.contains("Disconnected") {
            self.closed_since.get_or_insert(now);
            self.last = Some(format!(
                "{reason}; check security.protocol: does the broker listen for TLS there, and does it ask for SASL?"
            ));
        } else {
            self.closed_since = None;
            self.last = Some(reason);
        }
    }

    /// Gives what no waiting can mend.
    fn final_at(&self, now: Instant) -> Option<String> {
        let is_closing = |since: Instant| now.duration_since(since) >= CLOSING_MAX;
        let closed = self.last.clone().filter(|_| self.closed_since.is_some_and(is_closing));
        self.is_final.clone().or(closed)
    }
}

/// Leaves out which thread complains, and how often and in which state it has said the same: `… (after 3ms in state CONNECT)`.
fn without_state(complaint: &str) -> String {
    let said = match complaint.starts_with("[thrd:") {
        true => complaint.split_once("]: ").map_or(complaint, |(_, said)| said),
        false => complaint,
    };
    let end = said.find(" (after ").unwrap_or(said.len());
    said[..end].trim().to_string()
}

impl ClientContext for LookContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
        // That a connection was closed is no error to librdkafka.
        if let ("FAIL", Ok(mut said)) = (facility, self.said.lock()) {
            said.hear(None, message, Instant::now());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        if let Ok(mut said) = self.said.lock() {
            said.hear(error.rdkafka_error_code(), reason, Instant::now());
        }
    }
}

impl ConsumerContext for LookContext {}

impl KafkaConfig {
    /// Waits until a broker answers and knows all topics; gives each topic's partitions.
    ///
    /// # Errors
    /// [`BrokerError`] when that is not so within `start_timeout_secs`, or at once when trying again cannot help.
    pub fn wait_for_topics(&self, topics: &[&str]) -> Result<Vec<usize>, BrokerError> {
        let deadline = Instant::now() + Duration::from_secs(self.start_timeout_secs);
        let mut client = self.reader()?;
        client.set_log_level(RDKafkaLogLevel::Info);
        let consumer: BaseConsumer<LookContext> = client.create_with_context(LookContext::default())?;
        let mut answer_timeout = FIRST_ANSWER;
        let mut told = None;
        loop {
            let found = self.partitions_of(&consumer, topics, answer_timeout);
            // Complaints arrive as events, which only a poll serves.
            let served = Instant::now() + LOOK_PAUSE;
            while Instant::now() < served {
                drop(consumer.poll(LOOK_PAUSE / 4));
                if found.is_ok() {
                    break;
                }
            }
            let said = consumer
                .context()
                .said
                .lock()
                .map(|said| said.clone())
                .unwrap_or_default();
            let error = match found {
                Ok(partitions) => return Ok(partitions),
                Err(error) => error,
            };
            if let Some(reason) = said.final_at(Instant::now()) {
                return Err(BrokerError::Refused { reason });
            }
            let error = match (error, said.unresolved.or(said.last)) {
                (
                    BrokerError::Unreachable {
                        brokers, waited_secs, ..
                    },
                    Some(reason),
                ) => BrokerError::Unreachable {
                    brokers,
                    waited_secs,
                    reason,
                },
                (error, _) => error,
            };
            if Instant::now() >= deadline || !error.retryable() {
                return Err(error);
            }
            let text = error.to_string();
            if told.as_ref() != Some(&text) {
                tracing::warn!(
                    timeout_secs = self.start_timeout_secs,
                    reason = text,
                    "waiting for kafka"
                );
                told = Some(text);
            }
            answer_timeout = (2 * answer_timeout).min(METADATA_TIMEOUT);
        }
    }

    fn partitions_of(
        &self,
        consumer: &BaseConsumer<LookContext>,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<usize>, BrokerError> {
        let unreachable = |error: KafkaError| BrokerError::Unreachable {
            brokers: self.brokers.clone(),
            waited_secs: self.start_timeout_secs,
            reason: error
                .rdkafka_error_code()
                .map_or_else(|| error.to_string(), |code| code.to_string()),
        };
        let mut partitions = Vec::with_capacity(topics.len());
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), timeout).map_err(unreachable)?;
            let found = metadata.topics().iter().find(|found| found.name() == *topic);
            let why = match found.map(|found| (found.error(), found.partitions().len())) {
                Some((None, count)) if count > 0 => {
                    partitions.push(count);
                    continue;
                }
                Some((Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), _)) => {
                    "does not exist, or may not be described by us,"
                }
                _ => "does not exist",
            };
            return Err(BrokerError::NoTopic {
                topic: (*topic).into(),
                brokers: self.brokers.clone(),
                why,
            });
        }
        // The name that a broker gives itself is another than the one that it was found by.
        if let Some(topic) = topics.first() {
            let reached = consumer.fetch_watermarks(topic, 0, timeout).map(drop);
            let is_unresolved = || {
                consumer
                    .context()
                    .said
                    .lock()
                    .is_ok_and(|said| said.unresolved.is_some())
            };
            if let Err(error) = reached {
                drop(consumer.poll(LOOK_PAUSE));
                if is_unresolved() {
                    return Err(unreachable(error));
                }
            }
        }
        Ok(partitions)
    }

    /// Asks for the cluster's own name; none where it does not say.
    pub fn cluster_id(&self) -> Option<String> {
        let consumer: BaseConsumer<QuietContext> = self.reader().ok()?.create_with_context(QuietContext).ok()?;
        consumer.client().fetch_cluster_id(METADATA_TIMEOUT)
    }

    /// Asks for the largest batch that each topic takes (bytes). Where the broker does not say, or not to us, it is unknown.
    pub fn batch_limits(&self, topics: &[&str]) -> Vec<Option<usize>> {
        let read = |topics: &[&str]| -> Result<Vec<Option<usize>>, BrokerError> {
            let admin: AdminClient<QuietContext> = self.admin()?.create_with_context(QuietContext)?;
            let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
            let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
            let answers = pollster::block_on(admin.describe_configs(&resources, &options))?;
            let limit = |topic: &&str| {
                let is_of_topic = |found: &&ConfigResource| matches!(&found.specifier, OwnedResourceSpecifier::Topic(name) if name == topic);
                let found = answers.iter().flatten().find(is_of_topic)?;
                found.get(MAX_MESSAGE_BYTES)?.value.as_deref()?.parse().ok()
            };
            Ok(topics.iter().map(limit).collect())
        };
        let limits = read(topics).unwrap_or_else(|error| {
            tracing::debug!(%error, "the topics' {MAX_MESSAGE_BYTES} cannot be read");
            Vec::new()
        });
        (0..topics.len())
            .map(|index| limits.get(index).copied().flatten())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: &[(Option<RDKafkaErrorCode>, &str)]) -> (Said, Instant) {
        let (mut all, now) = (Said::default(), Instant::now());
        said.iter()
            .for_each(|(code, complaint)| all.hear(*code, complaint, now));
        (all, now)
    }

    #[test]
    fn what_no_waiting_mends_is_final_and_what_may_come_is_not() {
        let refused = "b:9093/bootstrap: SASL authentication error: invalid credentials (after 12ms in state AUTH_REQ)";
        let (said, now) = heard(&[(Some(RDKafkaErrorCode::Authentication), refused)]);
        assert_eq!(
            said.final_at(now).as_deref(),
            Some("b:9093/bootstrap: SASL authentication error: invalid credentials")
        );
        let (said, now) = heard(&[
            (Some(RDKafkaErrorCode::BrokerTransportFailure), "Connection refused"),
            (Some(RDKafkaErrorCode::Resolve), "Failed to resolve 'nowhere:9092'"),
            (Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down"),
        ]);
        assert_eq!(said.final_at(now + 2 * CLOSING_MAX), None);
        assert_eq!(said.last.as_deref(), Some("Failed to resolve 'nowhere:9092'"));
    }

    #[test]
    fn a_broker_that_closes_every_connection_speaks_another_protocol_unless_it_is_just_starting() {
        let closed =
            "[thrd:b:9093/bootstrap]: b:9093/bootstrap: Disconnected: connection closed by peer (after 3ms in state X)";
        let (said, now) = heard(&[(None, closed)]);
        assert_eq!(said.final_at(now + CLOSING_MAX / 2), None);
        let reason = said.final_at(now + CLOSING_MAX).unwrap();
        assert!(reason.starts_with("b:9093/bootstrap: Disconnected"), "{reason}");
        assert!(reason.contains("security.protocol"), "{reason}");
        let (said, now) = heard(&[(None, closed), (None, "b:9093/bootstrap: Connection refused")]);
        assert_eq!(said.final_at(now + CLOSING_MAX), None);
    }
}
