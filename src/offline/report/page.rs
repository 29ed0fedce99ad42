//! The page: header, figures, pictures and instruments, in this order, in one document.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::levels::Levels;
use super::number::{count, stamp};
use super::{Judgement, Report, Tape, curves, header, labelled, last_part, overview, tables, worst};
use crate::offline::evaluation::{EPISODE_TICKS, GRACE_TICKS, IGNORED_TICKS};

/// The only style; it names no other file.
const STYLE: &str = include_str!("style.css");

/// Forbids scripts and whatever comes from elsewhere, should a name ever get past the escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Instruments drawn: more than anyone looks through. The others stand in the table alone.
const INSTRUMENTS_DRAWN_MAX: usize = 60;

/// What the drawings of the instruments may take, so that a page stays below 3 MB and any browser shows it at once
/// (bytes). One takes 30,000 to 60,000.
const DRAWINGS_BYTES_MAX: usize = 2_000_000;

/// Makes the page. The same report gives the same bytes.
pub fn page(report: &Report) -> String {
    let levels = Levels::of(report);
    let body = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.run.title) ": " (last_part(&report.run.test)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (header::header(report))
                    (contents(report.judgement.is_some()))
                    @if let Some(judgement) = &report.judgement { (figures(report, judgement)) }
                    (alerts(report))
                    (instruments(report, &levels))
                    (pictures(report, &levels))
                    (glossary(report.judgement.is_some()))
                }
            }
        }
    };
    body.into_string()
}

/// Writes where on the page things are.
fn contents(judged: bool) -> Markup {
    let parts: &[(&str, &str)] = if judged {
        &[
            ("#kinds", "Events by kind"),
            ("#curves", "Delay, precision, recall"),
            ("#alert-kinds", "Alerts by kind"),
            ("#instruments", "Instruments"),
            ("#finds", "Events with an alert"),
            ("#misses", "Events without an alert"),
            ("#false-alarms", "False alarms"),
            ("#notes", "How to read this"),
        ]
    } else {
        &[
            ("#alert-kinds", "Alerts by kind"),
            ("#instruments", "Instruments"),
            ("#alerts", "Strongest alerts"),
            ("#notes", "How to read this"),
        ]
    };
    html! { nav { @for (place, name) in parts { a href=(place) { (name) } } } }
}

fn figures(report: &Report, judgement: &Judgement) -> Markup {
    html! {
        section id="kinds" {
            h2 { "What was found, by kind of event" }
            p {
                "Kinds found least come first. Each bar is a share of the kind's events: those that got an alert as configured, "
                "and those that would be found at the thresholds 1/1k and 1/10k, which only labels can tell."
            }
            (tables::event_kinds(report, judgement))
        }
        section.two id="curves" {
            div {
                h2 { "Delay" }
                p { "How long after its start an event gets its alert. Bars on the right cover more ticks each." }
                (curves::delays(&labelled::events(report, judgement)))
            }
            div {
                h2 { "Precision and recall" }
                p {
                    "Each point of the line is a threshold: the lower it is, the more events are found and the more "
                    "false alarms there are. The upper right corner is perfect. The full mark is where the alerts stand as "
                    "configured."
                }
                (curves::precision_recall(judgement))
            }
        }
    }
}

fn alerts(report: &Report) -> Markup {
    html! {
        section id="alert-kinds" {
            h2 { "All alerts, by kind" }
            p {
                "A guard's alert is called after its guard. An alert of the model is an anomaly, and stands under the feature "
                "with the largest share in it."
            }
            (tables::alert_kinds(report))
        }
    }
}

fn instruments(report: &Report, levels: &Levels) -> Markup {
    let judged = report.judgement.is_some();
    let drawings = drawings(report, levels);
    html! {
        section id="instruments" {
            h2 { "Instruments" }
            (tables::instruments(report, drawings.len()))
            p {
                "The score of a tick is −log₁₀ of how rarely an alert opens as high on normal ticks: 3 is once in 1,000 ticks, "
                "6 once in a million. The axis of scores and the thresholds are the same for all instruments. Many ticks "
                "share a point, which shows their lowest and highest price and their highest score."
                @if judged { " Hover over a mark to read what is behind it." } @else { " Hover over an alert to read it." }
            }
            (legend(judged))
            @if report.tapes.len() > drawings.len() {
                p { "Only the first " (count(drawings.len())) " of " (count(report.tapes.len())) " are drawn." }
            }
            @for drawing in &drawings { (drawing) }
        }
    }
}

/// Draws the instruments, the first ones if there are too many for one page.
fn drawings(report: &Report, levels: &Levels) -> Vec<Markup> {
    let mut bytes = 0;
    let tapes = report.tapes.iter().enumerate().take(INSTRUMENTS_DRAWN_MAX);
    tapes
        .map(|(index, tape)| {
            let events = report
                .judgement
                .as_ref()
                .map(|judgement| labelled::events_of(report, judgement, index));
            html! {
                article id=(format!("instrument-{index}")) {
                    h3 { (tape.instrument) }
                    p.quiet { (span_of(tape)) }
                    div.scroll { (overview::chart(tape, events.as_deref(), levels)) }
                    (tables::alerts(tape, events.as_deref()))
                    @if let Some(events) = events.filter(|events| !events.is_empty()) {
                        @if events.len() > overview::EVENTS_DRAWN_MAX {
                            p.quiet { "Only its first " (overview::EVENTS_DRAWN_MAX) " labelled events are drawn." }
                        }
                        (tables::events(&events))
                    }
                }
            }
        })
        .take_while(|drawing| {
            bytes += drawing.0.len();
            bytes <= DRAWINGS_BYTES_MAX
        })
        .collect()
}

