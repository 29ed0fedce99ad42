//! Laws of the detector, on drawn input: whatever arrives, it ends in one counted outcome and a finite score.
//!
//! A failing case is shrunk and its seed written to `tests/suite/laws.proptest-regressions`, to be committed with the fix.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tapewatch::config::Config;
use tapewatch::offline::replay::to_json;
use tapewatch::pipeline::detector::Outcome;
use tapewatch::pipeline::tick::{Body, Quote, Tick, Trade};
use tapewatch::pipeline::time::EventTime;
use tapewatch::pipeline::verdict::{RecordOutcome, by_record};

use crate::market::{self, Line, Run, run};
use crate::schema;

/// Cases of each law: enough to meet every branch of the decoder, few enough for a second.
const CASES: u32 = 96;

fn settings() -> ProptestConfig {
    ProptestConfig {
        cases: CASES,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/suite/laws.proptest-regressions",
        ))),
        ..ProptestConfig::default()
    }
}

/// A record of ours, whole or damaged, or bytes of any kind.
fn payload() -> impl Strategy<Value = Option<Vec<u8>>> {
    let whole = || (tick(), "[A-C]").prop_map(|(tick, instrument)| to_json(&instrument, &tick).into_bytes());
    let damaged = (whole(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(mut bytes, place, byte, cut)| {
            let place = place.index(bytes.len());
            if cut {
                bytes.truncate(place)
            } else {
                bytes[place] = byte
            }
            bytes
        },
    );
    prop_oneof![
        1 => Just(None),
        3 => vec(any::<u8>(), 0..200).prop_map(Some),
        3 => whole().prop_map(Some),
        4 => damaged.prop_map(Some),
        1 => "[-0-9.eE\\[\\]{}\":,a-z/\\\\]{0,120}".prop_map(|text| Some(text.into_bytes())),
    ]
}

/// A tick with every number that the decoder lets through.
fn tick() -> impl Strategy<Value = Tick> {
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let price = || prop_oneof![3 => 90.0..110.0, 1 => POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO];
    let size = || prop::option::of(prop_oneof![3 => 0.0..1e4, 1 => POSITIVE | NORMAL | SUBNORMAL | ZERO]);
    let trade = (price(), size()).prop_map(|(price, size)| Body::Trade(Trade { price, size }));
    let quote = (price(), price(), size(), size()).prop_map(|(bid, ask, bid_size, ask_size)| {
        Body::Quote(Quote {
            bid,
            ask,
            bid_size,
            ask_size,
        })
    });
    let near = market::OPEN.0..market::OPEN.0 + 1_000_000_000;
    // 1990 to 2099, the years that the default configuration believes.
    let far = 631_152_000_000_000_000..4_102_444_800_000_000_000_i64;
    let time = prop_oneof![3 => near, 1 => far];
    let sequence = prop::option::weighted(0.2, 0..50_u64);
    (time, sequence, prop_oneof![trade, quote]).prop_map(|(time, sequence, body)| Tick {
        event_time: EventTime(time),
        sequence: sequence.map(Into::into),
        body,
    })
}

/// Records with rising offsets on one partition.
fn in_order(payloads: Vec<Option<Vec<u8>>>) -> Vec<Line> {
    let line = |(offset, payload)| Line {
        partition: 0,
        offset,
        key: Some(b"A".to_vec()),
        payload,
    };
    (0..).zip(payloads).map(line).collect()
}

/// Every record has one verdict, and the outcomes sum to the records.
fn assert_accounted(run: &Run, records: usize) {
    assert_eq!(run.verdicts.len(), records);
    let sum: usize = Outcome::ALL.into_iter().map(|outcome| run.count(outcome)).sum();
    assert_eq!(sum, records);
    assert_eq!(run.dead_letters, run.count(Outcome::Rejected));
    for verdict in &run.verdicts {
        assert!(verdict.score.is_finite() && verdict.score >= 0.0, "{verdict:?}");
    }
}

fn csv() -> Config {
    Config::from_toml(&format!("{}\n[decode]\nformat = \"csv\"", market::SMALL)).unwrap()
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn any_bytes_end_in_exactly_one_outcome_each(payloads in vec(payload(), 1..60)) {
        let lines = in_order(payloads);
        for config in [market::config(), csv()] {
            let run = run(&config, Some(market::trained().model()), &lines, 7);
            assert_accounted(&run, lines.len());
            run.alerts.iter().for_each(|alert| drop(schema::assert_valid(alert)));
        }
    }

    #[test]
    fn any_ticks_give_finite_scores_and_valid_alerts(ticks in vec(tick(), 20..80)) {
        // An ordinary past, so that every drawn tick is scored.
        let past = &market::ticks(1, 400, 5)[0].ticks;
        let json = |tick: &Tick| Some(to_json("ACME", &Tick { sequence: None, ..*tick }).into_bytes());
        let lines = in_order(past.iter().chain(&ticks).map(json).collect());
        let run = run(&market::config(), Some(market::trained().model()), &lines, 500);
        assert_accounted(&run, lines.len());
        prop_assert!(run.count(Outcome::Scored) >= ticks.len());
        prop_assert_eq!(run.dead_letters, 0);
        run.alerts.iter().for_each(|alert| drop(schema::assert_valid(alert)));
    }

    #[test]
    fn repeated_and_skipped_offsets_are_accounted_for(
        places in vec((0..3_i32, 0..40_i64), 1..120),
        instruments in vec("[A-F]", 120),
        batch in 1..50_usize,
    ) {
        let config = Config::from_toml(&format!("{}\n[detector]\ninstruments_max = 3", market::SMALL)).unwrap();
        let ticks = &market::ticks(1, 120, 5)[0].ticks;
        let line = |(((partition, offset), instrument), tick): (((i32, i64), &String), _)| Line {
            partition,
            offset,
            key: None,
            payload: Some(to_json(instrument, tick).into_bytes()),
        };
        let lines: Vec<Line> = places.into_iter().zip(&instruments).zip(ticks).map(line).collect();
        let run = run(&config, None, &lines, batch);
        assert_accounted(&run, lines.len());
        // Applied at most once: offsets of a partition that were not passed over rise.
        for partition in 0..3 {
            let applied: Vec<i64> = run
                .verdicts
                .iter()
                .filter(|verdict| verdict.position.at.partition.0 == partition)
                .filter(|verdict| verdict.outcome != Outcome::AlreadyApplied)
                .map(|verdict| verdict.position.offset.0)
                .collect();
            prop_assert!(applied.is_sorted_by(|a, b| a < b), "{applied:?}");
        }
    }
}

/// Reads arrays of the records that the default configuration reads, and leaves status messages out.
const BATCHED: &str = r#"
[[decode.rules]]
each = "/data"
when = { "/instrument" = "*" }
instrument = "/instrument"
time = "/ts_ns"
time_unit = "ns"
kind = "/kind"
price = "/price"
size = "/size"
bid = "/bid"
ask = "/ask"
bid_size = "/bid_size"
ask_size = "/ask_size"
sequence = "/seq"
[[decode.rules]]
each = "/data"
when = { "/status" = "*" }
ignore = true
"#;

fn batched() -> Config {
    Config::from_toml(&format!("{}\n{BATCHED}", market::SMALL)).unwrap()
}

/// One element of a record, and what becomes of it where that does not depend on what came before.
fn element() -> impl Strategy<Value = (String, Option<Outcome>)> {
    let known = |text: &str, outcome| Just((text.to_owned(), Some(outcome)));
    prop_oneof![
        6 => (tick(), "[A-C]").prop_map(|(tick, instrument)| (to_json(&instrument, &tick), None)),
        1 => known(r#"{"instrument":"A","ts_ns":1704205800000000000,"kind":"quote","bid":null,"ask":1}"#, Outcome::Incomplete),
        1 => known(r#"{"instrument":"A","ts_ns":1704205800000000000,"kind":"quote","bid":0,"ask":1,"bid_size":0}"#, Outcome::Incomplete),
        1 => known(r#"{"status":"connected"}"#, Outcome::Ignored),
        1 => known(r#"{"instrument":"A","ts_ns":1704205800000000000,"kind":"trade","price":"x"}"#, Outcome::Rejected),
        1 => known(r#"{"instrument":"A","ts_ns":17,"kind":"trade","price":1}"#, Outcome::Rejected),
        1 => known("7", Outcome::Rejected),
    ]
}

fn record_of(elements: &[String]) -> Option<Vec<u8>> {
    Some(format!(r#"{{"data":[{}]}}"#, elements.join(",")).into_bytes())
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn every_tick_of_a_record_ends_in_exactly_one_outcome(
        records in vec(vec(element(), 0..6), 1..30),
        batch in 1..40_usize,
    ) {
        let texts = |record: &Vec<(String, Option<Outcome>)>| record_of(&record.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>());
        let lines = in_order(records.iter().map(texts).collect());
        let run = run(&batched(), Some(market::trained().model()), &lines, batch);
        let by_record: Vec<_> = by_record(&run.verdicts).collect();
        prop_assert_eq!(by_record.len(), records.len());
        let mut letters = 0;
        for ((record, verdicts), offset) in records.iter().zip(&by_record).zip(0..) {
            prop_assert_eq!(verdicts.len(), record.len().max(1));
            for (verdict, index) in verdicts.iter().zip(0..) {
                prop_assert_eq!((verdict.position.offset.0, verdict.index), (offset, index));
            }
            for ((_, expected), verdict) in record.iter().zip(*verdicts) {
                match expected {
                    Some(expected) => prop_assert_eq!(verdict.outcome, *expected),
                    None => prop_assert!(!matches!(verdict.outcome, Outcome::Rejected | Outcome::Ignored)),
                }
            }
            let bad = record.iter().filter(|(_, outcome)| *outcome == Some(Outcome::Rejected)).count();
            letters += usize::from(bad > 0);
            let expected = match (record.len(), bad) {
                (0 | 1, _) => RecordOutcome::Single(verdicts[0].outcome),
                (items, bad) if items == bad => RecordOutcome::Single(Outcome::Rejected),
                (_, 0) => RecordOutcome::Several,
                _ => RecordOutcome::PartlyRejected,
            };
            prop_assert_eq!(RecordOutcome::of(verdicts), expected);
        }
        prop_assert_eq!(run.dead_letters, letters);
        run.alerts.iter().for_each(|alert| drop(schema::assert_valid(alert)));
    }

    #[test]
    fn any_bytes_meet_rules_and_end_in_one_outcome_each(payloads in vec(payload(), 1..60)) {
        let lines = in_order(payloads);
        let run = run(&batched(), None, &lines, 7);
        prop_assert_eq!(by_record(&run.verdicts).count(), lines.len());
        let rejected = by_record(&run.verdicts).filter(|verdicts| verdicts.iter().any(|verdict| verdict.outcome == Outcome::Rejected));
        prop_assert_eq!(run.dead_letters, rejected.count());
    }
}

#[test]
fn ticks_are_judged_alike_whether_records_hold_one_or_several() {
    let market = market::with_faults(&market::ticks(1, 4500, 31), 31).0;
    let ticks = &market[0].ticks;
    let texts: Vec<String> = ticks.iter().map(|tick| to_json("ACME", tick)).collect();
    let of = |most: usize| {
        let records = texts.chunks(most).map(record_of).collect();
        run(&batched(), Some(market::trained().model()), &in_order(records), 64)
    };
    let (single, several) = (of(1), of(4));
    let scores = |run: &Run| {
        run.verdicts
            .iter()
            .map(|verdict| (verdict.outcome, verdict.score.to_bits()))
            .collect::<Vec<_>>()
    };
    assert_eq!(scores(&single), scores(&several));
    assert!(single.count(Outcome::Scored) > 2000);
    // The same alerts, each named after the place of its tick.
    let opened = |run: &Run, most: i64| -> Vec<(i64, String)> {
        let opened = run.alerts.iter().map(|alert| schema::assert_valid(alert));
        let opened = opened.filter(|alert| alert["state"] == "opened");
        opened
            .map(|alert| {
                let by = &alert["opened_by"];
                let offset = by["offset"].as_i64().unwrap();
                let id = alert["id"].as_str().unwrap().to_owned();
                let expected = match by.get("index") {
                    Some(index) => format!("ticks-0-{offset}-{index}"),
                    None => format!("ticks-0-{offset}"),
                };
                assert_eq!(id, expected);
                assert_eq!(by.get("index").is_some(), most > 1);
                (
                    offset * most + by.get("index").map_or(0, |index| index.as_i64().unwrap()),
                    alert["kind"].to_string(),
                )
            })
            .collect()
    };
    assert_eq!(opened(&single, 1), opened(&several, 4));
    assert!(opened(&single, 1).len() > 5);
}

/// Records of a market with faults, seed 31.
fn faulty_lines() -> Vec<Line> {
    market::lines(&market::with_faults(&market::ticks(3, 4500, 31), 31).0)
}

#[test]
fn how_records_are_cut_into_batches_changes_no_byte_of_an_alert() {
    let (config, lines) = (market::config(), faulty_lines());
    let [one, seven, many] = [1, 7, 500].map(|batch| run(&config, Some(market::trained().model()), &lines, batch));
    assert!(!one.alerts.is_empty(), "no alerts to compare");
    assert!(one.alerts == seven.alerts && one.alerts == many.alerts);
    assert!(one.verdicts == seven.verdicts && one.verdicts == many.verdicts);
    assert_accounted(&many, lines.len());
}

#[test]
fn removing_one_instrument_changes_no_bit_of_anothers_scores() {
    let (config, lines) = (market::config(), faulty_lines());
    let bits = |lines: &[Line]| -> Vec<(i64, u32)> {
        run(&config, Some(market::trained().model()), lines, 64)
            .verdicts
            .iter()
            .filter(|verdict| verdict.position.at.partition.0 == 0)
            .map(|verdict| (verdict.position.offset.0, verdict.score.to_bits()))
            .collect()
    };
    let alone: Vec<Line> = lines.iter().filter(|line| line.partition == 0).cloned().collect();
    assert!(alone.len() > 500 && alone.len() < lines.len());
    assert_eq!(bits(&lines), bits(&alone));
}

#[test]
fn same_ticks_and_seed_train_the_same_bytes() {
    let again = market::train_on(&market::ticks(3, 9000, 11), 1);
    assert_eq!(again.to_bytes().unwrap(), market::trained().to_bytes().unwrap());
}

#[test]
fn implausible_prices_among_the_ticks_change_no_score_of_the_others() {
    let ticks = &market::ticks(1, 4_000, 9)[0].ticks;
    let line = |tick: &Tick| {
        Some(
            to_json(
                "ACME",
                &Tick {
                    sequence: None,
                    ..*tick
                },
            )
            .into_bytes(),
        )
    };
    let implausible = |tick: &Tick| {
        let ask = 8_888_888_888.0;
        let body = match tick.body {
            Body::Quote(quote) => Body::Quote(Quote { ask, ..quote }),
            Body::Trade(trade) => Body::Trade(Trade { price: ask, ..trade }),
        };
        line(&Tick { body, ..*tick })
    };
    let clean = in_order(ticks.iter().map(line).collect());
    let dirty = ticks.iter().enumerate().flat_map(|(index, tick)| {
        let before = (index > 20 && index % 50 == 7).then(|| implausible(tick));
        before.into_iter().chain([line(tick)])
    });
    let dirty = in_order(dirty.collect());
    // A guard's alert holds the judge's level still while it is open.
    let guards = "time_future = false\nabsurd_price = false\ndecimal_shift = false";
    let config = Config::from_toml(&market::SMALL.replace("time_future = false", guards)).unwrap();
    let runs = [clean, dirty].map(|lines| run(&config, Some(market::trained().model()), &lines, 64));
    assert_eq!(runs[1].count(Outcome::Implausible), ticks.len() / 50 - 1);
    let scores = runs.each_ref().map(|run| {
        let scored = run.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Scored);
        scored.map(|verdict| verdict.score).collect::<Vec<f32>>()
    });
    assert!(scores[0].len() > 3_000);
    assert_eq!(scores[0], scores[1]);
}
