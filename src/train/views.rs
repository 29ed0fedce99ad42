//! Views: one instrument's ticks as another instrument might have sent them.
//!
//! The judge learns from clean ticks what is usual, and there are few clean ticks. So each instrument is also shown in other
//! views, which are as real as the ticks behind them: with prices mirrored, as a slower feed, as a feed of trades or of
//! quotes alone. Knows nothing of features or models.

use crate::inject::price_step;
use crate::pipeline::tick::{Body, Quote, Tick, Trade};
use crate::pipeline::time::EventTime;

/// A way to look at an instrument's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As they came.
    Plain,
    /// Prices mirrored at a price of the instrument's own grid: what rose falls, bid and ask change places.
    Mirrored,
    /// About every other tick.
    Thinned,
    /// The other ones.
    Rest,
    /// Thinned and mirrored.
    ThinnedMirrored,
    /// About every third tick.
    Sparse,
    /// Prices on a grid three times as coarse, quotes moved outwards, and stamps of which about four in a row are alike.
    Coarse,
    /// Trades without the quotes.
    TradesAlone,
    /// Quotes without trades and sizes.
    QuotesAlone,
}

/// Fewest ticks that a view of a mixed feed leaves of either kind: too few of them are no feed.
const TICKS_MIN: usize = 1000;

impl View {
    /// All views.
    pub const ALL: [View; 9] = [
        View::Plain,
        View::Mirrored,
        View::Thinned,
        View::Rest,
        View::ThinnedMirrored,
        View::Sparse,
        View::Coarse,
        View::TradesAlone,
        View::QuotesAlone,
    ];

    /// Gives the ticks as this view shows them; nothing where that is no other feed, or hardly one.
    pub fn of(self, ticks: &[Tick]) -> Option<Vec<Tick>> {
        match self {
            View::Plain => Some(ticks.to_vec()),
            View::Mirrored => mirrored(ticks),
            View::Thinned => Some(thinned(ticks, 2, 0)),
            View::Rest => Some(thinned(ticks, 2, 1)),
            View::ThinnedMirrored => mirrored(&thinned(ticks, 2, 0)),
            View::Sparse => Some(thinned(ticks, 3, 0)),
            View::Coarse => coarse(ticks),
            View::TradesAlone => alone(ticks, true),
            View::QuotesAlone => alone(ticks, false),
        }
    }
}

fn mirrored(ticks: &[Tick]) -> Option<Vec<Tick>> {
    let price = |tick: &Tick| match tick.body {
        Body::Trade(trade) => trade.price,
        Body::Quote(quote) => quote.ask,
    };
    let mut prices: Vec<f64> = ticks.iter().map(price).collect();
    prices.sort_unstable_by(f64::total_cmp);
    let axis = 2.0 * prices.get(prices.len() / 2)?;
    let mirror = |tick: &Tick| {
        let body = match tick.body {
            Body::Trade(trade) => Body::Trade(Trade {
                price: axis - trade.price,
                size: trade.size,
            }),
            Body::Quote(quote) => Body::Quote(Quote {
                bid: axis - quote.ask,
                ask: axis - quote.bid,
                bid_size: quote.ask_size,
                ask_size: quote.bid_size,
            }),
        };
        Tick { body, ..*tick }
    };
    Some(ticks.iter().map(mirror).collect())
}

/// Steps of the feed's price grid that make one of a coarse feed.
const COARSE_STEPS: f64 = 3.0;
/// Median gaps between ticks that a coarse feed's stamps are apart.
const COARSE_GAPS: i64 = 4;

fn coarse(ticks: &[Tick]) -> Option<Vec<Tick>> {
    let step = COARSE_STEPS * price_step(ticks)?;
    let pairs = ticks.windows(2);
    let mut gaps: Vec<i64> = pairs
        .map(|pair| pair[1].event_time.nanos_since(pair[0].event_time))
        .filter(|gap| *gap > 0)
        .collect();
    gaps.sort_unstable();
    let stamp_step = COARSE_GAPS * gaps.get(gaps.len() / 2)?;
    let blur = |tick: &Tick| {
        let body = match tick.body {
            Body::Trade(trade) => Body::Trade(Trade {
                price: (trade.price / step).round() * step,
                ..trade
            }),
            Body::Quote(quote) => Body::Quote(Quote {
                bid: (quote.bid / step).floor() * step,
                ask: (quote.ask / step).ceil() * step,
                ..quote
            }),
        };
        Tick {
            event_time: EventTime(tick.event_time.0.div_euclid(stamp_step) * stamp_step),
            body,
            ..*tick
        }
    };
    Some(ticks.iter().map(blur).collect())
}

