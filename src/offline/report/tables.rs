//! The tables: events by kind, alerts by kind, the instruments, and events and alerts of one instrument.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::labelled::{Kind, Labelled, Opened, events_of, is_false, kinds, opened};
use super::number::{count, fixed, part, stamp};
use super::{Judgement, Report, Tape};
use crate::pipeline::alert::{Alert, AlertKind, Severity};
use crate::pipeline::summary::why;

/// Rows of a table: more than anyone reads.
const ROWS_MAX: usize = 400;

/// Writes the kinds of events, those found least first.
pub(super) fn event_kinds(report: &Report, judgement: &Judgement) -> Markup {
    let kinds: Vec<Kind> = kinds(report, judgement);
    html! {
        div.scroll { table {
            thead { tr {
                th { "kind of event" }
                th.number { "events" }
                th { "with an alert" }
                th.number { "median delay, ticks" }
                th { "found at 1/1k" }
                th { "found at 1/10k" }
            } }
            tbody {
                @for kind in kinds.iter().take(ROWS_MAX) {
                    tr {
                        td { (kind.name) }
                        td.number { (count(kind.events)) }
                        td { (bar(kind.alerted, kind.events)) }
                        td.number { (kind.delay_median_ticks.map_or_else(|| "–".to_owned(), count)) }
                        td { (bar(kind.found_1k, kind.events)) }
                        td { (bar(kind.found_10k, kind.events)) }
                    }
                }
            }
        } }
    }
}

/// What is counted of the alerts of one kind.
#[derive(Default)]
struct AlertCount<'a> {
    opened: Opened,
    critical: usize,
    instruments: BTreeSet<&'a str>,
    highest: f32,
}

/// Writes all alerts by kind, the most frequent first; a model's alerts by the feature with the largest share.
pub(super) fn alert_kinds(report: &Report) -> Markup {
    let mut kinds: BTreeMap<(&str, &str), AlertCount> = BTreeMap::new();
    for (index, tape) in report.tapes.iter().enumerate() {
        let judgement = report.judgement.as_ref();
        let events = judgement.map(|judgement| events_of(report, judgement, index));
        for (tick, alert) in &tape.alerts {
            let kind = kinds.entry(kind_of(alert)).or_default();
            match events.as_ref().is_some_and(|events| is_false(events, *tick)) {
                true => kind.opened.false_alarms += 1,
                false => kind.opened.hits += 1,
            }
            kind.critical += usize::from(alert.severity == Severity::Critical);
            kind.instruments.insert(&tape.instrument);
            kind.highest = kind.highest.max(alert.score);
        }
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    let all = |count: &AlertCount| count.opened.hits + count.opened.false_alarms;
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(all(count)));
    let judged = report.judgement.is_some();
    html! {
        @if kinds.is_empty() { p { "No alert opened." } }
        @else {
            div.scroll { table {
                thead { tr {
                    th { "kind of alert" }
                    th { "chiefly" }
                    th.number { "alerts" }
                    @if judged { th.number { "hits" } th.number { "false alarms" } }
                    th.number { "critical" }
                    th.number { "instruments" }
                    th.number { "highest score" }
                } }
                tbody {
                    @for ((kind, chiefly), own) in kinds.iter().take(ROWS_MAX) {
                        tr {
                            td { (kind) }
                            td { (chiefly) }
                            td.number { (count(all(own))) }
                            @if judged {
                                td.number { (count(own.opened.hits)) }
                                td.number { (count(own.opened.false_alarms)) }
                            }
                            td.number { (count(own.critical)) }
                            td.number { (count(own.instruments.len())) }
                            td.number { (fixed(f64::from(own.highest), 2)) }
                        }
                    }
                }
            } }
        }
    }
}

/// Gives the kind of an alert, and what made it odd where the kind does not say.
fn kind_of(alert: &Alert) -> (&'static str, &'static str) {
    let chiefly = match alert.kind {
        AlertKind::Anomaly => alert.features.first().map_or("–", |feature| feature.words()),
        AlertKind::Guard(_) | AlertKind::Shock => "",
    };
    (alert.kind.name(), chiefly)
}

