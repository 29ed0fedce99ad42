//! Vectors: one interface over AVX-512, AVX2 with FMA, and plain Rust, and the one loop that all sums go through.
//!
//! Promises the same bits on every path: each operation rounds once, as IEEE 754 says, and [`accumulate`] adds the
//! products of an output element one after the other, in the order of k, whatever stands beside it. This is the one file
//! with `unsafe` in it. Knows nothing of LSTMs.

#![expect(
    unsafe_code,
    reason = "intrinsics, and pointers in the innermost loop; each block says why it is sound"
)]

use std::fmt;
use std::str::FromStr;

use super::pow2::{POW2_STEPS, POW2_TABLE};

/// Vectors of one instruction set. A value of an implementing type is the proof that the processor has it.
pub trait Simd: Copy {
    /// A vector of [`Simd::LANES`] numbers.
    type V: Copy;
    /// Numbers per vector.
    const LANES: usize;
    /// Rows whose sums, four vectors each, fit the registers.
    const ROWS: usize;
    /// Rows whose sums fit beside other work (see [`accumulate_eight`]); 0: none do.
    const ROWS_BESIDE: usize;

    /// Gives a vector of equal numbers.
    fn splat(self, x: f32) -> Self::V;
    /// Reads the first numbers of a slice.
    ///
    /// # Panics
    /// When the slice is shorter than a vector.
    fn load(self, from: &[f32]) -> Self::V;
    /// Writes to the first numbers of a slice.
    ///
    /// # Panics
    /// When the slice is shorter than a vector.
    fn store(self, v: Self::V, to: &mut [f32]);
    /// Gives a·b + c, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Gives a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// Gives a − b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// Gives a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// Gives a / b.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// Gives the larger of a and b (no NaN).
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Clamps x to ±limit (limit > 0, no NaN).
    fn clamp(self, x: Self::V, limit: Self::V) -> Self::V;
    /// Gives 2^(t/16) for the whole number t in the lowest bits of a float near 1.5 · 2^19, whose last place is 1/16.
    fn pow2_sixteenths(self, t: Self::V) -> Self::V;

    /// Reads a vector without looking at a length.
    ///
    /// # Safety
    /// [`Simd::LANES`] numbers must be readable at `from`.
    unsafe fn load_at(self, from: *const f32) -> Self::V;
}

/// The vector operand of [`accumulate`]: at k, the vectors that begin at k · `step`.
#[derive(Clone, Copy)]
pub struct Vectors<'a> {
    /// Numbers.
    pub data: &'a [f32],
    /// From one k to the next.
    pub step: usize,
}

/// The scalar operand of [`accumulate`]: at row w and k, the number at w · `row` + k · `step`.
#[derive(Clone, Copy)]
pub struct Scalars<'a> {
    /// Numbers.
    pub data: &'a [f32],
    /// From one row to the next.
    pub row: usize,
    /// From one k to the next.
    pub step: usize,
}

/// Adds to `sums[w][n]`, for k in 0..depth and in this order, vector n at k times scalar (w, k).
///
/// # Panics
/// When an operand is too short.
#[inline(always)]
pub fn accumulate<S: Simd, const W: usize, const N: usize>(
    simd: S,
    sums: &mut [[S::V; N]; W],
    vectors: Vectors<'_>,
    scalars: Scalars<'_>,
    depth: usize,
) {
    if depth == 0 {
        return;
    }
    assert!(vectors.data.len() >= (depth - 1) * vectors.step + N * S::LANES);
    assert!(scalars.data.len() > (W - 1) * scalars.row + (depth - 1) * scalars.step);
    let (mut vector, mut scalar) = (vectors.data.as_ptr(), scalars.data.as_ptr());
    for _ in 0..depth {
        // SAFETY: k < depth, n < N and w < W, so both operands are read below the ends that the asserts have checked;
        // the pointers themselves move on at most one step past the last k, by `wrapping_add`, and are not read there.
        unsafe {
            add_products(simd, sums, vector, scalar, scalars.row);
        }
        vector = vector.wrapping_add(vectors.step);
        scalar = scalar.wrapping_add(scalars.step);
    }
}

