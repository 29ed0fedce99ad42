//! Tests of the page as a whole: what it may never contain, and what it always says.

use std::sync::Arc;

use super::*;
use crate::offline::evaluation::{Event, EventFinding, InstrumentAlerts, InstrumentScores};
use crate::pipeline::alert::{AlertKind, AlertState, Cause, FeatureShare, Mode, Severity};
use crate::pipeline::arms::Arm;
use crate::pipeline::feature::inverse::{FeedUnit, FeedValues};
use crate::pipeline::guard::Guard;
use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use crate::pipeline::tick::{Body, Quote, Trade};
use crate::pipeline::time::{ArrivalTime, EventTime};

/// A name that would do harm in every place of a page.
const HOSTILE: &str = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"' & --> ]]>";

/// Elements that have no end.
const VOID: [&str; 2] = ["meta", "br"];

fn run(name: &str) -> Run {
    Run {
        title: "tapewatch backtest".to_owned(),
        program: "0.0.0".to_owned(),
        train: format!("{name}/train"),
        test: format!("{name}/test"),
        labels: Some(format!("{name}/labels.csv")),
        model: None,
        spec: ModelSpec::autoencoder(36, 16, 1, 32, 4),
        provenance: Provenance {
            program: "0.0.0".to_owned(),
            trained_at: String::new(),
            seed: 7,
            ticks: 20_000,
            instruments: 2,
            loss: None,
            loss_kind: None,
            origin: None,
            newest_tick: None,
            instruments_added: 0,
        },
        budget_per_10k: 1.0,
        alert_threshold: 4.0,
    }
}

fn tick(index: usize, price: f64) -> Option<Tick> {
    let body = if index.is_multiple_of(3) {
        Body::Trade(Trade { price, size: Some(5.0) })
    } else {
        Body::Quote(Quote {
            bid: price - 0.01,
            ask: price + 0.01,
            bid_size: Some(100.0),
            ask_size: None,
        })
    };
    Some(Tick {
        event_time: EventTime(1_381_241_243_000_000_000 + index as i64 * 10_000_000),
        sequence: None,
        body,
    })
}

fn alert(instrument: &str, tick: usize, score: f32) -> Alert {
    let at = TopicPartition {
        topic: TopicIndex(0),
        partition: Partition(0),
    };
    let cause = Cause {
        position: Position {
            at,
            offset: Offset(tick as i64),
        },
        index: None,
        arrival_time: ArrivalTime(0),
        clock_time: ArrivalTime(0),
        tick: Tick {
            event_time: EventTime(0),
            sequence: None,
            body: Body::Trade(Trade {
                price: 101.5,
                size: None,
            }),
        },
    };
    Alert {
        id: "id".into(),
        state: AlertState::Opened,
        revision: 0,
        instrument: Arc::from(instrument),
        mode: Mode::Scoring,
        severity: Severity::Warning,
        arm: Arm::Reconstruction,
        kind: AlertKind::Anomaly,
        finding: None,
        score,
        score_max: score,
        threshold: 4.0,
        ticks: 1,
        opened_by: cause,
        latest: cause,
        features: vec![FeatureShare {
            feature: 0,
            share: 0.6,
            observed: 9.5,
            expected: Some(0.25),
            feed: Some(FeedValues {
                quantity: "reference price",
                unit: FeedUnit::Price,
                observed: 101.5,
                expected: Some(101.25),
            }),
        }],
        model_version: None,
        group: None,
    }
}

/// Two instruments of 5,000 ticks: on the first, one event found with an alert, one missed, and one false alarm.
fn outcome(name: &str) -> Outcome {
    let mut scores = vec![0.3; 5_000];
    // Lower than what is usual: to find this event would cost far more false alarms than any budget allows.
    scores[2_000..2_200].fill(0.1);
    for (tick, score) in [(1_000, 8.0), (3_000, 6.5), (4_000, 9.0)] {
        scores[tick] = score;
    }
    let of = |instrument: &str, scores| InstrumentScores {
        instrument: instrument.to_owned(),
        scores,
    };
    let alerted = |instrument: &str, alerted| InstrumentAlerts {
        instrument: instrument.to_owned(),
        ticks: 5_000,
        alerted,
    };
    Outcome {
        scores: vec![of(name, scores), of("quiet", vec![0.2; 5_000])],
        alerts: vec![alerted(name, vec![1_000, 3_000]), alerted("quiet", vec![])],
        opened: vec![(1_000, alert(name, 1_000, 8.0)), (3_000, alert(name, 3_000, 6.5))],
    }
}

