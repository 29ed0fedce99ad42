//! Injection: faults of many kinds put into copies of clean ticks, with labels that say where.
//!
//! Promises a pure function: the same ticks, catalogue and seed give the same bits on every machine; ticks outside the
//! labels are the true ones. Strengths are measured by the instrument's own σ, price step, sizes and rate, and are
//! drawn with a uniform logarithm, mild ones too: the judge learns from them (outlier exposure, Hendrycks et al. 2019),
//! canaries and backtests use the same ones. Knows no detector, no model, and no labels of any benchmark.
//!
//! An event is an `Episode`: some clean ticks and what stands in their place. The families live in
//! `price`, `quote`, `size`, `feed` and `order`; the `profile` says what is usual for the instrument.

mod catalogue;
mod draws;
mod episode;
mod feed;
mod grid;
mod order;
mod price;
mod profile;
mod quote;
mod size;
mod tape;

pub use catalogue::{Catalogue, Family, Fault};
pub use draws::Draws;
pub use grid::price_step;

use crate::pipeline::tick::Tick;
use episode::{Donor, Episode, Scene};
use profile::{Profile, reference_prices};
use tape::Tape;

/// Tries to place one drawn fault (count, ≥ 1): not every fault shows everywhere, a freeze of a still price does not.
const ATTEMPTS: usize = 8;

/// Ticks between two tries (ticks, ≥ 1): far enough for another scene, near enough to keep faults dense.
const ATTEMPT_STRIDE_TICKS: usize = 12;

/// Ticks after a fault's end in which a detection still counts for it (ticks): a print that was wrong shows by how the next
/// one comes back, and between two trades there may be many quotes. What the judge is taught, what the gate counts and what
/// the evaluation reports all mean this by "found"; it is the tick benchmark's choice too.
pub const GRACE_TICKS: usize = 16;

/// Where a fault stands in the ticks that [`apply`] returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// First tick of the event (index into the returned ticks).
    pub start: usize,
    /// Last tick of the event (index into the returned ticks, included, ≥ `start`).
    pub end: usize,
    /// What was done.
    pub fault: Fault,
    /// How strongly (in the unit that the fault documents, finite).
    pub magnitude: f64,
}

impl Label {
    /// Gives the ticks in which the fault counts as found: its own, and [`GRACE_TICKS`] after them.
    pub fn found_in(&self) -> std::ops::Range<usize> {
        self.start..self.end + 1 + GRACE_TICKS
    }
}

/// Leaves the first `clean` ticks (all, where there are fewer) as they are and injects faults into the rest, as [`apply`]
/// does; the labels are indices into all of the returned ticks.
pub fn apply_after(clean: usize, ticks: &[Tick], catalogue: &Catalogue, seed: u64) -> (Vec<Tick>, Vec<Label>) {
    let (past, rest) = ticks.split_at(clean.min(ticks.len()));
    let (faulty, mut labels) = apply(rest, None, catalogue, seed);
    for label in &mut labels {
        label.start += past.len();
        label.end += past.len();
    }
    ([past, &faulty].concat(), labels)
}

