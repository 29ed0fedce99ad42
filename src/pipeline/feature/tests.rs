//! Laws that every feature obeys, and where a fault must show.

use super::*;
use crate::pipeline::tick::{Body, Quote, Trade};
use crate::pipeline::time::EventTime;

const MILLI: i64 = 1_000_000;

fn column(name: &str) -> usize {
    CATALOGUE.iter().position(|feature| feature.name == name).unwrap()
}

/// A quote feed whose price walks on a grid of 0.01, one tick each 10 ms.
fn quote_at(i: i64, price: f64) -> Tick {
    let body = Body::Quote(Quote {
        bid: price - 0.01,
        ask: price + 0.01,
        bid_size: Some(100.0 + (i % 7) as f64),
        ask_size: Some(100.0 + (i % 5) as f64),
    });
    Tick {
        event_time: EventTime(i * 10 * MILLI),
        sequence: None,
        body,
    }
}

fn trade_at(i: i64, price: f64, size: f64) -> Tick {
    let body = Body::Trade(Trade {
        price,
        size: Some(size),
    });
    Tick {
        event_time: EventTime(i * 10 * MILLI),
        sequence: None,
        body,
    }
}

fn walk(i: i64) -> f64 {
    100.0 + 0.01 * ((i * 7919 % 13) - 6) as f64
}

fn warm(ticks: i64) -> FeatureState {
    let mut state = FeatureState::default();
    for i in 0..ticks {
        state.take(&quote_at(i, walk(i)));
    }
    state
}

#[test]
fn names_are_unique_and_fill_the_row() {
    let mut names: Vec<_> = CATALOGUE.iter().map(|feature| feature.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FEATURES);
}

#[test]
fn rows_are_finite_whatever_the_prices() {
    let mut state = FeatureState::default();
    let prices = [0.0, -1.0, 1e-300, 1e300, f64::MAX, 5.0, 5.0, f64::MIN_POSITIVE];
    for i in 0..400 {
        let price = prices[i % prices.len()];
        let time = if i % 3 == 0 { i64::MAX } else { i64::MIN / 2 + i as i64 };
        let body = match i % 2 {
            0 => Body::Trade(Trade {
                price,
                size: Some(price.abs()),
            }),
            _ => Body::Quote(Quote {
                bid: price,
                ask: -price,
                bid_size: Some(0.0),
                ask_size: Some(price.abs()),
            }),
        };
        let row = state.take(&Tick {
            event_time: EventTime(time),
            sequence: None,
            body,
        });
        assert!(row.iter().all(|value| value.is_finite()), "tick {i}: {row:?}");
    }
}

#[test]
fn unit_of_price_and_size_does_not_matter() {
    let scale = |tick: Tick| match tick.body {
        Body::Quote(quote) => Tick {
            body: Body::Quote(Quote {
                bid: quote.bid * 64.0,
                ask: quote.ask * 64.0,
                bid_size: quote.bid_size.map(|size| size * 8.0),
                ask_size: quote.ask_size.map(|size| size * 8.0),
            }),
            ..tick
        },
        Body::Trade(_) => tick,
    };
    let (mut plain, mut scaled) = (FeatureState::default(), FeatureState::default());
    for i in 0..500 {
        let tick = quote_at(i, walk(i));
        let (row, other) = (plain.take(&tick), scaled.take(&scale(tick)));
        for (feature, (a, b)) in CATALOGUE.iter().zip(row.iter().zip(&other)) {
            assert!(
                (a - b).abs() < 1e-3 * (1.0 + a.abs()),
                "tick {i} {}: {a} {b}",
                feature.name
            );
        }
    }
}

