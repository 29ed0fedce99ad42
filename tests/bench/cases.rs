//! The cases: models, inputs, and how each is run.

use std::collections::HashMap;
use std::path::Path as FilePath;

use super::models::{SEED, series, spec};
use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use tapewatch::model::kernel::engine::Kernel;
use tapewatch::model::kernel::input::{CarriedRows, WindowRows};
use tapewatch::model::kernel::simd::Path;
use tapewatch::model::lstm::Recurrence;
use tapewatch::model::network::Network;
use tapewatch::model::spec::{LstmSpec, ModelSpec};
use tapewatch::model::weights::Weights;
use tapewatch::pipeline::score::{Evidence, Workspace};

/// Batches of windows.
const BATCHES: [usize; 5] = [1, 16, 64, 256, 1024];
/// Batches of windows for candle: beyond these it gains nothing more.
const CANDLE_BATCHES: [usize; 3] = [1, 64, 256];

/// Where the rows come from.
#[derive(Clone, Copy)]
pub enum Work {
    /// Windows, full or the newest k rows decoded; overlapping ones of one series, or each of its own instrument.
    Windows { batch: usize, k: usize, gathered: bool },
    /// Carried states of instruments, each with queued ticks; k rows are decoded at every tick.
    Carried {
        instruments: usize,
        queued: usize,
        k: usize,
    },
}

/// Who computes.
#[derive(Clone, Copy)]
enum Implementation {
    Kernel(Path),
    /// The reference network on candle's own operations.
    Candle,
}

/// One thing to time.
pub struct Case {
    name: &'static str,
    spec: ModelSpec,
    implementation: Implementation,
    work: Work,
}

/// Lists all cases.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in Path::available() {
        // Without fused multiply-add in the compiler's target a call is made for each: one case shows that it is equal.
        let implementation = Implementation::Kernel(path);
        let is_slow = path == Path::Portable && !cfg!(target_feature = "fma");
        for name in ["ref", "ref_conditioned", "large", "large_conditioned"] {
            let spec = spec(name);
            for batch in BATCHES.into_iter().filter(|batch| !is_slow || *batch == 16) {
                for (k, gathered) in [(spec.lookback, false), (spec.lookback, true), (8, false)] {
                    let work = Work::Windows { batch, k, gathered };
                    cases.push(Case {
                        name,
                        spec,
                        implementation,
                        work,
                    });
                }
            }
        }
        for (name, k) in [("judge", 0), ("judge+ff", 0), ("carried", 1), ("carried", 8)] {
            for (instruments, queued) in [(1, 1), (1, 64), (16, 1), (16, 64), (1024, 1), (1024, 64)] {
                if !is_slow || instruments == 16 {
                    let work = Work::Carried { instruments, queued, k };
                    cases.push(Case {
                        name,
                        spec: spec(name),
                        implementation,
                        work,
                    });
                }
            }
        }
    }
    for name in ["ref", "large"] {
        let spec = spec(name);
        cases.extend(CANDLE_BATCHES.map(|batch| Case {
            name,
            spec,
            implementation: Implementation::Candle,
            work: Work::Windows {
                batch,
                k: spec.lookback,
                gathered: false,
            },
        }));
    }
    cases
}

/// A model's inputs as flat lists: one per window or instrument.
fn inputs(spec: &ModelSpec, work: Work) -> Vec<Vec<f32>> {
    let (features, lookback) = (spec.input_size, spec.lookback);
    match work {
        Work::Windows {
            batch, gathered: true, ..
        } => (0..batch).map(|w| series(lookback, features, w as u32 + 1)).collect(),
        Work::Windows { batch, .. } => {
            let whole = series(batch + lookback - 1, features, 1);
            let window = |w: usize| whole[w * features..(w + lookback) * features].to_vec();
            (0..batch).map(window).collect()
        }
        Work::Carried {
            instruments, queued, ..
        } => (0..instruments)
            .map(|i| series(queued, features, i as u32 + 1))
            .collect(),
    }
}

