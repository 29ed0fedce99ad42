//! The learning room: recent ticks → dataset → fit → calibration → gate.
//!
//! Promises that the same ticks, configuration and seed give the same model on the same machine, and that features come
//! from the same code as when scoring. Imports `pipeline`, `inject` and `model`; knows neither Kafka nor clocks.

pub mod calibrate;
pub mod dataset;
pub mod event_loss;
pub mod exposure;
pub mod extend;
pub mod fit;
pub mod fit_judge;
pub mod gate;
pub mod memory;
pub mod progress;
mod segments;
pub mod size;
pub mod trainer;
pub mod views;
