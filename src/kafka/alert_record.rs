//! An alert as others read it: JSON (`deploy/schema/alert.v1.json`) with CloudEvents headers in binary mode.

use serde::Serialize;

use crate::pipeline::alert::{Alert, Cause, FeatureShare};
use crate::pipeline::group::Group;
use crate::pipeline::guard::{Fact, Finding, Still};
use crate::pipeline::tick::{Sequence, Tick};

/// Value of the `schema` member.
pub const SCHEMA: &str = "tapewatch.alert.v1";
/// The published JSON Schema.
pub const SCHEMA_JSON: &str = include_str!("../../deploy/schema/alert.v1.json");
/// CloudEvents type of an alert.
const EVENT_TYPE: &str = "tapewatch.alert.v1";

#[derive(Serialize)]
struct AlertJson<'a> {
    schema: &'static str,
    id: &'a str,
    state: &'static str,
    revision: u32,
    instrument: &'a str,
    mode: &'static str,
    severity: &'static str,
    arm: &'static str,
    kind: &'static str,
    score: f32,
    score_max: f32,
    threshold: f32,
    p_value: f64,
    ticks: u64,
    opened_by: CauseJson<'a>,
    latest: CauseJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<FindingJson>,
    features: Vec<FeatureJson>,
    model_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupJson<'a>>,
    summary: &'a str,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    looks_like: &'static str,
    instruments: usize,
    active: usize,
    alerts_folded: usize,
    alerts_open: usize,
    names: Vec<&'a str>,
    published: Vec<&'a str>,
}

/// A guard's finding: the name, a sentence, and the facts that the guard has (prices in the feed's unit).
#[derive(Serialize)]
struct FindingJson {
    guard: &'static str,
    surprise: f32,
    text: String,
    #[serde(flatten)]
    fact: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct CauseJson<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    event_time: String,
    event_time_ns: i64,
    arrival_time_ms: i64,
    tick: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct FeatureJson {
    name: &'static str,
    words: &'static str,
    unit: &'static str,
    share: f32,
    observed: f32,
    expected: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<FeedJson>,
}

#[derive(Serialize)]
struct FeedJson {
    quantity: &'static str,
    unit: &'static str,
    observed: f64,
    expected: Option<f64>,
}

/// Writes an alert with its summary for people; `topics` are the input topics in the order of their index. The same alert
/// gives the same bytes.
pub fn to_json(alert: &Alert, summary: &str, topics: &[String]) -> Vec<u8> {
    let json = AlertJson {
        schema: SCHEMA,
        id: &alert.id,
        state: alert.state.name(),
        revision: alert.revision,
        instrument: &alert.instrument,
        mode: alert.mode.name(),
        severity: alert.severity.name(),
        arm: alert.arm.name(),
        kind: alert.kind.name(),
        score: alert.score,
        score_max: alert.score_max,
        threshold: alert.threshold,
        p_value: libm::exp10(-f64::from(alert.score)),
        ticks: alert.ticks,
        opened_by: cause(&alert.opened_by, topics),
        latest: cause(&alert.latest, topics),
        finding: alert.finding.as_ref().map(finding),
        features: alert.features.iter().map(feature).collect(),
        model_version: alert.model_version.map(|version| version.0),
        group: alert.group.as_deref().map(group),
        summary,
    };
    // Writing plain numbers and text to memory cannot fail: no map has keys that are not text.
    serde_json::to_vec(&json).unwrap_or_default()
}

/// Gives the CloudEvents attributes that go into the record's headers (CloudEvents 1.0, Kafka binding, binary mode).
pub fn cloud_event_headers(alert: &Alert, topics: &[String]) -> [(&'static str, String); 7] {
    let topic = topic_of(&alert.opened_by, topics);
    [
        ("ce_specversion", "1.0".into()),
        ("ce_id", format!("{}/{}", alert.id, alert.revision)),
        ("ce_source", format!("/tapewatch/{topic}")),
        ("ce_type", EVENT_TYPE.into()),
        ("ce_subject", alert.instrument.to_string()),
        ("ce_time", alert.latest.event_time().to_string()),
        ("content-type", "application/json".into()),
    ]
}

fn group(group: &Group) -> GroupJson<'_> {
    GroupJson {
        looks_like: group.looks_like.name(),
        instruments: group.instruments,
        active: group.active,
        alerts_folded: group.alerts_folded,
        alerts_open: group.alerts_open,
        names: group.names.iter().map(|name| &**name).collect(),
        published: group.published.iter().map(|id| &**id).collect(),
    }
}

fn finding(finding: &Finding) -> FindingJson {
    FindingJson {
        guard: finding.guard.name(),
        surprise: finding.surprise,
        text: finding.fact.to_string(),
        fact: fact(&finding.fact),
    }
}

/// Gives a fact as members of an object.
fn fact(fact: &Fact) -> serde_json::Map<String, serde_json::Value> {
    let json = match *fact {
        Fact::Quote { bid, ask } => serde_json::json!({"bid": bid, "ask": ask}),
        Fact::Price { side, price, median } => {
            serde_json::json!({"side": side.name(), "price": price, "median": median})
        }
        Fact::Regress { before, stamp } => serde_json::json!({"stamp_ns": stamp.0, "stamp_before_ns": before.0}),
        Fact::Return { before, leap, stamp } => {
            serde_json::json!({"stamp_ns": stamp.0, "stamp_before_ns": before.0, "stamp_leap_ns": leap.0})
        }
        Fact::Ahead { stamp, arrival } => serde_json::json!({"stamp_ns": stamp.0, "arrival_ns": arrival.0}),
        Fact::Repeated { sequence } => match sequence.written() {
            Some(number) => serde_json::json!({"sequence": number}),
            None => serde_json::json!({}),
        },
        Fact::Missing { expected, found } => {
            let missing = found.saturating_sub(expected);
            serde_json::json!({"sequence": found, "sequence_expected": expected, "missing": missing})
        }
        Fact::Silence { secs, longest_secs } => serde_json::json!({"silence_secs": secs, "longest_secs": longest_secs}),
        Fact::Standstill {
            what,
            ticks,
            longest_ticks,
        } => {
            let what = match what {
                Still::Prices => "prices",
                Still::Ticks => "ticks",
            };
            serde_json::json!({"still": what, "still_ticks": ticks, "longest_ticks": longest_ticks})
        }
    };
    match json {
        serde_json::Value::Object(members) => members,
        _ => serde_json::Map::new(),
    }
}

fn tick(tick: &Tick) -> serde_json::Map<String, serde_json::Value> {
    let mut members = serde_json::Map::new();
    members.insert("kind".into(), tick.body.kind().into());
    for (name, number) in tick.body.numbers() {
        members.insert(name.into(), number.into());
    }
    if let Some(sequence) = tick.sequence.and_then(Sequence::written) {
        members.insert("sequence".into(), sequence.into());
    }
    members
}

fn feature(share: &FeatureShare) -> FeatureJson {
    FeatureJson {
        name: share.name(),
        words: share.words(),
        unit: share.unit(),
        share: share.share,
        observed: share.observed,
        expected: share.expected,
        feed: share.feed.map(|feed| FeedJson {
            quantity: feed.quantity,
            unit: feed.unit.name(),
            observed: feed.observed,
            expected: feed.expected,
        }),
    }
}

fn cause<'a>(cause: &Cause, topics: &'a [String]) -> CauseJson<'a> {
    CauseJson {
        topic: topic_of(cause, topics),
        partition: cause.position.at.partition.0,
        offset: cause.position.offset.0,
        index: cause.index,
        event_time: cause.event_time().to_string(),
        event_time_ns: cause.event_time().0,
        arrival_time_ms: cause.arrival_time.millis(),
        tick: tick(&cause.tick),
    }
}

