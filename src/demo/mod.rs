//! The demo: a market with known faults, streamed through the real daemon on an embedded broker, and judged.
//!
//! Nothing in the daemon knows that it is a demo. What was produced is compared with what was accounted for.

pub mod listener;
pub mod panel;
pub mod rerun;
pub mod scenario;
pub mod scoreboard;
pub mod sender;
pub mod stage;
