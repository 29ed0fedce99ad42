//! Faults of order: stamps that are wrong, blocks of ticks that come late or twice.
//!
//! Promises that event time goes back somewhere in the episode or right after it, and that bodies are untouched.

use super::draws::Draws;
use super::episode::{Episode, Scene};
use crate::pipeline::tick::Tick;
use crate::pipeline::time::NANOS_PER_SEC;

/// Stamps are moved forward or back; the label includes the tick at which time is right again.
pub(super) fn time_jump(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let secs = draws.sign() * draws.log_uniform(0.5, 3_600.0);
    let nanos = scene.profile.stamp_span(secs * NANOS_PER_SEC as f64);
    let moved = draws.log_count(1, 20);
    let mut after = scene.rows(moved + 1)?.to_vec();
    for tick in &mut after[..moved] {
        tick.event_time = tick.event_time.plus_nanos(nanos);
    }
    let visible = nanos != 0 && goes_back(&scene.ticks[scene.start - 1], &after);
    visible.then(|| Episode::whole(moved + 1, after, secs))
}

/// A block of ticks arrives after the block that should follow it.
pub(super) fn out_of_order(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let late = draws.log_count(4, 32);
    let rows = scene.rows(late + draws.log_count(4, 32))?;
    let mut after = rows.to_vec();
    after.rotate_left(late);
    let visible = goes_back(&scene.ticks[scene.start - 1], &after);
    visible.then(|| Episode::whole(rows.len(), after, late as f64))
}

/// A block of ticks arrives a second time, as after a reconnection; the label is on the repetition.
pub(super) fn repeated_rows(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let rows = scene.rows(draws.log_count(4, 48))?;
    let visible = goes_back(&rows[rows.len() - 1], rows);
    let repetition = Episode {
        first: rows.len(),
        ..Episode::whole(rows.len(), rows.repeat(2), rows.len() as f64)
    };
    visible.then_some(repetition)
}

/// Tells whether a stamp is older than the one before it.
fn goes_back(last: &Tick, ticks: &[Tick]) -> bool {
    let mut newest = last.event_time;
    ticks
        .iter()
        .any(|tick| tick.event_time < std::mem::replace(&mut newest, tick.event_time))
}