/// Keeps about one tick of so many, without a rhythm of its own; other `rest`s keep other ticks.
fn thinned(ticks: &[Tick], of: usize, rest: usize) -> Vec<Tick> {
    // The golden section's multiples modulo 1 are as even as can be, and never in step with anything.
    let keeps = |index: usize| index * 624 % 1009 * of / 1009 == rest;
    let kept = ticks.iter().enumerate().filter(|(index, _)| keeps(*index));
    kept.map(|(_, tick)| *tick).collect()
}

fn alone(ticks: &[Tick], trades: bool) -> Option<Vec<Tick>> {
    let count = ticks.iter().filter(|tick| tick.is_trade() == trades).count();
    if count < TICKS_MIN || ticks.len() - count < TICKS_MIN {
        return None;
    }
    let alone = ticks.iter().filter(|tick| tick.is_trade() == trades);
    let without_sizes = |tick: &Tick| match tick.body {
        Body::Quote(quote) => Tick {
            body: Body::Quote(Quote {
                bid_size: None,
                ask_size: None,
                ..quote
            }),
            ..*tick
        },
        Body::Trade(_) => *tick,
    };
    Some(alone.map(without_sizes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks() -> Vec<Tick> {
        let tick = |index: i64| Tick {
            event_time: EventTime(index),
            sequence: None,
            body: match index % 2 {
                0 => Body::Trade(Trade {
                    price: 100.0 + (index % 7) as f64,
                    size: Some(1.0),
                }),
                _ => Body::Quote(Quote {
                    bid: 99.0,
                    ask: 102.0 + (index % 3) as f64,
                    bid_size: Some(1.0),
                    ask_size: Some(2.0),
                }),
            },
        };
        (0..3000).map(tick).collect()
    }

    #[test]
    fn a_mirrored_market_falls_where_the_other_rises_and_twice_mirrored_is_the_same() {
        let ticks = ticks();
        let mirrored = View::Mirrored.of(&ticks).unwrap();
        let mut sums = Vec::new();
        for (tick, other) in ticks.iter().zip(&mirrored) {
            match (tick.body, other.body) {
                (Body::Quote(quote), Body::Quote(other)) => {
                    assert_eq!(quote.ask - quote.bid, other.ask - other.bid);
                    assert_eq!((quote.bid_size, quote.ask_size), (other.ask_size, other.bid_size));
                }
                (Body::Trade(trade), Body::Trade(other)) => sums.push(trade.price + other.price),
                _ => panic!("a trade became a quote"),
            }
        }
        assert_eq!(sums.len(), 1500);
        assert!(sums.iter().all(|sum| *sum == sums[0]));
    }

    #[test]
    fn a_coarse_feed_never_quotes_inside_the_true_one() {
        let ticks = ticks();
        let coarse = View::Coarse.of(&ticks).unwrap();
        for (tick, other) in ticks.iter().zip(&coarse) {
            if let (Body::Quote(quote), Body::Quote(other)) = (tick.body, other.body) {
                assert!(other.bid <= quote.bid && other.ask >= quote.ask);
                assert!(other.ask - other.bid <= quote.ask - quote.bid + 6.0);
            }
            assert!((0..4).contains(&tick.event_time.nanos_since(other.event_time)));
        }
    }

    #[test]
    fn views_of_one_kind_hold_that_kind_alone_and_a_thin_kind_has_none() {
        let ticks = ticks();
        assert!(View::TradesAlone.of(&ticks).unwrap().iter().all(Tick::is_trade));
        assert!(!View::QuotesAlone.of(&ticks).unwrap().iter().any(Tick::is_trade));
        assert_eq!(View::TradesAlone.of(&ticks[..1500]), None);
        let kept = [View::Thinned, View::Rest, View::Sparse].map(|view| view.of(&ticks).unwrap().len());
        assert_eq!(kept[0] + kept[1], ticks.len());
        assert!(
            (1400..1600).contains(&kept[0]) && (900..1100).contains(&kept[2]),
            "{kept:?}"
        );
    }
}
