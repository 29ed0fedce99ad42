//! The overview: one instrument's whole test, price above, score below, on the same ticks.

use maud::{Markup, html};

use super::downsample::{extremes, maxima};
use super::labelled::{Labelled, is_false};
use super::levels::Levels;
use super::number::{coordinate, count, fixed};
use super::panel::{Frame, Panel};
use super::scale::{Scale, robust_range};
use super::{Tape, number};
use crate::offline::evaluation::EventFinding;
use crate::pipeline::alert::Alert;
use crate::pipeline::summary::why;
use crate::pipeline::tick::{Body, Tick};

/// Size of the drawing without the names of events (pixels before scaling).
const SIZE: (f64, f64) = (1080.0, 376.0);

/// Room for the slanted names of events (pixels).
const NAMES_HEIGHT: f64 = 64.0;

/// Names of events are at least this far apart, and at most this far from their event (pixels).
const NAME_GAP: f64 = 15.0;

/// Characters of a kind's name: what the room holds.
const NAME_CHARS_MAX: usize = 15;

/// Left and right edge of both panels (pixels).
const ACROSS: (f64, f64) = (66.0, 1004.0);

/// Points of the price: at most lowest and highest for every 1.5 pixels.
const PRICE_POINTS_MAX: usize = 1_200;

/// Stems of the score: a stem is 1.2 pixels wide.
const SCORE_POINTS_MAX: usize = 600;

/// Events drawn for one instrument: about half of what can be told apart.
pub(super) const EVENTS_DRAWN_MAX: usize = 200;

/// A feed longer than this has days on its axis (nanoseconds).
const DAY_NANOS: i64 = 86_400_000_000_000;

/// Alerts closer than this share a marker (pixels).
const MARKER_PIXELS: f64 = 5.0;

/// Alerts that a marker names.
const ALERTS_NAMED_MAX: usize = 3;

/// Draws one instrument. `events`: those of this instrument; none without labels.
pub(super) fn chart(tape: &Tape, events: Option<&[Labelled]>, levels: &Levels) -> Markup {
    let shown = events.unwrap_or_default();
    let shown = &shown[..shown.len().min(EVENTS_DRAWN_MAX)];
    let lift = if shown.is_empty() { 0.0 } else { NAMES_HEIGHT };
    let frame = |top, bottom| Frame {
        left: ACROSS.0,
        right: ACROSS.1,
        top: top + lift,
        bottom: bottom + lift,
    };
    let prices: Vec<Option<f64>> = tape.ticks.iter().map(|tick| tick.as_ref().map(price)).collect();
    let ticks = (0.0, tape.scores.len().max(2) as f64 - 1.0);
    let upper = Panel::new(
        frame(32.0, 200.0),
        ticks,
        robust_range(prices.iter().flatten().copied()),
    );
    let lower = Panel::new(frame(236.0, 332.0), ticks, (0.0, levels.score_max));
    let points = extremes(&prices, PRICE_POINTS_MAX);
    html! {
        svg.overview viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1 + lift)) role="img"
            aria-label=(format!("Price and score of {} over its ticks", tape.instrument)) {
            (upper.y_axis(4))
            (lower.y_axis(5))
            @for event in shown { (event_span(event, &upper, &lower, levels)) }
            (event_names(shown, &upper))
            (upper.line("price", points.iter().map(|&(tick, value)| (tick as f64, value))))
            (off_scale(&points, &upper))
            (score(tape, &lower, levels))
            (levels.lines(&lower))
            (levels.names(&lower))
            (alert_markers(&tape.alerts, events, &lower))
            (lower.x_axis(8, "tick"))
            (clock(tape, &lower))
            (upper.title("price (mid of a quote, price of a trade), the feed's unit", 22.0 + lift))
            (lower.title("score; highest of neighbouring ticks", 22.0))
        }
    }
}

/// Gives the one price that stands for a tick.
pub(super) fn price(tick: &Tick) -> f64 {
    match &tick.body {
        Body::Trade(trade) => trade.price,
        Body::Quote(quote) => quote.mid(),
    }
}

/// Shades an event in both panels, with a mark above that can be seen however short it is.
fn event_span(labelled: &Labelled, upper: &Panel, lower: &Panel, levels: &Levels) -> Markup {
    let class = verdict(labelled);
    let ticks = (labelled.event.start, labelled.event.end);
    let (_, top) = upper.y.ends();
    let mark = Panel {
        x: upper.x,
        y: Scale::new((0.0, 1.0), (top - 5.0, top - 14.0)),
    };
    html! {
        g class=(class) {
            title { (tell(labelled, levels)) }
            (upper.span("span", ticks, 2.0))
            (lower.span("span", ticks, 2.0))
            (mark.span("mark", ticks, 6.0))
        }
    }
}

/// Writes the kinds of the events above their marks; none where its neighbours leave no room.
fn event_names(events: &[Labelled], panel: &Panel) -> Markup {
    let (_, top) = panel.y.ends();
    let mut free = 0.0_f64;
    let mut names: Vec<(f64, &Labelled)> = Vec::new();
    for labelled in events {
        let event = labelled.event;
        let middle = (panel.x.at(event.start as f64) + panel.x.at(event.end as f64)) / 2.0;
        let place = middle.max(free);
        if place - middle <= NAME_GAP {
            names.push((place, labelled));
            free = place + NAME_GAP;
        }
    }
    html! {
        @for (place, labelled) in names {
            @let at = format!("translate({} {})rotate(-45)", coordinate(place + 2.0), coordinate(top - 17.0));
            g class=(verdict(labelled)) { text.kind transform=(at) { (clipped(&labelled.event.kind)) } }
        }
    }
}

