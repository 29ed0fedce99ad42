//! The header: what was run, what came out in one sentence, and the figures, each with a sentence of its own.

use maud::{Markup, html};

use super::number::{count, fixed, part, percent};
use super::{Judgement, Report, Run};
use crate::model::spec::ContextKind;
use crate::offline::evaluation::KindFinding;

/// Kinds named as found least.
const KINDS_NAMED_MAX: usize = 3;

/// Writes the header.
pub(super) fn header(report: &Report) -> Markup {
    let ticks: usize = report.tapes.iter().map(|tape| tape.scores.len()).sum();
    html! {
        header {
            h1 { "tapewatch backtest" }
            p.lead {
                @match &report.judgement {
                    Some(judgement) => (verdict(judgement)),
                    None => {
                        "No labels were given, so this page shows what the detector said, but not whether it was right."
                    }
                }
            }
            (what_was_run(report, ticks))
            div.cards {
                @match &report.judgement {
                    Some(judgement) => (judged_cards(judgement, &report.run)),
                    None => (plain_cards(report, ticks)),
                }
            }
        }
    }
}

/// Says in one sentence what came out.
fn verdict(judgement: &Judgement) -> Markup {
    let (figures, at) = (&judgement.figures, &judgement.breakdown.at_1k);
    html! {
        "At a threshold that costs one false alarm per 1,000 ticks, "
        strong { (part(at.detected, figures.events)) " labelled events were found" }
        @if at.detected > 0 {
            @match figures.delay_median_ticks.ceil() {
                0.0 => ", half of them or more on their very first tick",
                ticks => { ", half of them within " (fixed(ticks, 0)) " ticks of their start" },
            }
        }
        ". "
        @let least = least_found(judgement);
        @if !least.is_empty() {
            "Found least: "
            @for (index, kind) in least.iter().enumerate() {
                @if index > 0 { ", " }
                (kind.kind) " (" (part(kind.found_1k, kind.events)) ")"
            }
            "."
        }
    }
}

/// Gives the kinds of which the smallest share was found, without those found altogether.
fn least_found(judgement: &Judgement) -> Vec<KindFinding> {
    let mut kinds = judgement.breakdown.kinds();
    kinds.retain(|kind| kind.found_1k < kind.events);
    kinds.sort_by_key(|kind| 1_000_000 * kind.found_1k / kind.events);
    kinds.truncate(KINDS_NAMED_MAX);
    kinds
}

fn what_was_run(report: &Report, ticks: usize) -> Markup {
    let run = &report.run;
    html! {
        dl {
            @match &run.model {
                Some(model) => {
                    (fact("model, as given", html! { code { (model) } }))
                    (fact("seen before", html! { code { (run.train) } }))
                },
                None => (fact("fitted on", html! { code { (run.train) } })),
            }
            (fact("scored", html! { code { (run.test) } }))
            (fact("labels", match &run.labels { Some(labels) => html! { code { (labels) } }, None => html! { "none" } }))
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

fn judged_cards(judgement: &Judgement, run: &Run) -> Markup {
    let (figures, alerts) = (&judgement.figures, &judgement.alerts);
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
        (card("Median delay", &format!("{} ticks", fixed(figures.delay_median_ticks, 0)), &format!(
            "From an event's start to its detection at 1/1k. Nine in ten of those found took at most {} ticks.",
            fixed(figures.delay_p90_ticks.ceil(), 0))))
        (card("Alerts as configured", &percent(alerts.recall), &format!(
            "Share of events with an alert at the budget of {} per 10,000 ticks (threshold {}), at {} false alarms per \
             10,000 ticks.",
            run.budget_per_10k, fixed(run.alert_threshold, 2), fixed(alerts.false_alarms_per_10k, 2))))
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
        (card("Alerts per 10,000 ticks", &fixed(alerts as f64 / ticks as f64 * 1e4, 2),
            "On a normal feed this is about the budget."))
        (card("Highest score", &fixed(scores.fold(f64::NAN, f64::max), 2),
            "Of any tick: −log₁₀ of how rarely an alert opens as high on normal ticks."))
    }
}
