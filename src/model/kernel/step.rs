//! The steps that everything is made of: one LSTM step of many rows, and a linear layer of many rows.
//!
//! Promises that a row's result depends on that row alone: every sum begins with the bias and adds inputs, then the state
//! before, in index order. Rows are whatever the caller lays side by side: windows, instruments, queued ticks.

use super::packed::{PackedDense, PackedLayer};
use super::pow2::POW2_STEPS;
use super::simd::{Between, Scalars, Simd, Task, Vectors, accumulate, accumulate_eight};

/// Rows of numbers that lie `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Numbers.
    pub data: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// Gives the rows from `row` on; none for a layer that takes no input.
    #[inline(always)]
    fn from(self, row: usize) -> Scalars<'a> {
        Scalars {
            data: self.data.get(row * self.stride..).unwrap_or(&[]),
            row: self.stride,
            step: 1,
        }
    }
}

/// Most rows that any path sums at once.
const TILE_ROWS_MAX: usize = 6;

/// Computes `$body` for the rows from `$row` on, `$w` of them, for all rows 0..`$rows`: as many at once as the registers take,
/// evenly cut.
macro_rules! for_tiles {
    ($most:expr, $rows:expr, |$row:ident, $w:ident| $body:expr) => {{
        const { assert!($most <= 6) };
        let rows: usize = $rows;
        let mut $row = 0;
        while $row < rows {
            let left = rows - $row;
            let tile = left.div_ceil(left.div_ceil($most));
            macro_rules! arm {
                ($count:literal) => {{
                    const $w: usize = $count;
                    $body
                }};
            }
            match tile {
                6 if const { $most >= 6 } => arm!(6),
                5 if const { $most >= 5 } => arm!(5),
                4 if const { $most >= 4 } => arm!(4),
                3 if const { $most >= 3 } => arm!(3),
                2 if const { $most >= 2 } => arm!(2),
                _ => arm!(1),
            }
            $row += tile;
        }
    }};
}

pub(super) use for_tiles;

/// What the gates' sums of a step begin with.
#[derive(Clone, Copy, Debug)]
pub enum Begun<'a> {
    /// The bias, to which these inputs are added, `(rows, I)`.
    Inputs(Rows<'a>),
    /// Both, added by a [`Projection`] before, `(rows, 4 padded)`.
    Sums(&'a [f32]),
}

/// Bias and inputs of the gates' sums of `rows` rows, which no state before them changes: rows of many steps at once.
pub struct Projection<'a> {
    /// Weights.
    pub layer: &'a PackedLayer,
    /// Rows.
    pub rows: usize,
    /// `(rows, I)`.
    pub input: Rows<'a>,
    /// `(rows, 4 padded)`: for each vector of units its four gates.
    pub sums: &'a mut [f32],
}

impl Projection<'_> {
    #[inline(always)]
    fn tile<S: Simd, const W: usize>(&mut self, simd: S, tile: Tile) {
        let sums = begin::<S, W>(simd, self.layer, Begun::Inputs(self.input), tile);
        for (w, gates) in sums.into_iter().enumerate() {
            let place = sums_place::<S>(self.layer, tile, w);
            for (gate, sum) in gates.into_iter().enumerate() {
                simd.store(sum, &mut self.sums[place + gate * S::LANES..]);
            }
        }
    }
}

impl Task for Projection<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for block in 0..self.layer.padded / S::LANES {
            for_tiles!(S::ROWS, self.rows, |first, W| self
                .tile::<S, W>(simd, Tile { block, first }));
        }
    }
}

/// One LSTM step of `rows` rows.
pub struct Step<'a> {
    /// Weights.
    pub layer: &'a PackedLayer,
    /// Rows.
    pub rows: usize,
    /// What the sums begin with.
    pub begun: Begun<'a>,
    /// `(rows, padded)`: h before.
    pub hidden: &'a [f32],
    /// `(rows, padded)`: c, before and after.
    pub cell: &'a mut [f32],
    /// `(rows, padded)`: h after.
    pub out: &'a mut [f32],
}

/// Rows from `first` on, and one vector of units.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Which vector of units.
    pub block: usize,
    /// First row.
    pub first: usize,
}

/// Gives where the sums of row `w` of a tile begin among those of a [`Projection`].
#[inline(always)]
fn sums_place<S: Simd>(layer: &PackedLayer, tile: Tile, w: usize) -> usize {
    PackedLayer::GATES * ((tile.first + w) * layer.padded + tile.block * S::LANES)
}

