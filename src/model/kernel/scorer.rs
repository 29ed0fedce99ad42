//! The kernel as the detector's scorer.

use super::engine::{BLOCK_ROWS, Kernel};
use super::input::{CarriedRows, WindowRows};
use super::simd::Path;
use crate::model::spec::ContextKind;
use crate::model::weights::Weights;
use crate::pipeline::score::{Context, Evidence, Item, Scorer, Workspace};

/// Scores with a model's weights on the best path of this processor.
#[derive(Debug)]
pub struct KernelScorer {
    kernel: Kernel,
}

impl KernelScorer {
    /// Packs weights for scoring.
    pub fn new(weights: &Weights) -> Self {
        Self::on(weights, Path::best())
    }

    /// Packs weights for scoring on a path of choice.
    ///
    /// # Panics
    /// When this processor cannot run the path.
    pub fn on(weights: &Weights, path: Path) -> Self {
        KernelScorer {
            kernel: Kernel::new(weights, path),
        }
    }

    fn score_windows(&self, items: &[Item<'_>], workspace: &mut Workspace, evidence: &mut Evidence) {
        let features = self.kernel.spec().input_size;
        let windows = items.iter().flat_map(|item| {
            let before: &[f32] = match &item.context {
                Context::Window(rows) => rows,
                Context::Carried(_) => &[],
            };
            // Window number q ends with queued row q, so it begins q rows later.
            (1..=item.rows.len() / features).map(move |q| WindowRows {
                before: &before[(q - 1) * features..],
                newest: &item.rows[..q * features],
            })
        });
        self.kernel.score_windows(windows, 1, workspace, evidence);
    }

    fn score_carried(&self, items: &mut [Item<'_>], workspace: &mut Workspace, evidence: &mut Evidence) {
        for block in items.chunks_mut(BLOCK_ROWS) {
            let mut carried: [CarriedRows<'_>; BLOCK_ROWS] = std::array::from_fn(|_| CarriedRows::default());
            let mut n = 0;
            for item in block {
                if let Context::Carried(state) = &mut item.context {
                    carried[n] = CarriedRows { state, rows: item.rows };
                    n += 1;
                }
            }
            self.kernel.score_carried(&mut carried[..n], 1, workspace, evidence);
        }
    }
}

impl Scorer for KernelScorer {
    fn lookback(&self) -> usize {
        self.kernel.spec().lookback
    }

    fn state_len(&self) -> usize {
        match self.kernel.spec().context {
            ContextKind::Window => 0,
            ContextKind::Carried => self.kernel.spec().encoder().state_len(),
        }
    }

    fn score(&self, items: &mut [Item<'_>], workspace: &mut Workspace, evidence: &mut Evidence) {
        evidence.clear();
        let is_window = |item: &Item<'_>| matches!(item.context, Context::Window(_));
        for run in items.chunk_by_mut(|a, b| is_window(a) == is_window(b)) {
            match run.first().is_some_and(is_window) {
                true => self.score_windows(run, workspace, evidence),
                false => self.score_carried(run, workspace, evidence),
            }
        }
    }
}
