//! One LSTM layer over a sequence with everything that its gradient needs: the kernel's side of training.
//!
//! The same sums as in scoring; the gates are kept, and the gradient runs back through them. Rows are taken in blocks, so
//! that what a block's steps share stays in cache; sums over rows run in a fixed order, so the same inputs give the same
//! bits on the same path.

use super::packed::{Aligned, LayerWeights, PackedDense, PackedLayer};
use super::simd::{Path, Scalars, Simd, Task, Vectors, accumulate};
use super::step::{Begun, Dense, Rows, TWO_LOG2_E, Tile, affine, for_tiles, one_plus_pow2};

/// Rows whose steps are computed before the next rows begin.
const BLOCK_ROWS: usize = 48;
/// Numbers kept per unit, row and step: input, forget, cell and output gate, tanh of c, c.
const KEPT: usize = 6;

/// Sizes of a sequence: T steps of B rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceShape {
    /// T.
    pub steps: usize,
    /// B.
    pub rows: usize,
    /// Numbers per input row (0: none).
    pub inputs: usize,
    /// H.
    pub hidden: usize,
}

/// What a layer's forward pass leaves for its gradient.
#[derive(Debug)]
pub struct Sequence {
    shape: SequenceShape,
    path: Path,
    padded: usize,
    /// `(T + 1, B, padded)`: h before the first step and after each.
    hidden: Aligned,
    /// `(B, padded)`: c before the first step.
    cell: Aligned,
    /// `(T, B, padded / lanes, KEPT, lanes)`.
    kept: Aligned,
}

/// Gradients of a loss with regard to what went into a layer.
#[derive(Debug)]
pub struct Gradients {
    /// `(T, B, I)`; empty where it was not asked for.
    pub inputs: Vec<f32>,
    /// `(4H, I)`.
    pub input_weights: Vec<f32>,
    /// `(4H, H)`.
    pub hidden_weights: Vec<f32>,
    /// `(4H,)`: of the sum of both biases.
    pub bias: Vec<f32>,
    /// `(B, H)`: of h before the first step.
    pub hidden: Vec<f32>,
    /// `(B, H)`: of c before the first step.
    pub cell: Vec<f32>,
}