/// Shortens a name to what the room above a mark holds.
fn clipped(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Writes the time below the numbers of the ticks.
fn clock(tape: &Tape, panel: &Panel) -> Markup {
    let time = |tick: usize| Some(tape.ticks.get(tick)?.as_ref()?.event_time.0);
    let places: Vec<(f64, i64)> = panel
        .x
        .ticks(8)
        .into_iter()
        .filter_map(|(value, _)| Some((panel.x.at(value), time(value as usize)?)))
        .collect();
    let ends = places.first().zip(places.last());
    let with_day = ends.is_some_and(|(first, last)| last.1.saturating_sub(first.1) > DAY_NANOS);
    let (bottom, _) = panel.y.ends();
    let y = coordinate(bottom + 28.0);
    html! {
        @if !places.is_empty() { text.axis.end x=(coordinate(ACROSS.0 - 28.0)) y=(y) { "UTC" } }
        @for (x, nanos) in places { text.axis.mid x=(coordinate(x)) y=(y) { (number::clock(nanos, with_day)) } }
    }
}

/// Names what became of an event at the configured threshold, as the style knows it.
pub(super) fn verdict(labelled: &Labelled) -> &'static str {
    match labelled.delay {
        Some(_) => "found",
        None => "missed",
    }
}

/// Says in one line what became of an event.
fn tell(labelled: &Labelled, levels: &Levels) -> String {
    let EventFinding {
        start, end, kind, peak, ..
    } = labelled.event;
    let fate = match labelled.delay {
        Some(delay) => format!("alert after {} ticks", count(delay)),
        None => "no alert".to_owned(),
    };
    let (peak, threshold) = (fixed(*peak, 2), fixed(levels.alert, 2));
    format!("{kind}, ticks {start} to {end}: {fate}; highest score {peak}, alerts open at {threshold}")
}

/// Marks prices that lie outside the panel, once for each spot.
fn off_scale(points: &[(usize, f64)], panel: &Panel) -> Markup {
    let (bottom, top) = panel.y.ends();
    let middle = panel.y.range();
    let middle = middle.0 * 0.5 + middle.1 * 0.5;
    let mut outside: Vec<(f64, bool, f64)> = Vec::new();
    for &(tick, value) in points.iter().filter(|point| !panel.y.holds(point.1)) {
        let (x, above) = (panel.x.at(tick as f64), value > middle);
        let near = |before: &&mut (f64, bool, f64)| before.1 == above && x - before.0 < MARKER_PIXELS;
        match outside.iter_mut().rev().take(2).find(near) {
            Some(before) if (value > before.2) == above => before.2 = value,
            Some(_) => {}
            None => outside.push((x, above, value)),
        }
    }
    html! {
        @for (x, above, value) in outside {
            @let (tip, base) = if above { (top, top + 6.0) } else { (bottom, bottom - 6.0) };
            path.beyond d=(triangle(x, tip, base, 3.5)) { title { "off the scale: " (number::short(value)) } }
        }
    }
}

/// Draws the highest score of each bucket, those from which an alert opens in a stronger colour.
fn score(tape: &Tape, panel: &Panel, levels: &Levels) -> Markup {
    let points = maxima(&tape.scores, SCORE_POINTS_MAX);
    let stems = |class, loud| {
        let chosen = points.iter().filter(move |point| (point.1 >= levels.alert) == loud);
        panel.stems(class, chosen.map(|&(tick, value)| (tick as f64, value)))
    };
    html! { (stems("stems", false)) (stems("stems loud", true)) }
}

/// Puts a triangle above the score where alerts opened: hollow where it was a false alarm, which only labels tell.
fn alert_markers(alerts: &[(usize, Alert)], events: Option<&[Labelled]>, panel: &Panel) -> Markup {
    let (_, top) = panel.y.ends();
    let spot = |tick: usize| (panel.x.at(tick as f64) / MARKER_PIXELS).floor();
    let is_expected = |tick: usize| events.is_none_or(|events| !is_false(events, tick));
    let same = |left: &(usize, Alert), right: &(usize, Alert)| {
        spot(left.0) == spot(right.0) && is_expected(left.0) == is_expected(right.0)
    };
    html! {
        @for alerts in alerts.chunk_by(same) {
            @let tick = alerts[0].0;
            @let class = if is_expected(tick) { "opened" } else { "opened false" };
            path class=(class) d=(triangle(panel.x.at(tick as f64), top - 6.0, top - 15.0, 4.5)) {
                title {
                    @for (tick, alert) in alerts.iter().take(ALERTS_NAMED_MAX) { (alert_line(*tick, alert)) "\n" }
                    @if let Some(more @ 1..) = alerts.len().checked_sub(ALERTS_NAMED_MAX) { "and " (more) " more" }
                }
            }
        }
    }
}

/// Says in one line what an alert said when it opened.
fn alert_line(tick: usize, alert: &Alert) -> String {
    let why = why(alert).map_or_else(String::new, |why| format!("; {why}"));
    format!(
        "alert at tick {tick}: {}, arm {}, score {}{why}",
        alert.kind.name(),
        alert.arm.name(),
        fixed(f64::from(alert.score), 2)
    )
}

/// Gives the outline of a triangle that points from its base to its tip.
pub(super) fn triangle(x: f64, tip: f64, base: f64, half_width: f64) -> String {
    format!(
        "M{} {}L{} {}H{}Z",
        coordinate(x),
        coordinate(tip),
        coordinate(x - half_width),
        coordinate(base),
        coordinate(x + half_width)
    )
}
