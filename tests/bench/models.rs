//! The models that are timed, and rows to time them on.

use tapewatch::model::spec::{ContextKind, JudgeSpec, ModelSpec};

/// Seed of all weights.
pub const SEED: u64 = 20_240_101;
/// Gives the models by name.
pub fn spec(name: &str) -> ModelSpec {
    let judge = |row_net| ModelSpec {
        context: ContextKind::Carried,
        judge: Some(JudgeSpec {
            hidden: [64, 32],
            row_net,
        }),
        ..ModelSpec::autoencoder(67, 32, 1, 64, 0)
    };
    let reference = ModelSpec::autoencoder(6, 32, 1, 64, 64);
    let large = ModelSpec::autoencoder(8, 64, 2, 128, 128);
    let conditioned = |spec| ModelSpec {
        conditioned: true,
        ..spec
    };
    match name {
        "ref" => reference,
        "ref_conditioned" => conditioned(reference),
        "large" => large,
        "large_conditioned" => conditioned(large),
        "judge" => judge(false),
        "judge+ff" => judge(true),
        "carried" => ModelSpec {
            context: ContextKind::Carried,
            decoded_rows: 8,
            ..reference
        },
        unknown => panic!("no model {unknown}"),
    }
}

/// Numbers that wander within about ±2.5, the same everywhere.
pub fn series(rows: usize, features: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut levels = vec![0.0_f32; features];
    let mut numbers = Vec::with_capacity(rows * features);
    for _ in 0..rows {
        for level in &mut levels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *level = 0.9 * *level + (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            numbers.push(*level);
        }
    }
    numbers
}