#[test]
fn wild_print_shows_at_once_and_leaves_no_trace_in_the_scale() {
    let (mut clean, mut hit) = (warm(1000), warm(1000));
    let spike = hit.take(&quote_at(1000, 1000.0));
    clean.take(&quote_at(1000, walk(1000)));
    assert!(spike[column("reference_return")] > 1000.0);
    for i in 1001..1010 {
        clean.take(&quote_at(i, walk(i)));
        hit.take(&quote_at(i, walk(i)));
    }
    let (a, b) = (clean.take(&quote_at(1010, 100.5)), hit.take(&quote_at(1010, 100.5)));
    let ratio = b[column("reference_return")] / a[column("reference_return")];
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_quote_that_the_next_takes_back_counts_more_than_one_that_stands_for_a_while() {
    let quick = |stands: i64| {
        let mut state = warm(1000);
        for i in 0..stands {
            state.take(&quote_at(1000 + i, 101.0));
        }
        let row = state.take(&quote_at(1000 + stands, 100.0));
        (row[column("quick_quote_reversal")], row[column("quote_reversal")])
    };
    let (one, three) = (quick(1), quick(3));
    assert!(one.0 < -10.0, "{one:?}");
    assert!((one.0 / three.0 - 3.0).abs() < 0.1, "{one:?} {three:?}");
    assert!((one.1 / three.1 - 1.0).abs() < 0.1, "{one:?} {three:?}");
}

#[test]
fn a_print_beyond_the_quotes_shows_once_more_when_the_next_comes_back() {
    let mut state = warm(1000);
    state.take(&trade_at(1000, walk(999), 1.0));
    let out = state.take(&trade_at(1001, walk(999) + 1.0, 1.0));
    assert_eq!(out[column("outside_and_back")], 0.0);
    state.take(&quote_at(1002, walk(999)));
    let back = state.take(&trade_at(1003, walk(999), 1.0));
    assert!(back[column("outside_and_back")] < -10.0);
    let next = state.take(&trade_at(1004, walk(999) - 0.01, 1.0));
    assert_eq!(next[column("outside_and_back")], 0.0);
}

#[test]
fn sides_that_move_alone_or_alike_are_told_apart() {
    let (mut alone, mut alike) = (FeatureState::default(), FeatureState::default());
    let (mut last, mut other) = ([0.0; FEATURES], [0.0; FEATURES]);
    for i in 0..100 {
        let mut tick = quote_at(i, 100.0);
        if let (Body::Quote(quote), true) = (&mut tick.body, i % 2 == 0) {
            quote.ask += 0.01;
        }
        last = alone.take(&tick);
        other = alike.take(&quote_at(i, walk(i)));
    }
    let shares = |row: &FeatureRow| (row[column("lone_side_share")], row[column("parallel_share")]);
    assert_eq!((shares(&last), shares(&other)), ((1.0, 0.0), (0.0, 1.0)));
}

#[test]
fn moves_ten_times_as_large_show_by_their_logarithm() {
    let mut state = FeatureState::default();
    let mut row = [0.0; FEATURES];
    for i in 0..2060 {
        let step = if i < 2000 { 0.01 } else { 0.1 };
        row = state.take(&quote_at(i, 100.0 + step * (i % 2) as f64));
    }
    let found = row[column("move_size_8")];
    assert!((1.9..2.4).contains(&found), "{found}");
}

#[test]
fn quotes_between_two_trades_are_no_updates_of_the_trades() {
    let quick = |quotes: i64| {
        let mut state = warm(1000);
        for i in 0..60 {
            state.take(&trade_at(1000 + i, 100.0 + 0.01 * (i % 2) as f64, 1.0));
        }
        state.take(&trade_at(1060, 101.0, 1.0));
        for i in 0..quotes {
            state.take(&quote_at(1061 + i, walk(i)));
        }
        state.take(&trade_at(1061 + quotes, 100.0, 1.0))[column("quick_trade_reversal")]
    };
    assert!(quick(0) < -10.0);
    assert_eq!(quick(0), quick(7));
}

#[test]
fn trade_only_feed_moves_the_reference_and_its_sizes() {
    let mut state = FeatureState::default();
    for i in 0..500 {
        state.take(&trade_at(i, walk(i), 10.0 + (i % 3) as f64));
    }
    let row = state.take(&trade_at(500, walk(500) + 1.0, 1000.0));
    assert!(row[column("reference_return")] > 5.0);
    assert!(row[column("trade_size")] > 3.0);
    assert_eq!(row[column("spread")], 0.0);
    assert_eq!(row[column("is_trade")], 1.0);
}

#[test]
fn stamp_that_goes_back_shows_as_negative_gap() {
    let mut state = warm(500);
    let row = state.take(&quote_at(400, walk(500)));
    assert!(row[column("gap")] < -3.0, "{}", row[column("gap")]);
}

#[test]
fn frozen_price_grows_old() {
    let mut state = warm(500);
    let mut row = [0.0; FEATURES];
    for i in 500..700 {
        row = state.take(&quote_at(i, 100.0));
    }
    assert!(row[column("price_age")] > 5.0);
    assert!(row[column("bid_age")] > 5.0);
}
