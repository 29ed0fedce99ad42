//! Products of matrices as they lie in memory, for training the judge's nets: no packing, any width from one vector up.
//!
//! Promises the same bits on every path: each element is summed in index order. Knows nothing of layers.

use super::simd::{Path, Scalars, Simd, Task, Vectors, accumulate};
use super::step::for_tiles;

/// out = start + A·B, row by row.
struct Product<'a> {
    rows: usize,
    columns: usize,
    depth: usize,
    /// What a row's sums start from; none: zeros.
    start: Option<&'a [f32]>,
    /// A: `(rows, depth)`, by its strides.
    scalars: Scalars<'a>,
    /// B: `(depth, columns)`.
    vectors: &'a [f32],
    /// `(rows, columns)`.
    out: &'a mut [f32],
}

/// Computes `start + A·B`: A `(rows, depth)` by its strides, B `(depth, columns)` side by side → `(rows, columns)`.
pub fn product(rows: usize, depth: usize, start: Option<&[f32]>, a: Scalars<'_>, b: &[f32], path: Path) -> Vec<f32> {
    let columns = b.len().checked_div(depth).unwrap_or(0);
    let mut out = vec![0.0; rows * columns];
    if columns >= path.lanes() {
        path.run(Product {
            rows,
            columns,
            depth,
            start,
            scalars: a,
            vectors: b,
            out: &mut out,
        });
        return out;
    }
    for (row, out) in out.chunks_exact_mut(columns.max(1)).enumerate() {
        for (column, out) in out.iter_mut().enumerate() {
            *out = start.map_or(0.0, |start| start[column]);
            for k in 0..depth {
                *out += a.data[row * a.row + k * a.step] * b[k * columns + column];
            }
        }
    }
    out
}

impl Product<'_> {
    #[inline(always)]
    fn tile<S: Simd, const W: usize, const N: usize>(&mut self, simd: S, column: usize, first: usize) {
        let mut sums = [[simd.splat(0.0); N]; W];
        if let Some(start) = self.start {
            for sums in &mut sums {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.load(&start[column + n * S::LANES..]);
                }
            }
        }
        let vectors = Vectors {
            data: &self.vectors[column..],
            step: self.columns,
        };
        let scalars = Scalars {
            data: &self.scalars.data[first * self.scalars.row..],
            ..self.scalars
        };
        accumulate(simd, &mut sums, vectors, scalars, self.depth);
        for (w, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                simd.store(sum, &mut self.out[(first + w) * self.columns + column + n * S::LANES..]);
            }
        }
    }
}

impl Task for Product<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut column = 0;
        while column + 4 * S::LANES <= self.columns {
            for_tiles!(S::ROWS, self.rows, |first, W| self.tile::<S, W, 4>(simd, column, first));
            column += 4 * S::LANES;
        }
        while column < self.columns {
            // The last vector ends with the row: what it shares with the one before is the same sum once more.
            let start = column.min(self.columns - S::LANES);
            for_tiles!(S::ROWS, self.rows, |first, W| self.tile::<S, W, 1>(simd, start, first));
            column = start + S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * step) % 13) as f32 / 4.0 - 1.5).collect()
    }

    #[test]
    fn any_shape_gives_the_sums_in_order_on_every_path() {
        for (rows, depth, columns) in [(1, 1, 1), (7, 5, 85), (13, 3, 64), (2, 9, 16), (6, 4, 130), (3, 2, 9)] {
            let (a, b, start) = (
                numbers(rows * depth, 3),
                numbers(depth * columns, 5),
                numbers(columns, 7),
            );
            for path in Path::available() {
                let scalars = Scalars {
                    data: &a,
                    row: depth,
                    step: 1,
                };
                let out = product(rows, depth, Some(&start), scalars, &b, path);
                for row in 0..rows {
                    for column in 0..columns {
                        let sum = (0..depth).fold(start[column], |sum, k| {
                            a[row * depth + k].mul_add(b[k * columns + column], sum)
                        });
                        assert!(
                            (out[row * columns + column] - sum).abs() < 1e-5,
                            "{rows} {depth} {columns}"
                        );
                    }
                }
            }
        }
    }
}
