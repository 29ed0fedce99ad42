//! The inverse of what was observed is what the feed said.

use std::collections::BTreeSet;

use super::*;
use crate::pipeline::feature::{FeatureRow, FeatureState};
use crate::pipeline::tick::{Body, Quote, Tick, Trade};
use crate::pipeline::time::EventTime;

/// What rounding may change of a value: of prices the eighth digit, far less than they move by here; of others the sixth,
/// and what is left of none.
fn rounding(name: &str, value: f64) -> f64 {
    let feature = CATALOGUE.iter().position(|feature| feature.name == name).unwrap();
    match inverse_of(feature).unwrap().unit {
        FeedUnit::Price => 2e-8 * value,
        FeedUnit::PriceDifference | FeedUnit::Size | FeedUnit::Seconds | FeedUnit::Ticks | FeedUnit::Quotes => {
            1e-5 * value.abs() + 1e-6
        }
    }
}

/// What a feed has said up to a tick, and the row of that tick.
struct Seen<'a> {
    ticks: &'a [Tick],
    row: FeatureRow,
    scales: Scales,
}

impl Seen<'_> {
    fn observed(&self, name: &str) -> Option<f64> {
        let feature = CATALOGUE.iter().position(|feature| feature.name == name).unwrap();
        Some(feed_values(feature, &self.scales, self.row[feature], None)?.observed)
    }

    fn tick(&self) -> &Tick {
        &self.ticks[self.ticks.len() - 1]
    }

    fn past(&self) -> &[Tick] {
        &self.ticks[..self.ticks.len() - 1]
    }

    fn gap(&self) -> f64 {
        self.seconds_ago(1)
    }

    fn seconds_ago(&self, ticks: usize) -> f64 {
        let then = self.ticks[self.ticks.len() - 1 - ticks].event_time;
        self.tick().event_time.nanos_since(then) as f64 * 1e-9
    }
}

fn quotes(ticks: &[Tick]) -> impl DoubleEndedIterator<Item = Quote> {
    ticks.iter().filter_map(|tick| match tick.body {
        Body::Quote(quote) => Some(quote),
        Body::Trade(_) => None,
    })
}

fn trades(ticks: &[Tick]) -> impl DoubleEndedIterator<Item = Trade> {
    ticks.iter().filter_map(|tick| match tick.body {
        Body::Trade(trade) => Some(trade),
        Body::Quote(_) => None,
    })
}

fn reference(ticks: &[Tick]) -> Option<f64> {
    match quotes(ticks).next_back() {
        Some(quote) => Some((quote.bid * quote.ask).sqrt()),
        None => trades(ticks).next_back().map(|trade| trade.price),
    }
}

/// How long something has been true of the newest ones.
fn run<T>(newest_first: impl Iterator<Item = T>, same: impl Fn(&T, &T) -> bool) -> usize {
    let all: Vec<T> = newest_first.collect();
    all.windows(2).take_while(|pair| same(&pair[0], &pair[1])).count()
}

#[derive(Clone, Copy)]
enum Feed {
    Trades,
    Quotes,
    Mixed,
}

/// A feed with a bit of everything: walks, leaps and their return, locked and crossed quotes, empty sides, standstills,
/// ticks within one stamp, stamps that go back, trades within and beyond the quote.
fn ticks(feed: Feed) -> Vec<Tick> {
    let (mut seed, mut price, mut time) = (7_u64, 64_010.0, 1_700_000_000_000_000_000_i64);
    let mut draw = move |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut ticks = Vec::new();
    for i in 0..1500_u64 {
        let stands = i % 100 > 80;
        if !stands {
            price += 0.5 * (draw(5) as f64 - 2.0);
        }
        let leap = if draw(40) == 0 {
            50.0 * (draw(3) as f64 - 1.0)
        } else {
            0.0
        };
        time += match draw(20) {
            0 => 0,
            1 => 2_000_000_000,
            2 => -3_000_000,
            _ => 1_000_000 * (1 + draw(30) as i64),
        };
        let size = |n: u64| (n % 9 * n % 50) as f64;
        let is_trade = match feed {
            Feed::Trades => true,
            Feed::Quotes => false,
            Feed::Mixed => draw(3) == 0,
        };
        let at = price + if stands { 0.0 } else { leap };
        let body = match is_trade {
            true => Body::Trade(Trade {
                price: at + 0.5 * (draw(7) as f64 - 3.0) * if stands { 0.0 } else { 1.0 },
                size: (draw(10) > 0).then(|| 1.0 + size(draw(100))),
            }),
            false => Body::Quote(Quote {
                bid: at,
                ask: at + 0.5 * if stands { 2.0 } else { draw(6) as f64 - 1.0 },
                bid_size: Some(size(draw(100))),
                ask_size: Some(size(draw(100))),
            }),
        };
        ticks.push(Tick {
            event_time: EventTime(time),
            sequence: None,
            body,
        });
    }
    ticks
}

