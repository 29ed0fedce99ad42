//! The gate, with models that are really trained: nonsense does not take over, and an equal does.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use tapewatch::pipeline::tick::InstrumentTicks;
use tapewatch::train::gate::{Terms, compare};

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
    let verdict = compare(&market::trained().model(), &challenger.model(), &recent, &terms());
    println!("seed {SEED}: {verdict}");
    assert!(!verdict.accepted(), "{verdict}");
    assert!(verdict.to_string().contains("(worse)"));
}

#[test]
fn challenger_equal_to_the_champion_is_accepted() {
    let recent = market::ticks(3, 9000, 12);
    let champion = market::trained().model();
    let verdict = compare(&champion, &market::trained().model(), &recent, &terms());
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
