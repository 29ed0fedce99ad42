//! The encoder: rows of windows in, one state per window out.

use super::input::WindowRows;
use super::scratch::Scratch;
use super::simd::Path;
use super::stack::{LayerNumbers, Stack, States, StepInput, layer_numbers};
use super::step::Rows;
use crate::model::spec::LstmSpec;
use crate::model::weights::Weights;

/// An encoder packed for one path.
#[derive(Debug)]
pub struct Encoder {
    spec: LstmSpec,
    /// All layers in one direction, or each layer of each direction (`2·layer + direction`) as a stack of its own.
    stacks: Vec<Stack>,
}

impl Encoder {
    /// Packs the encoder.
    pub fn pack(weights: &Weights, path: Path) -> Self {
        let spec = weights.spec.encoder();
        let numbers = |layer, direction| layer_numbers(weights, &spec, "encoder", layer, direction);
        let stacks = if spec.bidirectional {
            let single = |index: usize| Stack::of_numbers(&[numbers(index / 2, index % 2)], &spec, path);
            (0..2 * spec.layers).map(single).collect()
        } else {
            let layers: Vec<LayerNumbers> = (0..spec.layers).map(|layer| numbers(layer, 0)).collect();
            vec![Stack::of_numbers(&layers, &spec, path)]
        };
        Encoder { spec, stacks }
    }

    /// Gives S, the numbers of one state.
    pub fn state_len(&self) -> usize {
        self.spec.state_len()
    }

    /// Gives the layers of the forward direction, as a carried state steps through them.
    pub fn forward(&self) -> &Stack {
        &self.stacks[0]
    }

    /// Encodes the first `steps` rows of `n` windows into `(n, S)`; `early` gets the states before the last of them.
    pub fn encode(
        &self,
        windows: &[WindowRows<'_>],
        steps: usize,
        early: Option<&mut [f32]>,
        out: &mut [f32],
        mut scratch: Scratch<'_>,
    ) {
        if self.spec.bidirectional {
            // Seen from both ends, a window without its last row is another sequence.
            if let Some(early) = early {
                self.encode_both_ways(windows, steps - 1, early, scratch.fork());
            }
            return self.encode_both_ways(windows, steps, out, scratch);
        }
        let (n, features, hidden) = (windows.len(), self.spec.input_size, self.spec.hidden_size);
        let stack = self.forward();
        // Whole windows side by side: one copy each, not one per row.
        let rows = scratch.take(n * steps * features);
        for (window, rows) in windows.iter().zip(rows.chunks_exact_mut(steps * features)) {
            window.copy_to(rows);
        }
        let mut states = States::zeros(stack, n, scratch.take(stack.states_len(n)));
        let from = |t: usize| {
            let input = Rows {
                data: &rows[t * features..],
                stride: steps * features,
            };
            StepInput::Rows(input, features)
        };
        match early {
            Some(early) => {
                stack.run(&mut states, steps - 1, from(0), None);
                states.export_all(n, hidden, early);
                stack.run(&mut states, 1, from(steps - 1), None);
            }
            None => stack.run(&mut states, steps, from(0), None),
        }
        states.export_all(n, hidden, out);
    }

    /// Runs layer by layer over whole sequences, each layer's outputs being the next one's inputs.
    fn encode_both_ways(&self, windows: &[WindowRows<'_>], steps: usize, out: &mut [f32], mut scratch: Scratch<'_>) {
        let (n, hidden, state_len) = (windows.len(), self.spec.hidden_size, self.spec.state_len());
        let width = self.spec.input_size.max(2 * hidden);
        // `(steps, n, width)` of the layer below and of this one.
        let mut inputs = scratch.take(steps * n * width);
        let mut outputs = scratch.take(steps * n * width);
        for (t, rows) in inputs.chunks_exact_mut(n * width).enumerate() {
            for (window, row) in windows.iter().zip(rows.chunks_exact_mut(width)) {
                row[..self.spec.input_size].copy_from_slice(window.row(t, self.spec.input_size));
            }
        }
        let numbers = scratch.take(self.forward().states_len(n));
        for (index, stack) in self.stacks.iter().enumerate() {
            let (layer, direction) = (index / 2, index % 2);
            let mut states = States::zeros(stack, n, &mut *numbers);
            for step in 0..steps {
                let t = if direction == 0 { step } else { steps - 1 - step };
                let input = Rows {
                    data: &inputs[t * n * width..],
                    stride: width,
                };
                stack.run(&mut states, 1, StepInput::Rows(input, 0), None);
                let top = states.top();
                for row in 0..n {
                    let place = (t * n + row) * width + direction * hidden;
                    outputs[place..place + hidden].copy_from_slice(&top.data[row * top.stride..][..hidden]);
                }
            }
            // h of all layers and directions, then c of all.
            for row in 0..n {
                let state = &mut out[row * state_len..][..state_len];
                let (h, c) = state.split_at_mut(state_len / 2);
                states.export_parts(
                    row,
                    &mut h[index * hidden..][..hidden],
                    &mut c[index * hidden..][..hidden],
                );
            }
            if direction == 1 && layer + 1 < self.spec.layers {
                std::mem::swap(&mut inputs, &mut outputs);
            }
        }
    }

    /// Gives the numbers that [`Encoder::encode`] takes from its scratch.
    pub fn scratch_len(&self, n: usize, steps: usize) -> usize {
        let states = self.forward().states_len(n);
        match self.spec.bidirectional {
            true => 2 * steps * n * self.spec.input_size.max(2 * self.spec.hidden_size) + states,
            false => n * steps * self.spec.input_size + states,
        }
    }
}
