//! Faults of size: trades too large, displayed sizes that swell, swing or vanish.
//!
//! Promises sizes on the feed's own grid, at least one step of it, and prices left alone.

use super::draws::Draws;
use super::episode::{Episode, Scene};
use super::grid::Grid;
use crate::pipeline::tick::{Body, Tick};

/// Spread of single sizes around the fault's strength (natural logarithm, ≥ 0): no two sizes of a real burst are alike.
const JITTER: f64 = 0.25;

/// A side of the book, as index into a profile's medians.
type Side = usize;

/// Trades are too large.
pub(super) fn volume_burst(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let factor = draws.log_uniform(4.0, 40.0);
    let rows = scene.rows_with(draws.log_count(4, 50), Tick::is_trade)?;
    let mut after = rows.to_vec();
    for tick in &mut after {
        scale_trade(scene, tick, factor * jitter(draws));
    }
    Episode::edited(rows, after, factor)
}

/// The size of a trade or two, or of one side of a quote or two, is far too large.
pub(super) fn size_spike(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let factor = draws.log_uniform(8.0, 1_000.0);
    let fields = scene.profile.fields;
    let of_trades = fields.trade_sizes && (!fields.quote_sizes || draws.chance(0.5));
    let rows = scene.rows_with(
        draws.log_count(1, 2),
        if of_trades { Tick::is_trade } else { Tick::is_quote },
    )?;
    let side = draws.count(0, 1);
    let mut after = rows.to_vec();
    for tick in &mut after {
        if of_trades {
            scale_trade(scene, tick, factor);
        } else {
            edit_side(scene, tick, side, |size| size * factor);
        }
    }
    Episode::edited(rows, after, factor)
}

/// Displayed size swells on one side, then on the other: the footprint of layering.
pub(super) fn size_oscillation(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let multiple = draws.log_uniform(3.0, 12.0);
    let rows = scene.rows_with(draws.log_count(40, 300), Tick::is_quote)?;
    let first_side = draws.count(0, 1);
    let quotes_per_turn = draws.log_count(3, 12);
    let mut after = rows.to_vec();
    for (index, tick) in after.iter_mut().filter(|tick| tick.is_quote()).enumerate() {
        let side = (first_side + index / quotes_per_turn) % 2;
        let swollen = multiple * jitter(draws) * scene.profile.side_sizes_median[side];
        edit_side(scene, tick, side, |size| size.max(swollen));
    }
    Episode::edited(rows, after, multiple)
}

/// Displayed size all but vanishes on one side or both.
pub(super) fn depth_drop(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let divisor = draws.log_uniform(4.0, 50.0);
    let rows = scene.rows_with(draws.log_count(12, 240), Tick::is_quote)?;
    let sides: &[Side] = draws.pick(&[&[0], &[1], &[0, 1]]);
    let mut after = rows.to_vec();
    for tick in &mut after {
        for &side in sides {
            edit_side(scene, tick, side, |size| size / divisor);
        }
    }
    Episode::edited(rows, after, divisor)
}

fn jitter(draws: &mut Draws) -> f64 {
    libm::exp(JITTER * draws.normal())
}

fn scale_trade(scene: &Scene, tick: &mut Tick, factor: f64) {
    if let Body::Trade(trade) = &mut tick.body {
        trade.size = trade
            .size
            .map(|size| on_grid(scene.profile.trade_size.as_ref(), size * factor));
    }
}

fn edit_side(scene: &Scene, tick: &mut Tick, side: Side, edit: impl Fn(f64) -> f64) {
    if let Body::Quote(quote) = &mut tick.body {
        let size = if side == 0 {
            &mut quote.bid_size
        } else {
            &mut quote.ask_size
        };
        *size = size.map(|size| on_grid(scene.profile.quote_size.as_ref(), edit(size)));
    }
}

fn on_grid(grid: Option<&Grid>, size: f64) -> f64 {
    grid.map_or(size, |grid| grid.snap_positive(size))
}
