//! Progress: how far a training has come.

/// A stage of a training that takes long enough to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Rows are made of the ticks of every instrument, and what is usual on it is measured.
    Preparing,
    /// Weights are fitted.
    Fitting,
    /// Thresholds are taken from rows that are held back.
    Calibrating,
}

impl Phase {
    /// Gives the name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Preparing => "preparing",
            Phase::Fitting => "fitting",
            Phase::Calibrating => "calibrating",
        }
    }
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// How much of the phase is done (0–1).
    pub share: f64,
    /// Epoch at work, from 1, where the fit has several.
    pub epoch: Option<usize>,
    /// Loss so far, where there is one: of the best epoch, or of a judge's last steps.
    pub loss: Option<f64>,
}

impl Progress {
    /// Tells that `done` instruments of so many have been through a phase.
    pub fn of_instruments(phase: Phase, done: usize, instruments: usize) -> Self {
        Progress {
            phase,
            share: done as f64 / instruments.max(1) as f64,
            epoch: None,
            loss: None,
        }
    }
}
