//! A stack of LSTM layers on many rows at once, and the states of those rows.
//!
//! Knows nothing of windows, heads or instruments.

use std::ops::Range;

use super::packed::{LayerWeights, PackedDense, PackedLayer};
use super::simd::{Path, Simd, Task};
use super::step::{Begun, Dense, Projection, Rows, Step};
use crate::model::spec::LstmSpec;
use crate::model::weights::Weights;

/// The layers of a stack in one direction.
#[derive(Debug)]
pub struct Stack {
    /// Bottom first.
    pub layers: Vec<PackedLayer>,
    path: Path,
}

impl Stack {
    /// Packs layers given as numbers.
    pub fn of_numbers(layers: &[LayerNumbers], spec: &LstmSpec, path: Path) -> Self {
        let pack = |layer: &LayerNumbers| PackedLayer::new(layer.borrow(), spec.hidden_size, path.lanes());
        Stack {
            layers: layers.iter().map(pack).collect(),
            path,
        }
    }

    /// Gives H rounded up to whole vectors.
    pub fn padded(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.padded)
    }

    /// Gives the numbers that [`States`] of so many rows take.
    pub fn states_len(&self, rows: usize) -> usize {
        self.layers.len() * REGIONS * rows * self.padded()
    }

    /// Gives the numbers that [`Stack::project`] writes for so many rows.
    pub fn sums_len(&self, rows: usize) -> usize {
        rows * PackedLayer::GATES * self.padded()
    }

    /// Adds bias and inputs of the bottom layer for rows of any steps, as one product, for [`StepInput::Projected`].
    pub fn project(&self, rows: usize, input: Rows<'_>, sums: &mut [f32]) {
        if let Some(layer) = self.layers.first() {
            self.path.run(Projection {
                layer,
                rows,
                input,
                sums,
            });
        }
    }

    /// Moves all layers of all rows on by `steps` steps; `output` is computed after each.
    pub fn run(&self, states: &mut States<'_>, steps: usize, input: StepInput<'_>, output: Option<Output<'_>>) {
        self.path.run(Steps {
            stack: self,
            states,
            steps,
            input,
            output,
        });
    }
}

/// What the bottom layer of a step reads.
#[derive(Clone, Copy, Debug)]
pub enum StepInput<'a> {
    /// Nothing.
    None,
    /// These rows at the first step, and at each further one those that lie so many numbers behind.
    Rows(Rows<'a>, usize),
    /// What [`Stack::project`] made of the rows of one step.
    Projected(&'a [f32]),
    /// The top layer's h before the step (folded into the state's own weights where there is one layer).
    OwnTop,
}

/// A linear layer on the top layer's h.
#[derive(Debug)]
pub struct Output<'a> {
    /// Weights.
    pub layer: &'a PackedDense,
    /// Each row's outputs, those of one step behind those of the last; what is written past a step's outputs is
    /// overwritten by the next step.
    pub out: &'a mut [f32],
    /// From one row to the next.
    pub stride: usize,
}

/// Steps of a stack as one task, so that nothing but the work itself is done per step.
struct Steps<'a, 's, 'o> {
    stack: &'a Stack,
    states: &'a mut States<'s>,
    steps: usize,
    input: StepInput<'a>,
    output: Option<Output<'o>>,
}

impl Task for Steps<'_, '_, '_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for step in 0..self.steps {
            self.step(simd, step);
            if let Some(output) = &mut self.output {
                Dense {
                    layer: output.layer,
                    rows: self.states.active,
                    input: self.states.top(),
                    out: &mut output.out[step * output.layer.outputs..],
                    out_stride: output.stride,
                    relu: false,
                }
                .run(simd);
            }
        }
    }
}

impl Steps<'_, '_, '_> {
    #[expect(
        clippy::expect_used,
        reason = "the regions of a state lie side by side; see `States::region`"
    )]
    #[inline(always)]
    fn step<S: Simd>(&mut self, simd: S, step: usize) {
        let states = &mut *self.states;
        let layers = &self.stack.layers;
        let (older, newer) = states.turn();
        for (index, layer) in layers.iter().enumerate() {
            let below = match (index, self.input) {
                (0, StepInput::OwnTop) if layers.len() > 1 => states.region(layers.len() - 1, older),
                (0, _) => 0..0,
                _ => states.region(index - 1, newer),
            };
            let regions = [
                states.region(index, older),
                states.region(index, CELL),
                states.region(index, newer),
                below,
            ];
            let [hidden, cell, out, below] = states.numbers.get_disjoint_mut(regions).expect("disjoint regions");
            let begun = match (index, self.input) {
                (0, StepInput::Projected(sums)) => Begun::Sums(sums),
                (0, StepInput::Rows(rows, behind)) => Begun::Inputs(Rows {
                    data: &rows.data[step * behind..],
                    ..rows
                }),
                _ => Begun::Inputs(Rows {
                    data: below,
                    stride: states.padded,
                }),
            };
            let rows = states.active;
            Step {
                layer,
                rows,
                begun,
                hidden,
                cell,
                out,
            }
            .run(simd);
        }
    }
}