/// What is computed between the products of [`accumulate_eight`].
pub trait Between<S: Simd> {
    /// Computes part `K` (0–7), right after the products of the K-th k.
    fn part<const K: usize>(&mut self, simd: S);
}

/// Adds eight products to each sum as [`accumulate`] does, and interleaves the products with unrelated work. Eight products
/// per piece of work is enough to hide its latency, so that out-of-order execution keeps both busy.
///
/// # Panics
/// When an operand is too short.
#[inline(always)]
pub fn accumulate_eight<S: Simd, const W: usize, const N: usize>(
    simd: S,
    sums: &mut [[S::V; N]; W],
    vectors: Vectors<'_>,
    scalars: Scalars<'_>,
    between: &mut impl Between<S>,
) {
    const DEPTH: usize = 8;
    assert!(vectors.data.len() >= (DEPTH - 1) * vectors.step + N * S::LANES);
    assert!(scalars.data.len() > (W - 1) * scalars.row + (DEPTH - 1) * scalars.step);
    let (vector, scalar) = (vectors.data.as_ptr(), scalars.data.as_ptr());
    macro_rules! parts {
        ($($k:literal)+) => {$(
            // SAFETY: k < 8, n < N and w < W, so both operands are read below the ends that the asserts have checked.
            unsafe {
                add_products(simd, sums, vector.add($k * vectors.step), scalar.add($k * scalars.step), scalars.row);
            }
            between.part::<$k>(simd);
        )+};
    }
    parts!(0 1 2 3 4 5 6 7);
}

/// Adds to `sums[w][n]` vector n times scalar w.
///
/// # Safety
/// N vectors must be readable at `vector`, and W numbers, `row` apart, at `scalar`.
#[expect(
    clippy::needless_range_loop,
    reason = "rows and vectors by number, as the registers hold them"
)]
#[inline(always)]
unsafe fn add_products<S: Simd, const W: usize, const N: usize>(
    simd: S,
    sums: &mut [[S::V; N]; W],
    vector: *const f32,
    scalar: *const f32,
    row: usize,
) {
    let mut xs = [simd.splat(0.0); W];
    for (w, x) in xs.iter_mut().enumerate() {
        // SAFETY: the caller promises W numbers, `row` apart.
        *x = simd.splat(unsafe { *scalar.add(w * row) });
    }
    for n in 0..N {
        // SAFETY: the caller promises N vectors.
        let v = unsafe { simd.load_at(vector.add(n * S::LANES)) };
        for w in 0..W {
            sums[w][n] = simd.mul_add(v, xs[w], sums[w][n]);
        }
    }
}

/// Something to compute with vectors of any kind.
pub trait Task {
    /// Computes it. Implementations are `#[inline(always)]`, so that they are compiled for the instruction set.
    fn run<S: Simd>(self, simd: S);
}

/// The instruction sets that the kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// AVX-512 F and DQ: 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA: 8 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust: 8 lanes; slow where the compiler's target has no fused multiply-add.
    Portable,
}

