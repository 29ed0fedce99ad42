//! Faults of the quote: a spread too wide, a bid that meets or exceeds the ask.
//!
//! Promises that prices stay on the grid and that trades in between are left alone.

use super::draws::Draws;
use super::episode::{Episode, Scene};
use crate::pipeline::tick::{Body, Quote, Tick};

/// The spread is wider around the same mid price.
pub(super) fn spread_blowout(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let factor = draws.log_uniform(2.5, 12.0);
    let rows = scene.rows_with(draws.log_count(6, 100), Tick::is_quote)?;
    let grid = &scene.profile.price;
    // A quote that is locked, or narrower than usual, just now is measured by the usual spread.
    let usual = scene.profile.spread_steps_median.max(1.0);
    let after = edit_quotes(rows, |quote| {
        let spread = grid.steps(quote.ask - quote.bid);
        let added = ((factor - 1.0) * spread.max(usual)).round().max(1.0);
        let below = (0.5 * added).floor();
        quote.bid = grid.moved(quote.bid, -below);
        quote.ask = grid.moved(quote.ask, added - below);
    });
    Episode::edited(rows, after, factor)
}

/// The bid meets the ask or exceeds it by up to six steps.
pub(super) fn crossed_quote(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    // Where locked quotes are nothing unusual, a locked one is no fault.
    let steps_min = usize::from(scene.profile.often_locked);
    let steps = draws.count(steps_min, 6) as f64;
    let rows = scene.rows_with(draws.log_count(1, 10), Tick::is_quote)?;
    let bid_moves = draws.chance(0.5);
    let grid = &scene.profile.price;
    let after = edit_quotes(rows, |quote| {
        if bid_moves {
            quote.bid = grid.moved(quote.ask, steps);
        } else {
            quote.ask = grid.moved(quote.bid, -steps);
        }
    });
    Episode::edited(rows, after, steps)
}

fn edit_quotes(rows: &[Tick], edit: impl Fn(&mut Quote)) -> Vec<Tick> {
    let mut after = rows.to_vec();
    for tick in &mut after {
        if let Body::Quote(quote) = &mut tick.body {
            edit(quote);
        }
    }
    after
}
