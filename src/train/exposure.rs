//! Outlier exposure: copies of clean ticks with injected faults, as questions for the judge (Hendrycks et al. 2019).
//!
//! Faults are put into ticks, and all features are computed anew by the code that scores. Knows no network and no labels
//! but its own.

use std::ops::Range;

use super::dataset::{Chunk, WARM_UP_ROWS};
use super::event_loss::{Event, Question};
use crate::inject::{self, Catalogue, Label};
use crate::pipeline::scaler::{InputRow, InputTransform};
use crate::pipeline::tick::{InstrumentTicks, Tick};

/// Rows of one sequence that the judge is trained on …
pub const SEQUENCE_ROWS: usize = 320;
/// … of which the first only fill its memory: nothing is asked of them.
pub const SILENT_ROWS: usize = 64;
/// Rows after an event in which it may still be found: a print that was wrong shows by how the next one comes back, and
/// between two trades there may be many quotes.
const RETURN_ROWS: usize = 16;
/// Rows after an event in which nothing is asked: what it did to features of short memory wears off.
const AFTERMATH_ROWS: usize = 48;

/// What copies are made of: one instrument.
#[derive(Clone)]
pub struct Source<'a> {
    /// Clean ticks that may be learnt from.
    pub ticks: Vec<Tick>,
    /// Ticks of other instruments, whose moves foreign rows carry: those of one in each copy.
    pub foreign: Vec<&'a [Tick]>,
    /// Feature row → model input.
    pub transform: InputTransform,
}

/// One sequence and what is asked of it.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// `(`[`SEQUENCE_ROWS`]`, F)` model inputs, oldest first.
    pub inputs: Vec<InputRow>,
    /// Ranges are rows of the sequence, none before [`SILENT_ROWS`].
    pub question: Question,
}

/// Makes copy number `copy` with faults and cuts it into sequences that overlap by their silent rows.
pub fn expose(source: &Source<'_>, catalogue: &Catalogue, copy: usize, seed: u64) -> Vec<Sequence> {
    let foreign = source.foreign.get(copy % source.foreign.len().max(1)).copied();
    let (ticks, labels) = inject::apply(&source.ticks, foreign, catalogue, seed);
    let faulty = InstrumentTicks {
        instrument: String::new(),
        ticks,
    };
    let chunk = Chunk::new(&faulty, labels);
    let inputs: Vec<InputRow> = chunk.rows.iter().map(|row| source.transform.apply(row)).collect();
    let starts = (WARM_UP_ROWS..(inputs.len() + 1).saturating_sub(SEQUENCE_ROWS)).step_by(SEQUENCE_ROWS - SILENT_ROWS);
    starts
        .map(|start| Sequence {
            inputs: inputs[start..start + SEQUENCE_ROWS].to_vec(),
            question: question(&chunk.labels, start),
        })
        .collect()
}

/// Gives what is asked of the sequence that begins at row `start`.
fn question(labels: &[Label], start: usize) -> Question {
    let within = |range: Range<usize>| {
        let first = range.start.max(start + SILENT_ROWS) - start;
        let end = range.end.clamp(start, start + SEQUENCE_ROWS) - start;
        (first < end).then_some(first..end)
    };
    let mut question = Question::default();
    let mut clean_from = 0;
    for label in labels {
        let own = within(label.start..label.end + 1);
        let found = within(label.start..label.end + 1 + RETURN_ROWS);
        question.events.extend(own.zip(found).map(|(ticks, found)| Event {
            ticks,
            found_before: found.end,
        }));
        question.clean.extend(within(clean_from..label.start));
        clean_from = label.end + 1 + AFTERMATH_ROWS;
    }
    question.clean.extend(within(clean_from..usize::MAX));
    question
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::Fault;

    fn label(start: usize, end: usize) -> Label {
        Label {
            start,
            end,
            fault: Fault::PriceSpike,
            magnitude: 1.0,
        }
    }

    #[test]
    fn question_is_cut_to_the_sequence_and_leaves_the_aftermath_out() {
        let labels = [label(10, 1040), label(1150, 1160), label(1290, 1400)];
        let question = question(&labels, 1000);
        let event = |ticks, found_before| Event { ticks, found_before };
        assert_eq!(question.events, [event(150..161, 177), event(290..320, 320)]);
        assert_eq!(question.clean, [89..150, 209..290]);
    }
}
