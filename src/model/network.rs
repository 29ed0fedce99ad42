//! The reference: a whole model on candle's ops, as autograd needs it.
//!
//! The encoder reads rows oldest first. From its final state, through the bridge where there is one, the decoder
//! rebuilds the newest rows, newest first, and the predictor foretells the next ones, next one first: the composite
//! model of Srivastava et al. 2015, section 2.3. Unconditioned, both step on their state alone; conditioned, they read
//! the row before of their own order: their own output at inference, the true row in training (teacher forcing:
//! Williams & Zipser 1989), and zeros at the first step. The judge reads the encoder's top layer beside a row. Knows
//! nothing of losses and optimisers.

use std::collections::BTreeMap;

use candle_core::{D, Device, Result, Tensor, Var};

use super::dense::dense;
use super::lstm::{Dropout, Lstm, Recurrence, State, Tensors, tensor};
use super::spec::ModelSpec;
use super::weights::Weights;

/// A model whose parameters can be trained.
pub struct Network {
    spec: ModelSpec,
    /// By name, in the fixed order of names.
    variables: BTreeMap<String, Var>,
    /// On the variables: what it computes can be differentiated.
    trained: Parts,
    /// On the same memory without a graph, so that inference keeps no intermediate results.
    plain: Parts,
}

/// What the encoder makes of windows.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The top layer's outputs, `(T, B, D·H)`, oldest row first.
    pub outputs: Tensor,
    /// The state after the last row.
    pub state: State,
}

/// What a step of training reads.
#[derive(Clone, Copy, Debug)]
pub struct Lesson<'a> {
    /// `(B, T, F)`, oldest row first.
    pub windows: &'a Tensor,
    /// `(B, horizon, F)`: the rows after the windows, next one first. A conditioned predictor of more than one row
    /// needs them; nothing else does.
    pub next: Option<&'a Tensor>,
    /// The encoder's state before the windows; none: zeros.
    pub state: Option<&'a State>,
}

/// What a step of training computes.
#[derive(Clone, Debug)]
pub struct Taught {
    /// `(K, B, F)`: the newest `decoded_rows` rows, newest first; none without a decoder.
    pub rebuilt: Option<Tensor>,
    /// `(horizon, B, F)`: the next rows, next one first; none without a predictor.
    pub forecast: Option<Tensor>,
    /// What the encoder made of the windows, still on the graph: whoever carries the state on detaches it.
    pub encoded: Encoded,
}

impl Network {
    /// Puts weights on a device as variables, with the fastest layers that the device has.
    ///
    /// # Errors
    /// candle's, when the device has no room.
    pub fn new(weights: &Weights, device: &Device) -> Result<Self> {
        Self::with(weights, device, Recurrence::best(device))
    }

    /// Puts weights on a device as variables, with layers of choice.
    ///
    /// # Errors
    /// candle's, when the device has no room.
    pub fn with(weights: &Weights, device: &Device, recurrence: Recurrence) -> Result<Self> {
        let variable = |(name, shape): (String, Vec<usize>)| {
            let tensor = Tensor::from_slice(weights.numbers(&name), shape, device)?;
            Ok((name, Var::from_tensor(&tensor)?))
        };
        let parameters = weights.spec.parameters().into_iter();
        let variables: BTreeMap<String, Var> = parameters.map(variable).collect::<Result<_>>()?;
        let parts = |view: fn(&Var) -> Tensor| {
            let tensors = variables.iter().map(|(name, variable)| (name.clone(), view(variable)));
            Parts::new(&weights.spec, &tensors.collect(), recurrence)
        };
        Ok(Network {
            spec: weights.spec,
            trained: parts(|variable| variable.as_tensor().clone())?,
            plain: parts(Var::as_detached_tensor)?,
            variables,
        })
    }

    /// Gives the sizes and parts.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Gives all variables in the order of their names.
    pub fn variables(&self) -> Vec<Var> {
        self.variables.values().cloned().collect()
    }

