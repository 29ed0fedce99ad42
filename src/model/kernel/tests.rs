//! Laws of the kernel: a row's evidence is the same bits whatever stands beside it, on every path.

use proptest::prelude::*;

use super::engine::Kernel;
use super::input::{CarriedRows, WindowRows};
use super::simd::Path;
use crate::model::golden;
use crate::model::spec::{ContextKind, JudgeSpec, ModelSpec};
use crate::model::weights::Weights;
use crate::pipeline::score::{Evidence, Workspace};

fn bits(evidence: &Evidence) -> [Vec<u32>; 3] {
    [&evidence.reconstruction, &evidence.forecast, &evidence.judge]
        .map(|numbers| numbers.iter().map(|number| number.to_bits()).collect())
}

fn rows(count: usize, features: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 400.0 - 2.5;
    (0..count * features).map(number).collect()
}

fn spec() -> impl Strategy<Value = ModelSpec> {
    let sizes = (1..9_usize, 1..40_usize, 1..4_usize, 2..7_usize);
    let parts = (any::<bool>(), any::<bool>(), any::<bool>(), 0..3_usize, any::<bool>());
    (sizes, parts, 0..3_usize).prop_map(
        |((features, hidden, layers, lookback), (bias, both, conditioned, horizon, judge), bottleneck)| ModelSpec {
            bias,
            bidirectional: both,
            conditioned,
            horizon,
            bottleneck: 5 * bottleneck,
            judge: judge.then_some(JudgeSpec {
                hidden: [19, 7],
                row_net: bias,
            }),
            ..ModelSpec::autoencoder(features, hidden, layers, lookback, 2)
        },
    )
}

/// Scores windows, each given as its rows.
fn windows(kernel: &Kernel, windows: &[Vec<f32>], rebuilt: usize, split: usize) -> Evidence {
    let features = kernel.spec().input_size;
    let parts = windows.iter().map(|window| {
        let (before, newest) = window.split_at((kernel.spec().lookback - split) * features);
        WindowRows { before, newest }
    });
    let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
    kernel.score_windows(parts, rebuilt, &mut workspace, &mut evidence);
    evidence
}

/// Scores queues of rows from states of zero; gives the states too.
fn carried(kernel: &Kernel, queues: &[Vec<f32>], cut: usize) -> (Evidence, Vec<Vec<f32>>) {
    let features = kernel.spec().input_size;
    let mut states = vec![vec![0.0; kernel.spec().encoder().state_len()]; queues.len()];
    let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
    let longest = queues.iter().map(Vec::len).max().unwrap_or(0) / features;
    for from in (0..longest).step_by(cut) {
        let part = |queue: &'_ Vec<f32>| {
            let bound = |rows: usize| (rows * features).min(queue.len());
            bound(from)..bound(from + cut)
        };
        let items = states.iter_mut().zip(queues);
        let mut items: Vec<CarriedRows<'_>> = items
            .map(|(state, queue)| CarriedRows {
                state,
                rows: &queue[part(queue)],
            })
            .collect();
        kernel.score_carried(&mut items, 2, &mut workspace, &mut evidence);
    }
    (evidence, states)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn window_evidence_is_the_same_bits_alone_in_any_batch_and_on_every_path(
        spec in spec(), count in 1..60_usize, seed in 0..1000_u64,
    ) {
        let weights = Weights::seeded(spec, seed);
        let inputs: Vec<Vec<f32>> = (0..count).map(|w| rows(spec.lookback, spec.input_size, w)).collect();
        let best = Kernel::new(&weights, Path::best());
        let together = windows(&best, &inputs, 2, 1);
        for path in Path::available() {
            let found = windows(&Kernel::new(&weights, path), &inputs, 2, spec.lookback);
            prop_assert_eq!(bits(&together), bits(&found), "{}", path);
        }
        let mut alone = Evidence::default();
        for window in &inputs {
            let one = windows(&best, std::slice::from_ref(window), 2, 1);
            alone.reconstruction.extend(one.reconstruction);
            alone.forecast.extend(one.forecast);
            alone.judge.extend(one.judge);
        }
        prop_assert_eq!(bits(&together), bits(&alone));
        let mut reversed: Vec<f32> = Vec::new();
        let turned: Vec<Vec<f32>> = inputs.iter().rev().cloned().collect();
        for one in windows(&best, &turned, 2, 1).reconstruction.chunks(2 * spec.input_size).rev() {
            reversed.extend(one);
        }
        prop_assert_eq!(&together.reconstruction, &reversed);
    }

    #[test]
    fn carried_evidence_is_the_same_bits_however_queues_are_cut_and_on_every_path(
        spec in spec(), lengths in proptest::collection::vec(0..9_usize, 1..60), cut in 1..9_usize,
    ) {
        let spec = ModelSpec { bidirectional: false, context: ContextKind::Carried, ..spec };
        let weights = Weights::seeded(spec, 3);
        let queue = |(index, rows_queued): (usize, &usize)| rows(*rows_queued, spec.input_size, index);
        let queues: Vec<Vec<f32>> = lengths.iter().enumerate().map(queue).collect();
        let best = Kernel::new(&weights, Path::best());
        let (evidence, states) = carried(&best, &queues, 9);
        for path in Path::available() {
            let (found, _) = carried(&Kernel::new(&weights, path), &queues, 9);
            prop_assert_eq!(bits(&evidence), bits(&found), "{}", path);
        }
        // Cut differently: the same states in the end, and the same numbers in another order.
        let (found, found_states) = carried(&best, &queues, cut);
        prop_assert_eq!(&states, &found_states);
        let sorted = |mut numbers: Vec<f32>| { numbers.sort_by(f32::total_cmp); numbers };
        prop_assert_eq!(sorted(evidence.judge.clone()), sorted(found.judge));
        prop_assert_eq!(sorted(evidence.reconstruction.clone()), sorted(found.reconstruction));
        // One queue alone.
        let last = queues.len() - 1;
        let (alone, alone_states) = carried(&best, &queues[last..], 1);
        prop_assert_eq!(&states[last..], &alone_states[..]);
        prop_assert!(evidence.reconstruction.ends_with(&alone.reconstruction));
        prop_assert!(evidence.forecast.ends_with(&alone.forecast));
    }
}

