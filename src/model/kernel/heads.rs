//! What stands behind the encoder: the bridge, the generators of rows (decoder, predictor) and the judge.
//!
//! Each takes `n` rows at once, whatever they belong to.

use super::packed::{PackedDense, PackedLayer};
use super::scratch::Scratch;
use super::simd::Path;
use super::stack::{LayerNumbers, Output, Stack, States, StepInput, layer_numbers};
use super::step::{Dense, Rows};
use crate::model::spec::{JudgeSpec, LstmSpec};
use crate::model::weights::Weights;

/// Packs the linear layer `name`.
fn dense(weights: &Weights, name: &str, path: Path) -> PackedDense {
    let numbers = |kind: &str| weights.numbers(&format!("{name}.{kind}"));
    PackedDense::new(numbers("weight"), numbers("bias"), path.lanes())
}

/// The linear layers between the encoder's state and that of the generators.
#[derive(Debug)]
pub struct Bridge {
    layers: Vec<PackedDense>,
    path: Path,
}

impl Bridge {
    /// Packs the bridge that a model has; it may have no layers.
    pub fn pack(weights: &Weights, path: Path) -> Self {
        let names: &[&str] = match (weights.spec.has_bridge(), weights.spec.bottleneck) {
            (false, _) => &[],
            (true, 0) => &["expand"],
            (true, _) => &["compress", "expand"],
        };
        Bridge {
            layers: names.iter().map(|name| dense(weights, name, path)).collect(),
            path,
        }
    }

    /// Gives the generators' first states for encoder states `(n, S)`.
    fn cross<'a>(&self, states: Rows<'a>, n: usize, scratch: &mut Scratch<'a>) -> Rows<'a> {
        self.layers.iter().fold(states, |input, layer| {
            let out = scratch.take(n * layer.padded);
            self.path.run(Dense::plain(layer, n, input, out));
            Rows {
                data: out,
                stride: layer.padded,
            }
        })
    }
}

/// A decoder or a predictor: makes rows one by one from a first state.
#[derive(Debug)]
pub struct Generator {
    spec: LstmSpec,
    first: Stack,
    /// The steps after the first where the generator reads its own last row. That row is a linear function of the top
    /// layer's h, so its weights are folded into one matrix on h: W_ih · (W_o · h + b_o) = (W_ih · W_o) · h + W_ih · b_o.
    rest: Option<Stack>,
    output: PackedDense,
}

impl Generator {
    /// Packs the generator `prefix` with its linear layer `output`.
    pub fn pack(weights: &Weights, prefix: &str, output: &str, path: Path) -> Self {
        let spec = weights.spec.decoder();
        let unconditioned = LstmSpec { input_size: 0, ..spec };
        let layer = |layer: usize| layer_numbers(weights, &spec, prefix, layer, 0);
        let mut layers: Vec<LayerNumbers> = (0..spec.layers).map(layer).collect();
        let fed = std::mem::take(&mut layers[0].input);
        let first = Stack::of_numbers(&layers, &unconditioned, path);
        let rest = (spec.input_size > 0).then(|| {
            let numbers = |kind: &str| weights.numbers(&format!("{output}.{kind}"));
            fold(&mut layers, &fed, numbers("weight"), numbers("bias"), &spec);
            Stack::of_numbers(&layers, &spec, path)
        });
        Generator {
            spec,
            first,
            rest,
            output: dense(weights, output, path),
        }
    }

