//! The header: what was run, what came out in one sentence, and the figures, each with a sentence of its own.
//!
//! What the configured threshold found comes first. What other thresholds would have found, chosen with the labels, comes
//! second and says so.

use maud::{Markup, html};

use super::labelled::{Opened, events, kinds, median, opened_in_all};
use super::number::{count, fixed, part, percent};
use super::{Judgement, Report, Run, last_part};
use crate::model::spec::ContextKind;

/// Kinds named as found least.
const KINDS_NAMED_MAX: usize = 3;

/// Writes the header.
pub(super) fn header(report: &Report) -> Markup {
    let ticks: usize = report.tapes.iter().map(|tape| tape.scores.len()).sum();
    html! {
        header {
            h1 { (report.run.title) }
            p.lead {
                @match &report.judgement {
                    Some(judgement) => (verdict(report, judgement, ticks)),
                    None => {
                        "No labels were given, so this page shows what the detector said, but not whether it was right."
                    }
                }
            }
            (what_was_run(report, ticks))
            @match &report.judgement {
                Some(judgement) => {
                    div.cards { (configured_cards(report, judgement, ticks)) }
                    p.aside {
                        "What the scores would have allowed: these thresholds were chosen with the labels, so they measure "
                        "the scores and not the setting."
                    }
                    div.cards.second { (oracle_cards(judgement)) }
                },
                None => div.cards { (plain_cards(report, ticks)) },
            }
        }
    }
}

/// Says in a few sentences what came out at the configured threshold.
fn verdict(report: &Report, judgement: &Judgement, ticks: usize) -> Markup {
    let events = events(report, judgement);
    let alerted = events.iter().filter(|labelled| labelled.delay.is_some()).count();
    let opened = opened_in_all(report, judgement);
    html! {
        "As configured, with a budget of " (alerts(report.run.budget_per_10k)) " per 10,000 ticks, "
        strong { (part(alerted, events.len())) " labelled events got an alert" }
        @match median(events.iter().filter_map(|labelled| labelled.delay)) {
            None => {},
            Some(0) => ", half of them or more on their very first tick",
            Some(1) => ", half of them within a tick of their start",
            Some(delay) => { ", half of them within " (count(delay)) " ticks of their start" },
        }
        ". "
        (false_ones(opened, ticks))
        @let least: Vec<_> = kinds(report, judgement).into_iter().filter(|kind| kind.alerted < kind.events).collect();
        @if !least.is_empty() {
            " Found least: "
            @for (index, kind) in least.iter().take(KINDS_NAMED_MAX).enumerate() {
                @if index > 0 { ", " }
                (kind.name) " (" (part(kind.alerted, kind.events)) ")"
            }
            "."
        }
    }
}

fn alerts(number: f64) -> String {
    format!("{number} {}", if number == 1.0 { "alert" } else { "alerts" })
}

fn false_ones(opened: Opened, ticks: usize) -> Markup {
    let all = opened.hits + opened.false_alarms;
    html! {
        strong { (part(opened.false_alarms, all)) " alerts were false" }
        ": " (fixed(per_10k(opened.false_alarms, ticks), 2)) " per 10,000 ticks."
    }
}

fn per_10k(alerts: usize, ticks: usize) -> f64 {
    alerts as f64 / ticks as f64 * 1e4
}

fn what_was_run(report: &Report, ticks: usize) -> Markup {
    let run = &report.run;
    let named = |path: &str| html! { code { (last_part(path)) } };
    html! {
        dl {
            @match &run.model {
                Some(model) => {
                    (fact("model, as given", named(model)))
                    (fact("seen before", named(&run.train)))
                },
                None => (fact("learnt from", named(&run.train))),
            }
            (fact("scored", named(&run.test)))
            (fact("labels", match &run.labels { Some(labels) => named(labels), None => html! { "none" } }))
            (fact("instruments", html! { (count(report.tapes.len())) }))
            (fact("ticks", html! { (count(ticks)) }))
            @if let Some(judgement) = &report.judgement {
                @let kinds = judgement.figures.counts.len();
                (fact("labelled events", html! { (count(judgement.figures.events)) " of " (count(kinds)) " kinds" }))
            }
            (model(run))
            (fact("program", html! { "tapewatch " (run.program) }))
        }
    }
}

