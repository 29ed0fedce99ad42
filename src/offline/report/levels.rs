//! The levels: the thresholds drawn across every score, and the range that all scores share.

use maud::{Markup, html};

use super::number::{coordinate, fixed};
use super::panel::{Panel, apart};
use super::{Report, Run};

/// Pixels between the texts of two levels, at least.
const TEXT_GAP: f64 = 11.0;

/// One threshold.
pub(super) struct Level {
    /// What it is called beside its line.
    name: &'static str,
    /// Class of its line.
    class: &'static str,
    /// The score.
    score: f64,
}

/// All thresholds, and the highest score.
pub(super) struct Levels {
    levels: Vec<Level>,
    /// The score from which an alert opens.
    pub alert: f64,
    /// Upper end of the axis of scores, the same for all instruments.
    pub score_max: f64,
}

impl Levels {
    /// Gathers the finite thresholds of a report, from the highest down.
    pub fn of(report: &Report) -> Self {
        let Run { alert_threshold, .. } = report.run;
        let thresholds = report.judgement.as_ref().map(|judgement| judgement.figures.thresholds);
        let level = |name, class, score| Level { name, class, score };
        let mut levels = vec![level("alert", "level alert", alert_threshold)];
        if let Some(thresholds) = thresholds {
            levels.push(level("1/10k", "level rare", thresholds.per_10k));
            levels.push(level("1/1k", "level often", thresholds.per_1k));
        }
        levels.retain(|level| level.score.is_finite());
        levels.sort_by(|left, right| right.score.total_cmp(&left.score));
        let scores = report.tapes.iter().flat_map(|tape| tape.scores.iter().copied());
        let highest = scores
            .chain(levels.iter().map(|level| level.score))
            .filter(|score| score.is_finite())
            .fold(1.0, f64::max);
        Levels {
            levels,
            alert: alert_threshold,
            score_max: highest * 1.04,
        }
    }

    /// Draws the lines.
    pub fn lines(&self, panel: &Panel) -> Markup {
        html! {
            @for level in &self.levels { (panel.level(level.class, level.score)) }
        }
    }

    /// Writes the names on the right of the lines.
    pub fn names(&self, panel: &Panel) -> Markup {
        let (_, right) = panel.x.ends();
        let places: Vec<f64> = self.levels.iter().map(|level| panel.y.at(level.score)).collect();
        html! {
            @for (level, place) in self.levels.iter().zip(apart(&places, TEXT_GAP)) {
                text.axis x=(coordinate(right + 5.0)) y=(coordinate(place + 3.5)) {
                    (level.name) " " (fixed(level.score, 2))
                }
            }
        }
    }
}