    /// Copies the parameters out.
    ///
    /// # Errors
    /// candle's, when the device fails.
    pub fn weights(&self) -> Result<Weights> {
        let copy = |(name, variable): (&String, &Var)| Ok((name.clone(), variable.flatten_all()?.to_vec1()?));
        Ok(Weights {
            spec: self.spec,
            tensors: self.variables.iter().map(copy).collect::<Result<_>>()?,
        })
    }

    /// Rebuilds the newest rows of windows, free running and without a graph.
    ///
    /// # Shapes
    /// `windows`: `(B, T, F)` model inputs, oldest row first → `(K, B, F)`, newest row first, K = `rows` > 0.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit or there is no decoder.
    pub fn rebuild(&self, windows: &Tensor, rows: usize) -> Result<Tensor> {
        let head = part(self.plain.decoder.as_ref(), "decoder")?;
        let state = self.plain.encode(windows, None, None)?.state;
        head.run_free(&self.plain.bridge(&state)?, rows)
    }

    /// Foretells the rows after windows, free running and without a graph.
    ///
    /// # Shapes
    /// `windows`: `(B, T, F)` model inputs, oldest row first → `(K, B, F)`, next row first, K = `rows` > 0.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit or there is no predictor.
    pub fn forecast(&self, windows: &Tensor, rows: usize) -> Result<Tensor> {
        let head = part(self.plain.predictor.as_ref(), "predictor")?;
        let state = self.plain.encode(windows, None, None)?.state;
        head.run_free(&self.plain.bridge(&state)?, rows)
    }

    /// Judges the newest row of windows, without a graph.
    ///
    /// # Shapes
    /// `windows`: `(B, T, F)` model inputs, oldest row first → `(B,)` log-odds that the row is no clean one.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit or there is no judge.
    pub fn judge(&self, windows: &Tensor) -> Result<Tensor> {
        let judge = part(self.plain.judge.as_ref(), "judge")?;
        let state = self.plain.encode(windows, None, None)?.state;
        let newest = windows.get_on_dim(1, windows.dim(1)?.saturating_sub(1))?;
        judge.log_odds(&self.plain.top_of(&state)?, &newest)
    }

    /// Encodes windows on the graph.
    ///
    /// # Shapes
    /// `windows`: `(B, T, F)` model inputs, oldest row first; `state`: before them; none: zeros.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit.
    pub fn encode(&self, windows: &Tensor, state: Option<&State>, dropout: Dropout<'_>) -> Result<Encoded> {
        self.trained.encode(windows, state, dropout)
    }

    /// Computes on the graph what a loss compares with the true rows, conditioned parts being fed those.
    ///
    /// Masks of dropout are drawn for the encoder, the decoder and the predictor, in this order.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit or next rows are needed and missing.
    pub fn train_forward(&self, lesson: &Lesson<'_>, mut dropout: Dropout<'_>) -> Result<Taught> {
        let parts = &self.trained;
        let encoded = parts.encode(lesson.windows, lesson.state, dropout.as_deref_mut())?;
        let mut taught = Taught {
            rebuilt: None,
            forecast: None,
            encoded,
        };
        if parts.decoder.is_none() && parts.predictor.is_none() {
            return Ok(taught);
        }
        let state = parts.bridge(&taught.encoded.state)?;
        if let Some(decoder) = &parts.decoder {
            let rows = self.spec.decoded_rows;
            let truth = newest_first(lesson.windows, rows)?;
            taught.rebuilt = Some(decoder.run_taught(&state, rows, Some(&truth), dropout.as_deref_mut())?);
        }
        if let Some(predictor) = &parts.predictor {
            let truth = lesson.next.map(|next| next.transpose(0, 1)).transpose()?;
            taught.forecast = Some(predictor.run_taught(&state, self.spec.horizon, truth.as_ref(), dropout)?);
        }
        Ok(taught)
    }