/// Features whose inverse is something that the feed itself says: `None` where it says nothing at this tick.
fn told(name: &str, seen: &Seen) -> Option<f64> {
    let quote = quotes(seen.ticks).next_back();
    let before = quotes(seen.past()).next_back();
    let trade = match seen.tick().body {
        Body::Trade(trade) => Some(trade),
        Body::Quote(_) => None,
    };
    let age = |stood: usize| stood as f64;
    Some(match name {
        "reference_return"
        | "reference_return_100"
        | "reference_return_30"
        | "return_in_time"
        | "displacement_9"
        | "displacement_65"
        | "trend_32"
        | "trend_128"
        | "trend_512" => reference(seen.ticks)?,
        "mid_against_trade" => trades(seen.ticks).next_back().and(quote).and(reference(seen.ticks))?,
        "bid_return" | "bid_displacement_9" => quote?.bid,
        "ask_return" | "ask_displacement_9" => quote?.ask,
        "trade_return" | "trade_return_30" => trades(seen.ticks).next_back()?.price,
        "trade_displacement_9" => trade?.price,
        "trade_against_mid" => quote.and(trade)?.price,
        "trade_outside" => {
            let (price, touch) = (trade?.price, quote?);
            (price - touch.ask).max(0.0) + (price - touch.bid).min(0.0)
        }
        "outside_and_back" => {
            let now = quote.and(trade)?.price;
            let place = seen.past().iter().rposition(Tick::is_trade)?;
            let (last, touch) = (
                trades(seen.past()).next_back()?.price,
                quotes(&seen.past()[..place]).next_back()?,
            );
            let outside = libm::log(last / touch.ask).max(0.0) - libm::log(touch.bid / last).max(0.0);
            let moved = libm::log(now / last);
            let back = if moved * outside < 0.0 {
                moved.abs().min(outside.abs())
            } else {
                0.0
            };
            last * libm::expm1(moved.signum() * back)
        }
        "spread_change" => before.and(quote).map(|quote| quote.ask - quote.bid)?,
        "crossing" if trade.is_none() => (quote?.bid - quote?.ask).max(0.0),
        "spread" => (quote?.ask - quote?.bid).max(0.0),
        "bid_age" | "ask_age" | "repeated_quotes" if quote.is_none() => return None,
        "bid_age" => age(run(quotes(seen.ticks).rev(), |a, b| a.bid == b.bid)),
        "ask_age" => age(run(quotes(seen.ticks).rev(), |a, b| a.ask == b.ask)),
        "repeated_quotes" => age(run(quotes(seen.ticks).rev(), |a, b| a == b)),
        "depth" => quote?.bid_size? + quote?.ask_size?,
        "bid_size" => quote?.bid_size?,
        "ask_size" => quote?.ask_size?,
        "gap" => seen.gap(),
        "time_back" => (-seen.gap()).max(0.0),
        "rate_8" => seen.seconds_ago(8).max(0.0),
        "rate_32" => seen.seconds_ago(32).max(0.0),
        "rate_128" => seen.seconds_ago(128).max(0.0),
        "rate_512" => {
            let oldest = (505..=512).find(|ago| (seen.ticks.len() - 1 - ago).is_multiple_of(8))?;
            seen.seconds_ago(oldest).max(0.0) * 512.0 / oldest as f64
        }
        "price_age" | "price_age_time" => {
            let references = (1..=seen.ticks.len()).rev().map(|end| reference(&seen.ticks[..end]));
            let stood = run(references, |a, b| a == b);
            if name == "price_age" {
                age(stood)
            } else {
                seen.seconds_ago(stood).max(0.0)
            }
        }
        "trade_size" => trade?.size?,
        _ => return None,
    })
}

