//! The model room: an LSTM encoder-decoder, what it is (spec, weights), how it is trained on (candle) and how it scores.
//!
//! Two implementations of the same mathematics check each other: [`autoencoder`] on candle's ops, used with autograd, and
//! [`kernel`], on vectors in a fixed order of summation, which scores. Imports `pipeline` alone.

pub mod artifact;
pub mod autoencoder;
pub mod fused;
pub mod kernel;
pub mod spec;
pub mod weights;
