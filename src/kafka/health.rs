//! Health: whether a consumer can read now, by what librdkafka's statistics say of brokers and group.
//!
//! Complaints say what went wrong at a moment, and nobody says when it is right again. The statistics say once a second
//! what is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::statistics::Statistics;

/// A rebalance, or a broker that has just been restarted, is no ailment for so long.
const GRACE: Duration = Duration::from_secs(5);

/// What the last statistics said.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Brokers that lead a partition of ours and are not connected, and since when there is one.
    away: BTreeSet<i32>,
    away_since: Option<Instant>,
    /// What the group's state is when it is not steady, and since when it is not.
    unsteady: Option<(String, Instant)>,
    /// Since when the broker does not tell the end of a partition of ours.
    blind_since: Option<Instant>,
}

impl Health {
    /// Takes in the statistics of a second.
    pub fn hear(&mut self, statistics: &Statistics, now: Instant) {
        let is_up = |leader: i32| {
            statistics
                .brokers
                .values()
                .any(|broker| broker.nodeid == leader && broker.state == "UP")
        };
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let ours = partitions.filter(|partition| partition.desired && partition.partition >= 0);
        let is_blind = ours.clone().any(|partition| partition.ls_offset < 0);
        self.blind_since = self.blind_since.or(Some(now)).filter(|_| is_blind);
        let leaders = ours.map(|partition| partition.leader);
        self.away = leaders.filter(|leader| !is_up(*leader)).collect();
        self.away_since = match self.away.is_empty() {
            true => None,
            false => self.away_since.or(Some(now)),
        };
        self.unsteady = statistics.cgrp.as_ref().and_then(|group| {
            let is_steady = group.state == "up" && group.join_state == "steady";
            let since = self.unsteady.as_ref().map_or(now, |(_, since)| *since);
            (!is_steady).then(|| (format!("{}, {}", group.state, group.join_state), since))
        });
    }

    /// Tells for how long the broker has not told the end of a partition of ours.
    pub fn blind_for(&self, now: Instant) -> Option<Duration> {
        self.blind_since.map(|since| now.duration_since(since))
    }

    /// Lists what has been wrong for longer than a moment.
    pub fn ailments(&self, now: Instant) -> Vec<String> {
        let lasts = |since: &Instant| now.duration_since(*since) >= GRACE;
        let mut ailments = Vec::new();
        if self.away_since.as_ref().is_some_and(lasts) {
            for broker in &self.away {
                ailments.push(match broker {
                    -1 => "a partition has no leader".to_string(),
                    broker => format!("broker {broker} is not connected, and partitions are read from it"),
                });
            }
        }
        if let Some((state, _)) = self.unsteady.as_ref().filter(|(_, since)| lasts(since)) {
            ailments.push(format!("not a steady member of the consumer group ({state})"));
        }
        ailments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(broker: &str, join_state: &str) -> Statistics {
        let mut statistics = Statistics::default();
        let broker = rdkafka::statistics::Broker {
            nodeid: 1,
            state: broker.into(),
            ..Default::default()
        };
        statistics.brokers.insert("b:9092/1".into(), broker);
        let partition = rdkafka::statistics::Partition {
            partition: 0,
            desired: true,
            leader: 1,
            ..Default::default()
        };
        let mut topic = rdkafka::statistics::Topic::default();
        topic.partitions.insert(0, partition);
        statistics.topics.insert("ticks".into(), topic);
        statistics.cgrp = Some(rdkafka::statistics::ConsumerGroup {
            state: "up".into(),
            join_state: join_state.into(),
            ..Default::default()
        });
        statistics
    }

    #[test]
    fn a_broker_that_is_away_and_a_group_that_is_not_steady_are_told_after_a_moment() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut health = Health::default();
        health.hear(&statistics("UP", "steady"), at(0));
        assert!(health.ailments(at(100)).is_empty());
        health.hear(&statistics("CONNECT", "wait-sync"), at(101));
        assert!(health.ailments(at(102)).is_empty(), "a rebalance is no ailment");
        health.hear(&statistics("TRY_CONNECT", "wait-join"), at(106));
        let told = health.ailments(at(106));
        assert!(told[0].contains("broker 1 is not connected"), "{told:?}");
        assert!(told[1].contains("wait-join"), "{told:?}");
        health.hear(&statistics("UP", "steady"), at(107));
        assert!(health.ailments(at(200)).is_empty());
        assert_eq!(health.blind_for(at(200)), None);
        let mut refused = statistics("UP", "steady");
        let topic = refused.topics.get_mut("ticks").unwrap();
        topic.partitions.get_mut(&0).unwrap().ls_offset = -1;
        health.hear(&refused, at(201));
        health.hear(&refused, at(202));
        assert_eq!(health.blind_for(at(204)), Some(Duration::from_secs(3)));
    }
}
