//! Three tables: by kind of event, by instrument, and the events of one instrument.

use maud::{Markup, html};

use super::number::{count, fixed, part};
use super::{Judgement, Report};
use crate::offline::evaluation::EventFinding;

/// Rows of a table: more than anyone reads.
const ROWS_MAX: usize = 400;

/// Writes the kinds, those found least first.
pub(super) fn kinds(judgement: &Judgement) -> Markup {
    let mut kinds = judgement.breakdown.kinds();
    // Shares compared as products, exactly; the names keep their order among equals.
    kinds.sort_by_key(|kind| (1_000_000 * kind.found_1k / kind.events.max(1), kind.found_10k));
    html! {
        div.scroll { table {
            thead { tr {
                th { "kind of event" }
                th.number { "events" }
                th { "found at 1/1k" }
                th { "found at 1/10k" }
                th.number { "median delay, ticks" }
            } }
            tbody {
                @for kind in kinds.iter().take(ROWS_MAX) {
                    tr {
                        td { (kind.kind) }
                        td.number { (count(kind.events)) }
                        td { (bar(kind.found_1k, kind.events)) }
                        td { (bar(kind.found_10k, kind.events)) }
                        td.number { (fixed(kind.delay_median_ticks, 0)) }
                    }
                }
            }
        } }
    }
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
                    th { "found at 1/1k" }
                    th.number { "false alarms at 1/1k" }
                }
                th.number { "alerts opened" }
                th.number { "alerts per 10,000 ticks" }
            } }
            tbody {
                @for (index, tape) in report.tapes.iter().enumerate().take(ROWS_MAX) {
                    @let (ticks, alerts) = (tape.scores.len(), tape.alerts.len());
                    tr {
                        td {
                            @if index < drawn { a href=(format!("#instrument-{index}")) { (tape.instrument) } }
                            @else { (tape.instrument) }
                        }
                        td.number { (count(ticks)) }
                        @if let Some(judgement) = judgement { (judged(judgement, index)) }
                        td.number { (count(alerts)) }
                        td.number { (fixed(alerts as f64 / ticks as f64 * 1e4, 1)) }
                    }
                }
            }
        } }
        @if report.tapes.len() > ROWS_MAX { p { "Only the first " (count(ROWS_MAX)) " are listed." } }
    }
}

/// Writes the cells of one instrument that need labels.
fn judged(judgement: &Judgement, instrument: usize) -> Markup {
    let own = || {
        judgement
            .breakdown
            .events
            .iter()
            .filter(move |event| event.instrument == instrument)
    };
    let found = own().filter(|event| event.delay_1k_ticks.is_some()).count();
    let alarms = judgement.breakdown.false_alarms.iter();
    html! {
        td.number { (count(own().count())) }
        td { (bar(found, own().count())) }
        td.number { (count(alarms.filter(|alarm| alarm.instrument == instrument).count())) }
    }
}

/// Writes the events of one instrument in the order of the labels, folded away.
pub(super) fn events(events: &[&EventFinding]) -> Markup {
    let after = |delay: Option<usize>| match delay {
        Some(0) => "at once".to_owned(),
        Some(1) => "after 1 tick".to_owned(),
        Some(ticks) => format!("after {} ticks", count(ticks)),
        None => "missed".to_owned(),
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
                    th { "found at 1/1k" }
                    th { "found at 1/10k" }
                } }
                tbody {
                    @for event in events.iter().take(ROWS_MAX) {
                        tr {
                            td { (event.kind) }
                            td.number { (count(event.start)) }
                            td.number { (count(event.end)) }
                            td.number { (fixed(event.peak, 2)) }
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