impl Path {
    /// All paths, best first.
    const ALL: &'static [Path] = &[
        #[cfg(target_arch = "x86_64")]
        Path::Avx512,
        #[cfg(target_arch = "x86_64")]
        Path::Avx2,
        Path::Portable,
    ];

    /// Lists what this processor can run, best first.
    pub fn available() -> impl Iterator<Item = Path> {
        Self::ALL.iter().copied().filter(|path| path.is_available())
    }

    /// Gives the best path of this processor.
    pub fn best() -> Path {
        Self::available().next().unwrap_or(Path::Portable)
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Path::Portable => true,
        }
    }

    /// Gives the numbers per vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => x86::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => x86::Avx2::LANES,
            Path::Portable => Portable::LANES,
        }
    }

    /// Gives the name used in benches and logs.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => "avx2",
            Path::Portable => "portable",
        }
    }

    /// Computes a task with this path's vectors.
    ///
    /// # Panics
    /// When the processor lacks them.
    #[inline]
    pub fn run<T: Task>(self, task: T) {
        assert!(self.is_available(), "this processor cannot run {self}");
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the assertion above has asked the processor for all that the function is compiled for.
            Path::Avx512 => unsafe { x86::run_avx512(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Path::Avx2 => unsafe { x86::run_avx2(task) },
            Path::Portable => task.run(Portable),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = |path: &&Path| path.name() == text;
        Self::ALL.iter().find(known).copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|path| path.name()).collect();
            format!("expected one of {}, found {text}", names.join(", "))
        })
    }
}

/// Plain Rust.
#[derive(Clone, Copy)]
struct Portable;

/// Lanes of [`Portable`]: a register of AVX2, or two of NEON.
const PORTABLE_LANES: usize = 8;

#[inline(always)]
fn map(
    a: [f32; PORTABLE_LANES],
    b: [f32; PORTABLE_LANES],
    operation: impl Fn(f32, f32) -> f32,
) -> [f32; PORTABLE_LANES] {
    std::array::from_fn(|lane| operation(a[lane], b[lane]))
}