/// Numbers per unit and layer in [`States`]: h before and after, which take turns, and c.
const REGIONS: usize = 3;
/// The region of c.
const CELL: usize = 2;

/// h and c of all layers of `rows` rows.
#[derive(Debug)]
pub struct States<'a> {
    numbers: &'a mut [f32],
    rows: usize,
    /// Rows that a step moves on: the first so many.
    active: usize,
    padded: usize,
    layers: usize,
    /// Which of the first two regions holds the newer h (0 or 1).
    newer: usize,
}

impl<'a> States<'a> {
    /// Makes states of zero in `numbers`, which are [`Stack::states_len`] long.
    pub fn zeros(stack: &Stack, rows: usize, numbers: &'a mut [f32]) -> Self {
        numbers.fill(0.0);
        States {
            numbers,
            rows,
            active: rows,
            padded: stack.padded(),
            layers: stack.layers.len(),
            newer: 0,
        }
    }

    fn region(&self, layer: usize, region: usize) -> Range<usize> {
        let len = self.rows * self.padded;
        (layer * REGIONS + region) * len..(layer * REGIONS + region + 1) * len
    }

    /// Makes the older h the one to be written; gives the regions that are now the older and the newer.
    fn turn(&mut self) -> (usize, usize) {
        self.newer = 1 - self.newer;
        (1 - self.newer, self.newer)
    }

    /// Lets later steps move the first `rows` rows alone; the states of the others mean nothing from then on.
    pub fn keep(&mut self, rows: usize) {
        self.active = rows.min(self.rows);
    }

    /// Gives h of a layer, `(rows, padded)`.
    pub fn h(&self, layer: usize) -> &[f32] {
        &self.numbers[self.region(layer, self.newer)]
    }

    /// Gives h of the top layer, `(rows, padded)`.
    pub fn top(&self) -> Rows<'_> {
        Rows {
            data: self.h(self.layers - 1),
            stride: self.padded,
        }
    }

    /// Copies one row's state out as `[h of all layers | c of all layers]`, `hidden` numbers each.
    pub fn export(&self, row: usize, hidden: usize, out: &mut [f32]) {
        for (index, out) in out.chunks_exact_mut(hidden).enumerate() {
            out.copy_from_slice(&self.numbers[self.place(index, row)..][..hidden]);
        }
    }

    /// Copies h and c of one row of the bottom layer out.
    pub fn export_parts(&self, row: usize, h: &mut [f32], c: &mut [f32]) {
        h.copy_from_slice(&self.numbers[self.place(0, row)..][..h.len()]);
        c.copy_from_slice(&self.numbers[self.place(self.layers, row)..][..c.len()]);
    }

    /// Copies the states of the first rows out, one after the other; see [`States::export`].
    pub fn export_all(&self, rows: usize, hidden: usize, out: &mut [f32]) {
        let len = 2 * self.layers * hidden;
        for (row, out) in out.chunks_exact_mut(len).take(rows).enumerate() {
            self.export(row, hidden, out);
        }
    }

    /// Copies one row's state in; the inverse of [`States::export`].
    pub fn import(&mut self, row: usize, hidden: usize, from: &[f32]) {
        for (index, from) in from.chunks_exact(hidden).enumerate() {
            let place = self.place(index, row);
            self.numbers[place..][..hidden].copy_from_slice(from);
        }
    }

    /// Gives where part `index` of a row's state begins, h of all layers before c of all layers.
    fn place(&self, index: usize, row: usize) -> usize {
        let region = match index < self.layers {
            true => self.region(index, self.newer),
            false => self.region(index - self.layers, CELL),
        };
        region.start + row * self.padded
    }
}

/// Row-major numbers of one layer in one direction, as [`LayerWeights`] borrows them.
pub struct LayerNumbers {
    /// `(4H, I)`.
    pub input: Vec<f32>,
    /// `(4H, H)`.
    pub hidden: Vec<f32>,
    /// `(4H,)`, both biases added.
    pub bias: Vec<f32>,
}

impl LayerNumbers {
    /// Lends the numbers.
    pub fn borrow(&self) -> LayerWeights<'_> {
        LayerWeights {
            input: &self.input,
            hidden: &self.hidden,
            bias: &self.bias,
        }
    }
}

/// Reads one layer's parameters by their names.
pub fn layer_numbers(weights: &Weights, spec: &LstmSpec, prefix: &str, layer: usize, direction: usize) -> LayerNumbers {
    let suffix = &spec.suffixes(layer)[direction];
    let numbers = |kind: &str| weights.numbers(&format!("{prefix}.{kind}{suffix}"));
    let sum = |(a, b): (&f32, &f32)| a + b;
    LayerNumbers {
        input: numbers("weight_ih").to_vec(),
        hidden: numbers("weight_hh").to_vec(),
        bias: numbers("bias_ih").iter().zip(numbers("bias_hh")).map(sum).collect(),
    }
}
