//! Sizes at the best prices: against their level, against each other, and how they change.

use serde::{Deserialize, Serialize};

use super::{Columns, Group, feature};
use crate::pipeline::robust::{Cusum, Level, Mean};
use crate::pipeline::tick::{Body, Tick};

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Sizes of quotes",
    finds: "layering, vanished depth, sizes that stand still",
    features: &[
        feature(
            "depth",
            "ln of both sizes over their level",
            "ln(B + A) − level of it",
            "1 quote; level 500 quotes",
            "depth that vanishes or piles up",
        ),
        feature(
            "bid_size",
            "ln of size over its level",
            "β = ln B − level of it",
            "1 quote; level 500 quotes",
            "a bid size out of line",
        ),
        feature(
            "ask_size",
            "ln of size over its level",
            "α = ln A − level of it",
            "1 quote; level 500 quotes",
            "an ask size out of line",
        ),
        feature(
            "imbalance",
            "(bid size − ask size) / (bid size + ask size)",
            "(B − A) / (B + A)",
            "1 quote",
            "pressure of one side",
        )
        .in_words("imbalance of bid and ask size"),
        feature(
            "imbalance_change_16",
            "mean |change of imbalance|, half-life 16 quotes",
            "mean of the absolute change of imbalance",
            "16 quotes",
            "sides that swing",
        )
        .in_words("mean change of the imbalance over 16 quotes"),
        feature(
            "imbalance_change_64",
            "mean |change of imbalance|, half-life 64 quotes",
            "mean of the absolute change of imbalance",
            "64 quotes",
            "sides that swing for long",
        )
        .in_words("mean change of the imbalance over 64 quotes"),
        feature(
            "bid_size_8",
            "mean of bid_size, half-life 8 quotes",
            "mean of β",
            "8 quotes; level 500 quotes",
            "layers on the bid",
        ),
        feature(
            "ask_size_8",
            "mean of ask_size, half-life 8 quotes",
            "mean of α",
            "8 quotes; level 500 quotes",
            "layers on the ask",
        ),
        feature(
            "bid_size_64",
            "mean of bid_size, half-life 64 quotes",
            "mean of β",
            "64 quotes; level 500 quotes",
            "layers on the bid, for long",
        ),
        feature(
            "ask_size_64",
            "mean of ask_size, half-life 64 quotes",
            "mean of α",
            "64 quotes; level 500 quotes",
            "layers on the ask, for long",
        ),
        feature(
            "bid_size_change_16",
            "mean |change of ln bid size|, half-life 16 quotes",
            "mean of |Δβ|, 0 where the size stands",
            "16 quotes",
            "sizes on the bid that come and go",
        )
        .in_words("mean change of the bid size over 16 quotes (ln)"),
        feature(
            "ask_size_change_16",
            "mean |change of ln ask size|, half-life 16 quotes",
            "mean of |Δα|, 0 where the size stands",
            "16 quotes",
            "sizes on the ask that come and go",
        )
        .in_words("mean change of the ask size over 16 quotes (ln)"),
        feature(
            "bid_size_change_64",
            "mean |change of ln bid size|, half-life 64 quotes",
            "mean of |Δβ|, 0 where the size stands",
            "64 quotes",
            "sizes on the bid that come and go, for long",
        )
        .in_words("mean change of the bid size over 64 quotes (ln)"),
        feature(
            "ask_size_change_64",
            "mean |change of ln ask size|, half-life 64 quotes",
            "mean of |Δα|, 0 where the size stands",
            "64 quotes",
            "sizes on the ask that come and go, for long",
        )
        .in_words("mean change of the ask size over 64 quotes (ln)"),
        feature(
            "larger_side_16",
            "mean of the larger of bid_size and ask_size, half-life 16 quotes",
            "mean of max(β, α)",
            "16 quotes; level 500 quotes",
            "layers on either side",
        )
        .in_words("the larger side of the last 16 quotes against its level (ln)"),
        feature(
            "larger_side_64",
            "mean of the larger of bid_size and ask_size, half-life 64 quotes",
            "mean of max(β, α)",
            "64 quotes; level 500 quotes",
            "layers on either side, for long",
        )
        .in_words("the larger side of the last 64 quotes against its level (ln)"),
        feature(
            "side_flips",
            "share of quotes whose larger side is another, weighted by its excess, half-life 32",
            "mean of |β − α| where it is at least ln 2 and the other side stood out last, else 0",
            "32 quotes",
            "layers that change sides",
        )
        .in_words("share of quotes whose larger side is another"),
        feature(
            "tilt_swing_32",
            "variance of bid_size − ask_size, half-life 32 quotes",
            "mean of t² − (mean of t)², t = β − α",
            "32 quotes",
            "layers put up and taken away",
        )
        .in_words("swing between bid and ask size over 32 quotes"),
        feature(
            "tilt_swing_128",
            "variance of bid_size − ask_size, half-life 128 quotes",
            "mean of t² − (mean of t)², t = β − α",
            "128 quotes",
            "layers put up and taken away, for long",
        )
        .in_words("swing between bid and ask size over 128 quotes"),
        feature(
            "tilt_sum",
            "ln(1 + cumulative sum of |bid_size − ask_size| above 1)",
            "sum(|t| − 1, 200)",
            "as long as it lasts; level 500 quotes",
            "one side a little too large for a long time",
        )
        .in_words("how long one side has been too large"),
        feature(
            "size_moving_share",
            "share of quotes that change a size, half-life 32",
            "mean of 1 where B or A changed, else 0",
            "32 quotes",
            "sizes that stand still, or flicker",
        )
        .in_words("share of quotes that change a size"),
    ],
};

