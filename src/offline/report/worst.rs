//! The pictures: of each kind of event one that was found, then the worst: events without an alert that scored lowest, and
//! alerts that scored highest.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::closeup::{Scene, TICKS, picture};
use super::labelled::{Labelled, events, events_of, is_false};
use super::levels::Levels;
use super::number::{count, duration, fixed, percent, short};
use super::{Judgement, Report, Tape};
use crate::pipeline::alert::Alert;
use crate::pipeline::summary::why;

/// Pictures of each sort: three rows of three.
const PICTURES_MAX: usize = 9;

/// Kinds of which an event is shown: more than any catalogue has.
const KINDS_MAX: usize = 24;

/// Ticks shown before an event's start: enough to see what was usual.
const TICKS_BEFORE_EVENT: usize = 40;

/// Features of an alert that are named.
const FEATURES_MAX: usize = 3;

/// Draws of each kind the event whose alert opened with the highest score.
pub(super) fn finds(report: &Report, judgement: &Judgement, levels: &Levels) -> Markup {
    let mut best: BTreeMap<&str, (f32, usize, &Alert)> = BTreeMap::new();
    let events = events(report, judgement);
    for (index, labelled) in events.iter().enumerate() {
        let Some(alert) = labelled.alert else { continue };
        let kind = best.entry(&labelled.event.kind).or_insert((alert.score, index, alert));
        if alert.score > kind.0 {
            *kind = (alert.score, index, alert);
        }
    }
    html! {
        @if best.is_empty() { p { "No event got an alert." } }
        div.pictures {
            @for (_, index, alert) in best.into_values().take(KINDS_MAX) {
                @let event = events[index].event;
                @let tape = &report.tapes[event.instrument];
                @let own = events_of(report, judgement, event.instrument);
                @let scene = Scene::around(tape, &own, event.start, TICKS_BEFORE_EVENT);
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

/// Draws the events without an alert that have the lowest peaks.
pub(super) fn misses(report: &Report, judgement: &Judgement, levels: &Levels) -> Markup {
    let mut missed: Vec<Labelled> = events(report, judgement);
    missed.retain(|labelled| labelled.delay.is_none());
    missed.sort_by(|left, right| left.event.peak.total_cmp(&right.event.peak));
    html! {
        @if missed.is_empty() { p { "Every event got an alert." } }
        div.pictures {
            @for Labelled { event, .. } in missed.into_iter().take(PICTURES_MAX) {
                @let tape = &report.tapes[event.instrument];
                @let events = events_of(report, judgement, event.instrument);
                @let scene = Scene::around(tape, &events, event.start, TICKS_BEFORE_EVENT);
                figure {
                    figcaption {
                        (heading(tape, &event.kind))
                        (place(&scene, (event.start, event.end)))
                        (heights(event.peak, levels))
                    }
                    (picture(&scene, levels))
                }
            }
        }
    }
}

/// Draws the alerts that opened far from all events with the highest scores.
pub(super) fn false_alarms(report: &Report, judgement: &Judgement, levels: &Levels) -> Markup {
    let mut alarms: Vec<(usize, usize, &Alert)> = Vec::new();
    for (index, tape) in report.tapes.iter().enumerate() {
        let events = events_of(report, judgement, index);
        let own = tape.alerts.iter().filter(|(tick, _)| is_false(&events, *tick));
        alarms.extend(own.map(|(tick, alert)| (index, *tick, alert)));
    }
    alarms.sort_by(|left, right| right.2.score.total_cmp(&left.2.score));
    html! {
        @if alarms.is_empty() { p { "No alert opened far from all events." } }
        div.pictures {
            @for (index, tick, alert) in alarms.into_iter().take(PICTURES_MAX) {
                @let events = events_of(report, judgement, index);
                (alert_picture(&report.tapes[index], &events, tick, alert, levels))
            }
        }
    }
}

/// Draws the alerts that opened with the highest scores, for want of labels.
pub(super) fn strongest_alerts(report: &Report, levels: &Levels) -> Markup {
    let mut alerts: Vec<(&Tape, usize, &Alert)> = Vec::new();
    for tape in &report.tapes {
        alerts.extend(tape.alerts.iter().map(|(tick, alert)| (tape, *tick, alert)));
    }
    alerts.sort_by(|left, right| right.2.score.total_cmp(&left.2.score));
    html! {
        @if alerts.is_empty() { p { "No alert opened." } }
        div.pictures {
            @for (tape, tick, alert) in alerts.into_iter().take(PICTURES_MAX) {
                (alert_picture(tape, &[], tick, alert, levels))
            }
        }
    }
}

/// Draws the ticks around the one that opened an alert.
fn alert_picture(tape: &Tape, events: &[Labelled], tick: usize, alert: &Alert, levels: &Levels) -> Markup {
    let scene = Scene::around(tape, events, tick, TICKS / 2);
    html! {
        figure {
            figcaption {
                (heading(tape, alert.kind.name()))
                (place(&scene, (tick, tick)))
                (opened_at(alert, levels))
                (said(alert))
            }
            (picture(&scene, levels))
        }
    }
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
    html! { "highest score " (fixed(peak, 2)) ", alerts open at " (fixed(levels.alert, 2)) br; }
}

fn opened_at(alert: &Alert, levels: &Levels) -> Markup {
    html! { "opened with a score of " (fixed(f64::from(alert.score), 2)) ", alerts open at " (fixed(levels.alert, 2)) br; }
}

/// Says what the alert said.
fn said(alert: &Alert) -> Markup {
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
