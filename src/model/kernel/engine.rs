//! The whole model on vectors: windows or carried states in, evidence out.
//!
//! Rows are taken in blocks of [`BLOCK_ROWS`], so memory is bounded by the block and stays in cache. Nothing is allocated
//! once the workspace has grown to a block's needs.

use std::ops::Range;

use super::encoder::Encoder;
use super::heads::{Bridge, Generator, PackedJudge};
use super::input::{CarriedRows, WindowRows};
use super::scratch::Scratch;
use super::simd::Path;
use super::stack::{States, StepInput};
use super::step::Rows;
use crate::model::spec::ModelSpec;
use crate::model::weights::Weights;
use crate::pipeline::score::{Evidence, Workspace};

/// Rows that are computed at once: a multiple of every path's tile, and few enough for the states of a large model (128
/// numbers per row and layer) to stay in the first-level cache beside the weights of one vector of units.
pub const BLOCK_ROWS: usize = 48;

/// A model packed for one path.
#[derive(Debug)]
pub struct Kernel {
    spec: ModelSpec,
    encoder: Encoder,
    bridge: Bridge,
    decoder: Option<Generator>,
    predictor: Option<Generator>,
    judge: Option<PackedJudge>,
}

/// The queues of a block of items: which take part in which step.
struct BlockQueues {
    /// F, the numbers of one row.
    features: usize,
    /// Rows of each item, and rows of the items before it.
    lengths: [usize; BLOCK_ROWS],
    starts: [usize; BLOCK_ROWS],
    /// Longest queue first, so that the items of one step are the first so many.
    order: [usize; BLOCK_ROWS],
    items: usize,
    /// Rows of all items.
    total: usize,
}

impl BlockQueues {
    fn of(items: &[CarriedRows<'_>], features: usize) -> Self {
        let mut queues = BlockQueues {
            features,
            lengths: [0; BLOCK_ROWS],
            starts: [0; BLOCK_ROWS],
            order: std::array::from_fn(|index| index),
            items: items.len(),
            total: 0,
        };
        for (index, item) in items.iter().enumerate() {
            queues.lengths[index] = item.rows.len() / features;
            queues.starts[index] = queues.total;
            queues.total += queues.lengths[index];
        }
        let lengths = &queues.lengths;
        queues.order[..items.len()].sort_unstable_by_key(|index| (usize::MAX - lengths[*index], *index));
        queues
    }

    fn order(&self) -> &[usize] {
        &self.order[..self.items]
    }

    fn longest(&self) -> usize {
        self.order().first().map_or(0, |item| self.lengths[*item])
    }

    /// Gives the items that have a row at a step, in their order.
    fn active(&self, step: usize) -> &[usize] {
        let order = self.order();
        &order[..order.partition_point(|item| self.lengths[*item] > step)]
    }

    /// Copies the rows of as many steps from `step` on as fit, step by step; gives these steps. `first`: the place of the
    /// items' first row in the evidence.
    fn gather(
        &self,
        items: &[CarriedRows<'_>],
        step: usize,
        first: usize,
        head_input: &mut HeadInput<'_>,
    ) -> Range<usize> {
        let features = self.features;
        let mut end = step;
        head_input.n = 0;
        while end < self.longest() && head_input.n + self.active(end).len() <= BLOCK_ROWS {
            for item in self.active(end) {
                let row = &items[*item].rows[end * features..][..features];
                head_input.rows[head_input.n * features..][..features].copy_from_slice(row);
                head_input.places[head_input.n] = first + self.starts[*item] + end;
                head_input.n += 1;
            }
            end += 1;
        }
        step..end
    }
}

/// What the heads look at: up to [`BLOCK_ROWS`] rows and the encoder's states around them.
struct HeadInput<'a> {
    /// Rows that are there.
    n: usize,
    /// Which scored row each is, counted from the start of the evidence.
    places: [usize; BLOCK_ROWS],
    /// `(n, S)` before the rows; only where there is a predictor.
    before: &'a mut [f32],
    /// `(n, S)` after the rows.
    after: &'a mut [f32],
    /// `(n, F)`.
    rows: &'a mut [f32],
}

/// Pieces that a block's scratch is cut into at most: what [`HeadInput`] holds, and what encoder or heads add.
const PIECES: usize = 16;

impl Kernel {
    /// Packs weights for a path.
    ///
    /// # Panics
    /// When this processor cannot run the path.
    pub fn new(weights: &Weights, path: Path) -> Self {
        let spec = weights.spec;
        let generator = |rows: usize, prefix: &str, output: &str| {
            (rows > 0).then(|| Generator::pack(weights, prefix, output, path))
        };
        Kernel {
            spec,
            encoder: Encoder::pack(weights, path),
            bridge: Bridge::pack(weights, path),
            decoder: generator(spec.decoded_rows, "decoder", "output"),
            predictor: generator(spec.horizon, "predictor", "predictor_output"),
            judge: spec.judge.map(|judge| PackedJudge::pack(weights, judge, path)),
        }
    }