impl Sequence {
    /// Runs a layer over `inputs` `(T, B, I)` from `hidden` and `cell`, `(B, H)` each.
    pub fn forward(
        weights: LayerWeights<'_>,
        shape: SequenceShape,
        inputs: &[f32],
        hidden: &[f32],
        cell: &[f32],
        path: Path,
    ) -> Self {
        let layer = PackedLayer::new(weights, shape.hidden, path.lanes());
        let state = shape.rows * layer.padded;
        let mut sequence = Sequence {
            shape,
            path,
            padded: layer.padded,
            hidden: Aligned::zeros((shape.steps + 1) * state),
            cell: Aligned::zeros(state),
            kept: Aligned::zeros(shape.steps * state * KEPT),
        };
        pad(
            hidden,
            shape.hidden,
            &mut sequence.hidden.numbers_mut()[..state],
            layer.padded,
        );
        pad(cell, shape.hidden, sequence.cell.numbers_mut(), layer.padded);
        for first in (0..shape.rows).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(shape.rows - first);
            for t in 0..shape.steps {
                sequence.step(&layer, inputs, t, first, rows);
            }
        }
        sequence
    }

    /// Computes step `t` of `rows` rows from `first` on.
    fn step(&mut self, layer: &PackedLayer, inputs: &[f32], t: usize, first: usize, rows: usize) {
        let state = self.shape.rows * self.padded;
        let place = first * self.padded;
        let (before, after) = self.hidden.numbers_mut().split_at_mut((t + 1) * state);
        let (kept_before, kept) = self.kept.numbers_mut().split_at_mut(t * state * KEPT);
        let cell = match t {
            0 => CellBefore {
                numbers: &self.cell.numbers()[place..],
                kept: 1,
            },
            _ => CellBefore {
                numbers: &kept_before[((t - 1) * state + place) * KEPT..],
                kept: KEPT,
            },
        };
        self.path.run(KeepingStep {
            layer,
            rows,
            input: Rows {
                data: inputs
                    .get((t * self.shape.rows + first) * self.shape.inputs..)
                    .unwrap_or(&[]),
                stride: self.shape.inputs,
            },
            hidden: &before[t * state + place..],
            cell,
            kept: &mut kept[place * KEPT..],
            out: &mut after[place..],
        });
    }

    /// Copies out h after every step, `(T, B, H)`, and c after the last, `(B, H)`, side by side.
    pub fn outputs(&self) -> Vec<f32> {
        let (shape, padded) = (self.shape, self.padded);
        let mut out = vec![0.0; (shape.steps + 1) * shape.rows * shape.hidden];
        let (h, c) = out.split_at_mut(shape.steps * shape.rows * shape.hidden);
        unpad(&self.hidden.numbers()[shape.rows * padded..], padded, h, shape.hidden);
        let lanes = self.path.lanes();
        for (row, c) in c.chunks_exact_mut(shape.hidden).enumerate() {
            for (unit, c) in c.iter_mut().enumerate() {
                *c = match shape.steps {
                    0 => self.cell.numbers()[row * padded + unit],
                    steps => {
                        let row = ((steps - 1) * shape.rows + row) * padded * KEPT;
                        self.kept.numbers()[row + (unit / lanes * KEPT + KEPT - 1) * lanes + unit % lanes]
                    }
                };
            }
        }
        out
    }

    /// Runs the gradient back. `grad` `(T + 1, B, H)`: of what [`Sequence::outputs`] gives.
    pub fn backward(&self, weights: LayerWeights<'_>, inputs: &[f32], grad: &[f32], wants_inputs: bool) -> Gradients {
        let (shape, padded, lanes) = (self.shape, self.padded, self.path.lanes());
        let (state, gates) = (shape.rows * padded, PackedLayer::GATES * padded);
        let order = gate_order(shape.hidden, padded, lanes);
        let back = Back {
            hidden: transposed(weights.hidden, shape.hidden, &order, lanes),
            inputs: (wants_inputs && shape.inputs > 0).then(|| transposed(weights.input, shape.inputs, &order, lanes)),
        };
        let mut grads = Aligned::zeros((shape.steps + 1) * state);
        pad(grad, shape.hidden, grads.numbers_mut(), padded);
        let mut sums = Sums {
            inputs: Aligned::zeros(shape.inputs * gates),
            hidden: Aligned::zeros(shape.hidden * gates),
            bias: Aligned::zeros(gates),
        };
        let mut out = Gradients {
            inputs: vec![
                0.0;
                if back.inputs.is_some() {
                    shape.steps * shape.rows * shape.inputs
                } else {
                    0
                }
            ],
            input_weights: vec![0.0; 4 * shape.hidden * shape.inputs],
            hidden_weights: vec![0.0; 4 * shape.hidden * shape.hidden],
            bias: vec![0.0; 4 * shape.hidden],
            hidden: vec![0.0; shape.rows * shape.hidden],
            cell: vec![0.0; shape.rows * shape.hidden],
        };
        for first in (0..shape.rows).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(shape.rows - first);
            self.block_back(&back, inputs, grads.numbers(), first..first + rows, &mut sums, &mut out);
        }
        for (index, gate) in order.iter().enumerate() {
            let Some(gate) = *gate else { continue };
            out.bias[gate] = sums.bias.numbers()[index];
            for k in 0..shape.inputs {
                out.input_weights[gate * shape.inputs + k] = sums.inputs.numbers()[k * gates + index];
            }
            for k in 0..shape.hidden {
                out.hidden_weights[gate * shape.hidden + k] = sums.hidden.numbers()[k * gates + index];
            }
        }
        out
    }

    fn block_back(
        &self,
        back: &Back,
        inputs: &[f32],
        grads: &[f32],
        block: std::ops::Range<usize>,
        sums: &mut Sums,
        out: &mut Gradients,
    ) {
        let (shape, padded) = (self.shape, self.padded);
        let (state, gates) = (shape.rows * padded, PackedLayer::GATES * padded);
        let (first, rows) = (block.start, block.len());
        let place = first * padded;
        let mut grad_gates = Aligned::zeros(rows * gates);
        let mut grad_hidden = Aligned::zeros(rows * padded);
        let mut grad_cell = Aligned::zeros(rows * padded);
        let mut grad_rows = Aligned::zeros(back.inputs.as_ref().map_or(0, |dense| rows * dense.padded));
        grad_cell
            .numbers_mut()
            .copy_from_slice(&grads[shape.steps * state + place..][..rows * padded]);
        for t in (0..shape.steps).rev() {
            let cell = match t {
                0 => CellBefore {
                    numbers: &self.cell.numbers()[place..],
                    kept: 1,
                },
                _ => CellBefore {
                    numbers: &self.kept.numbers()[((t - 1) * state + place) * KEPT..],
                    kept: KEPT,
                },
            };
            self.path.run(CellBack {
                rows,
                padded,
                kept: &self.kept.numbers()[(t * state + place) * KEPT..],
                cell,
                grad_out: &grads[t * state + place..],
                grad_hidden: grad_hidden.numbers(),
                grad_cell: grad_cell.numbers_mut(),
                grad_gates: grad_gates.numbers_mut(),
                grad_bias: sums.bias.numbers_mut(),
            });
            let gate_rows = Rows {
                data: grad_gates.numbers(),
                stride: gates,
            };
            self.path
                .run(Dense::plain(&back.hidden, rows, gate_rows, grad_hidden.numbers_mut()));
            let row_start = (t * shape.rows + first) * shape.inputs;
            if let Some(dense) = &back.inputs {
                self.path
                    .run(Dense::plain(dense, rows, gate_rows, grad_rows.numbers_mut()));
                let out = &mut out.inputs[row_start..row_start + rows * shape.inputs];
                unpad(grad_rows.numbers(), dense.padded, out, shape.inputs);
            }
            let outer = |data, stride, count, out| Outer {
                rows,
                vectors: gate_rows,
                scalars: Rows { data, stride },
                count,
                out,
            };
            if shape.inputs > 0 {
                let x = &inputs[row_start..];
                self.path
                    .run(outer(x, shape.inputs, shape.inputs, sums.inputs.numbers_mut()));
            }
            let h = &self.hidden.numbers()[t * state + place..];
            self.path.run(outer(h, padded, shape.hidden, sums.hidden.numbers_mut()));
        }
        let range = first * shape.hidden..(first + rows) * shape.hidden;
        unpad(
            grad_hidden.numbers(),
            padded,
            &mut out.hidden[range.clone()],
            shape.hidden,
        );
        unpad(grad_cell.numbers(), padded, &mut out.cell[range], shape.hidden);
    }
}