/// Says how much there is of an instrument, and from when to when.
fn span_of(tape: &Tape) -> Markup {
    let mut times = tape.ticks.iter().flatten().map(|tick| tick.event_time.0);
    let first = times.next();
    let last = times.next_back().or(first);
    html! {
        (count(tape.scores.len())) " ticks"
        @if let (Some(first), Some(last)) = (first, last) { ", " (stamp(first)) " to " (stamp(last)) }
        "; " (count(tape.alerts.len())) " alerts opened"
    }
}

fn legend(judged: bool) -> Markup {
    html! {
        ul.legend {
            @if judged {
                li { span.swatch.found {} "labelled event with an alert" }
                li { span.swatch.missed {} "labelled event without one (hollow mark above)" }
            }
            li { span.shape { "▼" } @if judged { "alert opened on an event" } @else { "alert opened" } }
            @if judged { li { span.shape { "▽" } "alert opened elsewhere: a false alarm" } }
            li { span.shape.small { "▲" } "price off the scale" }
            li { span.dash.alert {} "score from which an alert opens" }
            @if judged {
                li { span.dash.rare {} "threshold at 1/10k" }
                li { span.dash.often {} "threshold at 1/1k" }
            }
        }
    }
}

fn pictures(report: &Report, levels: &Levels) -> Markup {
    html! {
        @match &report.judgement {
            Some(judgement) => {
                section id="finds" {
                    h2 { "Events with an alert, one of each kind" }
                    p {
                        "Of each kind the event whose alert opened with the highest score. What is shaded is the event; 40 ticks "
                        "before it show what was usual."
                    }
                    (picture_legend(true))
                    (worst::finds(report, judgement, levels))
                }
                section id="misses" {
                    h2 { "Events without an alert" }
                    p {
                        "Labelled events on which no alert opened, the lowest scores first. What is shaded is the event; 40 "
                        "ticks before it show what was usual."
                    }
                    (picture_legend(true))
                    (worst::misses(report, judgement, levels))
                }
                section id="false-alarms" {
                    h2 { "The worst false alarms" }
                    p {
                        "Alerts that opened far from all labels, the highest scores first. With real data, look twice: some may "
                        "be oddities that nobody has labelled."
                    }
                    (worst::false_alarms(report, judgement, levels))
                }
            },
            None => {
                section id="alerts" {
                    h2 { "The strongest alerts" }
                    p { "The alerts that opened with the highest scores, in the middle of each picture." }
                    (picture_legend(false))
                    (worst::strongest_alerts(report, levels))
                }
            },
        }
    }
}

fn picture_legend(judged: bool) -> Markup {
    html! {
        ul.legend {
            li { span.dash.bid {} "bid" }
            li { span.dash.ask {} "ask" }
            li { span.shape { "•" } "trade" }
            li { span.shape { "▼" } "alert opened" }
            li { span.dash.alert {} "score from which an alert opens" }
            @if judged {
                li { span.dash.often {} "threshold at 1/1k" }
                li { span.swatch.found {} "event with an alert" }
                li { span.swatch.missed {} "event without one" }
            }
        }
    }
}

fn glossary(judged: bool) -> Markup {
    html! {
        section.notes id="notes" {
            h2 { "How to read this" }
            dl {
                dt { "tick" } dd { "One message of the feed, a trade or a quote. Ticks are numbered from 0." }
                dt { "alert" } dd {
                    "Opened by a tick that reaches the configured threshold; goes on until the instrument is quiet again. "
                    "None opens while one is open."
                }
                dt { "arm" } dd {
                    "What spoke: " code { "reconstruction" } " (the LSTM's error), " code { "judge" }
                    " (the head that was taught injected faults), " code { "pointwise" }
                    " (the features themselves) or " code { "guard" } " (a plain check of the feed)."
                }
                dt { "leading features" } dd {
                    "What made the tick odd: share of the score, value seen and value expected, in the feature's own unit."
                }
                @if judged {
                    dt { "event with an alert" } dd {
                        "An alert opened on a tick from the event's start to " (GRACE_TICKS) " ticks after its end. Nothing is "
                        "point-adjusted."
                    }
                    dt { "hit, false alarm" } dd {
                        "An alert that opened on an event or within " (IGNORED_TICKS) " ticks after it is a hit; any other is "
                        "false."
                    }
                    dt { "found at 1/1k" } dd {
                        "Some tick in the same range reaches the threshold. What this costs in false alarms is counted in "
                        "episodes of ticks at or above the threshold; a long one costs one more per " (EPISODE_TICKS)
                        " ticks."
                    }
                    dt { "1/1k, 1/10k" } dd {
                        "The lowest threshold, one for all instruments, that costs at most one false alarm per 1,000 or "
                        "10,000 ticks of this test. It is chosen with the labels, so it measures scores, not the setting."
                    }
                }
            }
        }
    }
}