/// Mean squared error of the newest `k` rows of each window, `(N,)`.
fn errors(windows: &[Vec<f32>], rebuilt: &[f32], k: usize, features: usize, scores: &mut Vec<f32>) {
    scores.clear();
    // One sum per feature, so that the sums do not wait for each other.
    let mut sums = vec![0.0_f32; features];
    for (window, rebuilt) in windows.iter().zip(rebuilt.chunks_exact(k * features)) {
        sums.fill(0.0);
        for (row, made) in window.rchunks_exact(features).zip(rebuilt.chunks_exact(features)) {
            for ((sum, a), b) in sums.iter_mut().zip(row).zip(made) {
                *sum += (a - b) * (a - b);
            }
        }
        scores.push(sums.iter().sum::<f32>() / (k * features) as f32);
    }
}

impl Case {
    /// Gives the path whose peak it is measured against.
    pub fn path(&self) -> Path {
        match self.implementation {
            Implementation::Kernel(path) => path,
            Implementation::Candle => Path::best(),
        }
    }

    /// Gives the kernel's case with the same scores, where this one is not the kernel's.
    pub fn counterpart(&self) -> Option<Case> {
        match self.implementation {
            Implementation::Kernel(_) => None,
            Implementation::Candle => Some(Case {
                implementation: Implementation::Kernel(Path::best()),
                ..*self
            }),
        }
    }

    /// Says which case it is.
    pub fn label(&self) -> Value {
        let spec = &self.spec;
        let decoder = match (spec.decoded_rows, spec.conditioned) {
            (0, _) => "none",
            (_, true) => "conditioned",
            (_, false) => "unconditioned",
        };
        let (implementation, path) = match self.implementation {
            Implementation::Kernel(path) => ("kernel", Some(path.name())),
            Implementation::Candle => ("candle", None),
        };
        let mut label = json!({
            "model": self.name.trim_end_matches("_conditioned"),
            "decoder": decoder,
            "implementation": implementation,
            "path": path,
        });
        let more = match self.work {
            Work::Windows { batch, k, gathered } => {
                json!({ "batch": batch, "k": k, "windows": if gathered { "gathered" } else { "series" } })
            }
            Work::Carried { instruments, queued, k } => {
                json!({ "context": "carried", "batch": instruments, "queued": queued, "k": k })
            }
        };
        if let (Some(label), Value::Object(more)) = (label.as_object_mut(), more) {
            label.extend(more);
        }
        label
    }

    /// Gives the windows or ticks that one run scores.
    pub fn items(&self) -> usize {
        match self.work {
            Work::Windows { batch, .. } => batch,
            Work::Carried {
                instruments, queued, ..
            } => instruments * queued,
        }
    }

