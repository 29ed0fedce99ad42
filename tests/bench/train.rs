//! How fast weights are fitted: `cargo bench --bench train [-- --only WORD,… --batches N --rounds N]`.
//!
//! Prints one JSON object per model and implementation (`kernel`: layers with the fused gradient; `candle`: the reference
//! on candle's ops): seconds per epoch of 20,000 windows at batch 256, from the mean of a few batches in the best of
//! several rounds. A batch is what `fit` does: forward, mean squared error of all rows, gradient, AdamW.

#![expect(clippy::expect_used, reason = "a bench that cannot go on says why and ends")]

mod models;

use std::time::Instant;

use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use models::{SEED, series, spec};
use serde_json::json;
use tapewatch::model::lstm::Recurrence;
use tapewatch::model::network::{Lesson, Network};
use tapewatch::model::objective::{PART_WINDOWS, descend, loss};
use tapewatch::model::spec::ModelSpec;
use tapewatch::model::weights::Weights;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 256;
const WINDOWS: usize = 20_000;

fn main() -> candle_core::Result<()> {
    let (mut only, mut batches, mut rounds) = (Vec::new(), 0, 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value behind the option");
        match argument.as_str() {
            "--only" => only = value().split(',').map(str::to_owned).collect(),
            "--batches" => batches = value().parse().expect("a number of batches"),
            "--rounds" => rounds = value().parse().expect("a number of rounds"),
            "--bench" => {}
            unknown => panic!("unknown option {unknown}"),
        }
    }
    for name in ["ref", "ref_conditioned", "large", "large_conditioned"] {
        for (implementation, recurrence) in [("kernel", Recurrence::Fused), ("candle", Recurrence::Reference)] {
            let spec = spec(name);
            let mut line = json!({
                "model": name.trim_end_matches("_conditioned"),
                "decoder": if spec.conditioned { "conditioned" } else { "unconditioned" },
                "implementation": implementation,
                "batch": BATCH,
                "windows": WINDOWS,
            });
            if !only.iter().all(|word| line.to_string().contains(word.as_str())) {
                continue;
            }
            // The reference is slow: fewer batches tell as much.
            let batches = match (batches, implementation) {
                (0, "kernel") => 8,
                (0, _) => 2,
                (chosen, _) => chosen,
            };
            let seconds = seconds_per_batch(&spec, recurrence, batches, rounds)?;
            let epoch = seconds * WINDOWS as f64 / BATCH as f64;
            line["seconds_per_epoch"] = ((epoch * 1000.0).round() / 1000.0).into();
            println!("{line}");
        }
    }
    Ok(())
}

/// Gives the mean of a batch's seconds in the best round.
fn seconds_per_batch(
    spec: &ModelSpec,
    recurrence: Recurrence,
    batches: usize,
    rounds: usize,
) -> candle_core::Result<f64> {
    let network = Network::with(&Weights::seeded(*spec, SEED), &Device::Cpu, recurrence)?;
    let parameters = ParamsAdamW {
        lr: 1e-3,
        weight_decay: 1e-4,
        ..ParamsAdamW::default()
    };
    let mut optimiser = AdamW::new(network.variables(), parameters)?;
    let inputs: Vec<f32> = (0..BATCH)
        .flat_map(|w| series(spec.lookback, spec.input_size, w as u32))
        .collect();
    let windows = Tensor::from_vec(inputs, (BATCH, spec.lookback, spec.input_size), &Device::Cpu)?;
    let mut best = f64::MAX;
    for round in 0..=rounds {
        let started = Instant::now();
        // The first round warms up.
        let batches = if round == 0 { 1 } else { batches };
        for _ in 0..batches {
            let part = |index: usize| {
                let windows = windows.narrow(0, index * PART_WINDOWS, PART_WINDOWS)?;
                let lesson = Lesson {
                    windows: &windows,
                    next: None,
                    state: None,
                };
                let (loss, _) = loss(&network, &lesson, None)?;
                Ok((loss, PART_WINDOWS as f64 / BATCH as f64))
            };
            descend(&network, &mut optimiser, (0..BATCH / PART_WINDOWS).map(part))?;
        }
        if round > 0 {
            best = best.min(started.elapsed().as_secs_f64() / batches as f64);
        }
    }
    Ok(best)
}
