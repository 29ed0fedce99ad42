//! The model room: LSTM encoder-decoders, what they are (spec, weights), how they are trained on and how they score.
//!
//! Two implementations of the same mathematics check each other and PyTorch's numbers: the reference on candle's ops
//! ([`lstm`], [`network`]), used with autograd, and the [`kernel`] on vectors in a fixed order of summation, which scores,
//! and which the reference can use for its layers ([`fused`]). Imports `pipeline` alone.

pub mod artifact;
pub mod base;
pub mod calibration_tensors;
mod checksum;
pub mod dense;
pub mod exchange;
pub mod format3;
pub mod fused;
#[cfg(test)]
mod golden;
pub mod kernel;
pub mod lstm;
pub mod network;
pub mod objective;
pub mod spec;
pub mod tail_tensors;
pub mod tensors;
pub mod weights;
