//! placeholder
pub mod inject;
pub mod model;
pub mod offline;
pub mod pipeline;
pub mod train;
