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
        sequence,
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
fn place_holders_among_the_ticks_change_no_score_of_the_others() {
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
    let place_holder = |tick: &Tick| {
        let ask = 9_999_999_999.0;
        let body = match tick.body {
            Body::Quote(quote) => Body::Quote(Quote { ask, ..quote }),
            Body::Trade(trade) => Body::Trade(Trade { price: ask, ..trade }),
        };
        line(&Tick { body, ..*tick })
    };
    let clean = in_order(ticks.iter().map(line).collect());
    let dirty = ticks.iter().enumerate().flat_map(|(index, tick)| {
        let before = (index > 20 && index % 50 == 7).then(|| place_holder(tick));
        before.into_iter().chain([line(tick)])
    });
    let dirty = in_order(dirty.collect());
    let runs = [clean, dirty].map(|lines| run(&market::config(), Some(market::trained().model()), &lines, 64));
    assert_eq!(runs[1].count(Outcome::Implausible), ticks.len() / 50);
    let scores = runs.each_ref().map(|run| {
        let scored = run.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Scored);
        scored.map(|verdict| verdict.score).collect::<Vec<f32>>()
    });
    assert!(scores[0].len() > 3_000);
    assert_eq!(scores[0], scores[1]);
}