    /// Gives what each net of the judge makes of every row of sequences, on the graph; the judge's word is their mean.
    ///
    /// # Shapes
    /// `outputs`: `(T, B, H)` of [`Encoded`]; `rows`: `(T, B, F)` → `(T, B)` log-odds each.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit.
    pub fn judge_votes(&self, outputs: &Tensor, rows: &Tensor) -> Result<Vec<Tensor>> {
        match &self.trained.judge {
            Some(judge) => judge.votes(outputs, rows),
            None => Ok(Vec::new()),
        }
    }

    /// Judges every row of sequences on the graph, each from what the encoder knew once it had read it.
    ///
    /// # Shapes
    /// `outputs`: `(T, B, H)` of [`Encoded`]; `rows`: `(T, B, F)` → `(T, B)` log-odds.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit, there is no judge, or the encoder has read later rows too (both
    /// directions).
    pub fn judge_rows(&self, outputs: &Tensor, rows: &Tensor) -> Result<Tensor> {
        if self.spec.bidirectional {
            candle_core::bail!("judge: an encoder of both directions has read later rows; judge the newest row alone")
        }
        part(self.trained.judge.as_ref(), "judge")?.log_odds(outputs, rows)
    }

    /// Judges the newest rows on the graph from the state after them.
    ///
    /// # Shapes
    /// `state`: of [`Encoded`]; `rows`: `(B, F)` → `(B,)` log-odds.
    ///
    /// # Errors
    /// candle's, when the shapes do not fit or there is no judge.
    pub fn judge_newest(&self, state: &State, rows: &Tensor) -> Result<Tensor> {
        part(self.trained.judge.as_ref(), "judge")?.log_odds(&self.trained.top_of(state)?, rows)
    }
}

/// Gives the newest rows of windows: `(B, T, F)`, oldest row first → `(K, B, F)`, newest row first, K = `rows`.
///
/// # Errors
/// candle's, when the windows have fewer rows.
pub fn newest_first(windows: &Tensor, rows: usize) -> Result<Tensor> {
    let start = windows.dim(1)?.saturating_sub(rows);
    windows
        .narrow(1, start, rows)?
        .transpose(0, 1)?
        .contiguous()?
        .flip(&[0])
}

fn part<'a, P>(part: Option<&'a P>, name: &str) -> Result<&'a P> {
    match part {
        Some(part) => Ok(part),
        None => candle_core::bail!("{name}: no part of this model"),
    }
}

/// The parts of a model on one set of tensors.
struct Parts {
    encoder: Lstm,
    /// One after the other: `compress` if there is a bottleneck, then `expand`; empty: no bridge.
    bridge: Vec<Linear>,
    decoder: Option<RowHead>,
    predictor: Option<RowHead>,
    judge: Option<Judge>,
}

impl Parts {
    fn new(spec: &ModelSpec, tensors: &Tensors, recurrence: Recurrence) -> Result<Self> {
        let bridge: &[&str] = match (spec.has_bridge(), spec.bottleneck > 0) {
            (false, _) => &[],
            (true, false) => &["expand"],
            (true, true) => &["compress", "expand"],
        };
        let head = |prefix, output, rows| {
            let new = || RowHead::new(spec, prefix, output, tensors, recurrence);
            (rows > 0).then(new).transpose()
        };
        Ok(Parts {
            encoder: Lstm::new(spec.encoder(), "encoder", tensors, recurrence)?,
            bridge: bridge
                .iter()
                .map(|name| Linear::new(name, tensors))
                .collect::<Result<_>>()?,
            decoder: head("decoder", "output", spec.decoded_rows)?,
            predictor: head("predictor", "predictor_output", spec.horizon)?,
            judge: match spec.judge {
                Some(judge) => Some(Judge::new(judge.row_net, tensors)?),
                None => None,
            },
        })
    }

