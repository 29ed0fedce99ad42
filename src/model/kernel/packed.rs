//! Weights as the kernel reads them: front to back, a vector of units (or outputs) at a time, from cache-line bounds.
//!
//! Padded units have weights of zero, so their state stays 0. Knows the vector length of its path and no instruction.

/// Numbers in a cache line.
const LINE: usize = 16;

/// Numbers that begin at a cache line, so that no vector straddles two.
#[derive(Debug)]
pub struct Aligned {
    buffer: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// Makes `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let buffer = vec![0.0; len + LINE - 1];
        let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        Aligned { buffer, start }
    }

    /// Gives the numbers.
    #[inline(always)]
    pub fn numbers(&self) -> &[f32] {
        &self.buffer[self.start..self.buffer.len() - (LINE - 1 - self.start)]
    }

    /// Gives the numbers to write to.
    #[inline(always)]
    pub fn numbers_mut(&mut self) -> &mut [f32] {
        let end = self.buffer.len() - (LINE - 1 - self.start);
        &mut self.buffer[self.start..end]
    }
}

/// Row-major parameters of one LSTM layer in one direction, gates in PyTorch's order.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a> {
    /// `(4H, I)`; empty for a layer without input.
    pub input: &'a [f32],
    /// `(4H, H)`.
    pub hidden: &'a [f32],
    /// `(4H,)`, both biases added; empty for none.
    pub bias: &'a [f32],
}

/// One LSTM layer in one direction, packed: for each vector of units a row of biases, one row per input and one per unit
/// of the state before; a row holds the four gates of those units. Weights are scaled so that the gates' sums are the
/// exponents of two that the activations need.
#[derive(Debug)]
pub struct PackedLayer {
    /// Numbers per input row.
    pub inputs: usize,
    /// H.
    pub hidden: usize,
    /// H rounded up to whole vectors.
    pub padded: usize,
    data: Aligned,
}

impl PackedLayer {
    /// Gates per unit.
    pub const GATES: usize = 4;

    /// What a gate's sum is multiplied by: σ(x) = 1 / (1 + 2^(−x·log₂e)), tanh(x) = (1 − e) / (1 + e) with
    /// e = 2^(−2x·log₂e).
    const SCALES: [f32; Self::GATES] = {
        const LOG2_E: f32 = std::f32::consts::LOG2_E;
        [-LOG2_E, -LOG2_E, -2.0 * LOG2_E, -LOG2_E]
    };

    /// Packs a layer of `hidden` units for vectors of `lanes` numbers.
    pub fn new(weights: LayerWeights<'_>, hidden: usize, lanes: usize) -> Self {
        let inputs = weights.input.len() / (Self::GATES * hidden);
        let padded = hidden.next_multiple_of(lanes);
        let row = Self::GATES * lanes;
        let mut data = Aligned::zeros(padded / lanes * (1 + inputs + hidden) * row);
        let block_len = (1 + inputs + hidden) * row;
        for (block, numbers) in data.numbers_mut().chunks_exact_mut(block_len).enumerate() {
            for unit in (block * lanes..(block + 1) * lanes).filter(|unit| *unit < hidden) {
                for (gate, scale) in Self::SCALES.iter().enumerate() {
                    let source = gate * hidden + unit;
                    let place = gate * lanes + unit % lanes;
                    let bias = weights.bias.get(source).copied().unwrap_or(0.0);
                    let columns = [bias]
                        .into_iter()
                        .chain(weights.input[source * inputs..][..inputs].iter().copied())
                        .chain(weights.hidden[source * hidden..][..hidden].iter().copied());
                    for (k, weight) in columns.enumerate() {
                        numbers[k * row + place] = scale * weight;
                    }
                }
            }
        }
        PackedLayer {
            inputs,
            hidden,
            padded,
            data,
        }
    }

    /// Gives the rows of one vector of units: biases, inputs, state before, `(1 + I + H, 4, lanes)`.
    #[inline(always)]
    pub fn block(&self, index: usize, lanes: usize) -> &[f32] {
        let len = (1 + self.inputs + self.hidden) * Self::GATES * lanes;
        &self.data.numbers()[index * len..][..len]
    }
}

/// A linear layer, packed: for each group of up to four vectors of outputs a row of biases and one row per input.
#[derive(Debug)]
pub struct PackedDense {
    /// Numbers per input row.
    pub inputs: usize,
    /// Numbers per output row.
    pub outputs: usize,
    /// Outputs rounded up to whole vectors.
    pub padded: usize,
    data: Aligned,
}

impl PackedDense {
    /// Vectors of outputs that are computed together.
    pub const GROUP: usize = 4;

    /// Packs `weight` `(O, I)`, row-major, and `bias` `(O,)` for vectors of `lanes` numbers.
    pub fn new(weight: &[f32], bias: &[f32], lanes: usize) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let padded = outputs.next_multiple_of(lanes);
        let mut data = Aligned::zeros(padded * (1 + inputs));
        let numbers = data.numbers_mut();
        for (output, bias) in bias.iter().enumerate() {
            let group = output / (Self::GROUP * lanes) * Self::GROUP * lanes;
            let width = (padded - group).min(Self::GROUP * lanes);
            let place = group * (1 + inputs) + output - group;
            numbers[place] = *bias;
            for (k, weight) in weight[output * inputs..][..inputs].iter().enumerate() {
                numbers[place + (1 + k) * width] = *weight;
            }
        }
        PackedDense {
            inputs,
            outputs,
            padded,
            data,
        }
    }

    /// Gives the rows of the group of outputs that begins at `first` and is `width` wide: `(1 + I, width)`.
    #[inline(always)]
    pub fn group(&self, first: usize, width: usize) -> &[f32] {
        &self.data.numbers()[first * (1 + self.inputs)..][..(1 + self.inputs) * width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_numbers_begin_at_a_cache_line() {
        for len in [0, 1, 17, 1000] {
            let mut aligned = Aligned::zeros(len);
            assert_eq!(aligned.numbers().len(), len);
            assert_eq!(aligned.numbers_mut().len(), len);
            assert_eq!(aligned.numbers().as_ptr().align_offset(64), 0);
        }
    }

    #[test]
    fn every_weight_stands_once_and_padding_is_zero() {
        let dense = PackedDense::new(&(1..=70 * 3).map(|i| i as f32).collect::<Vec<_>>(), &[0.5; 70], 16);
        assert_eq!(dense.padded, 80);
        assert_eq!(dense.group(0, 64)[64], 1.0);
        assert_eq!(dense.group(64, 16)[16], 64.0 * 3.0 + 1.0);
        let sum: f32 = dense.data.numbers().iter().sum();
        assert_eq!(sum, 70.0 * 0.5 + (210 * 211 / 2) as f32);
    }
}
