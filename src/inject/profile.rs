//! The profile: what is usual for one instrument, so that faults can be strong or mild by its own measure.
//!
//! Promises figures that follow from the clean ticks alone. Uses later ticks too: it serves injection, never detection.

use super::catalogue::Fault;
use super::grid::{Grid, price_grid, size_grid};
use crate::pipeline::tick::{Body, Quote, Tick, Trade};
use crate::pipeline::time::NANOS_PER_SEC;

/// Non-zero moves behind a local σ (moves, ≥ 1): a few minutes of most feeds, and its standard error is 5 %.
const SIGMA_MOVES: usize = 256;

/// Moves beyond this many times the median move count as that large for σ: one overnight jump must not rule 256 moves.
const MOVE_CLIP: f64 = 20.0;

/// A gap longer than this share of all gaps is a long one (probability, 0–1).
const LONG_GAP_QUANTILE: f64 = 0.999;

/// Gaps behind the local rate (ticks, ≥ 1).
const RATE_TICKS: usize = 256;

/// A field counts as carried when this share of ticks has it (0–1), so that faults in it can be placed.
const CARRIED_SHARE: f64 = 0.01;

/// Share of locked or crossed quotes above which a locked quote is nothing unusual (0–1).
const LOCKED_SHARE: f64 = 0.005;

/// Which fields an instrument's ticks carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub trades: bool,
    pub quotes: bool,
    pub trade_sizes: bool,
    pub quote_sizes: bool,
}

impl Fields {
    fn of(ticks: &[Tick]) -> Self {
        let carried = |has: fn(&Tick) -> bool| {
            let count = ticks.iter().filter(|tick| has(tick)).count();
            count > 0 && count as f64 >= CARRIED_SHARE * ticks.len() as f64
        };
        Self {
            trades: carried(Tick::is_trade),
            quotes: carried(Tick::is_quote),
            trade_sizes: carried(|tick| trade_of(tick).is_some_and(|trade| trade.size.is_some())),
            quote_sizes: carried(|tick| {
                quote_of(tick).is_some_and(|quote| quote.bid_size.is_some() && quote.ask_size.is_some())
            }),
        }
    }

    /// Tells whether ticks with these fields can show `fault`.
    pub fn carry(self, fault: Fault) -> bool {
        match fault {
            Fault::OffMarketTrades => self.trades && self.quotes,
            Fault::SpreadBlowout | Fault::CrossedQuote | Fault::QuoteStuffing => self.quotes,
            Fault::VolumeBurst => self.trade_sizes,
            Fault::SizeSpike => self.trade_sizes || self.quote_sizes,
            Fault::SizeOscillation | Fault::DepthDrop => self.quote_sizes,
            Fault::PriceSpike
            | Fault::DecimalShift
            | Fault::LevelShift
            | Fault::VolatilityBurst
            | Fault::PriceNoise
            | Fault::PriceOscillation
            | Fault::StaleFeed
            | Fault::RateSurge
            | Fault::LostRows
            | Fault::SilentGap
            | Fault::TimeJump
            | Fault::OutOfOrder
            | Fault::RepeatedRows
            | Fault::ForeignRows => self.trades || self.quotes,
        }
    }
}

/// What is usual for one instrument.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// What the ticks carry.
    pub fields: Fields,
    /// The prices' grid.
    pub price: Grid,
    /// The trade sizes' grid, where there are any that differ.
    pub trade_size: Option<Grid>,
    /// The displayed sizes' grid, where there are any that differ.
    pub quote_size: Option<Grid>,
    /// Median size at the bid and at the ask (in the feed's unit, ≥ 0; 0 where there is none).
    pub side_sizes_median: [f64; 2],
    /// Median spread (price steps, ≥ 0).
    pub spread_steps_median: f64,
    /// Whether locked quotes are nothing unusual.
    pub often_locked: bool,
    /// The price that the tick leaves behind: the mid where there are quotes, else the trade (per tick).
    pub reference: Vec<f64>,
    /// A gap that one in a thousand exceeds (nanoseconds, ≥ 1).
    pub gap_long_nanos: i64,
    /// What all stamps are multiples of (nanoseconds, ≥ 1).
    pub stamp_nanos: i64,
    /// Ticks at which the reference moves.
    move_ends: Vec<usize>,
    /// Sums of squared clipped moves up to each of `move_ends`, with a zero in front.
    move_squares: Vec<f64>,
}