fn labels(name: &str) -> Labels {
    let event = |start, end, kind: &str| Event {
        start,
        end,
        kind: kind.to_owned(),
    };
    let events = vec![
        event(995, 1_010, "spike"),
        event(2_000, 2_100, name),
        event(3_999, 4_000, "spike"),
    ];
    Labels::from([(name.to_owned(), events)])
}

fn report(name: &str, with_labels: bool) -> Report {
    let outcome = outcome(name);
    let ticks: Vec<Option<Tick>> = (0..5_000)
        .map(|index| tick(index, 100.0 + (index % 17) as f64 * 0.01))
        .collect();
    Report {
        run: run(name),
        judgement: with_labels.then(|| Judgement::new(&outcome, &labels(name)).unwrap()),
        tapes: tapes(outcome, vec![ticks.clone(), ticks]),
    }
}

/// Asserts that every element that is opened is closed, in order, and that attributes are quoted.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        assert!(tag.matches('"').count().is_multiple_of(2), "<{tag}>");
        let name = tag.trim_start_matches('/').split(' ').next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
        } else if !VOID.contains(&name) {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn page_is_well_formed_and_needs_nothing_else() {
    for with_labels in [true, false] {
        let page = page(&report("A", with_labels));
        assert_well_formed(&page);
        for foreign in [
            "http:", "https:", "src=", "url(", "@import", "<script", "<link", "NaN", "inf\"",
        ] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}

#[test]
fn hostile_names_stay_text() {
    for with_labels in [true, false] {
        let page = page(&report(HOSTILE, with_labels));
        assert_well_formed(&page);
        assert!(!page.contains("<script") && !page.contains("<img"));
        assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;&quot;' &amp; --&gt;"));
    }
}

#[test]
fn same_run_gives_the_same_bytes() {
    assert_eq!(page(&report("A", true)), page(&report("A", true)));
}

#[test]
fn page_with_labels_says_what_was_found_and_shows_the_worst() {
    let page = page(&report("A", true));
    for said in [
        "1 of 3 labelled events got an alert",
        "half of them within 5 ticks of their start",
        "1 of 2 alerts were false</strong>: 1.00 per 10,000 ticks.",
        "Found least: A (0 of 1), spike (1 of 2).",
        "2 of 3 events reach a score of",
        "Events with an alert, one of each kind",
        "<strong>spike</strong> on A<br>ticks 995 to 1,010",
        "Events without an alert",
        "The worst false alarms",
        "A, ticks 2000 to 2100: no alert; highest score 0.10, alerts open at 4.00",
        "LSTM, 1 layer of 16 units, windows of 32 rows; decoder; 5,220 parameters",
        "rotate(-45)\">spike</text>",
        "14:07:23</text>",
        "alert by reconstruction, warning",
        "9.50, expected 0.250",
        "reference price 101.5, expected 101.25",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert_eq!(
        page.matches("class=\"opened\"").count(),
        1 + 1 + 1,
        "one in the overview, two in pictures"
    );
    assert_eq!(page.matches("class=\"opened false\"").count(), 1);
}

#[test]
fn what_the_configured_threshold_found_comes_before_what_labels_would_have_chosen() {
    let page = page(&report("A", true));
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(place("got an alert") < place("R@1/10k"));
    assert!(place("False alarms per 10,000 ticks") < place("What the scores would have allowed"));
    assert!(place("What the scores would have allowed") < place("R@1/1k"));
    assert!(place("<th>with an alert</th>") < place("<th>found at 1/1k</th>"));
    // Of instrument A: 5,000 ticks, one hit and one false alarm.
    for column in ["hits per 10,000 ticks", "false alarms per 10,000 ticks"] {
        assert!(
            page.contains(&format!("<th class=\"number\">{column}</th>")),
            "{column}"
        );
    }
    let cells = "<td class=\"number\">2</td><td class=\"number\">2.0</td><td class=\"number\">2.0</td>";
    assert!(page.contains(cells));
}

#[test]
fn paths_of_the_machine_are_not_shown() {
    let mut report = report("A", true);
    report.run.train = "/home/jane/secret project/past/".to_owned();
    report.run.test = "C:\\Users\\jane\\later".to_owned();
    report.run.labels = Some("/home/jane/labels.csv".to_owned());
    report.run.model = Some("../jane/model-000001.safetensors".to_owned());
    let page = page(&report);
    assert!(!page.contains("jane"));
    for part in ["past", "later", "labels.csv", "model-000001.safetensors"] {
        assert!(page.contains(&format!("<code>{part}</code>")), "{part}");
    }
}

#[test]
fn every_alert_stands_on_the_page_by_kind_and_by_itself_with_or_without_labels() {
    for with_labels in [true, false] {
        let mut report = report("A", with_labels);
        let guard = Alert {
            kind: AlertKind::Guard(Guard::CrossedQuote),
            severity: Severity::Critical,
            ..alert("quiet", 700, 7.0)
        };
        report.tapes[1].alerts.push((700, guard));
        let page = page(&report);
        let split = |hits, false_alarms| match with_labels {
            true => format!("<td class=\"number\">{hits}</td><td class=\"number\">{false_alarms}</td>"),
            false => String::new(),
        };
        let words = report.tapes[0].alerts[0].1.features[0].words();
        let anomalies = format!(
            "<td>anomaly</td><td>{words}</td><td class=\"number\">2</td>{}<td class=\"number\">0</td>\
             <td class=\"number\">1</td><td class=\"number\">8.00</td>",
            split(1, 1)
        );
        let crossed = format!(
            "<td>crossed_quote</td><td></td><td class=\"number\">1</td>{}<td class=\"number\">1</td>",
            split(0, 1)
        );
        assert!(page.contains(&anomalies), "{anomalies}");
        assert!(page.contains(&crossed), "{crossed}");
        for one_by_one in [
            "Its alerts, one by one (2)",
            "Its alerts, one by one (1)",
            "<td>2013-10-08 14:07:33 UTC</td>",
        ] {
            assert!(page.contains(one_by_one), "{one_by_one}");
        }
    }
}

#[test]
fn page_without_labels_shows_alerts_and_judges_nothing() {
    let page = page(&report("A", false));
    assert!(page.contains("The strongest alerts") && page.contains("No labels were given"));
    for absent in ["1/1k", "evAP", "recall", "false alarm", "opened false"] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn spike_is_marked_although_it_is_off_the_scale() {
    let mut report = report("A", false);
    report.tapes[0].ticks[777] = tick(777, 12_345.0);
    let page = page(&report);
    assert!(page.contains("off the scale: 12,345"));
}

#[test]
fn strange_data_breaks_nothing() {
    let mut report = report("A", false);
    report.tapes[0].ticks.truncate(3);
    report.tapes[0].ticks.resize(5_000, None);
    report.tapes[1].scores[10] = f64::INFINITY;
    report.tapes[1].scores[11] = f64::NAN;
    report.tapes[1].ticks[20] = tick(21, f64::MAX);
    report.tapes[1].ticks[21] = tick(21, f64::MIN);
    report.tapes.push(Tape {
        instrument: String::new(),
        ticks: Vec::new(),
        scores: Vec::new(),
        alerts: Vec::new(),
    });
    report.run.alert_threshold = f64::INFINITY;
    let page = page(&report);
    assert_well_formed(&page);
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn page_of_many_restless_instruments_stays_small() {
    let one = Judgement::new(&outcome("A"), &labels("A")).unwrap();
    let restless = |index: usize| Tape {
        instrument: format!("I{index}"),
        ticks: (0..2_000)
            .map(|index| {
                tick(
                    index,
                    if index % 40 == 0 {
                        1e5
                    } else {
                        100.0 + (index * index % 17) as f64
                    },
                )
            })
            .collect(),
        scores: (0..2_000).map(|tick| (tick * tick % 19) as f64 * 0.5).collect(),
        alerts: (0..2_000)
            .step_by(10)
            .map(|tick| (tick, alert("I", tick, 5.0)))
            .collect(),
    };
    let mut report = report("A", true);
    report.tapes = (0..500).map(restless).collect();
    let event = one.breakdown.events[0].clone();
    let events = (0..60).flat_map(|instrument| (0..300).map(move |index| (instrument, index * 6)));
    let judgement = report.judgement.as_mut().unwrap();
    judgement.breakdown.events = events
        .map(|(instrument, start)| EventFinding {
            instrument,
            start,
            end: start + 2,
            ..event.clone()
        })
        .collect();
    let page = page(&report);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains(" of 500 are drawn"));
}

#[test]
fn alerts_stand_with_the_instrument_on_whose_file_they_opened() {
    let mut outcome = outcome("A");
    outcome
        .opened
        .push((9, alert("a name of the line, not of the file", 9, 5.0)));
    outcome.alerts[1].alerted.push(9);
    let tapes = tapes(outcome, vec![Vec::new(), Vec::new()]);
    let lines = |tape: &Tape| tape.alerts.iter().map(|(line, _)| *line).collect::<Vec<_>>();
    assert_eq!(
        tapes.iter().map(lines).collect::<Vec<_>>(),
        [vec![1_000, 3_000], vec![9]]
    );
    assert_eq!(tapes[0].ticks.len(), 5_000);
}
