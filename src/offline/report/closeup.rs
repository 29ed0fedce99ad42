//! The close-up: about 120 ticks of one instrument, tick by tick: prices, sizes, score, and what is labelled.

use maud::{Markup, html};

use super::Tape;
use super::labelled::Labelled;
use super::levels::Levels;
use super::overview::{triangle, verdict};
use super::panel::{Frame, Panel};
use super::scale::full_range;
use crate::pipeline::tick::{Body, Quote, Tick, Trade};

/// Ticks shown.
pub(super) const TICKS: usize = 120;

/// Size of the drawing (pixels before scaling).
const SIZE: (f64, f64) = (350.0, 262.0);

/// Left and right edge of the panels (pixels).
const ACROSS: (f64, f64) = (56.0, 330.0);

/// What a close-up shows.
pub(super) struct Scene<'a> {
    /// The instrument.
    pub tape: &'a Tape,
    /// Its labelled events.
    pub events: &'a [Labelled<'a>],
    /// The first tick shown.
    pub first: usize,
}

impl<'a> Scene<'a> {
    /// Shows `before` ticks before `tick` and the rest of [`TICKS`] from there on, as far as there are any.
    pub fn around(tape: &'a Tape, events: &'a [Labelled<'a>], tick: usize, before: usize) -> Self {
        let latest = tape.scores.len().saturating_sub(TICKS);
        Scene {
            tape,
            events,
            first: tick.saturating_sub(before).min(latest),
        }
    }

    /// Gives the last tick shown.
    pub fn last(&self) -> usize {
        (self.first + TICKS).min(self.tape.scores.len()).saturating_sub(1)
    }

    /// Gives the time from the first tick shown to the last (nanoseconds), where both have a stamp.
    pub fn nanos(&self) -> Option<i64> {
        let mut times = self.ticks().map(|(_, tick)| tick.event_time.0);
        let first = times.next()?;
        times.last()?.checked_sub(first)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, &'a Tick)> {
        let shown = self.tape.ticks.get(self.first..=self.last()).unwrap_or_default();
        let first = self.first;
        let numbered = shown.iter().enumerate();
        numbered.filter_map(move |(index, tick)| Some(((first + index) as f64, tick.as_ref()?)))
    }

    fn quotes(&self) -> impl Iterator<Item = (f64, &'a Quote)> {
        self.ticks().filter_map(|(x, tick)| match &tick.body {
            Body::Quote(quote) => Some((x, quote)),
            Body::Trade(_) => None,
        })
    }

    fn trades(&self) -> impl Iterator<Item = (f64, &'a Trade)> {
        self.ticks().filter_map(|(x, tick)| match &tick.body {
            Body::Trade(trade) => Some((x, trade)),
            Body::Quote(_) => None,
        })
    }

    fn panel(&self, top: f64, bottom: f64, y: (f64, f64)) -> Panel {
        let frame = Frame {
            left: ACROSS.0,
            right: ACROSS.1,
            top,
            bottom,
        };
        Panel::new(frame, (self.first as f64, self.last().max(self.first + 1) as f64), y)
    }
}

/// Draws a scene.
pub(super) fn picture(scene: &Scene, levels: &Levels) -> Markup {
    let prices = scene.quotes().flat_map(|(_, quote)| [quote.bid, quote.ask]);
    let prices = prices.chain(scene.trades().map(|(_, trade)| trade.price));
    let price = scene.panel(16.0, 110.0, full_range(prices));
    let size = scene.panel(130.0, 170.0, (0.0, size_max(scene)));
    let score = scene.panel(190.0, 240.0, (0.0, levels.score_max));
    let shown = |labelled: &&Labelled| labelled.event.start <= scene.last() && labelled.event.end >= scene.first;
    html! {
        svg.closeup viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) role="img"
            aria-label="Prices, sizes and score, tick by tick" {
            (price.y_axis(4))
            @if size_max(scene) > 0.0 { (size.y_axis(2)) }
            (score.y_axis(2))
            @for labelled in scene.events.iter().filter(shown) {
                @let ticks = (labelled.event.start, labelled.event.end);
                g class=(verdict(labelled)) {
                    @for panel in [&price, &size, &score] { (panel.span("span", ticks, 2.0)) }
                }
            }
            (draw_prices(scene, &price))
            (draw_sizes(scene, &size))
            (draw_score(scene, &score, levels))
            (score.x_axis(4, "tick"))
            (price.title("price", 4.0))
            (size.title(if size_max(scene) > 0.0 { "size" } else { "size: the feed has none" }, 4.0))
            (score.title("score", 4.0))
        }
    }
}

fn draw_prices(scene: &Scene, panel: &Panel) -> Markup {
    let end = scene.last() as f64;
    let trades = || scene.trades().map(|(x, trade)| (x, trade.price));
    html! {
        @if scene.quotes().next().is_some() {
            (panel.steps("bid", scene.quotes().map(|(x, quote)| (x, quote.bid)), end))
            (panel.steps("ask", scene.quotes().map(|(x, quote)| (x, quote.ask)), end))
        } @else {
            (panel.line("thread", trades()))
        }
        (panel.dots("trades", trades()))
    }
}

fn draw_sizes(scene: &Scene, panel: &Panel) -> Markup {
    let end = scene.last() as f64;
    let bids = scene.quotes().filter_map(|(x, quote)| Some((x, quote.bid_size?)));
    let asks = scene.quotes().filter_map(|(x, quote)| Some((x, quote.ask_size?)));
    let trades = scene.trades().filter_map(|(x, trade)| Some((x, trade.size?)));
    html! {
        (panel.stems("sizes", trades))
        (panel.steps("bid", bids, end))
        (panel.steps("ask", asks, end))
    }
}

fn draw_score(scene: &Scene, panel: &Panel, levels: &Levels) -> Markup {
    let stems = |class, loud| {
        let shown = scene.first..=scene.last();
        let scores = shown.filter_map(|tick| Some((tick as f64, *scene.tape.scores.get(tick)?)));
        panel.stems(class, scores.filter(move |point| (point.1 >= levels.alert) == loud))
    };
    let (_, top) = panel.y.ends();
    let opened = scene.tape.alerts.iter().map(|(tick, _)| *tick);
    html! {
        (stems("stems wide", false))
        (stems("stems wide loud", true))
        (levels.lines(panel))
        @for tick in opened.filter(|tick| (scene.first..=scene.last()).contains(tick)) {
            path.opened d=(triangle(panel.x.at(tick as f64), top + 1.0, top - 8.0, 4.5)) {}
        }
    }
}

fn size_max(scene: &Scene) -> f64 {
    let quotes = scene.quotes().flat_map(|(_, quote)| [quote.bid_size, quote.ask_size]);
    let trades = scene.trades().map(|(_, trade)| trade.size);
    quotes.chain(trades).flatten().fold(0.0, f64::max)
}