    fn encode(&self, windows: &Tensor, state: Option<&State>, dropout: Dropout<'_>) -> Result<Encoded> {
        // (T, B, F): the rows of one step lie together.
        let sequence = windows.transpose(0, 1)?.contiguous()?;
        let (outputs, state) = self.encoder.forward(&sequence, state, dropout)?;
        Ok(Encoded { outputs, state })
    }

    /// Turns the encoder's final state into the one that decoder and predictor start from.
    ///
    /// Both are `[h of all layers and directions | c likewise]` per window: `(B, L·D·H)` each half before, `(B, L·H)`
    /// after.
    fn bridge(&self, state: &State) -> Result<State> {
        if self.bridge.is_empty() {
            return Ok(state.clone());
        }
        let (_, batch, hidden) = state.h.dims3()?;
        let flat = |half: &Tensor| half.transpose(0, 1)?.contiguous()?.flatten_from(1);
        let mut vector = Tensor::cat(&[flat(&state.h)?, flat(&state.c)?], 1)?;
        for linear in &self.bridge {
            vector = linear.forward(&vector)?;
        }
        let halves = vector.chunk(2, 1)?;
        let layers = |half: &Tensor| half.reshape((batch, (), hidden))?.transpose(0, 1)?.contiguous();
        Ok(State {
            h: layers(&halves[0])?,
            c: layers(&halves[1])?,
        })
    }

    /// Gives the top layer's h of all directions, side by side: `(B, D·H)`.
    fn top_of(&self, state: &State) -> Result<Tensor> {
        let spec = self.encoder.spec();
        let top = state
            .h
            .narrow(0, (spec.layers - 1) * spec.directions(), spec.directions())?;
        top.transpose(0, 1)?.contiguous()?.flatten_from(1)
    }
}

/// Decoder or predictor: a stack that unrolls rows from a state.
struct RowHead {
    stack: Lstm,
    output: Linear,
    /// F.
    row_size: usize,
    /// Whether a step reads the row before.
    conditioned: bool,
}

impl RowHead {
    fn new(spec: &ModelSpec, prefix: &str, output: &str, tensors: &Tensors, recurrence: Recurrence) -> Result<Self> {
        Ok(RowHead {
            stack: Lstm::new(spec.decoder(), prefix, tensors, recurrence)?,
            output: Linear::new(output, tensors)?,
            row_size: spec.input_size,
            conditioned: spec.conditioned,
        })
    }

    /// Gives `rows` rows, `(rows, B, F)`, each read by the next step where the head is conditioned.
    fn run_free(&self, state: &State, rows: usize) -> Result<Tensor> {
        if !self.conditioned {
            return self.run_taught(state, rows, None, None);
        }
        let mut row = self.first_input(state)?;
        let mut state = state.clone();
        let mut outputs = Vec::with_capacity(rows);
        for _ in 0..rows {
            let (hidden, next) = self.stack.forward(&row, Some(&state), None)?;
            row = self.output.forward(&hidden)?;
            outputs.push(row.clone());
            state = next;
        }
        Tensor::cat(&outputs, 0)
    }

    /// Gives `rows` rows, `(rows, B, F)`; a conditioned head reads the true ones: `truth`, in its order, `(rows, B,
    /// F)`.
    fn run_taught(&self, state: &State, rows: usize, truth: Option<&Tensor>, dropout: Dropout<'_>) -> Result<Tensor> {
        let hidden = if self.conditioned {
            let mut inputs = vec![self.first_input(state)?];
            if rows > 1 {
                inputs.push(part(truth, "next rows")?.narrow(0, 0, rows - 1)?);
            }
            self.stack.forward(&Tensor::cat(&inputs, 0)?, Some(state), dropout)?.0
        } else {
            self.stack.forward_without_input(rows, state, dropout)?.0
        };
        self.output.forward(&hidden)
    }

    /// Gives what the first step reads: zeros, `(1, B, F)`.
    fn first_input(&self, state: &State) -> Result<Tensor> {
        Tensor::zeros((1, state.h.dim(1)?, self.row_size), state.h.dtype(), state.h.device())
    }
}

