//! The gate, with models that are really trained: nonsense does not take over, and an equal does.

use std::ops::ControlFlow;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use tapewatch::pipeline::score::ModelVersion;
use tapewatch::pipeline::tick::{Body, InstrumentTicks};
use tapewatch::train::dataset::{HeldBack, Split};
use tapewatch::train::gate::{Terms, compare};
use tapewatch::train::trainer::{settle, train};

use crate::market;

/// Seed of the gate's own faults.
const SEED: u64 = 7;

fn terms() -> Terms {
    let config = market::config();
    Terms {
        runs: config.training.runs,
        threshold: config.alerts.threshold(),
        held_back_share: config.training.held_back_share,
        seed: SEED,
    }
}

#[test]
fn challenger_trained_on_shuffled_ticks_is_refused() {
    let recent = market::ticks(3, 9000, 12);
    let mut shuffled: Vec<InstrumentTicks> = market::ticks(3, 9000, 11);
    let mut generator = Pcg64Mcg::seed_from_u64(SEED);
    for of in &mut shuffled {
        // The messages change places, the stamps stay: a challenger with the right rates and nothing else.
        let mut bodies: Vec<_> = of.ticks.iter().map(|tick| tick.body).collect();
        bodies.shuffle(&mut generator);
        of.ticks
            .iter_mut()
            .zip(bodies)
            .for_each(|(tick, body)| tick.body = body);
    }
    let challenger = market::train_on(&shuffled, 2);
    let verdict = compare(
        &market::trained().model(),
        &challenger.model(),
        &recent,
        &terms(),
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    println!("seed {SEED}: {verdict}");
    assert!(!verdict.accepted(), "{verdict}");
    assert!(verdict.to_string().contains("(worse)"));
}

#[test]
fn challenger_equal_to_the_champion_is_accepted() {
    let recent = market::ticks(3, 9000, 12);
    let champion = market::trained().model();
    let verdict = compare(&champion, &market::trained().model(), &recent, &terms(), &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    println!("seed {SEED}: {verdict}");
    assert!(verdict.accepted(), "{verdict}");
    for measure in &verdict.measures {
        assert_eq!(
            measure.champion.to_bits(),
            measure.challenger.to_bits(),
            "{}",
            measure.name
        );
    }
}

/// The same ticks up to the rows that are left to the gate, and half as dear from there on.
fn other_at_the_end(ticks: &[InstrumentTicks]) -> Vec<InstrumentTicks> {
    let mut others = ticks.to_vec();
    for other in &mut others {
        let (share, most) = (
            terms().held_back_share,
            market::config().training.ticks_per_instrument_max,
        );
        let learnt_from = other.ticks.len().min(most);
        let left = Split::new(learnt_from, share, HeldBack::CalibrationAndGate).gate.len();
        assert!(left > 50, "{left} of {learnt_from}");
        let from = other.ticks.len() - left;
        for tick in &mut other.ticks[from..] {
            match &mut tick.body {
                Body::Trade(trade) => trade.price *= 0.5,
                Body::Quote(quote) => (quote.bid, quote.ask) = (0.5 * quote.bid, 0.5 * quote.ask),
            }
        }
    }
    others
}

#[test]
fn nothing_in_a_model_comes_from_the_rows_that_are_left_to_the_gate() {
    let ticks = market::ticks(3, 9000, 11);
    let others = other_at_the_end(&ticks);
    let config = market::config();
    let (training, stamp) = (&config.training, "2024-01-02T21:00:00Z");
    let go_on = &mut |_| ControlFlow::Continue(());
    let trained = [&ticks, &others].map(|ticks| {
        let held_back = HeldBack::CalibrationAndGate;
        train(ticks, &config.model, training, held_back, ModelVersion(2), stamp, go_on).unwrap()
    });
    assert_eq!(trained[0], trained[1]);
    let base = market::trained();
    let settled = [&ticks, &others].map(|ticks| {
        let held_back = HeldBack::CalibrationAndGate;
        settle(base, ticks, training, held_back, ModelVersion(2), stamp, go_on).unwrap()
    });
    assert_eq!(settled[0], settled[1]);
    // Where no gate follows, the newest rows say what is usual too.
    let all = settle(
        base,
        &ticks,
        training,
        HeldBack::Calibration,
        ModelVersion(2),
        stamp,
        go_on,
    )
    .unwrap();
    assert_ne!(all.calibrations, settled[0].calibrations);
}