impl Profile {
    /// Measures these ticks; nothing when their prices never differ.
    pub fn of(ticks: &[Tick]) -> Option<Self> {
        let price = price_grid(ticks)?;
        let fields = Fields::of(ticks);
        let reference = reference_prices(ticks, fields.quotes);
        let (move_ends, move_squares) = squared_moves(&reference, price.step);
        let quotes: Vec<Quote> = ticks.iter().filter_map(quote_of).collect();
        let bid_sizes: Vec<f64> = quotes.iter().filter_map(|quote| quote.bid_size).collect();
        let ask_sizes: Vec<f64> = quotes.iter().filter_map(|quote| quote.ask_size).collect();
        let spreads: Vec<f64> = quotes.iter().map(|quote| quote.ask - quote.bid).collect();
        let trade_sizes: Vec<f64> = ticks
            .iter()
            .filter_map(trade_of)
            .filter_map(|trade| trade.size)
            .collect();
        let locked = spreads.iter().filter(|spread| **spread <= 0.0).count();
        Some(Self {
            fields,
            price,
            trade_size: size_grid(&trade_sizes),
            quote_size: size_grid(&bid_sizes),
            side_sizes_median: [quantile(bid_sizes, 0.5), quantile(ask_sizes, 0.5)],
            often_locked: locked as f64 > LOCKED_SHARE * spreads.len() as f64,
            spread_steps_median: price.steps(quantile(spreads, 0.5)).max(0.0),
            reference,
            gap_long_nanos: long_gap(ticks),
            stamp_nanos: stamp_resolution(ticks),
            move_ends,
            move_squares,
        })
    }

    /// Gives σ at a tick: the standard deviation of the non-zero moves before it (price, ≥ half a step).
    pub fn sigma(&self, at: usize) -> f64 {
        let known = self.move_ends.partition_point(|&end| end < at);
        // At the start of the ticks too few moves lie behind, so the first ones of all stand in for them.
        let to = known.max(SIGMA_MOVES).min(self.move_ends.len());
        let from = to.saturating_sub(SIGMA_MOVES);
        let variance = (self.move_squares[to] - self.move_squares[from]) / (to - from).max(1) as f64;
        variance.max(0.0).sqrt().max(0.5 * self.price.step)
    }

    /// Gives the mean time between ticks just before a tick, long gaps cut (nanoseconds, ≥ 1).
    pub fn gap_nanos(&self, ticks: &[Tick], at: usize) -> f64 {
        let stretch = &ticks[at.saturating_sub(RATE_TICKS)..=at];
        let total: i64 = gaps(stretch).map(|gap| gap.clamp(0, self.gap_long_nanos)).sum();
        (total as f64 / (stretch.len() - 1).max(1) as f64).max(1.0)
    }

    /// Gives the span nearest to `nanos` that the feed's stamps can express (nanoseconds, whole).
    pub fn stamp_span(&self, nanos: f64) -> i64 {
        (nanos / self.stamp_nanos as f64).round() as i64 * self.stamp_nanos
    }
}

/// Gives the trade that a tick is.
pub(super) fn trade_of(tick: &Tick) -> Option<Trade> {
    match tick.body {
        Body::Trade(trade) => Some(trade),
        Body::Quote(_) => None,
    }
}

/// Gives the quote that a tick is.
pub(super) fn quote_of(tick: &Tick) -> Option<Quote> {
    match tick.body {
        Body::Quote(quote) => Some(quote),
        Body::Trade(_) => None,
    }
}