/// Gives what the gates' sums of a tile begin with: bias, then inputs.
#[inline(always)]
fn begin<S: Simd, const W: usize>(
    simd: S,
    layer: &PackedLayer,
    begun: Begun<'_>,
    tile: Tile,
) -> [[S::V; PackedLayer::GATES]; W] {
    let width = PackedLayer::GATES * S::LANES;
    let (bias, weights) = layer.block(tile.block, S::LANES).split_at(width);
    let mut sums = [vectors::<S, 4>(simd, bias); W];
    match begun {
        Begun::Inputs(input) => {
            let operand = Vectors {
                data: weights,
                step: width,
            };
            accumulate(simd, &mut sums, operand, input.from(tile.first), layer.inputs);
        }
        Begun::Sums(begun) => {
            for (w, sums) in sums.iter_mut().enumerate() {
                *sums = vectors::<S, 4>(simd, &begun[sums_place::<S>(layer, tile, w)..]);
            }
        }
    }
    sums
}

/// Gives the weights of a tile's units on the state before, `(H, 4 lanes)`.
#[inline(always)]
fn recurrent<S: Simd>(layer: &PackedLayer, tile: Tile) -> &[f32] {
    &layer.block(tile.block, S::LANES)[(1 + layer.inputs) * PackedLayer::GATES * S::LANES..]
}

/// Gives the gates' sums of a tile: bias, inputs, then the state before, `(rows, padded)`.
#[inline(always)]
pub fn affine<S: Simd, const W: usize>(
    simd: S,
    layer: &PackedLayer,
    begun: Begun<'_>,
    hidden: &[f32],
    tile: Tile,
) -> [[S::V; PackedLayer::GATES]; W] {
    let mut sums = begin::<S, W>(simd, layer, begun, tile);
    let before = Rows {
        data: hidden,
        stride: layer.padded,
    };
    let hiddens = Vectors {
        data: recurrent::<S>(layer, tile),
        step: PackedLayer::GATES * S::LANES,
    };
    accumulate(simd, &mut sums, hiddens, before.from(tile.first), layer.hidden);
    sums
}

/// Sums of the last tile, whose cells are still to be computed: that is done among the products of the next tile.
struct Pending<S: Simd> {
    sums: [[S::V; PackedLayer::GATES]; TILE_ROWS_MAX],
    rows: usize,
    /// Where the first row's units begin in the states.
    place: usize,
}

impl<S: Simd> Pending<S> {
    #[inline(always)]
    fn put(&mut self, sums: &[[S::V; PackedLayer::GATES]], layer: &PackedLayer, tile: Tile) {
        self.rows = sums.len();
        self.place = tile.first * layer.padded + tile.block * S::LANES;
        for (place, sums) in self.sums.iter_mut().zip(sums) {
            *place = *sums;
        }
    }
}

/// The cells of one row and vector of units, on their way.
struct Cells<'a, S: Simd> {
    /// The gates' sums, each replaced by 1 + 2^sum.
    gates: [S::V; PackedLayer::GATES],
    c: S::V,
    squashed: S::V,
    cell: &'a mut [f32],
    out: &'a mut [f32],
}

impl<S: Simd> Between<S> for Cells<'_, S> {
    /// The parts of [`activate`], far enough apart for each to find the last one done.
    #[inline(always)]
    fn part<const K: usize>(&mut self, simd: S) {
        let [input, forget, cell, output] = self.gates;
        match K {
            0 => self.gates[0] = one_plus_pow2(simd, input),
            1 => self.gates[1] = one_plus_pow2(simd, forget),
            2 => self.gates[2] = one_plus_pow2(simd, cell),
            3 => {
                let two = simd.splat(2.0);
                let input_cell = simd.mul(input, cell);
                let new = simd.mul(simd.sub(two, cell), forget);
                self.c = simd.div(simd.mul_add(self.c, input_cell, new), simd.mul(input_cell, forget));
            }
            4 => self.gates[3] = one_plus_pow2(simd, output),
            5 => {
                simd.store(self.c, self.cell);
                self.squashed = one_plus_pow2(simd, simd.mul(self.c, simd.splat(-TWO_LOG2_E)));
            }
            7 => {
                let h = simd.div(
                    simd.sub(simd.splat(2.0), self.squashed),
                    simd.mul(output, self.squashed),
                );
                simd.store(h, self.out);
            }
            _ => {}
        }
    }
}

