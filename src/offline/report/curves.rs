//! Two curves over all events: precision against recall, and how long detection takes.

use maud::{Markup, html};

use super::Judgement;
use super::labelled::Labelled;
use super::number::{coordinate, count, percent};
use super::panel::{Frame, Panel};
use crate::offline::evaluation::{AlertFigures, CurvePoint};

/// Size of either drawing (pixels before scaling).
const SIZE: (f64, f64) = (520.0, 330.0);

/// The box of either drawing.
const FRAME: Frame = Frame {
    left: 52.0,
    right: 504.0,
    top: 28.0,
    bottom: 270.0,
};

/// First delay of each bar (ticks); a bar ends where the next begins.
const DELAYS: [usize; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 128];

/// Draws precision against recall, with the places of both thresholds and of the alerts as they were.
pub(super) fn precision_recall(judgement: &Judgement) -> Markup {
    let Judgement { alerts, breakdown, .. } = judgement;
    let panel = Panel::new(FRAME, (0.0, 1.0), (0.0, 1.0));
    let place = |point: &CurvePoint| (point.recall, point.precision());
    let curve: Vec<(f64, f64)> = breakdown.curve.iter().map(place).collect();
    html! {
        svg.curve viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) role="img"
            aria-label="Precision against recall over all events" {
            (panel.y_axis(5))
            (panel.x_axis(5, ""))
            (panel.line("price", curve.iter().copied()))
            (spot(&panel, place(&breakdown.at_10k), "spot rare", "1/10k"))
            (spot(&panel, place(&breakdown.at_1k), "spot often", "1/1k"))
            (spot(&panel, place_of_alerts(alerts), "spot alert", "alerts"))
            text.axis.mid x=(coordinate(278.0)) y=(coordinate(310.0)) { "recall: share of the events that are found" }
            (panel.title("precision: found events / (found events + false alarms)", 12.0))
        }
    }
}

fn place_of_alerts(alerts: &AlertFigures) -> (f64, f64) {
    (alerts.recall, alerts.precision)
}

/// Marks one place of the curve by name.
fn spot(panel: &Panel, (recall, precision): (f64, f64), class: &str, name: &str) -> Markup {
    let (x, y) = (panel.x.at(recall), panel.y.at(precision));
    // The curve falls to the right: above it there is room on the right, below it on the left.
    let above = name == "alerts";
    let (side, text_x) = if above || recall < 0.15 {
        ("axis strong", x + 8.0)
    } else {
        ("axis end strong", x - 6.0)
    };
    let text_y = if above { y - 7.0 } else { y + 16.0 };
    html! {
        circle class=(class) cx=(coordinate(x)) cy=(coordinate(y)) r="5" {
            title { (name) ": recall " (percent(recall)) ", precision " (percent(precision)) }
        }
        text class=(side) x=(coordinate(text_x)) y=(coordinate(text_y)) { (name) }
    }
}

/// Draws how many events got an alert after how many ticks, and how many got none.
pub(super) fn delays(events: &[Labelled]) -> Markup {
    let bars = delay_bars(events);
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or(0).max(1);
    let panel = Panel::new(FRAME, (0.0, bars.len() as f64), (0.0, most as f64 * 1.1));
    let last = bars.len() - 1;
    let (bottom, _) = panel.y.ends();
    html! {
        svg.curve viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) role="img"
            aria-label="Events by ticks from start to alert" {
            (panel.y_axis(4))
            @for (index, (name, events)) in bars.iter().enumerate() {
                @let (left, right) = (panel.x.at(index as f64 + 0.12), panel.x.at(index as f64 + 0.88));
                @let (middle, top) = ((left + right) / 2.0, panel.y.at(*events as f64));
                g class=(if index == last { "missed" } else { "found" }) {
                    rect.bar x=(coordinate(left)) y=(coordinate(top)) width=(coordinate(right - left))
                        height=(coordinate(bottom - top)) {}
                }
                text.axis.mid.strong x=(coordinate(middle)) y=(coordinate(top - 4.0)) { (count(*events)) }
                text.axis.mid x=(coordinate(middle)) y=(coordinate(bottom + 15.0)) { (name) }
            }
            path.edge d=(format!("M{} {}H{}", FRAME.left, FRAME.bottom, FRAME.right)) {}
            text.axis.mid x=(coordinate(278.0)) y=(coordinate(310.0)) {
                "ticks from an event's start to its alert"
            }
            (panel.title("events", 12.0))
        }
    }
}

/// Counts the events of each bar; the last one counts those without an alert.
fn delay_bars(events: &[Labelled]) -> Vec<(String, usize)> {
    let mut bars: Vec<(String, usize)> = Vec::with_capacity(DELAYS.len() + 1);
    for (index, &first) in DELAYS.iter().enumerate() {
        let next = DELAYS.get(index + 1).copied();
        let falls_in = |delay: &usize| *delay >= first && next.is_none_or(|next| *delay < next);
        let delays = events.iter().filter_map(|labelled| labelled.delay);
        let name = match next {
            Some(next) if next == first + 1 => first.to_string(),
            Some(next) => format!("{first}–{}", next - 1),
            None => format!("≥ {first}"),
        };
        bars.push((name, delays.filter(falls_in).count()));
    }
    let missed = events.iter().filter(|labelled| labelled.delay.is_none());
    bars.push(("none".to_owned(), missed.count()));
    bars
}