/// The smallest size that is told from none.
pub(super) const SIZE_MIN: f64 = 1e-9;

/// What displayed sizes are measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BookState {
    /// The columns of the last quote; a trade repeats them, since the quote still stands.
    depth: f64,
    imbalance: f64,
    /// The level that the depth is over (ln of size).
    depth_over: f32,
    depth_level: Level,
    imbalance_change_16: Mean,
    imbalance_change_64: Mean,
    bid: SideState,
    ask: SideState,
    larger_16: Mean,
    larger_64: Mean,
    /// Excess of bid over ask (> 0) or ask over bid (< 0) when one side last stood out.
    stood_out: f64,
    flips: Mean,
    /// Of the tilt: ln of bid size over its level less that of the ask.
    swing_32: Swing,
    swing_128: Swing,
    tilt_sum: Cusum,
    moving: Mean,
}

/// One side.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SideState {
    /// The size of the last quote.
    size: Option<f64>,
    /// ln of it over its level.
    above: f64,
    /// The level that it is over (ln of size).
    over: f32,
    level: Level,
    above_8: Mean,
    above_64: Mean,
    change_16: Mean,
    change_64: Mean,
}

/// How far a quantity swings around its mean of late.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Swing {
    mean: Mean,
    squares: Mean,
}

impl Swing {
    fn new(half_life: f64) -> Self {
        Swing {
            mean: Mean::new(half_life),
            squares: Mean::new(half_life),
        }
    }

    fn observe(&mut self, value: f64) {
        self.mean.observe(value);
        self.squares.observe(value * value);
    }

    /// Gives the variance.
    fn value(&self) -> f64 {
        self.squares.value() - self.mean.value() * self.mean.value()
    }
}

impl SideState {
    fn new() -> Self {
        SideState {
            size: None,
            above: 0.0,
            over: f32::NAN,
            level: Level::new(BookState::SIZE_HALF_LIFE),
            above_8: Mean::new(8.0),
            above_64: Mean::new(64.0),
            change_16: Mean::new(16.0),
            change_64: Mean::new(64.0),
        }
    }

    /// Takes a size in; tells whether it is another than before.
    fn observe(&mut self, size: f64) -> bool {
        let before = self.above;
        self.over = level_of(&self.level);
        self.above = against_level(&mut self.level, size);
        self.above_8.observe(self.above);
        self.above_64.observe(self.above);
        let Some(last) = self.size.replace(size) else {
            return false;
        };
        // The level moves too, by little: the change of what stands above it is that of the size.
        let change = if size == last { 0.0 } else { (self.above - before).abs() };
        self.change_16.observe(change);
        self.change_64.observe(change);
        size != last
    }
}

