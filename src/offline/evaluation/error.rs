//! What can be wrong with the labels, scores and alerts given to the evaluation.
//!
//! Each text names the place and what was expected there; none is worth a retry, since the input itself must be mended.

use std::path::PathBuf;

/// Says why labels could not be read, or scores and alerts not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The label file cannot be opened, or a line of it is no CSV record; the source names the line.
    #[error("cannot read the labels {}", path.display())]
    UnreadableLabels {
        /// The label file.
        path: PathBuf,
        /// What the CSV reader says.
        source: csv::Error,
    },
    /// The header of the label file lacks a column.
    #[error("{}, line 1: missing column {column}; found {found}", path.display())]
    MissingColumn {
        /// The label file.
        path: PathBuf,
        /// The column that is missing.
        column: &'static str,
        /// The columns that are there, joined by commas.
        found: String,
    },
    /// A cell of the label file does not hold what its column must.
    #[error("{}, line {line}, column {column}: expected {expected}, found {found:?}", path.display())]
    WrongCell {
        /// The label file.
        path: PathBuf,
        /// The line in the file, from 1.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// What the column must hold.
        expected: &'static str,
        /// What the cell holds.
        found: String,
    },
    /// An event is not within its instrument's ticks, or ends before it starts.
    #[error("{instrument}: event {start}..={end} lies outside the {ticks} ticks or ends before it starts")]
    EventOutside {
        /// The instrument.
        instrument: String,
        /// The event's first tick.
        start: usize,
        /// The event's last tick.
        end: usize,
        /// The instrument's number of ticks.
        ticks: usize,
    },
    /// An alert is on a tick that its instrument does not have.
    #[error("{instrument}: alert on tick {tick}, expected one of the {ticks} ticks from 0")]
    AlertOutside {
        /// The instrument.
        instrument: String,
        /// The alerted tick.
        tick: usize,
        /// The instrument's number of ticks.
        ticks: usize,
    },
    /// The scores or alerts name an instrument twice.
    #[error("{instrument}: given twice, expected each instrument once")]
    RepeatedInstrument {
        /// The instrument.
        instrument: String,
    },
    /// None of the evaluated instruments has a labelled event.
    #[error("the labels hold no event of these instruments: they name {labelled}, and the ticks {scored}")]
    NoEvents {
        /// Instruments of the labels.
        labelled: String,
        /// Instruments of the ticks.
        scored: String,
    },
}

impl EvaluationError {
    /// Makes the error of labels and ticks that have no instrument in common.
    pub(super) fn no_events<'a>(
        labelled: impl Iterator<Item = &'a str>,
        scored: impl Iterator<Item = &'a str>,
    ) -> Self {
        EvaluationError::NoEvents {
            labelled: first_names(labelled),
            scored: first_names(scored),
        }
    }
}

/// Lists names, of many the first ones.
fn first_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const NAMED_MAX: usize = 3;
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "none".into(),
        count if count > NAMED_MAX => format!("{} and {} more", names[..NAMED_MAX].join(", "), count - NAMED_MAX),
        _ => names.join(", "),
    }
}
