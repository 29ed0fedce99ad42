//! Tests of the evaluation against score.py's own figures, and of what it refuses.
//!
//! `tests/data/evaluation/make.py` made the set and the golden figures.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::*;

const TOLERANCE: f64 = 1e-9;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/evaluation")
        .join(name)
}

fn read_json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(data(name)).unwrap()).unwrap()
}

fn lengths() -> Vec<(String, usize)> {
    let lengths: Map<String, Value> = serde_json::from_value(read_json("lengths.json")).unwrap();
    lengths
        .into_iter()
        .map(|(instrument, ticks)| (instrument, ticks.as_u64().unwrap() as usize))
        .collect()
}

/// Reads the rows of one instrument as numbers: `seq` and, where there is one, `score`.
fn rows(name: &str, instrument: &str) -> Vec<(usize, Option<f64>)> {
    let mut reader = csv::Reader::from_path(data(name)).unwrap();
    let records = reader
        .records()
        .map(Result::unwrap)
        .filter(|record| &record[0] == instrument);
    records
        .map(|record| {
            (
                record[1].parse().unwrap(),
                record.get(2).map(|score| score.parse().unwrap()),
            )
        })
        .collect()
}

fn golden_scores() -> Vec<InstrumentScores> {
    let read = |(instrument, ticks): (String, usize)| {
        let mut scores = vec![f64::NEG_INFINITY; ticks];
        for (tick, score) in rows("scores.csv", &instrument) {
            scores[tick] = score.unwrap();
        }
        InstrumentScores { instrument, scores }
    };
    lengths().into_iter().map(read).collect()
}

fn golden_alerts() -> Vec<InstrumentAlerts> {
    let read = |(instrument, ticks): (String, usize)| {
        let alerted = rows("alerts.csv", &instrument)
            .into_iter()
            .map(|(tick, _)| tick)
            .collect();
        InstrumentAlerts {
            instrument,
            ticks,
            alerted,
        }
    };
    lengths().into_iter().map(read).collect()
}

/// Asserts that both values have the same keys and, within the tolerance, the same numbers.
fn assert_close(path: &str, actual: &Value, expected: &Value) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            let sorted = |object: &Map<String, Value>| object.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(sorted(actual), sorted(expected), "keys of {path}");
            for (key, value) in actual {
                assert_close(&format!("{path}.{key}"), value, &expected[key]);
            }
        }
        (Value::Number(actual), Value::Number(expected)) => {
            let (actual, expected) = (actual.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (actual - expected).abs() <= TOLERANCE,
                "{path}: {actual}, expected {expected}"
            );
        }
        _ => assert_eq!(actual, expected, "{path}"),
    }
}

fn scores(instrument: &str, scores: Vec<f64>) -> InstrumentScores {
    InstrumentScores {
        instrument: instrument.to_owned(),
        scores,
    }
}

fn labels(events: &[(&str, usize, usize)]) -> Labels {
    let mut labels = Labels::new();
    for &(instrument, start, end) in events {
        labels.entry(instrument.to_owned()).or_default().push(Event {
            start,
            end,
            kind: "spike".to_owned(),
        });
    }
    labels
}

#[test]
fn figures_of_scores_equal_those_of_score_py() {
    let labels = read_labels(&data("labels.csv")).unwrap();
    let figures = evaluate(&golden_scores(), &labels).unwrap();
    assert_close(
        "figures",
        &serde_json::to_value(&figures).unwrap(),
        &read_json("scores.golden.json"),
    );
}

#[test]
fn figures_of_alerts_equal_those_of_score_py() {
    let labels = read_labels(&data("labels.csv")).unwrap();
    let figures = evaluate_alerts(&golden_alerts(), &labels).unwrap();
    assert_close(
        "figures",
        &serde_json::to_value(&figures).unwrap(),
        &read_json("alerts.golden.json"),
    );
}

#[test]
fn nan_scores_like_minus_infinity() {
    let labels = read_labels(&data("labels.csv")).unwrap();
    let mut with_nan = golden_scores();
    for score in with_nan
        .iter_mut()
        .flat_map(|own| &mut own.scores)
        .filter(|score| **score == f64::NEG_INFINITY)
    {
        *score = f64::NAN;
    }
    assert_eq!(
        evaluate(&with_nan, &labels).unwrap(),
        evaluate(&golden_scores(), &labels).unwrap()
    );
}