/// Injects faults into a copy of clean `ticks` of one instrument and labels them, in order and without overlap.
///
/// `foreign` lends its moves to [`Fault::ForeignRows`]; without it, the instrument's own are lent backwards in time.
/// Only faults that the ticks can carry are drawn; where none fits, or no price ever differs, nothing changes.
pub fn apply(ticks: &[Tick], foreign: Option<&[Tick]>, catalogue: &Catalogue, seed: u64) -> (Vec<Tick>, Vec<Label>) {
    let Some(profile) = Profile::of(ticks) else {
        return (ticks.to_vec(), Vec::new());
    };
    let faults: Vec<Fault> = catalogue
        .faults
        .iter()
        .copied()
        .filter(|&fault| profile.fields.carry(fault))
        .collect();
    if faults.is_empty() {
        return (ticks.to_vec(), Vec::new());
    }
    let foreign = foreign.filter(|foreign| !foreign.is_empty());
    let reference = foreign.map(|foreign| {
        let has_quotes = foreign.iter().any(Tick::is_quote);
        reference_prices(foreign, has_quotes)
    });
    let donor = foreign
        .zip(reference.as_deref())
        .map(|(ticks, reference)| Donor { ticks, reference });
    let mut draws = Draws::new(seed, 0);
    let mut tape = Tape::new(ticks);
    let per_fault = catalogue.ticks_per_fault.max(1);
    let mut start = catalogue.margin_ticks.max(1) + draws.count(0, per_fault);
    while start < ticks.len() {
        let fault = draws.pick(&faults);
        let scene = Scene {
            ticks,
            start,
            profile: &profile,
            donor,
        };
        if let Some((start, episode)) = place(fault, scene, &mut draws) {
            tape.splice(start, fault, episode);
        }
        let spaced = start + draws.count(per_fault.div_ceil(2), per_fault + per_fault / 2);
        start = spaced.max(tape.taken() + catalogue.margin_ticks);
    }
    tape.finish()
}

/// Tries a fault at the scene's start and a little later.
fn place(fault: Fault, mut scene: Scene, draws: &mut Draws) -> Option<(usize, Episode)> {
    for _ in 0..ATTEMPTS {
        if let Some(episode) = enact(fault, &scene, draws) {
            return Some((scene.start, episode));
        }
        scene.start += ATTEMPT_STRIDE_TICKS;
        if scene.start >= scene.ticks.len() {
            break;
        }
    }
    None
}

