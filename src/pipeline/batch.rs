//! The batch: every row that is due, gathered from all instruments and scored at once.
//!
//! A model with window context gets the whole window of each row. A model with carried context gets the instrument's state
//! and all rows that have come since. Promises that the evidence of a row does not depend on what else is in the batch (as
//! every [`Scorer`] promises), and that its memory is reused. Knows nothing of instruments but their slots.

use super::feature::{FEATURES, FeatureRow, Scales};
use super::scaler::InputRow;
use super::score::{Context, Evidence, Item, Scorer, Workspace};
use super::window::Window;

/// Rows that wait to be scored, and the evidence of the last scoring.
#[derive(Debug, Default)]
pub struct Batch {
    /// `(B, T, F)` model inputs of rows with window context.
    windows: Vec<f32>,
    /// Every row in the order they were added, raw and as model input.
    raw: Vec<FeatureRow>,
    inputs: Vec<InputRow>,
    /// What each row's features were measured against.
    scales: Vec<Scales>,
    queues: Queues,
    /// Empty between two scorings: memory for what a scorer is handed.
    items: Vec<Item<'static>>,
    workspace: Workspace,
    /// Evidence of all rows; [`Batch::evidence_index`] says where that of a row is.
    pub evidence: Evidence,
}

/// Rows with carried context, by instrument.
#[derive(Debug, Default)]
struct Queues {
    /// The slots that have rows here, in the order of their first.
    slots: Vec<usize>,
    /// `(slots, S)`.
    states: Vec<f32>,
    /// Which of the queues each slot has; [`Queues::NONE`]: none.
    of_slot: Vec<usize>,
    /// Which queue each row is in, in the order of rows.
    of_row: Vec<usize>,
    /// Where each row's evidence is.
    places: Vec<usize>,
    /// How many rows each queue has.
    lengths: Vec<usize>,
    /// Rows in the queues before each.
    starts: Vec<usize>,
    /// `(rows, F)` by queue.
    inputs: Vec<f32>,
}

impl Queues {
    const NONE: usize = usize::MAX;

    /// Puts a row into its slot's queue.
    fn push(&mut self, slot: usize, state: &[f32]) {
        if self.of_slot.len() <= slot {
            self.of_slot.resize(slot + 1, Self::NONE);
        }
        if self.of_slot[slot] == Self::NONE {
            self.of_slot[slot] = self.slots.len();
            self.slots.push(slot);
            self.states.extend_from_slice(state);
        }
        self.of_row.push(self.of_slot[slot]);
    }

    /// Orders the rows by queue, each queue in the order of its rows.
    fn arrange(&mut self, rows: &[InputRow]) {
        self.lengths.clear();
        self.lengths.resize(self.slots.len(), 0);
        self.places.clear();
        for queue in &self.of_row {
            self.places.push(self.lengths[*queue]);
            self.lengths[*queue] += 1;
        }
        let mut start = 0;
        self.starts.clear();
        for length in &self.lengths {
            self.starts.push(start);
            start += length;
        }
        self.inputs.resize(rows.len() * FEATURES, 0.0);
        for ((place, queue), input) in self.places.iter_mut().zip(&self.of_row).zip(rows) {
            *place += self.starts[*queue];
            self.inputs[*place * FEATURES..][..FEATURES].copy_from_slice(input);
        }
    }

    fn clear(&mut self) {
        for slot in self.slots.drain(..) {
            self.of_slot[slot] = Self::NONE;
        }
        self.states.clear();
        self.of_row.clear();
        self.places.clear();
        self.inputs.clear();
    }
}

impl Batch {
    /// Adds the newest row of a window and its scales, with the newest `lookback` rows as its context; gives the row's
    /// number.
    pub fn add_window(&mut self, window: &Window, scales: &Scales, lookback: usize) -> usize {
        window.append_inputs(lookback, &mut self.windows);
        self.add_row(window, scales)
    }

    /// Adds the newest row of a window and its scales, with the state that the instrument in `slot` had before the batch as
    /// its context; gives the row's number.
    pub fn add_carried(&mut self, slot: usize, state: &[f32], window: &Window, scales: &Scales) -> usize {
        self.queues.push(slot, state);
        self.add_row(window, scales)
    }

    fn add_row(&mut self, window: &Window, scales: &Scales) -> usize {
        let (raw, input) = window.newest();
        self.raw.push(*raw);
        self.inputs.push(*input);
        self.scales.push(*scales);
        self.inputs.len() - 1
    }

    /// Tells whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Gives row number `index`, raw and as model input, and its scales.
    pub fn row(&self, index: usize) -> Option<(&FeatureRow, &InputRow, &Scales)> {
        Some((self.raw.get(index)?, self.inputs.get(index)?, self.scales.get(index)?))
    }

    /// Gives the place of row number `index` in the evidence.
    pub fn evidence_index(&self, index: usize) -> usize {
        self.queues.places.get(index).copied().unwrap_or(index)
    }

    /// Gives the slots of carried rows and, once scored, the states after them.
    pub fn states(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let len = self.queues.states.len() / self.queues.slots.len().max(1);
        let states = self.queues.states.chunks_exact(len.max(1));
        self.queues.slots.iter().copied().zip(states)
    }

    /// Scores all waiting rows; their evidence stands until the next call of [`Batch::clear`].
    pub fn score(&mut self, scorer: &dyn Scorer) {
        if self.queues.slots.is_empty() {
            return self.score_windows(scorer);
        }
        self.queues.arrange(&self.inputs);
        let mut inputs = self.queues.inputs.as_slice();
        let states = self.queues.states.chunks_exact_mut(scorer.state_len().max(1));
        let mut items = emptied(std::mem::take(&mut self.items));
        items.extend(states.zip(&self.queues.lengths).map(|(state, length)| {
            let (rows, rest) = inputs.split_at(length * FEATURES);
            inputs = rest;
            Item {
                context: Context::Carried(state),
                rows,
            }
        }));
        scorer.score(&mut items, &mut self.workspace, &mut self.evidence);
        self.items = emptied(items);
    }

    fn score_windows(&mut self, scorer: &dyn Scorer) {
        let context_len = (scorer.lookback() - 1) * FEATURES;
        let windows = self.windows.chunks_exact(scorer.lookback() * FEATURES);
        let mut items = emptied(std::mem::take(&mut self.items));
        items.extend(windows.map(|window| {
            let (context, rows) = window.split_at(context_len);
            Item {
                context: Context::Window(context),
                rows,
            }
        }));
        scorer.score(&mut items, &mut self.workspace, &mut self.evidence);
        self.items = emptied(items);
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.windows.clear();
        self.raw.clear();
        self.inputs.clear();
        self.scales.clear();
        self.queues.clear();
        self.evidence.clear();
    }
}

/// Empties a list and gives its memory to a list whose items borrow for another lifetime. Nothing is allocated, because
/// collecting a vector's own iterator reuses the vector's memory.
fn emptied<'a>(mut items: Vec<Item<'_>>) -> Vec<Item<'a>> {
    let nothing = |_: Item<'_>| Item {
        context: Context::Window(&[]),
        rows: &[],
    };
    items.clear();
    items.into_iter().map(nothing).collect()
}
