//! The feed's own sequence numbers: repeated ones and missing ones.

use serde::{Deserialize, Serialize};

use super::GuardConfig;
use crate::pipeline::repeats::Repeats;
use crate::pipeline::tick::{Order, Sequence, Tick};

/// What a tick's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: there is none, it follows the last one, or it begins anew.
    Ordinary,
    /// The tick with this number came before.
    Repeated(Sequence),
    /// Numbers are missing before it, on a feed that counts without holes.
    Gap {
        /// The number that would have followed.
        expected: u64,
        /// The number that came.
        found: u64,
    },
}

/// The feed's last sequence numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sequences {
    repeats: Repeats,
    last: Option<u64>,
    /// Ticks in a row whose number was the last one's successor.
    in_order: u32,
}

impl Sequences {
    /// Reads one tick's number and takes it in, unless it is repeated.
    ///
    /// Numbers that are shared by several instruments, or are no counters, never run long enough for a hole to mean
    /// something; and after a number that went back the run begins anew, so that a restart is no gap.
    pub fn step(&mut self, config: &GuardConfig, tick: &Tick) -> Step {
        let Some(sequence) = tick.sequence else {
            return Step::Ordinary;
        };
        if self.repeats.came_before(tick) {
            return Step::Repeated(sequence);
        }
        let number = sequence.number;
        match sequence.order {
            Order::Rising | Order::Text => Step::Ordinary,
            Order::Unstated => self.counted(config, number),
            Order::Covering(numbers) => {
                let first = number.saturating_sub(u64::from(numbers.saturating_sub(1)));
                match self.last.replace(number) {
                    Some(last) if first > last.saturating_add(1) && first - last <= config.sequence_hole_max => {
                        Step::Gap {
                            expected: last + 1,
                            found: first,
                        }
                    }
                    _ => Step::Ordinary,
                }
            }
        }
    }

    /// Looks for a hole before a number of which the feed does not say whether it counts.
    fn counted(&mut self, config: &GuardConfig, number: u64) -> Step {
        let Some(last) = self.last.replace(number) else {
            return Step::Ordinary;
        };
        if number.checked_sub(last) == Some(1) {
            self.in_order = self.in_order.saturating_add(1);
            return Step::Ordinary;
        }
        let in_order = std::mem::take(&mut self.in_order);
        let is_hole = number > last && number - last <= config.sequence_hole_max;
        if is_hole && in_order >= config.sequence_run_min {
            Step::Gap {
                expected: last + 1,
                found: number,
            }
        } else {
            Step::Ordinary
        }
    }
}