/// Log-odds that a row is no clean one, from what the encoder knows and the row.
struct Judge {
    net: [Linear; 3],
    /// On the row alone; the judge's word is the mean of both.
    row_net: Option<[Linear; 3]>,
}

impl Judge {
    fn new(has_row_net: bool, tensors: &Tensors) -> Result<Self> {
        let net = |prefix: &str| {
            let linear = |index| Linear::new(&format!("{prefix}.{index}"), tensors);
            Ok::<_, candle_core::Error>([linear(0)?, linear(2)?, linear(4)?])
        };
        Ok(Judge {
            net: net("judge")?,
            row_net: has_row_net.then(|| net("row_judge")).transpose()?,
        })
    }

    /// `hidden`: `(…, D·H)`, `rows`: `(…, F)` → `(…)`.
    fn log_odds(&self, hidden: &Tensor, rows: &Tensor) -> Result<Tensor> {
        match self.votes(hidden, rows)?.as_slice() {
            [net, row_net] => (net + row_net)? * 0.5,
            [net] => Ok(net.clone()),
            _ => candle_core::bail!("judge: expected one net or two"),
        }
    }

    /// What each net says.
    fn votes(&self, hidden: &Tensor, rows: &Tensor) -> Result<Vec<Tensor>> {
        let both = Tensor::cat(&[hidden, rows], D::Minus1)?;
        let mut votes = vec![feed_forward(&self.net, &both)?];
        if let Some(net) = &self.row_net {
            votes.push(feed_forward(net, rows)?);
        }
        Ok(votes)
    }
}

/// Linear, ReLU, linear, ReLU, linear to one number: `(…, inputs)` → `(…)`.
fn feed_forward(net: &[Linear; 3], inputs: &Tensor) -> Result<Tensor> {
    let [first, second, last] = net;
    let inner = second.rectified(&first.rectified(inputs)?)?;
    last.plain(&inner)?.squeeze(D::Minus1)
}

/// `nn.Linear`.
struct Linear {
    /// `(outputs, inputs)`.
    weight: Tensor,
    /// `(outputs,)`.
    bias: Tensor,
}

impl Linear {
    fn new(prefix: &str, tensors: &Tensors) -> Result<Self> {
        Ok(Linear {
            weight: tensor(tensors, &format!("{prefix}.weight"))?,
            bias: tensor(tensors, &format!("{prefix}.bias"))?,
        })
    }

    /// `(…, inputs)` → `(…, outputs)`, on the fused layer where the device has it.
    fn plain(&self, inputs: &Tensor) -> Result<Tensor> {
        match self.weight.device().is_cpu() {
            true => dense(inputs, &self.weight, &self.bias, false),
            false => self.forward(inputs),
        }
    }

    /// The same with a ReLU.
    fn rectified(&self, inputs: &Tensor) -> Result<Tensor> {
        match self.weight.device().is_cpu() {
            true => dense(inputs, &self.weight, &self.bias, true),
            false => self.forward(inputs)?.relu(),
        }
    }