impl Step<'_> {
    #[inline(always)]
    fn tile<S: Simd, const W: usize>(&mut self, simd: S, tile: Tile, pending: &mut Pending<S>) {
        let layer = self.layer;
        let width = PackedLayer::GATES * S::LANES;
        let hiddens = recurrent::<S>(layer, tile);
        let mut sums = begin::<S, W>(simd, layer, self.begun, tile);
        let operand = |data| Vectors { data, step: width };
        let before = &self.hidden[tile.first * layer.padded..];
        let scalars = |k: usize| Scalars {
            data: &before[k..],
            row: layer.padded,
            step: 1,
        };
        let mut k = 0;
        let mut row = 0;
        while row < pending.rows && k + 8 <= layer.hidden {
            let place = pending.place + row * layer.padded;
            let cell = &mut self.cell[place..place + S::LANES];
            let mut cells = Cells::<S> {
                gates: pending.sums[row],
                c: simd.load(cell),
                squashed: simd.splat(0.0),
                cell,
                out: &mut self.out[place..place + S::LANES],
            };
            accumulate_eight(simd, &mut sums, operand(&hiddens[k * width..]), scalars(k), &mut cells);
            k += 8;
            row += 1;
        }
        self.finish(simd, pending, row);
        accumulate(
            simd,
            &mut sums,
            operand(&hiddens[k * width..]),
            scalars(k),
            layer.hidden - k,
        );
        pending.put(&sums, layer, tile);
    }

    /// Computes a tile's products, then its cells.
    #[inline(always)]
    fn tile_alone<S: Simd, const W: usize>(&mut self, simd: S, tile: Tile) {
        let sums = affine::<S, W>(simd, self.layer, self.begun, self.hidden, tile);
        for (w, gates) in sums.into_iter().enumerate() {
            self.cells(
                simd,
                gates,
                (tile.first + w) * self.layer.padded + tile.block * S::LANES,
            );
        }
    }

    /// Computes one row's cells of a vector of units, which begins at `place` in the states.
    #[inline(always)]
    fn cells<S: Simd>(&mut self, simd: S, gates: [S::V; PackedLayer::GATES], place: usize) {
        let c = &mut self.cell[place..place + S::LANES];
        let (h_after, c_after) = activate(simd, gates, simd.load(c));
        simd.store(c_after, c);
        simd.store(h_after, &mut self.out[place..place + S::LANES]);
    }

    /// Computes the cells that wait, from row `first` on.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, pending: &Pending<S>, first: usize) {
        for row in first..pending.rows {
            self.cells(simd, pending.sums[row], pending.place + row * self.layer.padded);
        }
    }
}

impl Task for Step<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let blocks = self.layer.padded / S::LANES;
        let mut pending = Pending::<S> {
            sums: [[simd.splat(0.0); PackedLayer::GATES]; TILE_ROWS_MAX],
            rows: 0,
            place: 0,
        };
        if const { S::ROWS_BESIDE > 0 } && self.rows > 1 {
            for block in 0..blocks {
                for_tiles!(S::ROWS_BESIDE, self.rows, |first, W| self.tile::<S, W>(
                    simd,
                    Tile { block, first },
                    &mut pending
                ));
            }
            return self.finish(simd, &pending, 0);
        }
        for block in 0..blocks {
            for_tiles!(S::ROWS, self.rows, |first, W| self
                .tile_alone::<S, W>(simd, Tile { block, first }));
        }
    }
}

/// Reads N vectors that lie side by side. (No closures here and below: they would not be compiled for the path.)
#[inline(always)]
fn vectors<S: Simd, const N: usize>(simd: S, from: &[f32]) -> [S::V; N] {
    let mut vectors = [simd.splat(0.0); N];
    for (n, vector) in vectors.iter_mut().enumerate() {
        *vector = simd.load(&from[n * S::LANES..]);
    }
    vectors
}

/// Gives h and c after a step from the gates' scaled sums (input, forget, cell, output) and c before.
///
/// With A, B, G = 1 + 2^sum of forget, input and cell gate: c' = (c·B·G + (2 − G)·A) / (A·B·G), which is
/// σ(f)·c + σ(i)·tanh(g) with one division; h alike.
#[inline(always)]
fn activate<S: Simd>(simd: S, gates: [S::V; 4], c: S::V) -> (S::V, S::V) {
    let [input, forget, cell, output] = gates;
    let input = one_plus_pow2(simd, input);
    let forget = one_plus_pow2(simd, forget);
    let cell = one_plus_pow2(simd, cell);
    let output = one_plus_pow2(simd, output);
    let two = simd.splat(2.0);
    let input_cell = simd.mul(input, cell);
    let new = simd.mul(simd.sub(two, cell), forget);
    let c = simd.div(simd.mul_add(c, input_cell, new), simd.mul(input_cell, forget));
    let squashed = one_plus_pow2(simd, simd.mul(c, simd.splat(-TWO_LOG2_E)));
    let h = simd.div(simd.sub(two, squashed), simd.mul(output, squashed));
    (h, c)
}

