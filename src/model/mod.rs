//! The model room: LSTM models, what they are (spec, weights), how they are trained on (candle) and how they score.
//!
//! Two implementations of the same mathematics check each other: [`network`] (its layers: [`lstm`]) on candle's ops,
//! used with autograd, and [`forward`], a plain forward pass in a fixed order of summation, which scores. Imports
//! `pipeline` alone.

pub mod artifact;
pub mod forward;
pub mod lstm;
pub mod network;
pub mod spec;
pub mod weights;

#[cfg(test)]
pub(crate) mod golden;
