//! The offline room: the daemon's detector in virtual time, the synthetic market, recorded files, figures and the page
//! that shows them.
//!
//! Nothing here talks to Kafka; the same ticks give the same results whenever they are run.

pub mod backtest;
pub mod driver;
pub mod endless;
pub mod evaluation;
pub mod market;
pub mod replay;
pub mod report;
pub mod tick_files;