    /// Gives the sizes.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Scores windows of T rows: the `rebuilt` newest rows of each as the decoder makes them, `(N, rebuilt, F)` and newest
    /// first, its newest row as it was foretold, `(N, F)`, and the judge's log-odds, `(N,)`, are appended.
    ///
    /// # Panics
    /// When a window is shorter than T rows.
    pub fn score_windows<'w>(
        &self,
        windows: impl Iterator<Item = WindowRows<'w>>,
        rebuilt: usize,
        workspace: &mut Workspace,
        evidence: &mut Evidence,
    ) {
        let mut block = [WindowRows::default(); BLOCK_ROWS];
        let mut n = 0;
        for window in windows {
            block[n] = window;
            n += 1;
            if n == BLOCK_ROWS {
                self.score_block(&block, rebuilt, workspace, evidence);
                n = 0;
            }
        }
        if n > 0 {
            self.score_block(&block[..n], rebuilt, workspace, evidence);
        }
    }

    fn score_block(
        &self,
        windows: &[WindowRows<'_>],
        rebuilt: usize,
        workspace: &mut Workspace,
        evidence: &mut Evidence,
    ) {
        let (n, features, lookback) = (windows.len(), self.spec.input_size, self.spec.lookback);
        let work_len = self.encoder.scratch_len(n, lookback).max(self.heads_len(n, rebuilt));
        let (mut head_input, mut scratch) = self.head_input(n, work_len, workspace);
        let early = self.predictor.is_some().then_some(&mut *head_input.before);
        self.encoder
            .encode(windows, lookback, early, head_input.after, scratch.fork());
        for (window, row) in windows.iter().zip(head_input.rows.chunks_exact_mut(features)) {
            row.copy_from_slice(window.row(lookback - 1, features));
        }
        let first = self.extend(evidence, n, rebuilt);
        head_input.n = n;
        head_input.places = std::array::from_fn(|row| first + row);
        self.run_heads(&head_input, rebuilt, scratch, evidence);
    }

    /// Cuts memory for `n` rows and `work_len` further numbers out of the workspace.
    fn head_input<'a>(&self, n: usize, work_len: usize, workspace: &'a mut Workspace) -> (HeadInput<'a>, Scratch<'a>) {
        let (features, state_len) = (self.spec.input_size, self.encoder.state_len());
        let len = n * (2 * state_len + features) + work_len;
        let mut scratch = Scratch::new(&mut workspace.floats, len, PIECES);
        let head_input = HeadInput {
            n: 0,
            places: [0; BLOCK_ROWS],
            before: scratch.take(n * state_len),
            after: scratch.take(n * state_len),
            rows: scratch.take(n * features),
        };
        (head_input, scratch)
    }

    /// Makes room for `n` more scored rows; gives the number of those that are there.
    fn extend(&self, evidence: &mut Evidence, n: usize, rebuilt: usize) -> usize {
        let features = self.spec.input_size;
        let mut first = 0;
        let mut grow = |list: &mut Vec<f32>, is_there: bool, width: usize| {
            if is_there && width > 0 {
                first = list.len() / width;
                list.resize(list.len() + n * width, 0.0);
            }
        };
        grow(&mut evidence.reconstruction, self.decoder.is_some(), rebuilt * features);
        grow(&mut evidence.forecast, self.predictor.is_some(), features);
        grow(&mut evidence.judge, self.judge.is_some(), 1);
        first
    }