#[test]
fn carried_state_and_window_agree_where_both_begin_at_zero() {
    let spec = ModelSpec {
        horizon: 1,
        ..ModelSpec::autoencoder(5, 19, 2, 6, 3)
    };
    let kernel = Kernel::new(&Weights::seeded(spec, 1), Path::best());
    let window = rows(6, 5, 1);
    let by_window = windows(&kernel, std::slice::from_ref(&window), 2, 1);
    let (by_state, _) = carried(&kernel, &[window], 6);
    assert_eq!(by_window.reconstruction, by_state.reconstruction[5 * 2 * 5..]);
    assert_eq!(by_window.forecast, by_state.forecast[5 * 5..]);
}

#[test]
fn extreme_rows_give_finite_evidence() {
    let spec = ModelSpec::autoencoder(4, 16, 2, 3, 3);
    let kernel = Kernel::new(&Weights::seeded(spec, 1), Path::best());
    for extreme in [1e30, -1e30, 88.0, -88.0, f32::MIN_POSITIVE] {
        let evidence = windows(&kernel, &[vec![extreme; 12]], 3, 1);
        assert!(
            evidence.reconstruction.iter().all(|number| number.is_finite()),
            "{extreme}"
        );
    }
}

#[test]
fn every_model_gives_what_pytorch_gives_on_every_path() {
    let mut compared = 0;
    for (case, path) in golden::models()
        .into_iter()
        .flat_map(|case| Path::available().map(move |path| (case.clone(), path)))
    {
        let spec = case.spec;
        let (rows, features) = (spec.lookback, spec.input_size);
        let inputs: Vec<Vec<f32>> = case
            .numbers("in.windows")
            .unwrap()
            .chunks(rows * features)
            .map(Vec::from)
            .collect();
        let count = inputs.len();
        let found = windows(&Kernel::new(&case.weights(), path), &inputs, spec.decoded_rows, 1);
        // The forecast of a row is made before it: that of a row after the window is found by a window one row longer.
        let longer = Weights {
            spec: ModelSpec {
                lookback: rows + 1,
                ..spec
            },
            ..case.weights()
        };
        let with_next: Vec<Vec<f32>> = inputs
            .iter()
            .map(|rows| [&rows[..], &vec![0.0; features]].concat())
            .collect();
        let forecast = windows(&Kernel::new(&longer, path), &with_next, 1, 1).forecast;
        // PyTorch's are (K, B, F), ours (B, K, F).
        let turned = |name: &str, rows: usize| {
            let numbers = case.numbers(name)?;
            let row = |b: usize, k: usize| numbers[(k * count + b) * features..][..features].to_vec();
            Some(
                (0..count)
                    .flat_map(|b| (0..rows).flat_map(move |k| row(b, k)))
                    .collect::<Vec<f32>>(),
            )
        };
        let pairs = [
            (found.reconstruction, turned("out.rebuilt", spec.decoded_rows)),
            (forecast, turned("out.forecast", 1)),
            (found.judge, case.numbers("out.judge").map(Vec::from)),
        ];
        for (found, expected) in pairs
            .into_iter()
            .filter_map(|(found, expected)| Some((found, expected?)))
        {
            assert_eq!(found.len(), expected.len(), "{}", case.name);
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= golden::TOLERANCE, "{} on {path}: {a} {b}", case.name);
            }
            compared += 1;
        }
    }
    assert!(compared >= 8, "{compared}");
}
