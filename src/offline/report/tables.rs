//! Two tables: by kind of event, and by instrument.

use maud::{Markup, html};

use super::number::{count, fixed, part};
use super::{Judgement, Report};

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
                @for kind in &kinds {
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
                @for (index, tape) in report.tapes.iter().enumerate() {
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