/// Weights of a layer as its gradient reads them: from gates to units, and to inputs.
struct Back {
    hidden: PackedDense,
    inputs: Option<PackedDense>,
}

/// Sums over all rows and steps, `(k, 4·padded)`.
struct Sums {
    inputs: Aligned,
    hidden: Aligned,
    bias: Aligned,
}

/// Gives which gate, in PyTorch's order, stands at each place of a row of gates; `None` for padding.
fn gate_order(hidden: usize, padded: usize, lanes: usize) -> Vec<Option<usize>> {
    let gate = |place: usize| {
        let (block, rest) = (place / (4 * lanes), place % (4 * lanes));
        let unit = block * lanes + rest % lanes;
        (unit < hidden).then(|| rest / lanes * hidden + unit)
    };
    (0..4 * padded).map(gate).collect()
}

/// Packs the transpose of `weight` `(4H, columns)` with its rows in the order of `order`.
fn transposed(weight: &[f32], columns: usize, order: &[Option<usize>], lanes: usize) -> PackedDense {
    let mut turned = vec![0.0; columns * order.len()];
    for (place, gate) in order.iter().enumerate() {
        if let Some(gate) = gate {
            for column in 0..columns {
                turned[column * order.len() + place] = weight[gate * columns + column];
            }
        }
    }
    PackedDense::new(&turned, &vec![0.0; columns], lanes)
}

