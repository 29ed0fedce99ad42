//! The pure core: from the bytes of a record to what is to be done about it.
//!
//! Imports nothing else of this crate, and neither tokio nor rdkafka nor candle: no clock, no I/O, no logging, no
//! randomness. Logarithms and exponentials come from `libm`, so that every machine gives the same bits. Read
//! [`detector`] first.

pub mod adaptation;
pub mod alert;
pub mod arms;
pub mod batch;
pub mod bounded;
pub mod budget;
pub mod calibration;
pub mod clock;
pub mod decode;
pub mod detector;
pub mod effect;
pub mod episode;
pub mod feature;
pub mod group;
pub mod guard;
pub mod input;
mod instrument;
pub mod market_time;
pub mod opening_rates;
mod partition;
pub mod plausible;
pub mod position;
pub mod repeats;
pub mod robust;
mod row_evidence;
pub mod run;
pub mod scaler;
pub mod score;
pub mod shock;
pub mod snapshot;
pub mod summary;
pub mod tail;
pub mod tails;
pub mod tick;
pub mod tick_reader;
pub mod time;
pub mod verdict;
pub mod window;
