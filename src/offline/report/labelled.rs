//! The labelled events beside the alerts: which of them got one, and which alerts stand far from all of them.
//!
//! It judges alerts as they opened at the configured threshold; what other thresholds would have found is the
//! [`Breakdown`](crate::offline::evaluation::Breakdown)'s part.

use std::collections::BTreeMap;

use super::{Judgement, Report, Tape};
use crate::offline::evaluation::{EventFinding, GRACE_TICKS, IGNORED_TICKS};
use crate::pipeline::alert::Alert;

/// A labelled event, and the first alert that opened on it.
#[derive(Clone, Copy)]
pub(super) struct Labelled<'a> {
    /// The event, and what its scores would have allowed.
    pub event: &'a EventFinding,
    /// The alert.
    pub alert: Option<&'a Alert>,
    /// Ticks from the event's start to the alert.
    pub delay: Option<usize>,
}

/// Alerts that opened on one instrument, or on all (counts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// On an event or within 64 ticks after it.
    pub hits: usize,
    /// Elsewhere.
    pub false_alarms: usize,
}

/// All events of one kind.
pub(super) struct Kind<'a> {
    /// The kind.
    pub name: &'a str,
    /// Number of events.
    pub events: usize,
    /// Events with an alert.
    pub alerted: usize,
    /// Events that reach the threshold of one false alarm per 10,000 ticks.
    pub found_10k: usize,
    /// Events that reach the threshold of one false alarm per 1,000 ticks.
    pub found_1k: usize,
    /// Middle delay of those with an alert (ticks).
    pub delay_median_ticks: Option<usize>,
}

/// Lists the events of one instrument, in the order of the labels.
pub(super) fn events_of<'a>(report: &'a Report, judgement: &'a Judgement, instrument: usize) -> Vec<Labelled<'a>> {
    let own = judgement.breakdown.events.iter();
    let alerts = report.tapes[instrument].alerts.iter();
    own.filter(|event| event.instrument == instrument)
        .map(|event| {
            let found_in = event.start..=event.end + GRACE_TICKS;
            let first = alerts.clone().find(|(tick, _)| found_in.contains(tick));
            Labelled {
                event,
                alert: first.map(|(_, alert)| alert),
                delay: first.map(|(tick, _)| tick - event.start),
            }
        })
        .collect()
}

/// Lists the events of all instruments.
pub(super) fn events<'a>(report: &'a Report, judgement: &'a Judgement) -> Vec<Labelled<'a>> {
    let instruments = 0..report.tapes.len();
    instruments
        .flat_map(|instrument| events_of(report, judgement, instrument))
        .collect()
}

/// Tells whether an alert that opened at a tick is far from all events of its instrument.
pub(super) fn is_false(events: &[Labelled], tick: usize) -> bool {
    let near = |labelled: &Labelled| (labelled.event.start..=labelled.event.end + IGNORED_TICKS).contains(&tick);
    !events.iter().any(near)
}

/// Counts the alerts of one instrument.
pub(super) fn opened(tape: &Tape, events: &[Labelled]) -> Opened {
    let false_alarms = tape.alerts.iter().filter(|(tick, _)| is_false(events, *tick)).count();
    Opened {
        hits: tape.alerts.len() - false_alarms,
        false_alarms,
    }
}

/// Counts the alerts of all instruments.
pub(super) fn opened_in_all(report: &Report, judgement: &Judgement) -> Opened {
    let mut all = Opened::default();
    for (index, tape) in report.tapes.iter().enumerate() {
        let own = opened(tape, &events_of(report, judgement, index));
        all.hits += own.hits;
        all.false_alarms += own.false_alarms;
    }
    all
}

/// Sums the events up by kind: those with the smallest share of alerts first.
pub(super) fn kinds<'a>(report: &'a Report, judgement: &'a Judgement) -> Vec<Kind<'a>> {
    let mut by_kind: BTreeMap<&str, Vec<Labelled>> = BTreeMap::new();
    for labelled in events(report, judgement) {
        by_kind.entry(&labelled.event.kind).or_default().push(labelled);
    }
    let sum_up = |(name, events): (&'a str, Vec<Labelled>)| {
        let count = |is: fn(&Labelled) -> bool| events.iter().filter(|labelled| is(labelled)).count();
        Kind {
            name,
            events: events.len(),
            alerted: count(|labelled| labelled.delay.is_some()),
            found_10k: count(|labelled| labelled.event.delay_10k_ticks.is_some()),
            found_1k: count(|labelled| labelled.event.delay_1k_ticks.is_some()),
            delay_median_ticks: median(events.iter().filter_map(|labelled| labelled.delay)),
        }
    };
    let mut kinds: Vec<Kind> = by_kind.into_iter().map(sum_up).collect();
    // Shares compared as products, exactly; the names keep their order among equals.
    kinds.sort_by_key(|kind| (1_000_000 * kind.alerted / kind.events.max(1), kind.found_1k));
    kinds
}

/// Gives the middle of some delays, the greater of two middles.
pub(super) fn median(delays: impl Iterator<Item = usize>) -> Option<usize> {
    let mut delays: Vec<usize> = delays.collect();
    delays.sort_unstable();
    delays.get(delays.len() / 2).copied()
}