/// Writes one fact of the list.
fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// Says what the model is and where it comes from.
fn model(run: &Run) -> Markup {
    let (spec, provenance) = (&run.spec, &run.provenance);
    let parameters = spec.parameters();
    let numbers: usize = parameters
        .iter()
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    let layers = if spec.layers == 1 { "layer" } else { "layers" };
    let context = match spec.context {
        ContextKind::Window => format!("windows of {} rows", spec.lookback),
        ContextKind::Carried => "carried state".to_owned(),
    };
    html! {
        (fact("features per tick", html! { (spec.input_size) }))
        (fact("model", html! {
            "LSTM, " (spec.layers) " " (layers) " of " (spec.hidden_size) " units, " (context) "; "
            (spec.heads().join(", ")) "; " (count(numbers)) " parameters"
        }))
        (fact("trained on", html! {
            (count(provenance.ticks as usize)) " ticks of " (count(provenance.instruments as usize)) " instruments"
        }))
        (fact("seed", html! { (provenance.seed) }))
    }
}

fn card(name: &str, value: &str, text: &str) -> Markup {
    html! { div.card { div.name { (name) } div.value { (value) } p { (text) } } }
}

fn configured_cards(report: &Report, judgement: &Judgement, ticks: usize) -> Markup {
    let events = events(report, judgement);
    let mut delays: Vec<usize> = events.iter().filter_map(|labelled| labelled.delay).collect();
    delays.sort_unstable();
    let opened = opened_in_all(report, judgement);
    let run = &report.run;
    let late = delays.get((delays.len() * 9 / 10).min(delays.len().saturating_sub(1)));
    let ticks_of = |delay: Option<&usize>| match delay {
        None => "–".to_owned(),
        Some(1) => "1 tick".to_owned(),
        Some(delay) => format!("{} ticks", count(*delay)),
    };
    html! {
        (card("Events with an alert", &percent(delays.len() as f64 / events.len() as f64), &format!(
            "{} events; an alert opens at a score of {}.",
            part(delays.len(), events.len()), fixed(run.alert_threshold, 2))))
        (card("False alarms per 10,000 ticks", &fixed(per_10k(opened.false_alarms, ticks), 2), &format!(
            "{} alerts opened far from all events. The budget is {}.", count(opened.false_alarms), run.budget_per_10k)))
        (card("Hits per 10,000 ticks", &fixed(per_10k(opened.hits, ticks), 2), &format!(
            "{} alerts opened on an event or within 64 ticks after it.", count(opened.hits))))
        (card("Median delay", &ticks_of(delays.get(delays.len() / 2)), &format!(
            "From an event's start to its alert. Nine in ten took at most {}.", ticks_of(late))))
    }
}

fn oracle_cards(judgement: &Judgement) -> Markup {
    let figures = &judgement.figures;
    let (rare, often) = (&judgement.breakdown.at_10k, &judgement.breakdown.at_1k);
    let found = |detected| part(detected, figures.events);
    html! {
        (card("Event recall, R@1/10k", &percent(figures.recall_10k), &format!(
            "{} events reach a score of {}, the threshold that costs one false alarm per 10,000 ticks.",
            found(rare.detected), fixed(rare.threshold, 2))))
        (card("Event recall, R@1/1k", &percent(figures.recall_1k), &format!(
            "{} events reach a score of {}, the threshold that costs one false alarm per 1,000 ticks.",
            found(often.detected), fixed(often.threshold, 2))))
        (card("Average precision, evAP", &fixed(figures.event_average_precision, 3),
            "Over all thresholds: 1 if every event scored above every false alarm; it sinks with each that does not."))
    }
}

fn plain_cards(report: &Report, ticks: usize) -> Markup {
    let alerts: usize = report.tapes.iter().map(|tape| tape.alerts.len()).sum();
    let scores = report.tapes.iter().flat_map(|tape| tape.scores.iter().copied());
    let threshold = report.run.alert_threshold;
    html! {
        (card("Alerts opened", &count(alerts), &format!(
            "At the budget of {} per 10,000 ticks: an alert opens at a score of {}.",
            report.run.budget_per_10k, fixed(threshold, 2))))
        (card("Alerts per 10,000 ticks", &fixed(per_10k(alerts, ticks), 2),
            "On a normal feed this is about the budget."))
        (card("Highest score", &fixed(scores.fold(f64::NAN, f64::max), 2),
            "Of any tick: −log₁₀ of how rarely an alert opens as high on normal ticks."))
    }
}
