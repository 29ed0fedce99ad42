//! The table of 2^(j/16) that the exponentials of every path look up.

/// Steps from one power of two to the next.
pub const POW2_STEPS: usize = 16;

/// 2^(j/16) as bits, less j·2^19: adding `t << 19` for a number t = 16·n + j gives the bits of 2^(t/16).
pub const POW2_TABLE: [u32; POW2_STEPS] = {
    // 2^(j/16) rounded to f32.
    let powers: [f32; POW2_STEPS] = [
        1.0,
        1.044_273_8,
        1.090_507_7,
        1.138_788_6,
        1.189_207_1,
        1.241_857_8,
        1.296_839_6,
        1.354_255_5,
        std::f32::consts::SQRT_2,
        1.476_826_2,
        1.542_210_8,
        1.610_490_3,
        1.681_792_9,
        1.756_252_2,
        1.834_008_1,
        1.915_206_6,
    ];
    let mut table = [0; POW2_STEPS];
    let mut j = 0;
    while j < POW2_STEPS {
        table[j] = powers[j].to_bits().wrapping_sub((j as u32) << 19);
        j += 1;
    }
    table
};