impl BookState {
    /// Sizes are compared with their level over this many quotes.
    const SIZE_HALF_LIFE: f64 = 500.0;
    /// A side stands out from this excess of one ln-size over the other: a factor of two.
    const STANDS_OUT: f64 = core::f64::consts::LN_2;

    pub(super) fn new() -> Self {
        BookState {
            depth: 0.0,
            imbalance: 0.0,
            depth_over: f32::NAN,
            depth_level: Level::new(Self::SIZE_HALF_LIFE),
            imbalance_change_16: Mean::new(16.0),
            imbalance_change_64: Mean::new(64.0),
            bid: SideState::new(),
            ask: SideState::new(),
            larger_16: Mean::new(16.0),
            larger_64: Mean::new(64.0),
            stood_out: 0.0,
            flips: Mean::new(32.0),
            swing_32: Swing::new(32.0),
            swing_128: Swing::new(128.0),
            tilt_sum: Cusum::new(1.0, 200.0),
            moving: Mean::new(32.0),
        }
    }

    /// Writes the book columns.
    pub(super) fn observe(&mut self, tick: &Tick, columns: &mut Columns<'_>) {
        if let Body::Quote(quote) = tick.body
            && let (Some(bid_size), Some(ask_size)) = (quote.bid_size, quote.ask_size)
        {
            self.observe_sizes(bid_size, ask_size);
        }
        let (bid, ask) = (&self.bid, &self.ask);
        columns.push(self.depth);
        columns.push(bid.above);
        columns.push(ask.above);
        columns.push(self.imbalance);
        for mean in [
            &self.imbalance_change_16,
            &self.imbalance_change_64,
            &bid.above_8,
            &ask.above_8,
            &bid.above_64,
            &ask.above_64,
            &bid.change_16,
            &ask.change_16,
            &bid.change_64,
            &ask.change_64,
            &self.larger_16,
            &self.larger_64,
            &self.flips,
        ] {
            columns.push(mean.value());
        }
        columns.push(self.swing_32.value());
        columns.push(self.swing_128.value());
        columns.push(self.tilt_sum.column());
        columns.push(self.moving.value());
        let scales = &mut *columns.scales;
        scales.depth_level = self.depth_over;
        scales.bid_size_level = self.bid.over;
        scales.ask_size_level = self.ask.over;
    }

    fn observe_sizes(&mut self, bid_size: f64, ask_size: f64) {
        let total = bid_size + ask_size;
        let imbalance = if total > 0.0 {
            (bid_size - ask_size) / total
        } else {
            0.0
        };
        let change = (imbalance - self.imbalance).abs();
        self.imbalance_change_16.observe(change);
        self.imbalance_change_64.observe(change);
        self.imbalance = imbalance;
        self.depth_over = level_of(&self.depth_level);
        self.depth = against_level(&mut self.depth_level, total);
        let moves = self.bid.observe(bid_size) | self.ask.observe(ask_size);
        self.moving.observe(f64::from(u8::from(moves)));
        let larger = self.bid.above.max(self.ask.above);
        self.larger_16.observe(larger);
        self.larger_64.observe(larger);
        let tilt = self.bid.above - self.ask.above;
        self.swing_32.observe(tilt);
        self.swing_128.observe(tilt);
        self.tilt_sum.observe(tilt.abs());
        let flip = self.flip();
        self.flips.observe(flip);
    }

    /// Gives by how much the side that stands out now does so, if it is another than the last one that did.
    fn flip(&mut self) -> f64 {
        let excess = self.bid.above - self.ask.above;
        if excess.abs() < Self::STANDS_OUT {
            return 0.0;
        }
        let flips = excess * self.stood_out < 0.0;
        self.stood_out = excess;
        if flips { excess.abs() } else { 0.0 }
    }
}

/// Gives a level as scales keep it.
pub(super) fn level_of(level: &Level) -> f32 {
    level.centre().map_or(f32::NAN, |centre| centre as f32)
}

/// Gives ln(size) above its level and takes it in; an empty side counts as the smallest size that is told apart.
pub(super) fn against_level(level: &mut Level, size: f64) -> f64 {
    let log_size = libm::log(size.max(SIZE_MIN));
    let above = level.above(log_size);
    level.observe(log_size);
    above
}
