//! Episodes: false alarms of one instrument, joined when they are close.
//!
//! Ticks may come in any order, as they do when a threshold sinks, and the cost is current after each. So counting over
//! all thresholds takes one pass through the ticks by falling score, not one pass per threshold.

use std::collections::BTreeMap;

use super::IGNORED_TICKS;

/// Ticks at most this far apart belong to one episode (the benchmark's choice, the length of a window).
pub(super) const JOIN_TICKS: usize = IGNORED_TICKS;

/// An episode costs one false alarm more for each further stretch of this many ticks (the benchmark's choice).
pub const EPISODE_TICKS: usize = 256;

/// Holds the episodes of one instrument and what they cost.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    /// First tick of each episode → its last tick; episodes are more than [`JOIN_TICKS`] apart.
    last_by_first: BTreeMap<usize, usize>,
    cost: usize,
}

impl Episodes {
    /// Gives the cost of all episodes (false alarms).
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Adds a tick: it falls into an episode, lengthens one, bridges two or opens its own.
    pub fn add(&mut self, tick: usize) {
        let before = self
            .last_by_first
            .range(..=tick)
            .next_back()
            .map(|(&first, &last)| (first, last));
        let after = self
            .last_by_first
            .range(tick..)
            .next()
            .map(|(&first, &last)| (first, last));
        let (mut first, mut last) = (tick, tick);
        if let Some(before) = before.filter(|before| tick <= before.1 + JOIN_TICKS) {
            if tick <= before.1 {
                return;
            }
            first = before.0;
            self.cost -= cost(before);
        }
        if let Some(after) = after.filter(|after| after.0 <= tick + JOIN_TICKS) {
            last = after.1;
            self.cost -= cost(after);
            self.last_by_first.remove(&after.0);
        }
        self.last_by_first.insert(first, last);
        self.cost += cost((first, last));
    }
}

/// Gives the cost of one episode by its first and last tick: 1 + ⌊(length − 1) / 256⌋.
fn cost((first, last): (usize, usize)) -> usize {
    1 + (last - first) / EPISODE_TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost_of(ticks: &[usize]) -> usize {
        let mut episodes = Episodes::default();
        ticks.iter().for_each(|&tick| episodes.add(tick));
        episodes.cost()
    }

    #[test]
    fn ticks_join_up_to_64_apart() {
        assert_eq!(cost_of(&[]), 0);
        assert_eq!(cost_of(&[100, 164]), 1);
        assert_eq!(cost_of(&[100, 165]), 2);
        assert_eq!(cost_of(&[165, 100, 133]), 1);
    }

    #[test]
    fn long_episode_costs_more_per_256_ticks() {
        let up_to = |last: usize| (0..=last).rev().collect::<Vec<_>>();
        assert_eq!(cost_of(&up_to(255)), 1);
        assert_eq!(cost_of(&up_to(256)), 2);
        assert_eq!(cost_of(&up_to(512)), 3);
    }

    #[test]
    fn order_and_repeats_do_not_change_the_cost() {
        let ascending: Vec<usize> = (0..400).map(|index| index * index % 7919).collect();
        let mut sorted = ascending.clone();
        sorted.sort_unstable();
        let mut repeated = ascending.clone();
        repeated.extend(&ascending);
        assert_eq!(cost_of(&sorted), cost_of(&ascending));
        assert_eq!(cost_of(&sorted), cost_of(&repeated));
    }
}
