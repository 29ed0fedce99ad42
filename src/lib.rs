//! placeholder
pub mod config;
pub mod inject;
pub mod kafka;
pub mod model;
pub mod offline;
pub mod pipeline;
pub mod train;
