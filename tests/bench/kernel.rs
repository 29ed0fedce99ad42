//! How fast the kernel scores, against this core's own peak and against candle: `cargo bench --bench kernel [-- OPTION…]`.
//!
//! Prints one JSON object per case. `gflops` counts two operations per multiply-add of W_ih, W_hh and heads as the model
//! defines them, and no activations; `peak_share` divides by what the same core does in fused multiply-adds alone, measured
//! beside every case; `hash` is the xxh3-64 of the scores' little-endian bytes, equal on every path. Each figure is the
//! best of several rounds, which is what the program costs when nothing else has the core.
//!
//! Cases with `"implementation":"candle"` score the same windows with the reference network on candle's own operations, as
//! one thread unless `RAYON_NUM_THREADS` says otherwise, to within 1e-4 of the kernel's scores; their `path` is null, and
//! their `peak_share` is that of the best path.
//!
//! `--only WORD[,WORD…]`: cases whose JSON holds every word. `--rounds N`, `--millis N`: rounds and their length.
//! `--dump DIR`: write weights, inputs and scores of the cases that `tests/bench/peers.py` compares, as safetensors.

#![expect(clippy::expect_used, reason = "a bench that cannot go on says why and ends")]

mod cases;
mod models;
mod timing;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use cases::{Case, all};
use tapewatch::model::kernel::simd::Path;
use timing::{Timing, peak_gflops};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many threads candle takes; it reads this once.
const THREADS: &str = "RAYON_NUM_THREADS";
/// Float sums in another order differ by about 1e-6; a wrong gate or row by far more than this.
const DISAGREEMENT_MAX: f32 = 1e-4;

fn main() {
    if std::env::var_os(THREADS).is_none() {
        let itself = std::env::current_exe().expect("the path of this bench");
        let error = Command::new(itself)
            .args(std::env::args_os().skip(1))
            .env(THREADS, "1")
            .exec();
        panic!("cannot start with {THREADS}=1: {error}");
    }
    let mut only = Vec::new();
    let mut timing = Timing::default();
    let mut dump: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value behind the option");
        match argument.as_str() {
            "--only" => only = value().split(',').map(str::to_owned).collect(),
            "--rounds" => timing.rounds = value().parse().expect("a number of rounds"),
            "--millis" => timing.millis = value().parse().expect("milliseconds"),
            "--dump" => dump = Some(value().into()),
            // What cargo itself hands to a bench.
            "--bench" => {}
            unknown => panic!("unknown option {unknown}"),
        }
    }
    if let Some(folder) = dump {
        return cases::dump(&folder);
    }
    let cases = all().into_iter().filter(|case| {
        let text = case.label().to_string();
        only.iter().all(|word| text.contains(word.as_str()))
    });
    for case in cases {
        println!("{}", measured(&case, &timing));
    }
}

/// Times a case and gives its line.
fn measured(case: &Case, timing: &Timing) -> serde_json::Value {
    let mut line = case.label();
    let mut run = case.prepare();
    let scores = run();
    if let Some(counterpart) = case.counterpart() {
        for (found, expected) in scores.iter().zip(counterpart.prepare()()) {
            assert!(
                (found - expected).abs() <= DISAGREEMENT_MAX,
                "{line}: {found}, the kernel {expected}"
            );
        }
    }
    let hash = xxhash_rust::xxh3::xxh3_64(&scores.iter().flat_map(|score| score.to_le_bytes()).collect::<Vec<u8>>());
    let peak = peak_gflops(case.path());
    let seconds = timing.best(&mut || {
        std::hint::black_box(run());
    });
    let peak = peak.max(peak_gflops(case.path()));
    let gflops = case.flops() / seconds / 1e9;
    let fields = line.as_object_mut().expect("an object");
    fields.insert(case.unit().into(), rounded(case.items() as f64 / seconds, 1.0).into());
    fields.insert("gflops".into(), rounded(gflops, 100.0).into());
    let share = (case.path() != Path::Portable).then(|| rounded(gflops / peak, 1000.0));
    fields.insert("peak_share".into(), share.into());
    fields.insert("hash".into(), format!("{hash:016x}").into());
    line
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
