//! Outlier exposure: copies of clean ticks with injected faults, from which the judge learns (Hendrycks et al. 2019).
//!
//! Faults are injected into ticks, and all features are computed anew by the same code that computes them for scoring. A
//! view, its copy and the copy's rows are made when they are asked for and are not kept. Knows no network, and no labels but
//! those of the faults that it injects.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dataset::{Chunk, WARM_UP_ROWS};
use super::event_loss::{Event, Question};
use super::views::View;
use crate::inject::{self, Catalogue, Label};
use crate::pipeline::scaler::{InputRow, InputTransform};
use crate::pipeline::tick::Tick;

/// Rows of one sequence that the judge is trained on (its first [`SILENT_ROWS`] included).
pub const SEQUENCE_ROWS: usize = 320;
/// First rows of a sequence, which only fill the encoder's memory: the loss leaves them out.
pub const SILENT_ROWS: usize = 64;
/// Rows after an event that the loss leaves out, until features of short memory have recovered from it.
const AFTERMATH_ROWS: usize = 48;

/// Most instruments whose moves foreign rows of one instrument carry: enough to differ, however many there are.
const FOREIGN_MAX: usize = 16;

/// One instrument whose ticks are learnt from.
#[derive(Clone, Copy, Debug)]
pub struct Learnt<'a> {
    /// Clean ticks that may be learnt from.
    pub ticks: &'a [Tick],
    /// Feature row → model input.
    pub transform: &'a InputTransform,
}

/// What copies are made of: one view of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    /// Which instrument.
    instrument: usize,
    /// How it is looked at.
    view: View,
    /// Ticks in this view.
    ticks: usize,
}

/// All instruments in every view, each an instrument of its own to the judge.
pub struct Sources<'a> {
    learnt: &'a [Learnt<'a>],
    sources: Vec<Source>,
    /// Input transforms of views other than the plain one that have been made so far.
    transforms: BTreeMap<usize, InputTransform>,
}

impl<'a> Sources<'a> {
    /// Transforms that are remembered (about 30 kB each). With more sources than these, hardly any is drawn twice.
    const TRANSFORMS_MAX: usize = 512;

    /// Looks at instruments in every view that shows something.
    pub fn new(learnt: &'a [Learnt<'a>]) -> Self {
        let mut sources = Vec::new();
        for (instrument, own) in learnt.iter().enumerate() {
            let views = View::ALL
                .into_iter()
                .filter_map(|view| Some((view, view.of(own.ticks)?.len())));
            sources.extend(views.map(|(view, ticks)| Source {
                instrument,
                view,
                ticks,
            }));
        }
        Sources {
            learnt,
            sources,
            transforms: BTreeMap::new(),
        }
    }

    /// Counts them.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Counts the ticks in all of them.
    pub fn ticks(&self) -> usize {
        self.sources.iter().map(|source| source.ticks).sum()
    }

    /// Makes copy number `copy` of source number `source` with faults, and cuts it into sequences that overlap by their
    /// silent rows.
    pub fn expose(&mut self, source: usize, catalogue: &Catalogue, copy: usize, seed: u64) -> Vec<Sequence> {
        let Source { instrument, view, .. } = self.sources[source];
        let own = self.learnt[instrument];
        let Some(ticks) = view.of(own.ticks) else {
            return Vec::new();
        };
        let fitted;
        let transform = match (view, self.transforms.get(&source)) {
            (View::Plain, _) => own.transform,
            (_, Some(known)) => known,
            (_, None) => {
                fitted = InputTransform::fit(Chunk::new("", &ticks, Vec::new()).usable_rows());
                if self.transforms.len() < Self::TRANSFORMS_MAX {
                    self.transforms.insert(source, fitted.clone());
                }
                &fitted
            }
        };
        let (faulty, labels) = inject::apply(&ticks, self.lender(instrument, copy), catalogue, seed);
        drop(ticks);
        let chunk = Chunk::new("", &faulty, labels);
        drop(faulty);
        sequences(chunk, transform)
    }

    /// Gives the ticks of the instrument whose moves foreign rows of this one carry in copy number `copy`: about
    /// [`FOREIGN_MAX`] of the others take turns.
    fn lender(&self, instrument: usize, copy: usize) -> Option<&'a [Tick]> {
        let others = self.learnt.len() - 1;
        let step = others.div_ceil(FOREIGN_MAX).max(1);
        let place = copy.checked_rem(others.div_ceil(step))? * step;
        let other = if place < instrument { place } else { place + 1 };
        Some(self.learnt[other].ticks)
    }
}

/// One sequence and what is asked of it.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// `(`[`SEQUENCE_ROWS`]`, F)` model inputs, oldest first.
    pub inputs: Vec<InputRow>,
    /// Ranges are rows of the sequence, none before [`SILENT_ROWS`].
    pub question: Question,
}

/// Cuts the rows of a copy into sequences.
fn sequences(chunk: Chunk, transform: &InputTransform) -> Vec<Sequence> {
    let mut inputs = chunk.rows;
    // A row and its input have the same size: the one takes the other's place.
    inputs.iter_mut().for_each(|row| *row = transform.apply(row));
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
        let found = within(label.found_in());
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
    use crate::pipeline::tick::{Body, Trade};
    use crate::pipeline::time::EventTime;

    fn label(start: usize, end: usize) -> Label {
        Label {
            start,
            end,
            fault: Fault::PriceSpike,
            magnitude: 1.0,
        }
    }

    #[test]
    fn every_instrument_lends_its_moves_to_the_others_in_turn() {
        let transform = InputTransform::fit(&[]);
        let tick = |price: f64| Tick {
            event_time: EventTime(0),
            sequence: None,
            body: Body::Trade(Trade { price, size: None }),
        };
        let lenders = |instruments: usize, instrument: usize| -> Vec<f64> {
            let ticks: Vec<[Tick; 1]> = (0..instruments).map(|number| [tick(number as f64)]).collect();
            let learnt = |ticks| Learnt {
                ticks,
                transform: &transform,
            };
            let learnt: Vec<Learnt<'_>> = ticks.iter().map(|ticks| learnt(&ticks[..])).collect();
            let sources = Sources::new(&learnt);
            let lent = (0..4).filter_map(|copy| sources.lender(instrument, copy));
            let price = |ticks: &[Tick]| match ticks[0].body {
                Body::Trade(trade) => trade.price,
                Body::Quote(quote) => quote.bid,
            };
            lent.map(price).collect()
        };
        assert!(lenders(1, 0).is_empty());
        assert_eq!(lenders(3, 1), [0.0, 2.0, 0.0, 2.0]);
        assert_eq!(lenders(33, 4), [0.0, 2.0, 5.0, 7.0]);
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
