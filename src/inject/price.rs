//! Faults of price: rows displaced, levels that leave and return, moves too large, another instrument's moves.
//!
//! Promises prices on the instrument's grid, bid and ask moved together or apart but never across each other (a shifted
//! decimal point aside), and true prices again from the tick after the episode.

use super::draws::Draws;
use super::episode::{Donor, Episode, Scene};
use super::grid::Grid;
use crate::pipeline::tick::{Body, Tick};

/// Which of a quote's prices a fault touches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sides {
    Both,
    Bid,
    Ask,
}

/// One to three trades, or quotes, stand away from the others.
pub(super) fn spike(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let sigmas = draws.log_uniform(3.0, 40.0);
    let fields = scene.profile.fields;
    let hit = if fields.trades && (!fields.quotes || draws.chance(0.5)) {
        Tick::is_trade
    } else {
        Tick::is_quote
    };
    let rows = scene.rows_with(draws.log_count(1, 3), hit)?;
    // A single side only ever moves outwards, or the quote would be crossed: that is another fault.
    let both = (Sides::Both, draws.sign());
    let (sides, sign) = draws.pick(&[both, both, (Sides::Bid, -1.0), (Sides::Ask, 1.0)]);
    let steps = sign * scene.steps_of_sigmas(sigmas);
    let mut after = rows.to_vec();
    for tick in after.iter_mut().filter(|tick| hit(tick)) {
        displace(tick, sides, steps, &scene.profile.price);
    }
    Episode::edited(rows, after, sigmas)
}

/// One or two ticks have a price, or all of theirs, ten or a hundred times too large or too small.
pub(super) fn decimal_shift(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let factor = draws.pick(&[10.0, 10.0, 0.1, 0.1, 100.0, 0.01]);
    let sides = draws.pick(&[Sides::Both, Sides::Bid, Sides::Ask]);
    let grid = &scene.profile.price;
    let rows = scene.rows(draws.log_count(1, 2))?;
    let mut after = rows.to_vec();
    for tick in &mut after {
        edit_prices(tick, sides, |price| grid.snap_positive(price * factor));
    }
    Episode::edited(rows, after, factor)
}

/// Trades print on one side of a market that stays where it is.
pub(super) fn off_market_trades(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let sigmas = draws.log_uniform(2.0, 20.0);
    let rows = scene.rows_with(draws.log_count(3, 40), Tick::is_trade)?;
    let half_spread = (0.5 * scene.profile.spread_steps_median).ceil();
    let steps = draws.sign() * (scene.steps_of_sigmas(sigmas) + half_spread);
    let mut after = rows.to_vec();
    for tick in after.iter_mut().filter(|tick| tick.is_trade()) {
        displace(tick, Sides::Both, steps, &scene.profile.price);
    }
    Episode::edited(rows, after, sigmas)
}

/// The level leaves and returns: a flash crash, a pump, a fat finger that swept the book.
pub(super) fn level_shift(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let sigmas = draws.log_uniform(6.0, 50.0);
    let rows = scene.rows(draws.log_count(6, 600))?;
    let steps = draws.sign() * scene.steps_of_sigmas(sigmas);
    // Shares of the time spent on the way out and back: from a jump there and back to a ramp without a plateau.
    let moving = draws.log_uniform(0.01, 1.0);
    let leaving = moving * draws.uniform();
    let shape = |at: f64| (at / leaving).min((1.0 - at) / (moving - leaving)).min(1.0);
    let length = (rows.len() + 1) as f64;
    let after = displaced(scene, rows, |index| steps * shape((index + 1) as f64 / length));
    Episode::edited(rows, after, sigmas)
}

/// Every move is too large, while the stretch ends at the true price.
pub(super) fn volatility_burst(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let factor = draws.log_uniform(2.0, 8.0);
    let rows = scene.rows(draws.log_count(80, 500))?;
    let path = &scene.profile.reference[scene.start..scene.start + rows.len()];
    let before = scene.price_before();
    let drift = (path[path.len() - 1] - before) / path.len() as f64;
    // What is added is the path's own bridge, which is zero at both ends.
    let bridge = |index: usize| path[index] - before - drift * (index + 1) as f64;
    let step = scene.profile.price.step;
    let after = displaced(scene, rows, |index| (factor - 1.0) * bridge(index) / step);
    Episode::edited(rows, after, factor)
}

