//! One sentence about an alert: what a person at 3 a.m. wants to know, the same in the alert, the log, the report and the
//! demo.

use super::alert::{Alert, AlertKind, AlertState, FeatureShare};
use super::group::Group;

/// Says what happened, to which instrument, since when and why.
///
/// A guard's alert tells the facts that the guard saw; a model's the feature with the largest share, as a quantity of the
/// feed where it is one.
pub fn summary(alert: &Alert) -> String {
    let since = alert.opened_by.event_time();
    let (instrument, what, ticks) = (&alert.instrument, what(alert), alert.ticks);
    let head = match alert.state {
        AlertState::Opened => format!("{instrument}: {what} at {since}"),
        AlertState::Updated => format!("{instrument}: {what} since {since}, worse after {ticks} ticks"),
        AlertState::Resolved => format!("{instrument}: {what} since {since}, over after {ticks} ticks"),
    };
    match why(alert) {
        Some(why) => format!("{head}; {why}"),
        None => head,
    }
}

/// Says why a tick raised the alert: the one that was worst so far.
pub fn why(alert: &Alert) -> Option<String> {
    match (alert.kind, &alert.finding) {
        (AlertKind::Guard(_), Some(finding)) => Some(finding.fact.to_string()),
        _ => alert
            .features
            .first()
            .map(|feature| format!("chiefly {}", told(feature))),
    }
}

fn what(alert: &Alert) -> String {
    match alert.kind {
        AlertKind::Anomaly => "unusual ticks".into(),
        AlertKind::Guard(guard) => guard.name().replace('_', " "),
        AlertKind::Shock => alert.group.as_deref().map_or_else(|| "shock".into(), shock),
    }
}

fn shock(group: &Group) -> String {
    let (instruments, active) = (group.instruments, group.active);
    let looks_like = group.looks_like.name();
    format!("shock of {instruments} of {active} instruments that looks like the {looks_like}")
}

/// Gives a feature in words, with what was seen of it and what was expected.
fn told(feature: &FeatureShare) -> String {
    if let Some(feed) = &feature.feed {
        return feed.to_string();
    }
    let expected = feature
        .expected
        .map_or_else(String::new, |expected| format!(", expected {expected:.3}"));
    format!("{} {:.3}{expected}", feature.words(), feature.observed)
}
