//! An alert as others read it: JSON (`deploy/schema/alert.v1.json`) with CloudEvents headers in binary mode.

use serde::Serialize;

use crate::pipeline::alert::{Alert, AlertKind, AlertState, Cause, FeatureShare};
use crate::pipeline::shock::Group;

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
    opened_by: PositionJson<'a>,
    latest: PositionJson<'a>,
    features: Vec<FeatureJson>,
    model_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupJson<'a>>,
    summary: String,
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

#[derive(Serialize)]
struct PositionJson<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    event_time: String,
    event_time_ns: i64,
    arrival_time_ms: i64,
}

#[derive(Serialize)]
struct FeatureJson {
    name: &'static str,
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

/// Writes an alert; `topics` are the input topics in the order of their index. The same alert gives the same bytes.
pub fn to_json(alert: &Alert, topics: &[String]) -> Vec<u8> {
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
        opened_by: position(&alert.opened_by, topics),
        latest: position(&alert.latest, topics),
        features: alert.features.iter().map(feature).collect(),
        model_version: alert.model_version.map(|version| version.0),
        group: alert.group.as_deref().map(group),
        summary: summary(alert),
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
        ("ce_time", rfc3339(alert.latest.event_time.0)),
        ("content-type", "application/json".into()),
    ]
}

/// Says in one sentence what a person at 3 a.m. wants to know.
pub fn summary(alert: &Alert) -> String {
    let what = match alert.kind {
        AlertKind::Anomaly => "unusual ticks".to_string(),
        AlertKind::Guard(guard) => guard.name().replace('_', " "),
        AlertKind::Shock => alert.group.as_deref().map_or_else(|| "shock".into(), shock),
    };
    let since = rfc3339(alert.opened_by.event_time.0);
    let instrument = &alert.instrument;
    let mut text = match alert.state {
        AlertState::Opened => format!("{instrument}: {what} at {since}"),
        AlertState::Updated => format!("{instrument}: {what} since {since}, worse after {} ticks", alert.ticks),
        AlertState::Resolved => format!("{instrument}: {what} since {since}, over after {} ticks", alert.ticks),
    };
    if let Some(feature) = alert.features.first() {
        text.push_str("; chiefly ");
        text.push_str(&match &feature.feed {
            Some(feed) => feed.to_string(),
            None => in_own_unit(feature),
        });
    }
    text
}

fn shock(group: &Group) -> String {
    let (instruments, active) = (group.instruments, group.active);
    let looks_like = group.looks_like.name();
    format!("shock of {instruments} of {active} instruments that looks like the {looks_like}")
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

fn in_own_unit(feature: &FeatureShare) -> String {
    let expected = feature
        .expected
        .map_or_else(String::new, |expected| format!(", expected {expected:.3}"));
    format!("{} = {:.3}{expected}", feature.name(), feature.observed)
}

fn feature(share: &FeatureShare) -> FeatureJson {
    FeatureJson {
        name: share.name(),
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

fn position<'a>(cause: &Cause, topics: &'a [String]) -> PositionJson<'a> {
    PositionJson {
        topic: topic_of(cause, topics),
        partition: cause.position.at.partition.0,
        offset: cause.position.offset.0,
        event_time: rfc3339(cause.event_time.0),
        event_time_ns: cause.event_time.0,
        arrival_time_ms: cause.arrival_time.millis(),
    }
}

fn topic_of<'a>(cause: &Cause, topics: &'a [String]) -> &'a str {
    topics
        .get(usize::from(cause.position.at.topic.0))
        .map_or("", String::as_str)
}

fn rfc3339(nanos: i64) -> String {
    // 64 bits of nanoseconds reach from 1677 to 2262, well within what a stamp can hold.
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| String::new(), |stamp| stamp.to_string())
}
