//! The plain forward pass that scores: every sum in one fixed order, whatever the batch and the instruction set.
//!
//! Promises: a window's evidence is the same bits alone or in any batch. Products are added one by one, without fused
//! rounding, first the bias, then inputs, then the state before, each in index order; exp is a polynomial of our own.
//! Vectors run over gates, so wider registers change the speed alone. Only the newest row is decoded, since only its
//! error is scored.

#![expect(
    unsafe_code,
    reason = "calling a function compiled for AVX2 after asking the processor; see `dispatch`"
)]

use crate::pipeline::score::{Context, Evidence, Item, Scorer, Workspace};

use super::spec::{LstmSpec, ModelSpec};
use super::weights::Weights;

/// Gates computed at once: four registers of AVX2.
const LANES: usize = 32;

/// One layer's weights, packed for the sum over inputs with vectors over gates.
#[derive(Clone, Debug)]
struct Layer {
    /// `(4H,)`: both biases.
    bias: Vec<f32>,
    /// `(inputs, 4H)`: input weights, transposed.
    inputs: Vec<f32>,
    /// `(H, 4H)`: weights of the state before, transposed.
    hidden: Vec<f32>,
}

/// Scores windows with an encoder-decoder.
#[derive(Clone, Debug)]
pub struct ForwardScorer {
    spec: ModelSpec,
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
    /// `(F, H)`.
    output_weight: Vec<f32>,
    /// `(F,)`.
    output_bias: Vec<f32>,
}

impl ForwardScorer {
    /// Packs weights for scoring.
    pub fn new(weights: &Weights) -> Self {
        let layers = |part| {
            (0..weights.spec.layers)
                .map(|layer| Layer::pack(weights, part, layer))
                .collect()
        };
        ForwardScorer {
            spec: weights.spec,
            encoder: layers("encoder"),
            decoder: layers("decoder"),
            output_weight: weights.numbers("output.weight").to_vec(),
            output_bias: weights.numbers("output.bias").to_vec(),
        }
    }

    /// Rebuilds the newest row of one window.
    ///
    /// `context`: `(T − 1, F)`, `newest`: `(F,)`; appends `(F,)` to `out`.
    #[inline(always)]
    fn rebuild(&self, context: &[f32], newest: &[f32], workspace: &mut Workspace, out: &mut Vec<f32>) {
        let hidden = self.spec.hidden_size;
        workspace.floats.clear();
        workspace
            .floats
            .resize((2 * self.spec.layers + LstmSpec::GATES) * hidden, 0.0);
        let (states, gates) = workspace.floats.split_at_mut(2 * self.spec.layers * hidden);
        for row in context.chunks_exact(self.spec.input_size).chain([newest]) {
            step(&self.encoder, row, states, gates);
        }
        step(&self.decoder, &[], states, gates);
        let top = &states[2 * (self.spec.layers - 1) * hidden..][..hidden];
        for (weights, bias) in self.output_weight.chunks_exact(hidden).zip(&self.output_bias) {
            out.push(
                weights
                    .iter()
                    .zip(top)
                    .fold(*bias, |sum, (weight, unit)| sum + weight * unit),
            );
        }
    }

