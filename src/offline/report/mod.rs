//! The report: one backtest as one HTML page that needs no other file, no script and no network.
//!
//! Promises to be pure, data in and text out, so that the same run gives the same bytes; and that no name, kind or path
//! can break out of its place in the page. Everything drawn has a cap. Without labels it shows what needs none.

mod closeup;
mod curves;
mod downsample;
mod header;
mod labelled;
mod levels;
mod number;
mod overview;
mod page;
mod panel;
mod scale;
mod tables;
mod worst;

pub use page::page;

use super::backtest::Outcome;
use super::evaluation::{
    AlertFigures, Breakdown, EvaluationError, Figures, Labels, breakdown, evaluate, evaluate_alerts,
};
use crate::model::artifact::Provenance;
use crate::model::spec::ModelSpec;
use crate::pipeline::alert::Alert;
use crate::pipeline::tick::Tick;

/// What was run, as the page says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What the page is called.
    pub title: String,
    /// Version of the program.
    pub program: String,
    /// What the detector saw before; of a path, the page shows the last part alone.
    pub train: String,
    /// What was scored; of a path, the page shows the last part alone.
    pub test: String,
    /// Where the labels come from; of a path, the page shows the last part alone.
    pub labels: Option<String>,
    /// The model's file, of which the page shows the last part alone; none if the model was made in this run.
    pub model: Option<String>,
    /// Sizes and parts of the model.
    pub spec: ModelSpec,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// The configured false-alarm budget (alerted ticks in 10,000).
    pub budget_per_10k: f64,
    /// The score from which an alert opens.
    pub alert_threshold: f64,
}

/// One instrument's test ticks and what the detector said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tape {
    /// The instrument.
    pub instrument: String,
    /// One entry per line; none for a line that is no tick. As many as there are scores.
    pub ticks: Vec<Option<Tick>>,
    /// One score per line.
    pub scores: Vec<f64>,
    /// The opened alerts, each with the line that opened it, ascending.
    pub alerts: Vec<(usize, Alert)>,
}

/// What the labels say of the scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The figures of the scores.
    pub figures: Figures,
    /// The figures of the alerts at the configured budget.
    pub alerts: AlertFigures,
    /// What stands behind the figures.
    pub breakdown: Breakdown,
}

impl Judgement {
    /// Judges what scoring a folder gave.
    ///
    /// # Errors
    /// [`EvaluationError`].
    pub fn new(outcome: &Outcome, labels: &Labels) -> Result<Self, EvaluationError> {
        let figures = evaluate(&outcome.scores, labels)?;
        Ok(Judgement {
            alerts: evaluate_alerts(&outcome.alerts, labels)?,
            breakdown: breakdown(&outcome.scores, labels, figures.thresholds)?,
            figures,
        })
    }
}

/// Gives the last part of a path: the folders above it tell of a machine, not of the run.
fn last_part(path: &str) -> &str {
    let end = path.trim_end_matches(['/', '\\']);
    end.rsplit(['/', '\\']).next().unwrap_or(end)
}

/// All that a page shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was run.
    pub run: Run,
    /// The instruments, in the order of the scores.
    pub tapes: Vec<Tape>,
    /// What the labels say; none without labels.
    pub judgement: Option<Judgement>,
}

/// Puts the ticks of each instrument beside what scoring them gave. `ticks`: one list per instrument of the outcome.
pub fn tapes(outcome: Outcome, ticks: Vec<Vec<Option<Tick>>>) -> Vec<Tape> {
    let mut opened = outcome.opened.into_iter();
    let own = outcome.scores.into_iter().zip(&outcome.alerts).zip(ticks);
    own.map(|((scores, alerts), mut ticks)| {
        ticks.resize(scores.scores.len(), None);
        Tape {
            instrument: scores.instrument,
            ticks,
            scores: scores.scores,
            alerts: opened.by_ref().take(alerts.alerted.len()).collect(),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests;