/// Copies rows of `from_len` numbers to the starts of rows of `to_len` numbers.
fn pad(from: &[f32], from_len: usize, to: &mut [f32], to_len: usize) {
    for (to, from) in to.chunks_exact_mut(to_len).zip(from.chunks_exact(from_len)) {
        to[..from_len].copy_from_slice(from);
    }
}

/// Copies the starts of rows of `from_len` numbers to rows of `to_len` numbers.
fn unpad(from: &[f32], from_len: usize, to: &mut [f32], to_len: usize) {
    for (to, from) in to.chunks_exact_mut(to_len).zip(from.chunks_exact(from_len)) {
        to.copy_from_slice(&from[..to_len]);
    }
}

/// Where c before a step lies: plain, or as the last of what the step before has kept.
#[derive(Clone, Copy)]
struct CellBefore<'a> {
    numbers: &'a [f32],
    /// Numbers per unit.
    kept: usize,
}

impl CellBefore<'_> {
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, row: usize, block: usize, padded: usize) -> S::V {
        let place = row * padded * self.kept + (block * self.kept + self.kept - 1) * S::LANES;
        simd.load(&self.numbers[place..])
    }
}

/// One LSTM step that keeps its gates.
struct KeepingStep<'a> {
    layer: &'a PackedLayer,
    rows: usize,
    input: Rows<'a>,
    hidden: &'a [f32],
    cell: CellBefore<'a>,
    kept: &'a mut [f32],
    out: &'a mut [f32],
}

impl KeepingStep<'_> {
    #[inline(always)]
    fn tile<S: Simd, const W: usize>(&mut self, simd: S, tile: Tile) {
        let padded = self.layer.padded;
        let sums = affine::<S, W>(simd, self.layer, Begun::Inputs(self.input), self.hidden, tile);
        for (w, gates) in sums.into_iter().enumerate() {
            let row = tile.first + w;
            let c = self.cell.load(simd, row, tile.block, padded);
            let kept = activate(simd, gates, c);
            let h = simd.mul(kept[3], kept[4]);
            let place = (row * padded + tile.block * S::LANES) * KEPT;
            for (index, numbers) in kept.into_iter().enumerate() {
                simd.store(numbers, &mut self.kept[place + index * S::LANES..]);
            }
            simd.store(h, &mut self.out[row * padded + tile.block * S::LANES..]);
        }
    }
}

impl Task for KeepingStep<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for block in 0..self.layer.padded / S::LANES {
            for_tiles!(S::ROWS, self.rows, |first, W| self
                .tile::<S, W>(simd, Tile { block, first }));
        }
    }
}

/// Gives what is kept of a step: gates (input, forget, cell, output), tanh of c, c. Two divisions serve all five.
#[inline(always)]
fn activate<S: Simd>(simd: S, sums: [S::V; 4], before: S::V) -> [S::V; KEPT] {
    let (one, two) = (simd.splat(1.0), simd.splat(2.0));
    let b = one_plus_pow2(simd, sums[0]);
    let a = one_plus_pow2(simd, sums[1]);
    let g = one_plus_pow2(simd, sums[2]);
    let e = one_plus_pow2(simd, sums[3]);
    let ab = simd.mul(a, b);
    let inverse = simd.div(one, simd.mul(ab, g));
    let g_inverse = simd.mul(g, inverse);
    let input = simd.mul(a, g_inverse);
    let forget = simd.mul(b, g_inverse);
    let cell = simd.mul(simd.sub(two, g), simd.mul(ab, inverse));
    let c = simd.mul_add(forget, before, simd.mul(input, cell));
    let t = one_plus_pow2(simd, simd.mul(c, simd.splat(-TWO_LOG2_E)));
    let inverse = simd.div(one, simd.mul(e, t));
    let output = simd.mul(t, inverse);
    let squashed = simd.mul(simd.sub(two, t), simd.mul(e, inverse));
    [input, forget, cell, output, squashed, c]
}