/// tanh(x) = (1 − e) / (1 + e) with e = 2^(−x · this).
pub const TWO_LOG2_E: f32 = 2.0 * std::f32::consts::LOG2_E;

/// Gives 1 + 2^x within 4.3e-7 of 2^x, x clamped to ±42 (so that the product of three such numbers stays finite).
///
/// 2^x = 2^(t/16) · 2^r with t = 16x rounded and |r| ≤ 1/32: a table for the first factor (Tang 1989), a polynomial for the
/// second, minimax for the relative error over that range under the constraint that it is 1 at 0 (Lawson's algorithm).
#[inline(always)]
pub fn one_plus_pow2<S: Simd>(simd: S, x: S::V) -> S::V {
    const LIMIT: f32 = 42.0;
    // Adding this rounds to a sixteenth, whose number then stands in the lowest bits.
    const ROUND: f32 = 1.5 * (1 << 23) as f32 / POW2_STEPS as f32;
    const LINEAR: f32 = 0.693_187_7;
    const SQUARE: f32 = 0.240_226_42;
    let x = simd.clamp(x, simd.splat(LIMIT));
    let sixteenths = simd.add(x, simd.splat(ROUND));
    let rest = simd.sub(x, simd.sub(sixteenths, simd.splat(ROUND)));
    let power = simd.pow2_sixteenths(sixteenths);
    let slope = simd.mul_add(rest, simd.splat(SQUARE), simd.splat(LINEAR));
    simd.mul_add(simd.mul(power, rest), slope, simd.add(power, simd.splat(1.0)))
}

/// A linear layer of `rows` rows, with or without max(0, ·) behind it.
pub struct Dense<'a> {
    /// Weights.
    pub layer: &'a PackedDense,
    /// Rows.
    pub rows: usize,
    /// `(rows, I)`.
    pub input: Rows<'a>,
    /// `(rows, padded)`, rows `out_stride` apart.
    pub out: &'a mut [f32],
    /// From one row of `out` to the next.
    pub out_stride: usize,
    /// Whether negative outputs become 0.
    pub relu: bool,
}

impl<'a> Dense<'a> {
    /// Gives a linear layer whose rows lie side by side, with nothing behind it.
    pub fn plain(layer: &'a PackedDense, rows: usize, input: Rows<'a>, out: &'a mut [f32]) -> Self {
        Dense {
            layer,
            rows,
            input,
            out,
            out_stride: layer.padded,
            relu: false,
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const W: usize, const N: usize>(&mut self, simd: S, first_output: usize, first: usize) {
        let layer = self.layer;
        let width = N * S::LANES;
        let (bias, weights) = layer.group(first_output, width).split_at(width);
        let mut sums = [vectors::<S, N>(simd, bias); W];
        let weights = Vectors {
            data: weights,
            step: width,
        };
        accumulate(simd, &mut sums, weights, self.input.from(first), layer.inputs);
        for (w, sums) in sums.into_iter().enumerate() {
            let out = &mut self.out[(first + w) * self.out_stride + first_output..][..width];
            for (n, mut sum) in sums.into_iter().enumerate() {
                if self.relu {
                    sum = simd.max(sum, simd.splat(0.0));
                }
                simd.store(sum, &mut out[n * S::LANES..]);
            }
        }
    }
}

impl Task for Dense<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut output = 0;
        while output < self.layer.padded {
            let vectors = ((self.layer.padded - output) / S::LANES).min(PackedDense::GROUP);
            match vectors {
                4 => for_tiles!(S::ROWS, self.rows, |row, W| self.tile::<S, W, 4>(simd, output, row)),
                3 => for_tiles!(S::ROWS, self.rows, |row, W| self.tile::<S, W, 3>(simd, output, row)),
                2 => for_tiles!(6, self.rows, |row, W| self.tile::<S, W, 2>(simd, output, row)),
                _ => for_tiles!(6, self.rows, |row, W| self.tile::<S, W, 1>(simd, output, row)),
            }
            output += vectors * S::LANES;
        }
    }
}