impl Simd for Portable {
    type V = [f32; PORTABLE_LANES];
    const LANES: usize = PORTABLE_LANES;
    const ROWS: usize = 2;
    const ROWS_BESIDE: usize = 0;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; PORTABLE_LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::V {
        let mut v = [0.0; PORTABLE_LANES];
        v.copy_from_slice(&from[..PORTABLE_LANES]);
        v
    }
    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [f32]) {
        to[..PORTABLE_LANES].copy_from_slice(&v);
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        map(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        map(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        map(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        map(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        map(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn clamp(self, x: Self::V, limit: Self::V) -> Self::V {
        map(x, limit, |x, limit| x.clamp(-limit, limit))
    }
    #[inline(always)]
    fn pow2_sixteenths(self, t: Self::V) -> Self::V {
        t.map(|t| {
            let bits = t.to_bits();
            let entry = POW2_TABLE[bits as usize % POW2_STEPS];
            f32::from_bits(entry.wrapping_add(bits << 19))
        })
    }
    #[inline(always)]
    unsafe fn load_at(self, from: *const f32) -> Self::V {
        // SAFETY: the caller promises that so many numbers are readable; an array asks for no more alignment than they.
        unsafe { from.cast::<Self::V>().read() }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{POW2_TABLE, Simd, Task};

    /// Proof of AVX-512 F and DQ.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    /// Proof of AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
    pub fn run_avx512<T: Task>(task: T) {
        task.run(Avx512(()));
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn run_avx2<T: Task>(task: T) {
        task.run(Avx2(()));
    }

    // In both implementations, every block of intrinsics is sound since a value of the type is only made in the functions
    // above, which are compiled for, and called on, a processor that has the instructions.
    macro_rules! operations {
        (
            splat = $splat:ident; load = $load:ident; store = $store:ident;
            $($name:ident($($argument:ident),+) = $intrinsic:ident;)+
        ) => {
            #[inline(always)]
            fn splat(self, x: f32) -> Self::V {
                // SAFETY: `self` proves the instruction set.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            fn load(self, from: &[f32]) -> Self::V {
                let from = &from[..Self::LANES];
                // SAFETY: the slice has as many numbers as are read, and `self` proves the instruction set.
                unsafe { $load(from.as_ptr()) }
            }
            #[inline(always)]
            fn store(self, v: Self::V, to: &mut [f32]) {
                let to = &mut to[..Self::LANES];
                // SAFETY: the slice has as many places as are written, and `self` proves the instruction set.
                unsafe { $store(to.as_mut_ptr(), v) }
            }
            #[inline(always)]
            unsafe fn load_at(self, from: *const f32) -> Self::V {
                // SAFETY: the caller promises the numbers, `self` proves the instruction set.
                unsafe { $load(from) }
            }
            $(
                #[inline(always)]
                fn $name(self, $($argument: Self::V),+) -> Self::V {
                    // SAFETY: `self` proves the instruction set.
                    unsafe { $intrinsic($($argument),+) }
                }
            )+
        };
    }

    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;
        // 24 sums, four weights and one scalar fill 29 of 32 registers.
        const ROWS: usize = 6;
        // 16 sums leave half of the registers.
        const ROWS_BESIDE: usize = 4;

        operations! {
            splat = _mm512_set1_ps; load = _mm512_loadu_ps; store = _mm512_storeu_ps;
            mul_add(a, b, c) = _mm512_fmadd_ps;
            add(a, b) = _mm512_add_ps;
            sub(a, b) = _mm512_sub_ps;
            mul(a, b) = _mm512_mul_ps;
            div(a, b) = _mm512_div_ps;
            max(a, b) = _mm512_max_ps;
        }
        #[inline(always)]
        fn clamp(self, x: __m512, limit: __m512) -> __m512 {
            // The smaller magnitude with the sign of x.
            // SAFETY: `self` proves the instruction set.
            unsafe { _mm512_range_ps::<0b0010>(x, limit) }
        }
        #[inline(always)]
        fn pow2_sixteenths(self, t: __m512) -> __m512 {
            // SAFETY: the table has 16 entries of 32 bits, and `self` proves the instruction set.
            unsafe {
                let bits = _mm512_castps_si512(t);
                let table = _mm512_loadu_si512(POW2_TABLE.as_ptr().cast());
                let entry = _mm512_permutexvar_epi32(bits, table);
                _mm512_castsi512_ps(_mm512_add_epi32(entry, _mm512_slli_epi32::<19>(bits)))
            }
        }
    }

    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        // 12 sums, three scalars and one weight fill all 16 registers.
        const ROWS: usize = 3;
        const ROWS_BESIDE: usize = 0;

        operations! {
            splat = _mm256_set1_ps; load = _mm256_loadu_ps; store = _mm256_storeu_ps;
            mul_add(a, b, c) = _mm256_fmadd_ps;
            add(a, b) = _mm256_add_ps;
            sub(a, b) = _mm256_sub_ps;
            mul(a, b) = _mm256_mul_ps;
            div(a, b) = _mm256_div_ps;
            max(a, b) = _mm256_max_ps;
        }
        #[inline(always)]
        fn clamp(self, x: __m256, limit: __m256) -> __m256 {
            // SAFETY: `self` proves the instruction set.
            unsafe {
                let lowest = _mm256_xor_ps(limit, _mm256_set1_ps(-0.0));
                _mm256_min_ps(_mm256_max_ps(x, lowest), limit)
            }
        }
        #[inline(always)]
        fn pow2_sixteenths(self, t: __m256) -> __m256 {
            // SAFETY: the table has 16 entries of 32 bits, and `self` proves the instruction set.
            unsafe {
                let bits = _mm256_castps_si256(t);
                let low = _mm256_loadu_si256(POW2_TABLE.as_ptr().cast());
                let high = _mm256_loadu_si256(POW2_TABLE[Self::LANES..].as_ptr().cast());
                // The lowest three bits choose within a half; the fourth, moved to the sign, chooses the half.
                let low = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(low, bits));
                let high = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(high, bits));
                let which = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(bits));
                let entry = _mm256_castps_si256(_mm256_blendv_ps(low, high, which));
                _mm256_castsi256_ps(_mm256_add_epi32(entry, _mm256_slli_epi32::<19>(bits)))
            }
        }
    }
}