/// Every tick is off by an amount of its own.
pub(super) fn noise(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let sigmas = draws.log_uniform(1.0, 8.0);
    let rows = scene.rows(draws.log_count(8, 200))?;
    let steps = scene.steps_of_sigmas(sigmas);
    let after = displaced(scene, rows, |_| steps * draws.normal());
    Episode::edited(rows, after, sigmas)
}

/// Prices swing to and fro.
pub(super) fn oscillation(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let sigmas = draws.log_uniform(1.5, 10.0);
    let rows = scene.rows(draws.log_count(10, 240))?;
    let half_period = draws.log_count(1, 12);
    let (first, steps) = (draws.sign(), scene.steps_of_sigmas(sigmas));
    // A one-sided swing returns to the true price, a two-sided one passes through it.
    let low = draws.pick(&[0.0, -1.0]);
    let swing = |index: usize| {
        if (index / half_period).is_multiple_of(2) {
            1.0
        } else {
            low
        }
    };
    let after = displaced(scene, rows, |index| first * steps * swing(index));
    Episode::edited(rows, after, sigmas)
}

/// Ticks carry another instrument's moves, and sometimes its spreads, at this one's price level.
pub(super) fn foreign_rows(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let rows = scene.rows(draws.log_count(6, 48))?;
    let with_spreads = draws.chance(0.5);
    let order = lender_rows(scene, rows.len(), draws)?;
    let lender = scene.donor.unwrap_or(Donor {
        ticks: scene.ticks,
        reference: &scene.profile.reference,
    });
    let scale = scene.price_before() / lender.reference[order[0]];
    let grid = &scene.profile.price;
    let own = &scene.profile.reference[scene.start..];
    if !scale.is_finite() {
        return None;
    }
    let mut after = rows.to_vec();
    for (index, tick) in after.iter_mut().enumerate() {
        let lent = order[index + 1];
        displace(
            tick,
            Sides::Both,
            grid.steps(lender.reference[lent] * scale - own[index]),
            grid,
        );
        if with_spreads {
            borrow_spread(tick, &lender.ticks[lent], scale, grid);
        }
    }
    Episode::edited(rows, after, rows.len() as f64)
}

/// Chooses the lender's tick to start from and the `count` ticks whose moves are carried.
///
/// Without another instrument, a far-away stretch of the instrument's own ticks is lent backwards in time.
fn lender_rows(scene: &Scene, count: usize, draws: &mut Draws) -> Option<Vec<usize>> {
    let Some(donor) = scene.donor else {
        let last = draws.count(count, scene.ticks.len() - 1);
        let far = last.abs_diff(scene.start) > 4 * count;
        return far.then(|| (last - count..=last).rev().collect());
    };
    let first = draws.count(0, donor.ticks.len().checked_sub(count + 1)?);
    Some((first..=first + count).collect())
}

/// Gives a quote the spread of another instrument's quote, around the mid that it has.
fn borrow_spread(tick: &mut Tick, lent: &Tick, scale: f64, grid: &Grid) {
    if let (Body::Quote(quote), Body::Quote(lent)) = (&mut tick.body, &lent.body) {
        let steps = grid.steps((lent.ask - lent.bid) * scale).max(1.0);
        quote.bid = grid.snap_positive(quote.mid() - 0.5 * steps * grid.step);
        quote.ask = grid.moved(quote.bid, steps);
    }
}

/// Gives `rows` with all prices of each displaced by so many price steps, rounded to whole ones.
fn displaced(scene: &Scene, rows: &[Tick], mut steps_at: impl FnMut(usize) -> f64) -> Vec<Tick> {
    let mut after = rows.to_vec();
    for (index, tick) in after.iter_mut().enumerate() {
        displace(tick, Sides::Both, steps_at(index).round(), &scene.profile.price);
    }
    after
}

fn displace(tick: &mut Tick, sides: Sides, steps: f64, grid: &Grid) {
    if steps != 0.0 {
        edit_prices(tick, sides, |price| grid.moved(price, steps));
    }
}

/// Changes a trade's price, or those prices of a quote that `sides` names.
fn edit_prices(tick: &mut Tick, sides: Sides, edit: impl Fn(f64) -> f64) {
    match &mut tick.body {
        Body::Trade(trade) => trade.price = edit(trade.price),
        Body::Quote(quote) => {
            if sides != Sides::Ask {
                quote.bid = edit(quote.bid);
            }
            if sides != Sides::Bid {
                quote.ask = edit(quote.ask);
            }
        }
    }
}