/// Runs a feed and says how often each feature told what the feed says.
fn check(feed: Feed) -> BTreeSet<&'static str> {
    let ticks = ticks(feed);
    let mut state = FeatureState::default();
    let mut checked = BTreeSet::new();
    for end in 1..=ticks.len() {
        let row = state.take(&ticks[end - 1]);
        let scales = *state.scales();
        // Levels need a few ticks before they are there.
        if end <= 600 {
            continue;
        }
        let seen = Seen {
            ticks: &ticks[..end],
            row,
            scales,
        };
        for name in INVERSES.iter().flat_map(|inverse| inverse.features) {
            let Some(expected) = told(name, &seen) else { continue };
            let Some(found) = seen.observed(name) else {
                // The one feature that is silent where there is something to tell: a trade at the price of the last.
                assert_eq!(*name, "trade_displacement_9", "tick {end}");
                continue;
            };
            assert!(
                (found - expected).abs() <= rounding(name, expected),
                "tick {end} {name}: {found}, the feed says {expected}"
            );
            checked.insert(*name);
        }
    }
    checked
}

/// A feed that goes on for ever between two prices half a unit apart, and its last tick, which goes up.
fn steady(body: impl Fn(f64) -> Body) -> Seen<'static> {
    let mut state = FeatureState::default();
    let mut observe = |i: i64| {
        state.take(&Tick {
            event_time: EventTime(i * 1_000_000),
            sequence: None,
            body: body(if i % 2 == 0 { 100.0 } else { 100.5 }),
        })
    };
    let row = (0..4000).map(&mut observe).last().unwrap();
    let scales = *state.scales();
    let ticks = &[];
    Seen { ticks, row, scales }
}

/// Checks features that are means, or look at the last move, and names them.
fn check_steady() -> BTreeSet<&'static str> {
    let quotes = steady(|price| {
        Body::Quote(Quote {
            bid: price - 1.0,
            ask: price + 1.0,
            bid_size: Some(40.0),
            ask_size: Some(90.0),
        })
    });
    let trades = steady(|price| {
        Body::Trade(Trade {
            price,
            size: Some(30.0),
        })
    });
    let of_quotes = [
        (2.0, &["spread_4", "spread_16", "spread_64"][..]),
        (40.0, &["bid_size_8", "bid_size_64"]),
        (90.0, &["ask_size_8", "ask_size_64"]),
        (
            0.5,
            &[
                "reversal",
                "bid_reversal",
                "ask_reversal",
                "quote_reversal",
                "round_trip",
                "quick_reversal",
                "quick_quote_reversal",
            ],
        ),
        (0.5, &["volatility_ratio", "volatility_ratio_slow"]),
        (0.5, &["activity_4", "activity_16", "activity_64"]),
    ];
    let of_trades = [
        (
            30.0,
            &["trade_size_4", "trade_size_16", "trade_size_64", "volume_ratio"][..],
        ),
        (30.0, &["trade_size_median", "trade_size_peak"]),
        (0.5, &["reversal", "trade_reversal", "round_trip", "trade_round_trip"]),
        (0.5, &["quick_reversal", "quick_trade_reversal"]),
    ];
    let mut checked = BTreeSet::new();
    for (seen, told) in [(&quotes, &of_quotes[..]), (&trades, &of_trades)] {
        for (expected, names) in told {
            for name in *names {
                let found = seen.observed(name).unwrap();
                // Levels come near what they are of by their half-life.
                assert!(
                    (found / expected - 1.0).abs() < 0.01,
                    "{name}: {found}, the feed says {expected}"
                );
                checked.insert(*name);
            }
        }
    }
    checked
}

#[test]
fn observed_features_turn_back_into_what_the_feed_says() {
    let mut checked: BTreeSet<_> = [Feed::Trades, Feed::Quotes, Feed::Mixed]
        .into_iter()
        .flat_map(check)
        .collect();
    checked.extend(check_steady());
    for inverse in &INVERSES {
        for name in inverse.features {
            assert!(checked.contains(name), "nothing was told of {name}");
        }
    }
}

