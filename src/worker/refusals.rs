//! Refused records in the log: the first is told at once, and then one line a minute with a count. A feed whose form has
//! changed refuses every tick.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::pipeline::detector::DeadLetter;

/// Time between two lines.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

/// Records that were refused since they were last told of.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Reason → records.
    counts: BTreeMap<&'static str, u64>,
    /// What was wrong with the first of them.
    first: Option<First>,
    said_at: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct First {
    topic: String,
    partition: i32,
    offset: i64,
    detail: String,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Such as `bad_time: 12, not_json: 3`.
    reasons: String,
    records: u64,
    first: First,
}

impl Refusals {
    /// Notes a record that was refused.
    pub(super) fn note(&mut self, letter: &DeadLetter, topic: &str, now: Instant) {
        *self.counts.entry(letter.reason).or_default() += 1;
        self.first.get_or_insert_with(|| First {
            topic: topic.to_owned(),
            partition: letter.position.at.partition.0,
            offset: letter.position.offset.0,
            detail: letter.detail.clone(),
        });
        self.say_when_due(now);
    }

    /// Tells of what was refused, unless a line was written within the last minute.
    pub(super) fn say_when_due(&mut self, now: Instant) {
        if let Some(Line {
            reasons,
            records,
            first,
        }) = self.due(now)
        {
            let First {
                topic,
                partition,
                offset,
                detail,
            } = first;
            tracing::warn!(
                records,
                reasons,
                topic,
                partition,
                offset,
                detail,
                "records refused; the detail is the first one's"
            );
        }
    }

    fn due(&mut self, now: Instant) -> Option<Line> {
        let is_soon = |said_at: &Instant| now.saturating_duration_since(*said_at) < SAY_INTERVAL;
        if self.said_at.as_ref().is_some_and(is_soon) {
            return None;
        }
        let first = self.first.take()?;
        self.said_at = Some(now);
        let counts = std::mem::take(&mut self.counts);
        let reasons: Vec<String> = counts
            .iter()
            .map(|(reason, count)| format!("{reason}: {count}"))
            .collect();
        Some(Line {
            reasons: reasons.join(", "),
            records: counts.values().sum(),
            first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};

    fn letter(offset: i64, reason: &'static str) -> DeadLetter {
        let at = TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(3),
        };
        DeadLetter {
            position: Position {
                at,
                offset: Offset(offset),
            },
            reason,
            detail: format!("detail of {offset}"),
        }
    }

    #[test]
    fn a_flood_of_refusals_is_one_line_at_once_and_one_a_minute() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut lines = Vec::new();
        // Two a millisecond, for two minutes and a second.
        for millis in 0..121_000_u64 {
            let now = start + Duration::from_millis(millis);
            for reason in ["bad_time", "not_json"] {
                *refusals.counts.entry(reason).or_default() += 1;
                let offset = millis as i64;
                refusals.first.get_or_insert_with(|| First {
                    topic: "ticks".into(),
                    partition: 3,
                    offset,
                    detail: letter(offset, reason).detail,
                });
                lines.extend(refusals.due(now));
            }
        }
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].records, lines[0].reasons.as_str()), (1, "bad_time: 1"));
        assert_eq!(lines[0].first.detail, "detail of 0");
        assert_eq!(lines[1].records, 2 * 60_000);
        assert_eq!(lines[1].reasons, "bad_time: 60000, not_json: 60000");
        // What came after the last line is told when its minute is over, though nothing more is refused.
        assert_eq!(refusals.due(start + Duration::from_secs(179)), None);
        assert_eq!(refusals.due(start + Duration::from_secs(180)).unwrap().records, 1999);
        assert_eq!(
            refusals.due(start + Duration::from_secs(999)),
            None,
            "nothing was refused since"
        );
    }

    #[test]
    fn the_first_refusal_is_told_with_its_place() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        refusals.note(&letter(7, "bad_kind"), "ticks", now);
        assert_eq!(refusals.said_at, Some(now));
        assert_eq!((refusals.first.as_ref(), refusals.counts.len()), (None, 0));
    }
}