    /// Gives what is counted per second.
    pub fn unit(&self) -> &'static str {
        match self.work {
            Work::Windows { .. } => "windows_per_sec",
            Work::Carried { .. } => "ticks_per_sec",
        }
    }

    /// Gives the operations of one run: two per multiply-add of weights.
    pub fn flops(&self) -> f64 {
        let spec = &self.spec;
        let step = |stack: &LstmSpec| -> usize {
            let layer = |layer| LstmSpec::GATES * stack.hidden_size * (stack.inputs_of(layer) + stack.hidden_size);
            (0..stack.layers).map(layer).sum()
        };
        let made = step(&spec.decoder()) + spec.hidden_size * spec.input_size;
        let judge = spec.judge.map_or(0, |judge| {
            let net = |inputs| inputs * judge.hidden[0] + judge.hidden[0] * judge.hidden[1] + judge.hidden[1];
            net(spec.judged_state() + spec.input_size) + if judge.row_net { net(spec.input_size) } else { 0 }
        });
        let one = match self.work {
            Work::Windows { k, .. } => spec.lookback * step(&spec.encoder()) + k * made,
            Work::Carried { k, .. } => step(&spec.encoder()) + k * made + judge,
        };
        2.0 * (one * self.items()) as f64
    }

    /// Packs the weights and gives what is to be timed: scores of one run.
    pub fn prepare(&self) -> Box<dyn FnMut() -> Vec<f32>> {
        let weights = Weights::seeded(self.spec, SEED);
        let inputs = inputs(&self.spec, self.work);
        match self.implementation {
            Implementation::Kernel(path) => self.prepare_kernel(Kernel::new(&weights, path), inputs),
            Implementation::Candle => {
                let network =
                    Network::with(&weights, &Device::Cpu, Recurrence::Reference).expect("weights in candle's tensors");
                self.prepare_candle(network, inputs)
            }
        }
    }

    fn prepare_kernel(&self, kernel: Kernel, inputs: Vec<Vec<f32>>) -> Box<dyn FnMut() -> Vec<f32>> {
        let features = self.spec.input_size;
        let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
        match self.work {
            Work::Windows { k, .. } => {
                let mut scores = Vec::new();
                Box::new(move || {
                    evidence.clear();
                    let windows = inputs.iter().map(|window| WindowRows {
                        before: &[],
                        newest: window,
                    });
                    kernel.score_windows(windows, k, &mut workspace, &mut evidence);
                    errors(&inputs, &evidence.reconstruction, k, features, &mut scores);
                    scores.clone()
                })
            }
            Work::Carried { k, .. } => {
                let mut states = vec![vec![0.0; kernel.spec().encoder().state_len()]; inputs.len()];
                Box::new(move || {
                    evidence.clear();
                    let items = states.iter_mut().zip(&inputs);
                    let mut items: Vec<CarriedRows<'_>> = items
                        .map(|(state, rows)| {
                            state.fill(0.0);
                            CarriedRows { state, rows }
                        })
                        .collect();
                    kernel.score_carried(&mut items, k, &mut workspace, &mut evidence);
                    match k {
                        0 => evidence.judge.clone(),
                        _ => evidence.reconstruction.clone(),
                    }
                })
            }
        }
    }

    /// The windows are one tensor before the time begins; windows are all that this runs.
    fn prepare_candle(&self, network: Network, inputs: Vec<Vec<f32>>) -> Box<dyn FnMut() -> Vec<f32>> {
        let (features, lookback) = (self.spec.input_size, self.spec.lookback);
        let shape = (inputs.len(), lookback, features);
        let windows = Tensor::from_vec(inputs.concat(), shape, &Device::Cpu).expect("windows of one length");
        let mut scores = Vec::new();
        let rebuild = move || -> candle_core::Result<Vec<f32>> {
            let rebuilt = network.rebuild(&windows, lookback)?;
            // (K, B, F) → (B, K, F).
            rebuilt.transpose(0, 1)?.contiguous()?.flatten_all()?.to_vec1()
        };
        Box::new(move || {
            let rebuilt = rebuild().expect("windows that fit the network");
            errors(&inputs, &rebuilt, lookback, features, &mut scores);
            scores.clone()
        })
    }
}

/// Writes what the peers are to run: `<model>.safetensors` with the weights, `inputs` `(N, T, F)` and `scores` `(N,)`.
pub fn dump(folder: &FilePath) {
    std::fs::create_dir_all(folder).expect("a folder to write to");
    let windows = |name, k| {
        (
            name,
            Work::Windows {
                batch: 1024,
                k,
                gathered: false,
            },
        )
    };
    let carried = |name| {
        let work = Work::Carried {
            instruments: 1024,
            queued: 64,
            k: 0,
        };
        (name, work)
    };
    for (name, work) in [
        windows("ref", 64),
        windows("large", 128),
        carried("judge"),
        carried("judge+ff"),
    ] {
        let spec = spec(name);
        let case = Case {
            name,
            spec,
            implementation: Implementation::Kernel(Path::best()),
            work,
        };
        let inputs = inputs(&spec, work);
        let length = inputs[0].len() / spec.input_size;
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = vec![
            (
                "inputs".into(),
                vec![inputs.len(), length, spec.input_size],
                inputs.concat(),
            ),
            ("scores".into(), vec![case.items()], case.prepare()()),
        ];
        let weights = Weights::seeded(spec, SEED);
        for (name, shape) in spec.parameters() {
            let numbers = weights.numbers(&name).to_vec();
            tensors.push((name, shape, numbers));
        }
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, numbers)| numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor of its shape");
            (name.as_str(), view)
        });
        let spec = serde_json::to_string(&spec).expect("a spec as JSON");
        let metadata = HashMap::from([("spec".to_string(), spec)]);
        let file = folder.join(format!("{name}.safetensors"));
        serialize_to_file(views, Some(metadata), &file).expect("a file that can be written");
    }
}
