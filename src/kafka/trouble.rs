//! Troubles: what goes wrong with Kafka again and again, said once when it begins, once a minute with a count, and once
//! when it is over.
//!
//! librdkafka tries again by itself after most errors and complains at every try. Whoever hears a complaint notes it here
//! under a name of its kind.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

/// Time between two lines about one trouble.
const SAY_INTERVAL: Duration = Duration::from_secs(60);
/// A trouble that nobody has complained of for so long is over: librdkafka waits at most 10 seconds between two tries.
const QUIET: Duration = Duration::from_secs(30);

/// No broker, or not the one that is needed, can be reached.
pub const CONNECTION: &str = "connection";
/// The two sides do not trust each other's certificates.
pub const TLS: &str = "tls";
/// The broker refuses who we say we are.
pub const AUTHENTICATION: &str = "authentication";
/// The group does not take us, or not our commits.
pub const GROUP: &str = "group";
/// A topic of ticks cannot be read.
pub const INPUT: &str = "input";
/// Offsets are not committed.
pub const COMMIT: &str = "commit";
/// Alerts and dead letters are not delivered.
pub const DELIVERY: &str = "delivery";

/// Which client has heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Consumer,
    Producer,
}

/// Gives the kind of trouble that an error is a sign of.
pub(super) fn kind_of(client: Client, code: Option<RDKafkaErrorCode>) -> &'static str {
    use RDKafkaErrorCode as Code;
    match (client, code) {
        (
            _,
            Some(
                Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::NetworkException
                | Code::BrokerNotAvailable,
            ),
        ) => CONNECTION,
        (_, Some(Code::SSL)) => TLS,
        (_, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism)) => {
            AUTHENTICATION
        }
        (Client::Producer, Some(_)) => DELIVERY,
        (
            Client::Consumer,
            Some(
                Code::TopicAuthorizationFailed
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition,
            ),
        ) => INPUT,
        (Client::Consumer, Some(Code::GroupAuthorizationFailed)) => GROUP,
        (Client::Consumer, Some(_)) => "consumer",
        (_, None) => "other",
    }
}

/// Hears a line of librdkafka's log, of which only warnings and worse are asked for.
pub(super) fn hear_log(troubles: &Troubles, facility: &str, message: &str) {
    match facility {
        // The error that comes with it says the same.
        "FAIL" | "ERROR" => tracing::debug!(facility, message, "librdkafka"),
        "REQTMOUT" => troubles.note(CONNECTION, message),
        _ => troubles.note(&format!("librdkafka {facility}"), message),
    }
}

#[derive(Debug)]
struct Standing {
    since: Instant,
    heard_at: Instant,
    said_at: Instant,
    /// Complaints since it began.
    times: u64,
    text: String,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Begins,
    GoesOn { times: u64, lasts: Duration },
}

/// All troubles of a process that have not ended.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, Standing>>);

impl Troubles {
    /// Notes a complaint.
    pub fn note(&self, kind: &str, text: &str) {
        match self.heard(kind, text, Instant::now()) {
            Some(Line::Begins) => tracing::warn!(kind, reason = text, "trouble with kafka"),
            Some(Line::GoesOn { times, lasts }) => {
                let lasts_secs = lasts.as_secs();
                tracing::warn!(kind, reason = text, times, lasts_secs, "trouble with kafka goes on");
            }
            None => {}
        }
    }

    fn heard(&self, kind: &str, text: &str, now: Instant) -> Option<Line> {
        let mut all = self.0.lock().ok()?;
        let Some(standing) = all.get_mut(kind) else {
            let standing = Standing {
                since: now,
                heard_at: now,
                said_at: now,
                times: 1,
                text: text.into(),
            };
            all.insert(kind.into(), standing);
            return Some(Line::Begins);
        };
        standing.heard_at = now;
        standing.times += 1;
        standing.text = text.into();
        if now.duration_since(standing.said_at) < SAY_INTERVAL {
            return None;
        }
        standing.said_at = now;
        Some(Line::GoesOn {
            times: standing.times,
            lasts: now.duration_since(standing.since),
        })
    }

    /// Notes that a trouble is over.
    pub fn over(&self, kind: &str) {
        let ended = self.0.lock().ok().and_then(|mut all| all.remove(kind));
        if let Some(ended) = ended {
            say_over(kind, &ended);
        }
    }

    /// Ends the troubles that nobody complains of any more.
    pub fn look(&self) {
        for (kind, ended) in self.quiet(Instant::now()) {
            say_over(&kind, &ended);
        }
    }

    fn quiet(&self, now: Instant) -> Vec<(String, Standing)> {
        let Ok(mut all) = self.0.lock() else {
            return Vec::new();
        };
        // Of these, whoever notes them knows the end.
        let has_an_end = |kind: &str| [INPUT, COMMIT, DELIVERY].contains(&kind);
        let is_quiet = |standing: &Standing| now.duration_since(standing.heard_at) >= QUIET;
        all.extract_if(.., |kind, standing| !has_an_end(kind) && is_quiet(standing))
            .collect()
    }

    /// Gives how long a trouble has lasted, and what was last said of it.
    pub fn standing(&self, kind: &str) -> Option<(Duration, String)> {
        let all = self.0.lock().ok()?;
        let standing = all.get(kind)?;
        Some((standing.since.elapsed(), standing.text.clone()))
    }
}

fn say_over(kind: &str, ended: &Standing) {
    let lasted_secs = ended.since.elapsed().as_secs();
    tracing::info!(kind, times = ended.times, lasted_secs, "trouble with kafka is over");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_when_it_begins_once_a_minute_and_when_it_is_over() {
        let (troubles, start) = (Troubles::default(), Instant::now());
        let at = |secs: u64| start + Duration::from_secs(secs);
        let mut lines = Vec::new();
        // Ten complaints a second, for 130 seconds.
        for tenth in 0..1300 {
            let now = start + Duration::from_millis(100 * tenth);
            assert!(troubles.quiet(now).is_empty());
            lines.extend(troubles.heard(CONNECTION, "Connection refused", now));
        }
        let goes_on = |times, secs| Line::GoesOn {
            times,
            lasts: Duration::from_secs(secs),
        };
        assert_eq!(lines, [Line::Begins, goes_on(601, 60), goes_on(1201, 120)]);
        assert!(troubles.quiet(at(150)).is_empty());
        let over = troubles.quiet(at(160));
        assert_eq!((over.len(), over[0].1.times), (1, 1300));
        assert_eq!(troubles.heard(CONNECTION, "again", at(161)), Some(Line::Begins));
    }

    #[test]
    fn troubles_of_different_kinds_do_not_hide_each_other() {
        let troubles = Troubles::default();
        let now = Instant::now();
        assert_eq!(troubles.heard(COMMIT, "a", now), Some(Line::Begins));
        assert_eq!(troubles.heard(DELIVERY, "b", now), Some(Line::Begins));
        troubles.over(COMMIT);
        assert_eq!(troubles.standing(COMMIT), None);
        assert_eq!(troubles.standing(DELIVERY).unwrap().1, "b");
    }
}
