//! The kernel: the model's mathematics on vectors, which scores.
//!
//! Promises that a row's evidence is the same bits alone or in any batch, at any place, in any order, and on every path
//! ([`simd::Path`]): each output element is summed by fused multiply-adds in one fixed order (bias, inputs, state before,
//! in index order), and the activations are polynomials of our own. Vectors run over units, so one packing of the weights
//! serves one row and a thousand. Only the decoder steps that are asked for are run.
//!
//! Knows nothing of training, calibration or the detector; [`scorer`] is the one door to the pipeline.

pub mod encoder;
pub mod engine;
pub mod heads;
pub mod input;
pub mod packed;
mod pow2;
pub mod product;
pub mod scorer;
pub mod scratch;
pub mod sequence;
pub mod simd;
pub mod stack;
pub mod step;

#[cfg(test)]
mod tests;
