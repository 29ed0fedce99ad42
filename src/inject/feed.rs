//! Faults of the feed: fields that stand still, ticks too many, too fast, or missing.
//!
//! Promises stamps that never go back and are of the feed's own resolution, and sequence numbers that count what was
//! sent: extra ticks use them up, lost ones leave holes.

use super::draws::Draws;
use super::episode::{Episode, Scene};
use super::profile::{quote_of, trade_of};
use crate::pipeline::tick::{Body, Quote, Tick};
use crate::pipeline::time::EventTime;

/// Share of ticks that a freeze must change (0–1): less could not be told from a quiet market.
const FROZEN_SHARE_MIN: f64 = 0.25;

/// Fewest ticks that a silent gap swallows (ticks).
const GAP_TICKS_MIN: usize = 30;

/// Most ticks that a silent gap swallows (ticks): the price may otherwise have gone anywhere.
const GAP_TICKS_MAX: usize = 2_000;

/// Ticks after a silent gap that are labelled (ticks): when the silence can be noticed at last.
const GAP_TICKS_LABELLED: usize = 6;

/// Spread of a stuffed quote's sizes around the true ones (natural logarithm, ≥ 0).
const STUFFED_SIZE_JITTER: f64 = 0.3;

/// Most true ticks among stuffed quotes (ticks): where more come, the market itself is faster than the stuffing.
const STUFFED_TRUE_TICKS_MAX: usize = 700;

/// Prices, and sometimes sizes, stand still while ticks go on.
pub(super) fn stale_feed(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let rows = scene.rows(draws.log_count(100, 600))?;
    let (trades_freeze, quotes_freeze) = draws.pick(&[(true, true), (true, true), (false, true), (true, false)]);
    let sizes_freeze = draws.chance(0.5);
    let mut before = scene.ticks[..scene.start].iter().rev();
    let last_quote = before.clone().find_map(quote_of);
    let last_trade = before.find_map(trade_of);
    let mut after = rows.to_vec();
    for tick in &mut after {
        match (&mut tick.body, last_trade, last_quote) {
            (Body::Trade(trade), Some(last), _) if trades_freeze => {
                trade.price = last.price;
                trade.size = if sizes_freeze { last.size } else { trade.size };
            }
            (Body::Quote(quote), _, Some(last)) if quotes_freeze => {
                *quote = if sizes_freeze {
                    last
                } else {
                    Quote {
                        bid: last.bid,
                        ask: last.ask,
                        ..*quote
                    }
                };
            }
            (Body::Trade(_) | Body::Quote(_), _, _) => {}
        }
    }
    let changed = rows.iter().zip(&after).filter(|(old, new)| old != new).count();
    let noticeable = changed as f64 >= FROZEN_SHARE_MIN * rows.len() as f64;
    noticeable.then(|| Episode::whole(rows.len(), after, rows.len() as f64))
}

/// Extra quotes that say nothing new come in between the true ticks.
pub(super) fn quote_stuffing(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let rate_multiple = draws.log_uniform(4.0, 30.0);
    let extras = draws.log_count(100, 700);
    let flicker_share = if draws.chance(0.25) { draws.uniform() } else { 0.0 };
    let stamps = stuffed_stamps(scene, extras, rate_multiple, draws);
    let end = *stamps.last()?;
    let rest = &scene.ticks[scene.start..];
    let taken = rest
        .iter()
        .take(STUFFED_TRUE_TICKS_MAX)
        .position(|tick| tick.event_time >= end)?;
    let mut quote = scene.ticks[..scene.start].iter().rev().find_map(quote_of)?;
    let mut sequence = scene.ticks[scene.start - 1].sequence;
    let mut rows = rest[..taken].iter().peekable();
    let mut ticks = Vec::with_capacity(extras + taken);
    for (added, event_time) in (1..).zip(stamps) {
        while let Some(row) = rows.next_if(|row| row.event_time <= event_time) {
            quote = quote_of(row).unwrap_or(quote);
            sequence = row.sequence;
            ticks.push(Tick {
                sequence: sequence.map(|sequence| sequence.plus(added - 1)),
                ..*row
            });
        }
        let body = Body::Quote(stuffed_quote(scene, quote, flicker_share, draws));
        ticks.push(Tick {
            event_time,
            sequence: sequence.map(|sequence| sequence.plus(added)),
            body,
        });
    }
    Some(Episode {
        sequences_added: extras as u64,
        ..Episode::whole(taken, ticks, rate_multiple)
    })
}