/// Follows the price that each tick leaves behind.
pub(super) fn reference_prices(ticks: &[Tick], has_quotes: bool) -> Vec<f64> {
    let price_of = |tick: &Tick| match tick.body {
        Body::Quote(quote) => Some(quote.mid()),
        Body::Trade(trade) => (!has_quotes).then_some(trade.price),
    };
    let mut last = ticks.iter().find_map(price_of).unwrap_or(0.0);
    let follow = |tick: &Tick| {
        last = price_of(tick).unwrap_or(last);
        last
    };
    ticks.iter().map(follow).collect()
}

/// Finds the non-zero moves and sums their squares, each clipped.
fn squared_moves(reference: &[f64], step: f64) -> (Vec<usize>, Vec<f64>) {
    // Mids move by half steps at least, so anything below a quarter is rounding.
    let moved = |pair: &[f64]| (pair[1] - pair[0]).abs() > 0.25 * step;
    let ends: Vec<usize> = (1..reference.len())
        .filter(|&end| moved(&reference[end - 1..=end]))
        .collect();
    let sizes: Vec<f64> = ends
        .iter()
        .map(|&end| (reference[end] - reference[end - 1]).abs())
        .collect();
    let clip = MOVE_CLIP * quantile(sizes.clone(), 0.5);
    let mut squares = Vec::with_capacity(sizes.len() + 1);
    let mut sum = 0.0;
    squares.push(sum);
    for size in sizes {
        let clipped = size.min(clip);
        sum += clipped * clipped;
        squares.push(sum);
    }
    (ends, squares)
}

fn gaps(ticks: &[Tick]) -> impl Iterator<Item = i64> {
    ticks
        .windows(2)
        .map(|pair| pair[1].event_time.nanos_since(pair[0].event_time))
}

fn long_gap(ticks: &[Tick]) -> i64 {
    let mut sorted: Vec<i64> = gaps(ticks).collect();
    sorted.sort_unstable();
    let rank = (LONG_GAP_QUANTILE * sorted.len() as f64) as usize;
    sorted.get(rank).copied().unwrap_or(1).max(1)
}

fn stamp_resolution(ticks: &[Tick]) -> i64 {
    const RESOLUTIONS: [i64; 5] = [NANOS_PER_SEC, 1_000_000, 1_000, 100, 1];
    let divides = |&nanos: &i64| ticks.iter().all(|tick| tick.event_time.0 % nanos == 0);
    RESOLUTIONS.into_iter().find(divides).unwrap_or(1)
}

/// Gives the value that this share of the values lies below; zero when there are none.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64) as usize;
    values.get(rank).or(values.last()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::time::EventTime;

    fn quotes(bids: impl Iterator<Item = f64>) -> Vec<Tick> {
        let quote = |(index, bid): (usize, f64)| Tick {
            event_time: EventTime(index as i64 * 5_000_000),
            sequence: None,
            body: Body::Quote(Quote {
                bid,
                ask: bid + 1.0,
                bid_size: None,
                ask_size: None,
            }),
        };
        bids.enumerate().map(quote).collect()
    }

    #[test]
    fn sigma_follows_the_moves_before_a_tick() {
        let swing = |i: i32| {
            if i < 1_000 {
                f64::from(i % 2)
            } else {
                8.0 * f64::from(i % 2)
            }
        };
        let profile = Profile::of(&quotes((0..2_000).map(|i| 100.0 + swing(i)))).expect("prices move");
        assert!((profile.sigma(900) - 1.0).abs() < 1e-9);
        assert!((profile.sigma(1_900) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn profile_names_what_the_ticks_carry() {
        let ticks = quotes((0..2_000).map(|i| 100.0 + f64::from(i % 5)));
        let profile = Profile::of(&ticks).expect("prices move");
        assert_eq!(
            profile.fields,
            Fields {
                trades: false,
                quotes: true,
                trade_sizes: false,
                quote_sizes: false
            }
        );
        assert_eq!(profile.stamp_nanos, 1_000_000);
        assert_eq!(profile.spread_steps_median, 1.0);
        assert!((profile.gap_nanos(&ticks, 1_000) - 5e6).abs() < 1.0);
        assert!(!profile.often_locked && profile.fields.carry(Fault::SpreadBlowout));
        assert!(!profile.fields.carry(Fault::VolumeBurst));
    }
}