/// Does one fault with strengths drawn anew; nothing when it does not fit or would not show.
fn enact(fault: Fault, scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    match fault {
        Fault::PriceSpike => price::spike(scene, draws),
        Fault::DecimalShift => price::decimal_shift(scene, draws),
        Fault::OffMarketTrades => price::off_market_trades(scene, draws),
        Fault::LevelShift => price::level_shift(scene, draws),
        Fault::VolatilityBurst => price::volatility_burst(scene, draws),
        Fault::PriceNoise => price::noise(scene, draws),
        Fault::PriceOscillation => price::oscillation(scene, draws),
        Fault::SpreadBlowout => quote::spread_blowout(scene, draws),
        Fault::CrossedQuote => quote::crossed_quote(scene, draws),
        Fault::VolumeBurst => size::volume_burst(scene, draws),
        Fault::SizeSpike => size::size_spike(scene, draws),
        Fault::SizeOscillation => size::size_oscillation(scene, draws),
        Fault::DepthDrop => size::depth_drop(scene, draws),
        Fault::StaleFeed => feed::stale_feed(scene, draws),
        Fault::QuoteStuffing => feed::quote_stuffing(scene, draws),
        Fault::RateSurge => feed::rate_surge(scene, draws),
        Fault::LostRows => feed::lost_rows(scene, draws),
        Fault::SilentGap => feed::silent_gap(scene, draws),
        Fault::TimeJump => order::time_jump(scene, draws),
        Fault::OutOfOrder => order::out_of_order(scene, draws),
        Fault::RepeatedRows => order::repeated_rows(scene, draws),
        Fault::ForeignRows => price::foreign_rows(scene, draws),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tick::{Body, Quote, Trade};
    use crate::pipeline::time::EventTime;

    const SEEDS: std::ops::Range<u64> = 0..2;

    /// Trades and quotes with sizes (0), quotes without sizes (1), trades alone (2); prices are multiples of 0.01.
    fn clean(kind: usize, seed: u64) -> Vec<Tick> {
        let mut draws = Draws::new(seed, 99);
        let (mut cents, mut nanos) = (10_000.0, 1_000_000_000_i64);
        let mut tick = |index: u64| {
            nanos += (draws.exponential() * 40.0) as i64 * 1_000_000;
            cents += (1.2 * draws.normal()).round();
            let spread = draws.count(1, 3) as f64;
            let mut size = |wanted: bool| wanted.then_some(100.0 * draws.log_count(1, 40) as f64);
            let sizes = [size(kind == 0), size(kind == 0)];
            let trade = Trade {
                price: (cents + spread) / 100.0,
                size: size(true),
            };
            let quote = Quote {
                bid: cents / 100.0,
                ask: (cents + spread) / 100.0,
                bid_size: sizes[0],
                ask_size: sizes[1],
            };
            let trades = kind == 2 || (kind == 0 && draws.chance(0.3));
            let body = if trades { Body::Trade(trade) } else { Body::Quote(quote) };
            Tick {
                event_time: EventTime(nanos),
                sequence: (kind == 0).then_some(index.into()),
                body,
            }
        };
        (0..5_000).map(&mut tick).collect()
    }

    /// A tick without its sequence number, which added ticks move on.
    fn unnumbered(tick: &Tick) -> Tick {
        Tick {
            sequence: None,
            ..*tick
        }
    }

    /// Injects `fault` alone, everywhere it can be carried, and hands on ticks before and after.
    fn each_injection(mut law: impl FnMut(Fault, &[Tick], &[Tick], &[Label])) {
        for kind in 0..3 {
            for seed in SEEDS {
                let before = clean(kind, seed);
                let foreign = clean(1, seed + 50);
                let foreign = (seed % 2 == 0).then_some(foreign.as_slice());
                for fault in Fault::ALL {
                    let (after, labels) = apply(&before, foreign, &Catalogue::only(&[fault]), seed);
                    law(fault, &before, &after, &labels);
                }
            }
        }
    }

    #[test]
    fn same_seed_gives_the_same_bits_and_another_seed_does_not() {
        let ticks = clean(0, 1);
        let catalogue = Catalogue::default();
        assert_eq!(apply(&ticks, None, &catalogue, 5), apply(&ticks, None, &catalogue, 5));
        assert_ne!(apply(&ticks, None, &catalogue, 5), apply(&ticks, None, &catalogue, 6));
    }

    #[test]
    fn every_fault_that_can_be_carried_is_found_and_no_other() {
        for kind in 0..3 {
            let fields = Profile::of(&clean(kind, 0)).expect("prices move").fields;
            for fault in Fault::ALL {
                let count: usize = SEEDS
                    .map(|seed| {
                        apply(&clean(kind, seed), None, &Catalogue::only(&[fault]), seed)
                            .1
                            .len()
                    })
                    .sum();
                assert_eq!(
                    count > 0,
                    fields.carry(fault),
                    "{} on kind {kind}: {count}",
                    fault.name()
                );
            }
        }
    }

    #[test]
    fn labels_are_in_range_in_order_and_apart() {
        let margin = Catalogue::default().margin_ticks;
        each_injection(|fault, _, after, labels| {
            let mut clean_from = 0;
            for label in labels {
                assert!(
                    label.start >= clean_from + margin && label.start <= label.end,
                    "{label:?}"
                );
                assert!(
                    label.end < after.len() && label.fault == fault && label.magnitude.is_finite(),
                    "{label:?}"
                );
                clean_from = label.end + 1;
            }
        });
    }

    #[test]
    fn ticks_outside_the_labels_are_the_true_ones_and_each_label_holds_a_change() {
        each_injection(|fault, before, after, labels| {
            let mut rest = before;
            let mut from = 0;
            for label in labels {
                let same = after[from..label.start].iter().zip(rest);
                assert!(
                    same.clone().all(|(new, old)| unnumbered(new) == unnumbered(old)),
                    "{}",
                    fault.name()
                );
                rest = &rest[label.start - from..];
                // The true ticks go on where the ticks behind the label are found again.
                let behind = &after[label.end + 1..after.len().min(label.end + 40)];
                let behind: Vec<Tick> = behind.iter().map(unnumbered).collect();
                let skipped = (0..rest.len())
                    .find(|&skip| {
                        rest[skip..]
                            .iter()
                            .map(unnumbered)
                            .take(behind.len())
                            .eq(behind.iter().copied())
                    })
                    .unwrap_or_else(|| panic!("{} leaves no trace of the true ticks", fault.name()));
                let inside: Vec<Tick> = after[label.start..=label.end].iter().map(unnumbered).collect();
                assert!(
                    !rest[..skipped].iter().map(unnumbered).eq(inside),
                    "{} changes nothing",
                    fault.name()
                );
                rest = &rest[skipped..];
                from = label.end + 1;
            }
            assert_eq!(after.len() - from, rest.len(), "{}", fault.name());
        });
    }

    #[test]
    fn prices_stay_positive_and_on_the_grid() {
        let on_grid = |price: f64| price > 0.0 && price.is_finite() && (price * 100.0).round() / 100.0 == price;
        let sound = |size: Option<f64>| size.is_none_or(|size| size.is_finite() && size > 0.0);
        each_injection(|fault, before, after, _| {
            assert_eq!(price_step(before), Some(0.01));
            for tick in after {
                let fine = match tick.body {
                    Body::Trade(trade) => on_grid(trade.price) && sound(trade.size),
                    Body::Quote(quote) => {
                        on_grid(quote.bid) && on_grid(quote.ask) && sound(quote.bid_size) && sound(quote.ask_size)
                    }
                };
                assert!(fine, "{}: {tick:?}", fault.name());
            }
        });
    }

    #[test]
    fn only_faults_that_mean_to_cross_the_quote_do() {
        each_injection(|fault, _, after, labels| {
            let crossed = |tick: &Tick| matches!(tick.body, Body::Quote(quote) if quote.bid >= quote.ask);
            let means_to = matches!(fault, Fault::CrossedQuote | Fault::DecimalShift);
            assert!(means_to || !after.iter().any(crossed), "{}", fault.name());
            let found = |label: &Label| after[label.start..=label.end].iter().any(crossed);
            assert!(fault != Fault::CrossedQuote || labels.iter().all(found));
        });
    }

    #[test]
    fn only_faults_of_stamp_and_order_turn_time_back() {
        each_injection(|fault, _, after, labels| {
            let turns_back = matches!(fault.family(), Family::Stamp | Family::Order) && !labels.is_empty();
            assert_eq!(
                !after.is_sorted_by_key(|tick| tick.event_time),
                turns_back,
                "{}",
                fault.name()
            );
        });
    }

    #[test]
    fn sequence_numbers_have_holes_only_where_ticks_are_lost() {
        each_injection(|fault, before, after, _| {
            let in_order = !matches!(fault.family(), Family::Gap | Family::Order);
            if in_order && before[0].sequence.is_some() {
                assert!(
                    (0..)
                        .zip(after)
                        .all(|(index, tick)| tick.sequence == Some(index.into())),
                    "{}",
                    fault.name()
                );
            }
        });
    }

    #[test]
    fn faults_are_about_as_dense_as_asked() {
        let (ticks, catalogue) = (
            clean(0, 2),
            Catalogue {
                ticks_per_fault: 400,
                ..Catalogue::default()
            },
        );
        let events: usize = SEEDS.map(|seed| apply(&ticks, None, &catalogue, seed).1.len()).sum();
        let per_event = ticks.len() * SEEDS.count() / events;
        assert!((300..=520).contains(&per_event), "{per_event}");
    }

    #[test]
    fn few_ticks_and_crowded_faults_do_no_harm() {
        let ticks = clean(0, 3);
        let crowded = Catalogue {
            ticks_per_fault: 0,
            margin_ticks: 0,
            ..Catalogue::default()
        };
        for length in 0..120 {
            let (after, labels) = apply(&ticks[..length], Some(&ticks[..length / 2]), &crowded, length as u64);
            assert!(labels.iter().all(|label| label.end < after.len()), "{length}");
        }
    }

    #[test]
    fn ticks_without_moves_or_at_all_are_left_alone() {
        let still = vec![clean(2, 0)[0]; 5_000];
        let catalogue = Catalogue::default();
        assert_eq!(apply(&still, None, &catalogue, 1), (still.clone(), Vec::new()));
        assert_eq!(apply(&[], None, &catalogue, 1), (Vec::new(), Vec::new()));
    }
}