    /// Moves carried states on by their rows; what [`Kernel::score_windows`] appends per window is appended per row, in
    /// the order of items and of rows within them.
    ///
    /// # Panics
    /// When a state's length is not S.
    pub fn score_carried(
        &self,
        items: &mut [CarriedRows<'_>],
        rebuilt: usize,
        workspace: &mut Workspace,
        evidence: &mut Evidence,
    ) {
        for block in items.chunks_mut(BLOCK_ROWS) {
            self.carry_block(block, rebuilt, workspace, evidence);
        }
    }

    fn carry_block(
        &self,
        items: &mut [CarriedRows<'_>],
        rebuilt: usize,
        workspace: &mut Workspace,
        evidence: &mut Evidence,
    ) {
        let queues = BlockQueues::of(items, self.spec.input_size);
        let first = self.extend(evidence, queues.total, rebuilt);
        let stack = self.encoder.forward();
        let (states_len, sums_len) = (stack.states_len(items.len()), stack.sums_len(BLOCK_ROWS));
        let work_len = states_len + sums_len + self.heads_len(BLOCK_ROWS, rebuilt);
        let (mut head_input, mut scratch) = self.head_input(BLOCK_ROWS, work_len, workspace);
        let mut states = States::zeros(stack, items.len(), scratch.take(states_len));
        for (row, item) in queues.order().iter().enumerate() {
            states.import(row, self.spec.hidden_size, items[*item].state);
        }
        let sums = scratch.take(sums_len);
        let mut next = 0;
        while next < queues.longest() {
            let steps = queues.gather(items, next, first, &mut head_input);
            self.carry(&queues, items, steps.clone(), &mut states, sums, &mut head_input);
            self.run_heads(&head_input, rebuilt, scratch.fork(), evidence);
            next = steps.end;
        }
    }

    /// Moves states on by the gathered rows of some steps: their inputs are one product, and only what depends on the state
    /// before is done step by step.
    fn carry(
        &self,
        queues: &BlockQueues,
        items: &mut [CarriedRows<'_>],
        steps: Range<usize>,
        states: &mut States<'_>,
        sums: &mut [f32],
        head_input: &mut HeadInput<'_>,
    ) {
        let (features, hidden, state_len) = (self.spec.input_size, self.spec.hidden_size, self.encoder.state_len());
        let stack = self.encoder.forward();
        let rows = Rows {
            data: head_input.rows,
            stride: features,
        };
        stack.project(head_input.n, rows, sums);
        let mut from = 0;
        for step in steps {
            let active = queues.active(step);
            states.keep(active.len());
            if self.predictor.is_some() {
                states.export_all(active.len(), hidden, &mut head_input.before[from * state_len..]);
            }
            let input = StepInput::Projected(&sums[stack.sums_len(from)..]);
            stack.run(states, 1, input, None);
            let after = &mut head_input.after[from * state_len..];
            states.export_all(active.len(), hidden, after);
            for (item, after) in active.iter().zip(after.chunks_exact(state_len)) {
                if queues.lengths[*item] == step + 1 {
                    items[*item].state.copy_from_slice(after);
                }
            }
            from += active.len();
        }
    }

    /// Lets every head look at the rows and writes what it says to their places.
    fn run_heads(&self, head_input: &HeadInput<'_>, rebuilt: usize, mut scratch: Scratch<'_>, evidence: &mut Evidence) {
        let (n, features) = (head_input.n, self.spec.input_size);
        let states = |data| Rows {
            data,
            stride: self.encoder.state_len(),
        };
        if let Some(decoder) = &self.decoder {
            let len = rebuilt * features;
            decoder.run(
                &self.bridge,
                states(head_input.after),
                n,
                rebuilt,
                scratch.fork(),
                |row, made| {
                    evidence.reconstruction[head_input.places[row] * len..][..len].copy_from_slice(made);
                },
            );
        }
        if let Some(predictor) = &self.predictor {
            predictor.run(
                &self.bridge,
                states(head_input.before),
                n,
                1,
                scratch.fork(),
                |row, made| {
                    evidence.forecast[head_input.places[row] * features..][..features].copy_from_slice(made);
                },
            );
        }
        if let Some(judge) = &self.judge {
            let seen = self.spec.judged_state();
            let top = (self.spec.layers - 1) * seen;
            let input = scratch.take(n * (seen + features));
            for (row, input) in input.chunks_exact_mut(seen + features).enumerate() {
                let (state, rest) = input.split_at_mut(seen);
                state.copy_from_slice(&head_input.after[row * self.encoder.state_len() + top..][..seen]);
                rest.copy_from_slice(&head_input.rows[row * features..][..features]);
            }
            let input = Rows {
                data: input,
                stride: seen + features,
            };
            judge.run(input, seen, n, scratch, |row, log_odds| {
                evidence.judge[head_input.places[row]] += log_odds;
            });
        }
    }

    /// Gives the numbers that [`Kernel::run_heads`] takes from its scratch.
    fn heads_len(&self, n: usize, rebuilt: usize) -> usize {
        let generator = |generator: &Option<Generator>, steps| {
            let len = |generator: &Generator| generator.scratch_len(&self.bridge, n, steps);
            generator.as_ref().map_or(0, len)
        };
        let judge = self.judge.as_ref().map_or(0, |judge| {
            n * (self.spec.judged_state() + self.spec.input_size) + judge.scratch_len(n)
        });
        generator(&self.decoder, rebuilt)
            .max(generator(&self.predictor, 1))
            .max(judge)
    }
}