#[test]
fn event_is_found_until_its_grace_ends() {
    let found = |tick: usize| {
        let mut values = vec![0.0; 20_000];
        values[tick] = 1.0;
        evaluate(&[scores("A", values)], &labels(&[("A", 100, 110)]))
            .unwrap()
            .recall_1k
    };
    assert_eq!([99, 100, 126, 127].map(found), [0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn what_is_not_finite_becomes_null() {
    let figures = evaluate(
        &[scores("A", vec![f64::NEG_INFINITY; 9]), scores("B", vec![0.0; 9])],
        &labels(&[("A", 3, 4)]),
    );
    let figures = serde_json::to_value(figures.unwrap()).unwrap();
    assert_eq!(figures["sVUS"], Value::Null);
    assert_eq!(
        [&figures["delay_med"], &figures["delay_p90"]],
        [&Value::Null, &Value::Null]
    );
    assert_eq!(figures["thr"], json!({"1/10k": null, "1/1k": null}));
    assert_eq!(figures["by_inst"], json!({"A": 0.0, "B": null}));

    let silent = InstrumentAlerts {
        instrument: "A".to_owned(),
        ticks: 9,
        alerted: Vec::new(),
    };
    let figures = serde_json::to_value(evaluate_alerts(&[silent], &labels(&[("A", 3, 4)])).unwrap()).unwrap();
    assert_eq!(
        (&figures["delay_med"], &figures["precision"]),
        (&Value::Null, &json!(0.0))
    );
}

#[test]
fn table_is_that_of_score_py_with_the_kinds_below() {
    let mut values = vec![0.0; 20_000];
    values[102] = 1.0;
    let figures = evaluate(&[scores("A", values)], &labels(&[("A", 100, 110)])).unwrap();
    let expected = "\
| detector | R@1/10k | R@1/1k | RI@1/10k | RI@1/1k | evAP | sVUS | delay med/p90 |
|---|---|---|---|---|---|---|---|
| tapewatch | 1.00 | 1.00 | 1.00 | 1.00 | 1.000 | 0.051 | 2 / 2 |

| kind | events | R@1/10k | R@1/1k |
|---|---|---|---|
| spike | 1 | 1.00 | 1.00 |
";
    assert_eq!(table(&figures), expected);
    let undetected = evaluate(&[scores("A", vec![f64::NAN; 9])], &labels(&[("A", 3, 4)])).unwrap();
    assert!(line("none", &undetected).ends_with("| nan / nan |"));
}

#[test]
fn wrong_input_is_refused() {
    let refused = |instruments: &[&str], events: &[(&str, usize, usize)]| {
        let given: Vec<_> = instruments.iter().map(|name| scores(name, vec![0.0; 9])).collect();
        evaluate(&given, &labels(events)).unwrap_err().to_string()
    };
    let outside = "A: event 3..=9 lies outside the 9 ticks or ends before it starts";
    assert_eq!(refused(&["A"], &[("A", 3, 9)]), outside);
    assert!(refused(&["A"], &[("A", 3, 2)]).starts_with("A: event 3..=2 lies"));
    assert_eq!(
        refused(&["A"], &[("B", 3, 4)]),
        "the labels hold no event of these instruments: they name B, and the ticks A"
    );
    assert_eq!(
        refused(&["A", "A"], &[("A", 3, 4)]),
        "A: given twice, expected each instrument once"
    );

    let alerts = InstrumentAlerts {
        instrument: "A".to_owned(),
        ticks: 9,
        alerted: vec![2, 9],
    };
    let error = evaluate_alerts(&[alerts], &labels(&[("A", 3, 4)])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "A: alert on tick 9, expected one of the 9 ticks from 0"
    );
}

#[test]
fn breakdown_agrees_with_the_figures() {
    let labels = read_labels(&data("labels.csv")).unwrap();
    let scores = golden_scores();
    let figures = evaluate(&scores, &labels).unwrap();
    let found = breakdown(&scores, &labels, figures.thresholds).unwrap();
    assert_eq!(found.events.len(), figures.events);
    assert_eq!(
        [found.at_10k.recall, found.at_1k.recall],
        [figures.recall_10k, figures.recall_1k]
    );
    assert!(found.at_1k.false_alarms <= figures.ticks / 1_000);
    let kinds = found.kinds();
    assert_eq!(kinds.iter().map(|kind| kind.events).sum::<usize>(), figures.events);
    for kind in &kinds {
        let share = kind.found_1k as f64 / kind.events as f64;
        assert_eq!(
            round_to_hundredths(share),
            figures.kinds[&kind.kind].per_1k,
            "{}",
            kind.kind
        );
    }
}

#[test]
fn false_alarms_are_told_by_their_highest_tick() {
    let mut values = vec![0.0; 3_000];
    for (tick, score) in [(500, 2.0), (550, 3.0), (900, 2.0), (1_020, 9.0), (1_080, 8.0)] {
        values[tick] = score;
    }
    let thresholds = PerBudget::of(|_| 2.0);
    let found = breakdown(&[scores("A", values)], &labels(&[("A", 1_010, 1_030)]), thresholds).unwrap();
    let told: Vec<_> = found
        .false_alarms
        .iter()
        .map(|alarm| (alarm.first, alarm.last, alarm.peak_tick, alarm.peak))
        .collect();
    // Tick 1,080 lies within the ignored ticks after the event.
    assert_eq!(told, [(500, 550, 550, 3.0), (900, 900, 900, 2.0)]);
    assert_eq!(found.events[0].delay_1k_ticks, Some(10));
}