/// The gradient through the cells of one step.
struct CellBack<'a> {
    rows: usize,
    padded: usize,
    kept: &'a [f32],
    cell: CellBefore<'a>,
    /// `(rows, padded)`: of h after the step, from above …
    grad_out: &'a [f32],
    /// … and from the step after.
    grad_hidden: &'a [f32],
    /// `(rows, padded)`: of c after the step; of c before it in the end.
    grad_cell: &'a mut [f32],
    /// `(rows, 4·padded)`: of the gates' sums.
    grad_gates: &'a mut [f32],
    /// `(4·padded,)`: the gates' gradients of all rows are added here.
    grad_bias: &'a mut [f32],
}

impl Task for CellBack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let one = simd.splat(1.0);
        let gates = PackedLayer::GATES * self.padded;
        for block in 0..self.padded / S::LANES {
            let at_gates = block * PackedLayer::GATES * S::LANES;
            let mut bias = [simd.splat(0.0); PackedLayer::GATES];
            for (gate, bias) in bias.iter_mut().enumerate() {
                *bias = simd.load(&self.grad_bias[at_gates + gate * S::LANES..]);
            }
            for row in 0..self.rows {
                let place = row * self.padded + block * S::LANES;
                let mut kept = [one; KEPT];
                for (index, kept) in kept.iter_mut().enumerate() {
                    *kept = simd.load(&self.kept[place * KEPT + index * S::LANES..]);
                }
                let [input, forget, cell, output, squashed, _] = kept;
                let grad_h = simd.add(
                    simd.load(&self.grad_out[place..]),
                    simd.load(&self.grad_hidden[place..]),
                );
                let before = self.cell.load(simd, row, block, self.padded);
                // σ' = σ·(1 − σ), tanh' = 1 − tanh².
                let slope_c = simd.sub(one, simd.mul(squashed, squashed));
                let grad_c = simd.mul_add(simd.mul(grad_h, output), slope_c, simd.load(&self.grad_cell[place..]));
                let through = simd.mul(grad_c, input);
                let grads = [
                    simd.mul(simd.mul(through, cell), simd.sub(one, input)),
                    simd.mul(simd.mul(simd.mul(grad_c, forget), before), simd.sub(one, forget)),
                    simd.mul(through, simd.sub(one, simd.mul(cell, cell))),
                    simd.mul(simd.mul(simd.mul(grad_h, output), squashed), simd.sub(one, output)),
                ];
                simd.store(simd.mul(grad_c, forget), &mut self.grad_cell[place..]);
                for (gate, (grad, bias)) in grads.into_iter().zip(&mut bias).enumerate() {
                    *bias = simd.add(*bias, grad);
                    simd.store(grad, &mut self.grad_gates[row * gates + at_gates + gate * S::LANES..]);
                }
            }
            for (gate, bias) in bias.into_iter().enumerate() {
                simd.store(bias, &mut self.grad_bias[at_gates + gate * S::LANES..]);
            }
        }
    }
}

/// Adds, for every row, scalar k times the row's vectors to `out` k, for k in 0..count.
struct Outer<'a> {
    rows: usize,
    vectors: Rows<'a>,
    scalars: Rows<'a>,
    count: usize,
    /// `(count, width of vectors)`.
    out: &'a mut [f32],
}

impl Outer<'_> {
    #[inline(always)]
    fn tile<S: Simd, const W: usize>(&mut self, simd: S, column: usize, first: usize) {
        let width = self.vectors.stride;
        let mut sums = [[simd.splat(0.0); 4]; W];
        for (w, sums) in sums.iter_mut().enumerate() {
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = simd.load(&self.out[(first + w) * width + column + n * S::LANES..]);
            }
        }
        let vectors = Vectors {
            data: &self.vectors.data[column..],
            step: width,
        };
        let scalars = Scalars {
            data: &self.scalars.data[first..],
            row: 1,
            step: self.scalars.stride,
        };
        accumulate(simd, &mut sums, vectors, scalars, self.rows);
        for (w, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                simd.store(sum, &mut self.out[(first + w) * width + column + n * S::LANES..]);
            }
        }
    }
}

impl Task for Outer<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        // A row of gates is four vectors per vector of units, so it divides evenly.
        for column in (0..self.vectors.stride).step_by(4 * S::LANES) {
            for_tiles!(S::ROWS, self.count, |first, W| self.tile::<S, W>(simd, column, first));
        }
    }
}