fn topic_of<'a>(cause: &Cause, topics: &'a [String]) -> &'a str {
    topics
        .get(usize::from(cause.position.at.topic.0))
        .map_or("", String::as_str)
}

/// Makes an alert that is too large for its topic shorter, and says in the member `omitted` what was left out: half of the
/// features that were left, those with the smallest shares; then the members' names of a shock; then everything that the
/// summary tells too. Gives nothing when there is no more to leave out.
pub fn shortened(payload: &[u8]) -> Option<Vec<u8>> {
    let mut alert: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(payload).ok()?;
    let omitted = leave_out(&mut alert)?;
    let known = alert
        .entry("omitted")
        .or_insert_with(|| serde_json::json!([]))
        .as_array_mut()?;
    if !known.iter().any(|name| name == omitted) {
        known.push(omitted.into());
    }
    serde_json::to_vec(&alert).ok()
}

fn leave_out(alert: &mut serde_json::Map<String, serde_json::Value>) -> Option<&'static str> {
    let features = alert.get_mut("features").and_then(serde_json::Value::as_array_mut);
    if let Some(features) = features.filter(|features| !features.is_empty()) {
        features.truncate(features.len() / 2);
        return Some("features");
    }
    let group = alert.get_mut("group").and_then(serde_json::Value::as_object_mut);
    for name in ["names", "published"] {
        let list = group.as_ref().and_then(|group| group.get(name)?.as_array());
        if list.is_some_and(|list| !list.is_empty()) {
            group?.insert(name.into(), serde_json::json!([]));
            return Some(name);
        }
    }
    alert.remove("finding").map(|_| "finding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_loses_its_smallest_features_first_and_never_what_names_it() {
        let opened = include_bytes!("../../deploy/schema/examples/opened.json");
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let (mut bytes, whole) = (opened.to_vec(), read(opened));
        let mut features = Vec::new();
        while let Some(shorter) = shortened(&bytes) {
            let alert = read(&shorter);
            features.push(alert["features"].as_array().unwrap().len());
            for name in ["id", "state", "kind", "score", "opened_by", "latest", "summary"] {
                assert_eq!(alert[name], whole[name], "{name}");
            }
            assert!(shorter.len() < bytes.len() || alert["omitted"].as_array().unwrap().len() == 1);
            bytes = shorter;
        }
        assert_eq!(&features[..3], [2, 1, 0]);
        assert_eq!(read(&bytes)["omitted"][0], "features");
        assert_eq!(shortened(b"no alert"), None);
    }
}