    /// `(…, inputs)` → `(…, outputs)`.
    fn forward(&self, inputs: &Tensor) -> Result<Tensor> {
        // Where the inputs lie in order, candle makes one product of all leading dimensions.
        let product = inputs.contiguous()?.broadcast_matmul(&self.weight.t()?)?;
        product.broadcast_add(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use candle_nn::{Optimizer, SGD};
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::model::golden::{self, assert_close, assert_gradient_close, numbers};
    use crate::model::spec::JudgeSpec;

    const BOTH: [Recurrence; 2] = [Recurrence::Reference, Recurrence::Fused];

    #[test]
    fn every_model_gives_what_pytorch_gives() {
        for (case, recurrence) in golden::models()
            .into_iter()
            .flat_map(|case| BOTH.map(|by| (case.clone(), by)))
        {
            let network = Network::with(&case.weights(), &Device::Cpu, recurrence).unwrap();
            let windows = case.tensor("in.windows").unwrap();
            let encoded = network.encode(&windows, None, None).unwrap();
            assert_close(&case, "out.output", &encoded.outputs);
            assert_close(&case, "out.h", &encoded.state.h);
            assert_close(&case, "out.c", &encoded.state.c);
            if case.spec.decoded_rows > 0 {
                let rebuilt = network.rebuild(&windows, case.spec.decoded_rows).unwrap();
                assert_close(&case, "out.rebuilt", &rebuilt);
            }
            if case.spec.horizon > 0 {
                let forecast = network.forecast(&windows, case.spec.horizon).unwrap();
                assert_close(&case, "out.forecast", &forecast);
            }
            if case.spec.judge.is_some() {
                assert_close(&case, "out.judge", &network.judge(&windows).unwrap());
                let newest = windows.get_on_dim(1, case.spec.lookback - 1).unwrap();
                let on_the_graph = network.judge_newest(&encoded.state, &newest).unwrap();
                assert_close(&case, "out.judge", &on_the_graph);
            }
            if case.tensor("out.judge_rows").is_some() {
                let rows = windows.transpose(0, 1).unwrap();
                let judged = network.judge_rows(&encoded.outputs, &rows).unwrap();
                assert_close(&case, "out.judge_rows", &judged);
            }
        }
    }

    /// The squared error of the rebuilt rows + that of the forecast, a mean each.
    fn loss(network: &Network, windows: &Tensor, next: Option<&Tensor>) -> Tensor {
        let lesson = Lesson {
            windows,
            next,
            state: None,
        };
        let taught = network.train_forward(&lesson, None).unwrap();
        let rows = network.spec().decoded_rows;
        let pairs = [
            taught
                .rebuilt
                .map(|found| (found, newest_first(windows, rows).unwrap())),
            taught.forecast.zip(next.map(|next| next.transpose(0, 1).unwrap())),
        ];
        let error = |(found, truth): (Tensor, Tensor)| (found - truth)?.sqr()?.mean_all();
        let errors = pairs.into_iter().flatten().map(|pair| error(pair).unwrap());
        errors.reduce(|a, b| (a + b).unwrap()).unwrap()
    }

    #[test]
    fn loss_and_gradients_are_those_of_pytorch() {
        let mut cases = 0;
        for (case, recurrence) in golden::models()
            .into_iter()
            .flat_map(|case| BOTH.map(|by| (case.clone(), by)))
        {
            if case.tensor("out.loss").is_none() {
                continue;
            }
            cases += 1;
            let network = Network::with(&case.weights(), &Device::Cpu, recurrence).unwrap();
            let next = case.tensor("in.next");
            let loss = loss(&network, &case.tensor("in.windows").unwrap(), next.as_ref());
            assert_close(&case, "out.loss", &loss.reshape(1).unwrap());
            let gradients = loss.backward().unwrap();
            for (name, variable) in &network.variables {
                let found = gradients.get(variable);
                assert_eq!(
                    found.is_some(),
                    case.tensor(&format!("grad.{name}")).is_some(),
                    "{name}"
                );
                if let Some(found) = found {
                    assert_gradient_close(&case, name, &numbers(found));
                }
            }
        }
        assert_eq!(cases, 2 * 6);
    }

    fn spec() -> ModelSpec {
        ModelSpec {
            layers: 2,
            dropout: 0.4,
            horizon: 2,
            conditioned: true,
            judge: Some(JudgeSpec {
                hidden: [4, 3],
                row_net: false,
            }),
            ..ModelSpec::autoencoder(3, 4, 2, 6, 3)
        }
    }

    fn windows(rows: usize) -> Tensor {
        let numbers = (0..2 * rows * 3).map(|i| (i * 29 % 31) as f32 / 15.0 - 1.0).collect();
        Tensor::from_vec(numbers, (2, rows, 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn dropout_acts_in_training_alone_and_by_its_seed() {
        let weights = Weights::seeded(spec(), 3);
        let network = Network::new(&weights, &Device::Cpu).unwrap();
        let spec = ModelSpec { dropout: 0.0, ..spec() };
        let without = Network::new(&Weights { spec, ..weights }, &Device::Cpu).unwrap();
        let (windows, next) = (windows(6), windows(2));
        let taught = |network: &Network, seed: Option<u64>| {
            let lesson = Lesson {
                windows: &windows,
                next: Some(&next),
                state: None,
            };
            let mut generator = seed.map(Pcg64Mcg::seed_from_u64);
            let taught = network.train_forward(&lesson, generator.as_mut()).unwrap();
            [numbers(&taught.rebuilt.unwrap()), numbers(&taught.forecast.unwrap())]
        };
        assert_eq!(taught(&network, None), taught(&without, None));
        assert_eq!(taught(&network, Some(1)), taught(&network, Some(1)));
        let [a, b] = [taught(&network, Some(1)), taught(&network, Some(2))];
        assert!(a[0] != b[0] && a[1] != b[1]);
        assert_ne!(a, taught(&network, None));
        let rebuilt = |network: &Network| numbers(&network.rebuild(&windows, 3).unwrap());
        assert_eq!(rebuilt(&network), rebuilt(&without));
    }

    #[test]
    fn inference_follows_the_variables_and_keeps_no_graph() {
        let network = Network::new(&Weights::seeded(spec(), 3), &Device::Cpu).unwrap();
        let (windows, next) = (windows(6), windows(2));
        let before = numbers(&network.rebuild(&windows, 3).unwrap());
        let mut optimiser = SGD::new(network.variables(), 0.1).unwrap();
        optimiser.backward_step(&loss(&network, &windows, Some(&next))).unwrap();
        let after = network.rebuild(&windows, 3).unwrap();
        let copied = Network::new(&network.weights().unwrap(), &Device::Cpu).unwrap();
        assert_ne!(numbers(&after), before);
        assert_eq!(numbers(&after), numbers(&copied.rebuild(&windows, 3).unwrap()));
        assert!(!after.track_op());
    }

    #[test]
    fn a_carried_state_gives_what_the_whole_sequence_gives() {
        let network = Network::new(&Weights::seeded(spec(), 3), &Device::Cpu).unwrap();
        let whole = windows(9);
        let first = network.encode(&whole.narrow(1, 0, 3).unwrap(), None, None).unwrap();
        let (rest, next) = (whole.narrow(1, 3, 6).unwrap(), windows(2));
        let taught = |windows: &Tensor, state: Option<&State>| {
            let lesson = Lesson {
                windows,
                next: Some(&next),
                state,
            };
            let taught = network.train_forward(&lesson, None).unwrap();
            let [rebuilt, forecast] = [taught.rebuilt.unwrap(), taught.forecast.unwrap()];
            [rebuilt, forecast, taught.encoded.state.c].map(|tensor| numbers(&tensor))
        };
        let (at_once, in_parts) = (taught(&whole, None), taught(&rest, Some(&first.state.detach())));
        for (a, b) in at_once.iter().flatten().zip(in_parts.iter().flatten()) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn a_part_that_is_missing_is_named() {
        let network = Network::new(&Weights::seeded(ModelSpec::autoencoder(3, 4, 1, 6, 3), 3), &Device::Cpu).unwrap();
        let text = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert!(text(network.judge(&windows(6))).contains("judge: no part"));
        assert!(text(network.forecast(&windows(6), 1)).contains("predictor: no part"));
        let network = Network::new(&Weights::seeded(spec(), 3), &Device::Cpu).unwrap();
        let lesson = Lesson {
            windows: &windows(6),
            next: None,
            state: None,
        };
        let error = network.train_forward(&lesson, None).unwrap_err();
        assert!(error.to_string().contains("next rows"));
    }
}