/// Writes the instruments in their order; the first `drawn` are links to their drawings.
pub(super) fn instruments(report: &Report, drawn: usize) -> Markup {
    let judgement = report.judgement.as_ref();
    html! {
        div.scroll { table {
            thead { tr {
                th { "instrument" }
                th.number { "ticks" }
                @if judgement.is_some() {
                    th.number { "events" }
                    th { "with an alert" }
                    th.number { "alerts opened" }
                    th.number { "hits per 10,000 ticks" }
                    th.number { "false alarms per 10,000 ticks" }
                } @else {
                    th.number { "alerts opened" }
                    th.number { "alerts per 10,000 ticks" }
                }
            } }
            tbody {
                @for (index, tape) in report.tapes.iter().enumerate().take(ROWS_MAX) {
                    @let ticks = tape.scores.len();
                    tr {
                        td {
                            @if index < drawn { a href=(format!("#instrument-{index}")) { (tape.instrument) } }
                            @else { (tape.instrument) }
                        }
                        td.number { (count(ticks)) }
                        @match judgement {
                            Some(judgement) => (judged(report, judgement, index)),
                            None => {
                                td.number { (count(tape.alerts.len())) }
                                td.number { (per_10k(tape.alerts.len(), ticks)) }
                            }
                        }
                    }
                }
            }
        } }
        @if report.tapes.len() > ROWS_MAX { p { "Only the first " (count(ROWS_MAX)) " are listed." } }
    }
}

/// Writes the cells of one instrument that need labels.
fn judged(report: &Report, judgement: &Judgement, instrument: usize) -> Markup {
    let tape = &report.tapes[instrument];
    let events = events_of(report, judgement, instrument);
    let alerted = events.iter().filter(|labelled| labelled.delay.is_some()).count();
    let own = opened(tape, &events);
    html! {
        td.number { (count(events.len())) }
        td { (bar(alerted, events.len())) }
        td.number { (count(tape.alerts.len())) }
        td.number { (per_10k(own.hits, tape.scores.len())) }
        td.number { (per_10k(own.false_alarms, tape.scores.len())) }
    }
}

fn per_10k(alerts: usize, ticks: usize) -> String {
    fixed(alerts as f64 / ticks as f64 * 1e4, 1)
}

/// Writes the events of one instrument in the order of the labels, folded away.
pub(super) fn events(events: &[Labelled]) -> Markup {
    let after = |delay: Option<usize>| match delay {
        Some(0) => "at once".to_owned(),
        Some(1) => "after 1 tick".to_owned(),
        Some(ticks) => format!("after {} ticks", count(ticks)),
        None => "–".to_owned(),
    };
    html! {
        details {
            summary { "Its labelled events, one by one (" (count(events.len())) ")" }
            div.scroll { table {
                thead { tr {
                    th { "kind of event" }
                    th.number { "first tick" }
                    th.number { "last tick" }
                    th.number { "highest score" }
                    th { "alert" }
                    th { "called" }
                    th { "found at 1/1k" }
                    th { "found at 1/10k" }
                } }
                tbody {
                    @for Labelled { event, alert, delay } in events.iter().take(ROWS_MAX) {
                        tr {
                            td { (event.kind) }
                            td.number { (count(event.start)) }
                            td.number { (count(event.end)) }
                            td.number { (fixed(event.peak, 2)) }
                            td { (after(*delay)) }
                            td { (alert.map_or("–", |alert| alert.kind.name())) }
                            td { (after(event.delay_1k_ticks)) }
                            td { (after(event.delay_10k_ticks)) }
                        }
                    }
                }
            } }
            @if events.len() > ROWS_MAX { p { "Only the first " (count(ROWS_MAX)) " are listed." } }
        }
    }
}

/// Writes the alerts of one instrument in their order, folded away. `events`: its labelled events; none without labels.
pub(super) fn alerts(tape: &Tape, events: Option<&[Labelled]>) -> Markup {
    let time = |tick: usize| {
        tape.ticks
            .get(tick)
            .copied()
            .flatten()
            .map(|tick| stamp(tick.event_time.0))
    };
    html! {
        details {
            summary { "Its alerts, one by one (" (count(tape.alerts.len())) ")" }
            div.scroll { table {
                thead { tr {
                    th { "kind of alert" }
                    th.number { "tick" }
                    th { "time" }
                    th { "severity" }
                    th.number { "score" }
                    @if events.is_some() { th { "on an event" } }
                    th { "why" }
                } }
                tbody {
                    @for (tick, alert) in tape.alerts.iter().take(ROWS_MAX) {
                        tr {
                            td { (alert.kind.name()) }
                            td.number { (count(*tick)) }
                            td { (time(*tick).unwrap_or_default()) }
                            td { (alert.severity.name()) }
                            td.number { (fixed(f64::from(alert.score), 2)) }
                            @if let Some(events) = events { td { (if is_false(events, *tick) { "no" } else { "yes" }) } }
                            td { (why(alert).unwrap_or_default()) }
                        }
                    }
                }
            } }
            @if tape.alerts.len() > ROWS_MAX { p { "Only the first " (count(ROWS_MAX)) " are listed." } }
        }
    }
}

/// Draws a share as a bar with its numbers.
fn bar(found: usize, all: usize) -> Markup {
    let share = found as f64 / all.max(1) as f64 * 100.0;
    html! {
        @if all == 0 { "–" } @else {
            span.track { span.fill style=(format!("width:{share:.0}%")) {} }
            span.beside { (part(found, all)) }
        }
    }
}