    #[inline(always)]
    fn rebuild_all(&self, items: &[Item<'_>], workspace: &mut Workspace, out: &mut Vec<f32>) {
        for item in items {
            match &item.context {
                Context::Window(context) => self.rebuild(context, item.rows, workspace, out),
                // The model says that it carries no state (`state_len` is 0), so nobody asks for this.
                Context::Carried(_) => out.resize(out.len() + item.rows.len(), 0.0),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn rebuild_all_avx2(&self, items: &[Item<'_>], workspace: &mut Workspace, out: &mut Vec<f32>) {
        self.rebuild_all(items, workspace, out);
    }

    fn dispatch(&self, items: &[Item<'_>], workspace: &mut Workspace, out: &mut Vec<f32>) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just said that it has AVX2, the one thing the function asks for.
            return unsafe { self.rebuild_all_avx2(items, workspace, out) };
        }
        self.rebuild_all(items, workspace, out);
    }
}

impl Scorer for ForwardScorer {
    fn lookback(&self) -> usize {
        self.spec.lookback
    }

    fn state_len(&self) -> usize {
        0
    }

    fn score(&self, items: &mut [Item<'_>], workspace: &mut Workspace, evidence: &mut Evidence) {
        evidence.clear();
        self.dispatch(items, workspace, &mut evidence.reconstruction);
    }
}

impl Layer {
    fn pack(weights: &Weights, part: &str, layer: usize) -> Self {
        let gates = LstmSpec::GATES * weights.spec.hidden_size;
        let numbers = |kind: &str| weights.numbers(&format!("{part}.{kind}_l{layer}"));
        Layer {
            bias: numbers("bias_ih")
                .iter()
                .zip(numbers("bias_hh"))
                .map(|(a, b)| a + b)
                .collect(),
            inputs: transposed(numbers("weight_ih"), gates),
            hidden: transposed(numbers("weight_hh"), gates),
        }
    }
}

fn transposed(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    (0..matrix.len())
        .map(|i| matrix[(i % rows) * columns + i / rows])
        .collect()
}

/// Moves all layers on by one row.
///
/// `states`: `(layers, 2, H)`, h before c; `gates`: `(4H,)` scratch.
#[inline(always)]
fn step(layers: &[Layer], row: &[f32], states: &mut [f32], gates: &mut [f32]) {
    let hidden = gates.len() / LstmSpec::GATES;
    for (layer, weights) in layers.iter().enumerate() {
        let (below, own) = states.split_at_mut(2 * layer * hidden);
        let (h, c) = own[..2 * hidden].split_at_mut(hidden);
        let input = if layer == 0 {
            row
        } else {
            &below[2 * (layer - 1) * hidden..][..hidden]
        };
        affine(weights, input, h, gates);
        cell(gates, h, c);
    }
}

/// Computes `gates` = bias + W_ih · input + W_hh · h.
#[inline(always)]
fn affine(weights: &Layer, input: &[f32], h: &[f32], gates: &mut [f32]) {
    let width = gates.len();
    for (block, out) in gates.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let start = block * LANES;
        let mut sums = [0.0; LANES];
        sums.copy_from_slice(&weights.bias[start..start + LANES]);
        for (matrix, values) in [(&weights.inputs, input), (&weights.hidden, h)] {
            for (row, value) in matrix.chunks_exact(width).zip(values) {
                if let Some(row) = row[start..].first_chunk::<LANES>() {
                    for (sum, weight) in sums.iter_mut().zip(row) {
                        *sum += weight * value;
                    }
                }
            }
        }
        *out = sums;
    }
}

/// Applies the gates (input, forget, cell, output) to `h` and `c`, `(H,)` each.
#[inline(always)]
fn cell(gates: &[f32], h: &mut [f32], c: &mut [f32]) {
    let hidden = h.len();
    let (input, rest) = gates.split_at(hidden);
    let (forget, rest) = rest.split_at(hidden);
    let (candidate, output) = rest.split_at(hidden);
    for unit in 0..hidden {
        c[unit] = sigmoid(forget[unit]) * c[unit] + sigmoid(input[unit]) * tanh(candidate[unit]);
        h[unit] = sigmoid(output[unit]) * tanh(c[unit]);
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// e to the x within 2 units in the last place for |x| ≤ 87, clamped beyond: x = n·ln 2 + r with |r| ≤ ln 2 / 2, then
/// the Taylor polynomial of degree 7 (its remainder is below 1e-8 there).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LIMIT: f32 = 87.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first with few enough bits that n times it is exact (Cody & Waite 1980).
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2^23 rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-LIMIT, LIMIT);
    let rounded = x * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    sum * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_sigmoid_and_tanh_are_close_to_the_truth() {
        for i in -9000..9000 {
            let x = i as f32 * 0.01;
            let truth = f64::from(x.clamp(-87.0, 87.0)).exp();
            assert!((f64::from(exp(x)) / truth - 1.0).abs() < 4e-7, "exp {x}");
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh {x}");
            assert!(
                (f64::from(sigmoid(x)) - 1.0 / (1.0 + (-f64::from(x)).exp())).abs() < 1e-7,
                "sigmoid {x}"
            );
        }
    }

    fn scored(scorer: &ForwardScorer, windows: &[Vec<f32>], vectors: bool) -> Vec<u32> {
        let features = scorer.spec.input_size;
        let mut items: Vec<Item<'_>> = windows
            .iter()
            .map(|window| {
                let (context, rows) = window.split_at(window.len() - features);
                Item {
                    context: Context::Window(context),
                    rows,
                }
            })
            .collect();
        let mut evidence = Evidence::default();
        match vectors {
            true => scorer.score(&mut items, &mut Workspace::default(), &mut evidence),
            false => scorer.rebuild_all(&items, &mut Workspace::default(), &mut evidence.reconstruction),
        }
        evidence.reconstruction.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn evidence_is_the_same_bits_alone_in_a_batch_and_on_every_path() {
        let spec = ModelSpec::autoencoder(5, 24, 2, 9, 9);
        let scorer = ForwardScorer::new(&Weights::seeded(spec, 3));
        let windows: Vec<Vec<f32>> = (0..7)
            .map(|w| (0..45).map(|i| ((i * 31 + w * 17) % 23) as f32 / 7.0 - 1.5).collect())
            .collect();
        let together = scored(&scorer, &windows, true);
        assert_eq!(together, scored(&scorer, &windows, false));
        for (index, window) in windows.iter().enumerate() {
            assert_eq!(
                together[index * 5..index * 5 + 5],
                scored(&scorer, std::slice::from_ref(window), true)
            );
        }
    }
}
