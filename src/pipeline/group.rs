//! What a grouped alert says beside what every alert says: who was hit, and whether it looks like the feed or the market.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The instrument that a grouped alert names: all of them.
pub const EVERY_INSTRUMENT: &str = "*";
/// Most names, and most ids, in a grouped alert: what a person reads, and what fits a message whatever the names.
pub const NAMED_MAX: usize = 32;

/// What a shock looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LooksLike {
    /// The feed, or what brings it here.
    Feed,
    /// The market.
    Market,
}

impl LooksLike {
    /// Gives the name used in alerts and logs.
    pub fn name(self) -> &'static str {
        match self {
            LooksLike::Feed => "feed",
            LooksLike::Market => "market",
        }
    }
}

/// What a grouped alert says beside what every alert says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What more than half of the members look like; the market where none is more.
    pub looks_like: LooksLike,
    /// Members: instruments with an alert in the shock (> 0).
    pub instruments: usize,
    /// Instruments that were at work, most so far (≥ `instruments`).
    pub active: usize,
    /// Alerts that were folded in (> 0).
    pub alerts_folded: usize,
    /// Alerts folded in that are open.
    pub alerts_open: usize,
    /// Names of the first members, at most [`NAMED_MAX`].
    pub names: Vec<Arc<str>>,
    /// Ids of members' alerts that had been published when the shock began, at most [`NAMED_MAX`].
    pub published: Vec<Arc<str>>,
}
