//! The worst: events missed by most, and false alarms that scored highest, each as a small picture.

use maud::{Markup, html};

use super::closeup::{Scene, TICKS, picture};
use super::levels::Levels;
use super::number::{count, duration, fixed, percent, short};
use super::{Judgement, Report, Tape};
use crate::offline::evaluation::{EventFinding, FalseAlarm, GRACE_TICKS};
use crate::pipeline::alert::Alert;
use crate::pipeline::summary::why;

/// Pictures of each sort: three rows of three.
const PICTURES_MAX: usize = 9;

/// Ticks shown before an event's start: enough to see what was usual.
const TICKS_BEFORE_EVENT: usize = 40;

/// Features of an alert that are named.
const FEATURES_MAX: usize = 3;

/// Draws the missed events with the lowest peaks.
pub(super) fn misses(report: &Report, judgement: &Judgement, levels: &Levels) -> Markup {
    let events = judgement.breakdown.events.iter();
    let mut missed: Vec<&EventFinding> = events.filter(|event| event.delay_1k_ticks.is_none()).collect();
    missed.sort_by(|left, right| left.peak.total_cmp(&right.peak));
    html! {
        @if missed.is_empty() { p { "Every event was found at this threshold." } }
        div.pictures {
            @for event in missed.into_iter().take(PICTURES_MAX) {
                @let tape = &report.tapes[event.instrument];
                @let alert = first_alert(tape, event.start, event.end + GRACE_TICKS);
                @let events = events_of(judgement, event.instrument);
                @let scene = Scene::around(tape, &events, event.start, TICKS_BEFORE_EVENT);
                figure {
                    figcaption {
                        (heading(tape, &event.kind))
                        (place(&scene, (event.start, event.end)))
                        (heights(event.peak, levels))
                        (said(alert))
                    }
                    (picture(&scene, levels))
                }
            }
        }
    }
}

/// Draws the false alarms with the highest peaks.
pub(super) fn false_alarms(report: &Report, judgement: &Judgement, levels: &Levels) -> Markup {
    let mut alarms: Vec<&FalseAlarm> = judgement.breakdown.false_alarms.iter().collect();
    alarms.sort_by(|left, right| right.peak.total_cmp(&left.peak));
    html! {
        @if alarms.is_empty() { p { "There was no false alarm at this threshold." } }
        div.pictures {
            @for alarm in alarms.into_iter().take(PICTURES_MAX) {
                @let tape = &report.tapes[alarm.instrument];
                @let alert = first_alert(tape, alarm.first, alarm.last);
                @let events = events_of(judgement, alarm.instrument);
                @let scene = Scene::around(tape, &events, alarm.peak_tick, TICKS / 2);
                figure {
                    figcaption {
                        (heading(tape, alert.map_or("false alarm", |alert| alert.kind.name())))
                        (place(&scene, (alarm.first, alarm.last)))
                        (heights(alarm.peak, levels))
                        (said(alert))
                    }
                    (picture(&scene, levels))
                }
            }
        }
    }
}

/// Draws the alerts that opened with the highest scores, for want of labels.
pub(super) fn strongest_alerts(report: &Report, levels: &Levels) -> Markup {
    let of_tape = |tape| move |(tick, alert): &'_ (usize, Alert)| (tape, *tick, alert.clone());
    let mut alerts: Vec<(&Tape, usize, Alert)> = Vec::new();
    for tape in &report.tapes {
        alerts.extend(tape.alerts.iter().map(of_tape(tape)));
    }
    alerts.sort_by(|left, right| right.2.score.total_cmp(&left.2.score));
    html! {
        @if alerts.is_empty() { p { "No alert opened." } }
        div.pictures {
            @for (tape, tick, alert) in alerts.iter().take(PICTURES_MAX) {
                @let scene = Scene::around(tape, &[], *tick, TICKS / 2);
                figure {
                    figcaption {
                        (heading(tape, alert.kind.name()))
                        (place(&scene, (*tick, *tick)))
                        (heights(f64::from(alert.score), levels))
                        (said(Some(alert)))
                    }
                    (picture(&scene, levels))
                }
            }
        }
    }
}

/// Lists the events of one instrument.
pub(super) fn events_of(judgement: &Judgement, instrument: usize) -> Vec<&EventFinding> {
    let events = judgement.breakdown.events.iter();
    events.filter(|event| event.instrument == instrument).collect()
}

/// Gives the first alert that opened within a range of ticks.
fn first_alert(tape: &Tape, first: usize, last: usize) -> Option<&Alert> {
    let mut alerts = tape.alerts.iter();
    alerts
        .find(|(tick, _)| (first..=last).contains(tick))
        .map(|(_, alert)| alert)
}

fn heading(tape: &Tape, kind: &str) -> Markup {
    html! { strong { (kind) } " on " (tape.instrument) br; }
}

/// Says which ticks it is about, and how long the picture is.
fn place(scene: &Scene, (first, last): (usize, usize)) -> Markup {
    html! {
        @if first == last { "tick " (count(first)) } @else { "ticks " (count(first)) " to " (count(last)) }
        @if let Some(nanos) = scene.nanos() { "; the picture spans " (duration(nanos)) }
        br;
    }
}

fn heights(peak: f64, levels: &Levels) -> Markup {
    html! { "highest score " (fixed(peak, 2)) ", threshold " (fixed(levels.judging, 2)) br; }
}

/// Says what the alert said, if there was one.
fn said(alert: Option<&Alert>) -> Markup {
    let Some(alert) = alert else {
        return html! { span.quiet { "no alert opened in these ticks" } };
    };
    html! {
        "alert by " (alert.arm.name()) ", " (alert.severity.name())
        @if let Some(why) = why(alert) { ": " (why) }
        @if !alert.features.is_empty() {
            ul {
                @for feature in alert.features.iter().take(FEATURES_MAX) {
                    li {
                        (feature.name()) " " (percent(f64::from(feature.share))) ": "
                        (short(f64::from(feature.observed)))
                        @if let Some(expected) = feature.expected { ", expected " (short(f64::from(expected))) }
                        span.quiet { " (" (feature.unit()) ")" }
                        @if let Some(feed) = &feature.feed {
                            "; " (feed)
                            span.quiet { " (" (feed.unit.name()) ")" }
                        }
                    }
                }
            }
        }
    }
}
