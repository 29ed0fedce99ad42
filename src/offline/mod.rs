pub mod evaluation;
pub mod market;
