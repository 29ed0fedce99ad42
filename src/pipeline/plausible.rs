//! Plausible prices: which ticks may teach anybody what is usual on an instrument.
//!
//! A place-holder for an empty side (9999999999), a price that is ten times too high, a price in cents among prices in
//! dollars: one such print says nothing about the market, and what is learnt from it is wrong. Features do not remember it, a
//! model does not score it and is not made of it; guards look at it, and they know how usual it is here. Promises a bounded
//! cost, and that a price which stays where it jumped to is plausible after five ticks. Knows neither guards nor models.

use serde::{Deserialize, Serialize};

use super::robust::RunningMedian;
use super::tick::Body;

/// A price is implausible from this many times the median of the instrument's last nine, or below its inverse (ratio). A
/// constant, since a model's features rest on it; the guards' own limit is the user's to set.
const RATIO_MAX: f64 = 3.0;

/// Tells whether a price lies this many times above a median, or below its inverse.
pub fn is_far(price: f64, median: f64, ratio_max: f64) -> bool {
    price > median * ratio_max || price * ratio_max < median
}

/// The prices that an instrument's next one is held against.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plausibility {
    last: RunningMedian<9>,
}

impl Plausibility {
    /// Tells whether a tick's prices are plausible beside those before, and takes them in. Prices of zero and below say
    /// nothing either way.
    pub fn holds(&mut self, body: &Body) -> bool {
        let (prices, mid) = match body {
            Body::Quote(quote) => ([quote.bid, quote.ask], quote.mid()),
            Body::Trade(trade) => ([trade.price; 2], trade.price),
        };
        let median = self.last.value();
        if mid > 0.0 {
            self.last.observe(mid);
        }
        let is_odd = |price: f64| price > 0.0 && median.is_some_and(|median| is_far(price, median, RATIO_MAX));
        !prices.into_iter().any(is_odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tick::{Quote, Trade};

    fn trade(price: f64) -> Body {
        Body::Trade(Trade { price, size: None })
    }

    fn quote(bid: f64, ask: f64) -> Body {
        Body::Quote(Quote {
            bid,
            ask,
            bid_size: None,
            ask_size: None,
        })
    }

    fn after(ticks: &[Body]) -> Plausibility {
        let mut plausibility = Plausibility::default();
        for tick in ticks {
            assert!(plausibility.holds(tick), "{tick:?}");
        }
        plausibility
    }

    #[test]
    fn place_holders_and_shifted_prices_are_implausible_and_wild_moves_are_not() {
        let usual = [trade(100.0), quote(99.9, 100.1), trade(101.0), trade(99.0)];
        for odd in [
            quote(99.9, 9_999_999_999.0),
            trade(1000.0),
            trade(10.0),
            quote(1.0, 100.0),
        ] {
            assert!(!after(&usual).holds(&odd), "{odd:?}");
        }
        for wild in [
            trade(250.0),
            trade(40.0),
            quote(60.0, 180.0),
            trade(0.0),
            quote(0.0, 100.1),
            trade(-37.0),
        ] {
            assert!(after(&usual).holds(&wild), "{wild:?}");
        }
    }

    #[test]
    fn a_price_that_stays_where_it_jumped_to_is_plausible_after_five_ticks() {
        let mut plausibility = after(&[trade(100.0); 9]);
        let implausible = (0..20).filter(|_| !plausibility.holds(&trade(1000.0))).count();
        assert_eq!(implausible, 5);
        assert!(plausibility.holds(&trade(1001.0)));
    }
}
