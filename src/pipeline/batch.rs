//! The batch: every window that is due, gathered from all instruments and scored at once.
//!
//! Promises that the evidence of a window does not depend on what else is in the batch (as every [`Scorer`] does), and
//! that its memory is reused. Knows nothing of instruments.

use super::feature::{FEATURES, FeatureRow};
use super::scaler::InputRow;
use super::score::{Context, Evidence, Item, Scorer, Workspace};
use super::window::Window;

/// Windows that wait to be scored, and the evidence of the last scoring.
#[derive(Debug, Default)]
pub struct Batch {
    /// `(B, T, F)` model inputs.
    inputs: Vec<f32>,
    /// The newest row of every window, raw and as model input.
    newest: Vec<(FeatureRow, InputRow)>,
    workspace: Workspace,
    /// Evidence of the windows, in the order they were added.
    pub evidence: Evidence,
}

impl Batch {
    /// Adds the newest `lookback` rows of a window; gives the place of its evidence.
    pub fn add(&mut self, window: &Window, lookback: usize) -> usize {
        window.append_inputs(lookback, &mut self.inputs);
        self.newest.push(window.newest());
        self.newest.len() - 1
    }

    /// Tells whether no window waits.
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Gives the newest row of window number `index`, raw and as model input.
    pub fn newest(&self, index: usize) -> Option<(&FeatureRow, &InputRow)> {
        self.newest.get(index).map(|(raw, input)| (raw, input))
    }

    /// Scores all waiting windows; their evidence stands until the next call of [`Batch::clear`].
    pub fn score(&mut self, scorer: &dyn Scorer) {
        let context_len = (scorer.lookback() - 1) * FEATURES;
        let mut items: Vec<Item<'_>> = self
            .inputs
            .chunks_exact(scorer.lookback() * FEATURES)
            .map(|window| {
                let (context, rows) = window.split_at(context_len);
                Item {
                    context: Context::Window(context),
                    rows,
                }
            })
            .collect();
        scorer.score(&mut items, &mut self.workspace, &mut self.evidence);
    }

    /// Forgets all windows and keeps the memory.
    pub fn clear(&mut self) {
        self.inputs.clear();
        self.newest.clear();
        self.evidence.clear();
    }
}