#[test]
fn prices_so_far_off_that_features_are_cut_off_are_told_as_they_are() {
    let mut state = FeatureState::default();
    let quote = |i: i64, bid: f64, ask: f64| Tick {
        event_time: EventTime(i * 1_000_000),
        sequence: None,
        body: Body::Quote(Quote {
            bid,
            ask,
            bid_size: None,
            ask_size: None,
        }),
    };
    for i in 0..200 {
        state.take(&quote(i, 60_000.0 + 1e-4 * (i % 2) as f64, 60_000.1));
    }
    let row = state.take(&quote(200, 600.0, 60_000.1));
    let scales = *state.scales();
    let told = |name: &str| {
        let feature = CATALOGUE.iter().position(|feature| feature.name == name).unwrap();
        assert_eq!(row[feature].abs() == Columns::LIMIT as f32, name != "spread", "{name}");
        feed_values(feature, &scales, row[feature], Some(0.0)).map(|feed| (feed.observed, feed.expected.unwrap()))
    };
    let near = |found: Option<(f64, f64)>, observed: f64, expected: f64| {
        let (a, b) = found.unwrap();
        assert!(
            (a / observed - 1.0).abs() < 1e-6 && (b / expected - 1.0).abs() < 1e-3,
            "{found:?}"
        );
    };
    near(told("bid_return"), 600.0, 60_000.000_1);
    near(told("bid_displacement_9"), 600.0, 60_000.0);
    near(told("spread_change"), 59_400.1, 0.0999);
    near(told("spread"), 59_400.1, 0.1);
    near(told("reference_return"), (600.0 * 60_000.1_f64).sqrt(), 60_000.05);
}

#[test]
fn inverses_are_of_features_in_their_order_and_of_each_once() {
    let place = |name: &&str| CATALOGUE.iter().position(|feature| feature.name == *name).unwrap();
    let firsts: Vec<usize> = INVERSES.iter().map(|inverse| place(&inverse.features[0])).collect();
    assert!(firsts.is_sorted());
    let all: Vec<_> = INVERSES.iter().flat_map(|inverse| inverse.features).collect();
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn expected_is_told_by_the_same_past() {
    let body = |price| Body::Trade(Trade { price, size: None });
    let seen = steady(body);
    let feature = CATALOGUE
        .iter()
        .position(|feature| feature.name == "trade_return")
        .unwrap();
    let feed = feed_values(feature, &seen.scales, seen.row[feature], Some(0.0)).unwrap();
    assert_eq!(feed.to_string(), "trade price 100.5, expected 100");
    let infinite = feed_values(feature, &seen.scales, 0.0, Some(f32::MAX)).unwrap();
    assert_eq!((infinite.observed, infinite.expected), (100.0, None));
}

#[test]
fn the_first_tick_and_feeds_without_quotes_have_what_they_have() {
    let mut state = FeatureState::default();
    let tick = ticks(Feed::Trades)[0];
    let row = state.take(&tick);
    let scales = *state.scales();
    let told = |name: &str| {
        let feature = CATALOGUE.iter().position(|feature| feature.name == name).unwrap();
        feed_values(feature, &scales, row[feature], Some(0.0))
    };
    for name in [
        "reference_return",
        "bid_return",
        "spread",
        "bid_age",
        "gap",
        "rate_8",
        "trade_size",
        "imbalance",
    ] {
        assert_eq!(told(name), None, "{name}");
    }
    assert_eq!(told("price_age").map(|feed| feed.observed), Some(0.0));
}

#[test]
fn numbers_are_written_as_people_do() {
    let feed = |unit, observed, expected| FeedValues {
        quantity: "it",
        unit,
        observed,
        expected,
    };
    for (feed, text) in [
        (feed(FeedUnit::Price, 101.9, Some(101.26)), "it 101.9, expected 101.26"),
        (
            feed(FeedUnit::Ticks, 412.0, Some(3.5)),
            "it 412 ticks, expected 3.5 ticks",
        ),
        (feed(FeedUnit::Seconds, 2.5e-9, None), "it 2.5e-9 seconds"),
        (feed(FeedUnit::Size, 1e300, Some(0.0)), "it 1e300, expected 0"),
    ] {
        assert_eq!(feed.to_string(), text);
    }
}