/// Draws the stamps of extra quotes that come at a multiple of the present rate.
fn stuffed_stamps(scene: &Scene, extras: usize, rate_multiple: f64, draws: &mut Draws) -> Vec<EventTime> {
    let gap_nanos = scene.profile.gap_nanos(scene.ticks, scene.start - 1) / rate_multiple;
    let start = scene.ticks[scene.start - 1].event_time;
    let mut elapsed_nanos = 0.0;
    let mut stamp = || {
        elapsed_nanos += gap_nanos * draws.exponential();
        start.plus_nanos(scene.profile.stamp_span(elapsed_nanos))
    };
    (0..extras).map(|_| stamp()).collect()
}

/// Repeats a quote with jittered sizes; a flickering one has its ask a step further away.
fn stuffed_quote(scene: &Scene, quote: Quote, flicker_share: f64, draws: &mut Draws) -> Quote {
    let profile = scene.profile;
    let ask_steps = if draws.chance(flicker_share) { 1.0 } else { 0.0 };
    let mut jittered = |size: f64| {
        let jittered = size * libm::exp(STUFFED_SIZE_JITTER * draws.normal());
        profile.quote_size.map_or(size, |grid| grid.snap_positive(jittered))
    };
    Quote {
        bid: quote.bid,
        ask: profile.price.moved(quote.ask, ask_steps),
        bid_size: quote.bid_size.map(&mut jittered),
        ask_size: quote.ask_size.map(&mut jittered),
    }
}

/// Ticks are held up and then hurried, or hurried and then silent; their stamps say so, all else is true.
pub(super) fn rate_surge(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let rate_multiple = draws.log_uniform(3.0, 25.0);
    let rows = scene.rows(draws.log_count(40, 400))?;
    let from = rows[0].event_time;
    let total_nanos = rows[rows.len() - 1].event_time.nanos_since(from);
    let late = draws.chance(0.5);
    let mut after = rows.to_vec();
    for tick in &mut after {
        let elapsed_nanos = tick.event_time.nanos_since(from);
        let moved_nanos = if late {
            total_nanos - elapsed_nanos
        } else {
            -elapsed_nanos
        };
        let kept_share = 1.0 - 1.0 / rate_multiple;
        tick.event_time = tick
            .event_time
            .plus_nanos(scene.profile.stamp_span(moved_nanos as f64 * kept_share));
    }
    Episode::edited(rows, after, rate_multiple)
}

/// A good part of the ticks is lost.
pub(super) fn lost_rows(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let share = draws.between(0.4, 0.95);
    let rows = scene.rows(draws.log_count(30, 400))?;
    let kept: Vec<Tick> = rows.iter().copied().filter(|_| !draws.chance(share)).collect();
    let noticeable = !kept.is_empty() && kept.len() < rows.len();
    noticeable.then(|| Episode::whole(rows.len(), kept, share))
}

/// All ticks of a silence are lost that is long for this instrument; the label is on the ticks after it.
pub(super) fn silent_gap(scene: &Scene, draws: &mut Draws) -> Option<Episode> {
    let multiple = draws.log_uniform(1.0, 8.0);
    let long_nanos = scene.profile.gap_long_nanos as f64;
    let last_heard = scene.ticks[scene.start - 1].event_time;
    let silence = |tick: &Tick| tick.event_time.nanos_since(last_heard) as f64;
    let rest = &scene.ticks[scene.start..];
    let swallowable = &rest[..rest.len().min(GAP_TICKS_MAX)];
    let enough = swallowable
        .iter()
        .skip(GAP_TICKS_MIN)
        .position(|tick| silence(tick) >= multiple * long_nanos)?;
    let lost = GAP_TICKS_MIN + enough;
    let heard = rest.get(lost..lost + GAP_TICKS_LABELLED)?;
    Some(Episode::whole(
        lost + GAP_TICKS_LABELLED,
        heard.to_vec(),
        silence(&heard[0]) / long_nanos,
    ))
}
