//! Timing: the best of several rounds, and what the core's fused multiply-add units do at most.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tapewatch::model::kernel::simd::{Path, Simd, Task};

/// How long is measured.
pub struct Timing {
    /// Rounds, of which the best counts.
    pub rounds: u32,
    /// Least length of a round (milliseconds).
    pub millis: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { rounds: 7, millis: 30 }
    }
}

impl Timing {
    /// Gives the seconds that one call takes in the best round.
    pub fn best(&self, run: &mut dyn FnMut()) -> f64 {
        let started = Instant::now();
        run();
        let once = started.elapsed().max(Duration::from_nanos(1));
        let calls = (Duration::from_millis(self.millis).as_nanos() / once.as_nanos()).clamp(1, 1_000_000) as u32;
        let round = || {
            let started = Instant::now();
            (0..calls).for_each(|_| run());
            started.elapsed().as_secs_f64() / f64::from(calls)
        };
        std::iter::repeat_with(round)
            .take(self.rounds as usize)
            .fold(f64::MAX, f64::min)
    }
}

/// Fused multiply-adds on registers alone: more chains than two units of four cycles' latency need.
struct Chains<'a> {
    steps: u32,
    gflops: &'a mut f64,
}

const CHAINS: usize = 12;

impl Task for Chains<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let factor = black_box(simd.splat(0.5));
        let mut sums = [black_box(simd.splat(1.0)); CHAINS];
        let started = Instant::now();
        for _ in 0..self.steps {
            for sum in &mut sums {
                *sum = simd.mul_add(*sum, factor, factor);
            }
        }
        black_box(sums);
        let operations = 2.0 * f64::from(self.steps) * (CHAINS * S::LANES) as f64;
        *self.gflops = operations / started.elapsed().as_secs_f64() / 1e9;
    }
}

/// Measures the peak of a path (GFLOP/s).
pub fn peak_gflops(path: Path) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let mut gflops = 0.0;
        path.run(Chains {
            steps: if path == Path::Portable { 1000 } else { 300_000 },
            gflops: &mut gflops,
        });
        best = best.max(gflops);
    }
    best
}
