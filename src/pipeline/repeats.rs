//! Repeats: which ticks of one instrument came before.
//!
//! The one rule of what a duplicate is. The guard names duplicates by it, and the tick reader leaves them out of what is
//! learnt from, so that a training sees the ticks that a detector scores.

use serde::{Deserialize, Serialize};

use super::bounded::below;
use super::tick::Tick;
use super::time::EventTime;

/// The newest sequence numbers of one instrument, each with its stamp.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Repeats {
    recent: [Option<(u64, EventTime)>; Repeats::KEPT],
    #[serde(deserialize_with = "below::<{ Repeats::KEPT }, _>")]
    next: usize,
}

impl Repeats {
    /// Feeds repeat a message within a few of its kind (A/B line arbitration, resends after a gap).
    const KEPT: usize = 32;

    /// Tells whether a tick came before, and takes it in if not. A tick without a number never did.
    ///
    /// A repeated number has its first stamp too; one with another stamp belongs to a feed that has begun to count anew.
    pub fn came_before(&mut self, tick: &Tick) -> bool {
        let Some(number) = tick.sequence.map(|sequence| sequence.number) else {
            return false;
        };
        let seen = Some((number, tick.event_time));
        if self.recent.contains(&seen) {
            return true;
        }
        self.recent[self.next] = seen;
        self.next = (self.next + 1) % Self::KEPT;
        false
    }
}
