//! The panel: a rectangle with two axes, and the lines, steps, stems and spans drawn in it.

use std::fmt::Write;

use maud::{Markup, html};

use super::number::coordinate;
use super::scale::Scale;

/// Width of a character of an axis, about (pixels).
const CHARACTER_WIDTH: f64 = 6.2;

/// Where the unit of the lower axis ends, left of the panel (pixels).
const UNIT_GAP: f64 = 12.0;

/// A rectangle with a scale across and a scale upwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// Across, from left to right.
    pub x: Scale,
    /// Upwards: it starts at the lower edge.
    pub y: Scale,
}

/// A box in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Left edge (pixels).
    pub left: f64,
    /// Right edge (pixels).
    pub right: f64,
    /// Upper edge (pixels).
    pub top: f64,
    /// Lower edge (pixels).
    pub bottom: f64,
}

impl Panel {
    /// Puts scales into a box.
    pub fn new(frame: Frame, x: (f64, f64), y: (f64, f64)) -> Self {
        Panel {
            x: Scale::new(x, (frame.left, frame.right)),
            y: Scale::new(y, (frame.bottom, frame.top)),
        }
    }

    /// Draws lines across at round numbers, with their texts on the left.
    pub fn y_axis(&self, wanted: usize) -> Markup {
        let (left, right) = self.x.ends();
        let ticks = self.y.ticks(wanted);
        let mut lines = String::new();
        for (value, _) in &ticks {
            // Writing to a string cannot fail.
            let _ = write!(
                lines,
                "M{} {}H{}",
                coordinate(left),
                coordinate(self.y.at(*value)),
                coordinate(right)
            );
        }
        html! {
            path.grid d=(lines) {}
            @for (value, text) in &ticks {
                text.axis.end x=(coordinate(left - 6.0)) y=(coordinate(self.y.at(*value) + 3.5)) { (text) }
            }
        }
    }

    /// Draws the lower edge, with round numbers below it and their unit on the left, whose place no number takes.
    pub fn x_axis(&self, wanted: usize, unit: &str) -> Markup {
        let (left, right) = self.x.ends();
        let (bottom, _) = self.y.ends();
        let mut numbers = self.x.ticks(wanted);
        numbers.retain(|(value, text)| {
            self.x.at(*value) - text.len() as f64 * CHARACTER_WIDTH / 2.0 > left - UNIT_GAP + 2.0
        });
        html! {
            path.edge d=(format!("M{} {}H{}", coordinate(left), coordinate(bottom), coordinate(right))) {}
            text.axis.end x=(coordinate(left - UNIT_GAP)) y=(coordinate(bottom + 14.0)) { (unit) }
            @for (value, text) in numbers {
                text.axis.mid x=(coordinate(self.x.at(value))) y=(coordinate(bottom + 14.0)) { (text) }
            }
        }
    }

    /// Writes what the panel shows above its upper left corner, `above` pixels from it.
    pub fn title(&self, text: &str, above: f64) -> Markup {
        let (left, _) = self.x.ends();
        let (_, top) = self.y.ends();
        html! { text.title x=(coordinate(left)) y=(coordinate(top - above)) { (text) } }
    }

    /// Draws straight lines from point to point.
    pub fn line(&self, class: &str, points: impl Iterator<Item = (f64, f64)>) -> Markup {
        let mut data = String::new();
        for (x, y) in points {
            let pen = if data.is_empty() { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            let _ = write!(data, "{pen}{} {}", coordinate(self.x.at(x)), coordinate(self.y.at(y)));
        }
        html! { path class=(class) d=(data) {} }
    }

    /// Draws a value that holds until the next one, up to `end`.
    pub fn steps(&self, class: &str, points: impl Iterator<Item = (f64, f64)>, end: f64) -> Markup {
        let mut data = String::new();
        for (x, y) in points {
            let (x, y) = (coordinate(self.x.at(x)), coordinate(self.y.at(y)));
            // Writing to a string cannot fail.
            let _ = if data.is_empty() {
                write!(data, "M{x} {y}")
            } else {
                write!(data, "H{x}V{y}")
            };
        }
        if !data.is_empty() {
            let _ = write!(data, "H{}", coordinate(self.x.at(end)));
        }
        html! { path class=(class) d=(data) {} }
    }

    /// Draws a line from the lower edge up to each point.
    pub fn stems(&self, class: &str, points: impl Iterator<Item = (f64, f64)>) -> Markup {
        let bottom = coordinate(self.y.ends().0);
        let mut data = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail.
            let _ = write!(
                data,
                "M{} {bottom}V{}",
                coordinate(self.x.at(x)),
                coordinate(self.y.at(y))
            );
        }
        html! { path class=(class) d=(data) {} }
    }

    /// Draws a dot at each point: a line without length, which the style's round ends make a dot.
    pub fn dots(&self, class: &str, points: impl Iterator<Item = (f64, f64)>) -> Markup {
        let mut data = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail.
            let _ = write!(data, "M{} {}h0", coordinate(self.x.at(x)), coordinate(self.y.at(y)));
        }
        html! { path class=(class) d=(data) {} }
    }

    /// Draws a line across at one value.
    pub fn level(&self, class: &str, value: f64) -> Markup {
        let (left, right) = self.x.ends();
        let y = coordinate(self.y.at(value));
        html! { path class=(class) d=(format!("M{} {y}H{}", coordinate(left), coordinate(right))) {} }
    }

    /// Shades ticks `start` to `end`, itself included, over the full height; at least `width_min` pixels wide.
    pub fn span(&self, class: &str, (start, end): (usize, usize), width_min: f64) -> Markup {
        let (bottom, top) = self.y.ends();
        let (left, right) = (self.x.at(start as f64 - 0.5), self.x.at(end as f64 + 0.5));
        let more = (width_min - (right - left)).max(0.0);
        html! {
            rect class=(class) x=(coordinate(left - more / 2.0)) y=(coordinate(top))
                width=(coordinate(right - left + more)) height=(coordinate(bottom - top)) {}
        }
    }
}

/// Moves the places of texts in one column apart, so that neighbours are at least `gap` pixels from each other.
/// `places`: ascending (pixels).
pub(super) fn apart(places: &[f64], gap: f64) -> Vec<f64> {
    let mut moved: Vec<f64> = Vec::with_capacity(places.len());
    for (index, &place) in places.iter().enumerate() {
        let free = if index == 0 {
            place
        } else {
            place.max(moved[index - 1] + gap)
        };
        moved.push(free);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_column_do_not_overlap() {
        assert_eq!(apart(&[10.0, 12.0, 40.0], 11.0), [10.0, 21.0, 40.0]);
        assert_eq!(apart(&[10.0, 12.0, 13.0], 11.0), [10.0, 21.0, 32.0]);
        assert!(apart(&[], 11.0).is_empty());
    }
}