    /// Makes `steps` rows for each of `n` encoder states `(n, S)`; gives those of each state, `(steps, F)`, to `take`.
    pub fn run(
        &self,
        bridge: &Bridge,
        encoded: Rows<'_>,
        n: usize,
        steps: usize,
        mut scratch: Scratch<'_>,
        mut take: impl FnMut(usize, &[f32]),
    ) {
        let made_stride = self.made_stride(steps);
        let made = scratch.take(n * made_stride);
        let numbers = scratch.take(self.first.states_len(n));
        let mut states = States::zeros(&self.first, n, numbers);
        let mut rest = scratch;
        let start = bridge.cross(encoded, n, &mut rest);
        for row in 0..n {
            let state = &start.data[row * start.stride..][..self.spec.state_len()];
            states.import(row, self.spec.hidden_size, state);
        }
        let (layer, outputs) = (&self.output, self.output.outputs);
        let first_steps = if self.rest.is_some() { steps.min(1) } else { steps };
        let mut run = |stack: &Stack, steps: usize, input: StepInput<'_>, done: usize| {
            let output = Output {
                layer,
                out: &mut made[done * outputs..],
                stride: made_stride,
            };
            stack.run(&mut states, steps, input, Some(output));
        };
        run(&self.first, first_steps, StepInput::None, 0);
        if let Some(rest) = &self.rest {
            run(rest, steps - first_steps, StepInput::OwnTop, first_steps);
        }
        for (row, made) in made.chunks_exact(made_stride).enumerate() {
            take(row, &made[..steps * self.output.outputs]);
        }
    }

    /// Gives the numbers from one state's rows to the next one's: `steps` rows and the padding of the last.
    fn made_stride(&self, steps: usize) -> usize {
        steps * self.output.outputs + self.output.padded - self.output.outputs
    }

    /// Gives the numbers that [`Generator::run`] takes from its scratch.
    pub fn scratch_len(&self, bridge: &Bridge, n: usize, steps: usize) -> usize {
        let crossed = bridge.layers.iter().map(|layer| n * layer.padded).sum::<usize>();
        n * self.made_stride(steps) + self.first.states_len(n) + crossed
    }
}

/// Makes the bottom layer read the top layer's h in place of the last row; sums in double precision.
fn fold(layers: &mut [LayerNumbers], fed: &[f32], output: &[f32], output_bias: &[f32], spec: &LstmSpec) {
    let (inputs, hidden) = (spec.input_size, spec.hidden_size);
    let gates = PackedLayer::GATES * hidden;
    let single = layers.len() == 1;
    let bottom = &mut layers[0];
    bottom.bias.resize(gates, 0.0);
    if !single {
        bottom.input = vec![0.0; gates * hidden];
    }
    for gate in 0..gates {
        let fed = &fed[gate * inputs..][..inputs];
        let dot = |column: &dyn Fn(usize) -> f32| -> f64 {
            fed.iter()
                .enumerate()
                .map(|(i, weight)| f64::from(*weight) * f64::from(column(i)))
                .sum()
        };
        bottom.bias[gate] = (f64::from(bottom.bias[gate]) + dot(&|i| output_bias[i])) as f32;
        let target = if single { &mut bottom.hidden } else { &mut bottom.input };
        for unit in 0..hidden {
            let place = &mut target[gate * hidden + unit];
            *place = (f64::from(*place) + dot(&|i| output[i * hidden + unit])) as f32;
        }
    }
}

/// The judge: one feed-forward net on state and row, averaged with one on the row alone where that is there.
#[derive(Debug)]
pub struct PackedJudge {
    nets: Vec<[PackedDense; 3]>,
    path: Path,
}

impl PackedJudge {
    /// Packs the judge.
    pub fn pack(weights: &Weights, spec: JudgeSpec, path: Path) -> Self {
        let prefixes: &[&str] = if spec.row_net {
            &["judge", "row_judge"]
        } else {
            &["judge"]
        };
        let net = |prefix: &&str| [0, 2, 4].map(|index| dense(weights, &format!("{prefix}.{index}"), path));
        PackedJudge {
            nets: prefixes.iter().map(net).collect(),
            path,
        }
    }

    /// Gives each net's share of the log-odds of `n` rows `(n, [state | row])`, of which the row begins at `row_start`, to
    /// `add`; the log-odds are their sum.
    pub fn run(
        &self,
        input: Rows<'_>,
        row_start: usize,
        n: usize,
        mut scratch: Scratch<'_>,
        mut add: impl FnMut(usize, f32),
    ) {
        for (index, net) in self.nets.iter().enumerate() {
            let mut scratch = scratch.fork();
            let mut rows = match index {
                0 => input,
                _ => Rows {
                    data: &input.data[row_start..],
                    ..input
                },
            };
            for (depth, layer) in net.iter().enumerate() {
                let out = scratch.take(n * layer.padded);
                self.path.run(Dense {
                    relu: depth < 2,
                    ..Dense::plain(layer, n, rows, out)
                });
                rows = Rows {
                    data: out,
                    stride: layer.padded,
                };
            }
            for row in 0..n {
                add(row, rows.data[row * rows.stride] / self.nets.len() as f32);
            }
        }
    }

    /// Gives the numbers that [`PackedJudge::run`] takes from its scratch.
    pub fn scratch_len(&self, n: usize) -> usize {
        let layers = self.nets.iter().flatten();
        layers.map(|layer| n * layer.padded).sum::<usize>()
    }
}
