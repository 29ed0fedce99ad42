//! placeholder
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod http;
pub mod inject;
pub mod kafka;
pub mod learner;
pub mod metrics;
pub mod model;
pub mod offline;
pub mod pipeline;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod train;
pub mod worker;
