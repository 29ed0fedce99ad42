//! The tick reader: gathers the ticks that a model is made of, instrument by instrument and in order of arrival.
//!
//! It takes what a detector would score: [`Repeats`] says what a duplicate is, here as in the guard, [`Plausibility`] which
//! prices teach nobody, here as in the features, and instruments beyond the cap are not looked at. What it holds is bounded: where all ticks together are too many, the instruments that
//! have the most give up their oldest ones. Knows neither topics nor files; whoever reads these decodes and pushes.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;

use super::plausible::Plausibility;
use super::repeats::Repeats;
use super::tick::{InstrumentTicks, Tick};

/// What a reader may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickBounds {
    /// Most instruments; ticks of further ones are left out (count, > 0).
    pub instruments_max: usize,
    /// Newest ticks of one instrument that are asked for (ticks, > 0).
    pub per_instrument_max: usize,
    /// Most ticks of one instrument that memory allows (ticks, > 0).
    pub per_instrument_budget: usize,
    /// Most ticks of all instruments that memory allows (ticks, > 0).
    pub ticks_budget: usize,
}

impl TickBounds {
    /// Whatever there is: for recordings that are played in whole.
    pub const UNBOUNDED: TickBounds = TickBounds {
        instruments_max: usize::MAX,
        per_instrument_max: usize::MAX,
        per_instrument_budget: usize::MAX,
        ticks_budget: usize::MAX,
    };
}

/// How many ticks there are, of those that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thinned {
    /// Ticks that are held.
    pub kept: usize,
    /// Ticks that would be held if memory had no bound.
    pub of: usize,
}

impl Thinned {
    /// Tells whether ticks were given up for want of memory.
    pub fn is_thinned(self) -> bool {
        self.kept < self.of
    }
}

impl fmt::Display for Thinned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} ticks", self.kept, self.of)
    }
}

/// What a reader has gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// Ticks of every instrument, in order of arrival; instruments by name.
    pub instruments: Vec<InstrumentTicks>,
    /// How many of the ticks that were asked for.
    pub thinned: Thinned,
    /// Duplicates that were left out.
    pub duplicates: usize,
    /// Ticks of implausible prices that were left out.
    pub implausible: usize,
}

/// Gathers the newest ticks of every instrument, within bounds.
pub struct TickReader {
    bounds: TickBounds,
    by_instrument: BTreeMap<String, Held>,
    /// Ticks held of all instruments.
    ticks: usize,
    duplicates: usize,
    implausible: usize,
}

/// What is held of one instrument.
#[derive(Default)]
struct Held {
    ticks: VecDeque<Tick>,
    repeats: Repeats,
    plausibility: Plausibility,
    /// Ticks that came, without those that are left out.
    seen: usize,
}

impl Held {
    /// Takes a tick in. Room grows by a quarter, since doubling would leave up to half of it empty.
    fn push(&mut self, tick: Tick) {
        const ROOM_MIN: usize = 64;
        let held = self.ticks.len();
        if held == self.ticks.capacity() {
            self.ticks.reserve_exact((held / 4).max(ROOM_MIN));
        }
        self.ticks.push_back(tick);
    }

    /// Gives up the oldest ticks and their room, so that at most `most` are left.
    fn give_up(&mut self, most: usize) {
        let surplus = self.ticks.len().saturating_sub(most);
        if surplus > 0 {
            self.ticks.drain(..surplus);
            self.ticks.shrink_to_fit();
        }
    }
}

impl TickReader {
    /// Makes a reader that holds nothing yet.
    pub fn new(bounds: TickBounds) -> Self {
        TickReader {
            bounds,
            by_instrument: BTreeMap::new(),
            ticks: 0,
            duplicates: 0,
            implausible: 0,
        }
    }

    /// Takes the next tick in. Ticks of one instrument come in order of arrival, instruments in any order.
    pub fn push(&mut self, instrument: &str, tick: Tick) {
        let is_full = self.by_instrument.len() >= self.bounds.instruments_max;
        let held = match self.by_instrument.get_mut(instrument) {
            Some(held) => held,
            None if is_full => return,
            None => self.by_instrument.entry(instrument.into()).or_default(),
        };
        if held.repeats.came_before(&tick) {
            self.duplicates += 1;
            return;
        }
        if !held.plausibility.holds(&tick.body) {
            self.implausible += 1;
            return;
        }
        held.seen += 1;
        if held.ticks.len() >= self.bounds.per_instrument_max.min(self.bounds.per_instrument_budget) {
            held.ticks.pop_front();
            self.ticks -= 1;
        }
        held.push(tick);
        self.ticks += 1;
        if self.ticks > self.bounds.ticks_budget {
            self.level();
        }
    }

    /// Makes room: no instrument keeps more than the level at which an eighth of the bound is free again.
    fn level(&mut self) {
        let target = self.bounds.ticks_budget - self.bounds.ticks_budget / 8;
        let level = level(self.by_instrument.values().map(|held| held.ticks.len()), target);
        self.by_instrument.values_mut().for_each(|held| held.give_up(level));
        self.ticks = self.by_instrument.values().map(|held| held.ticks.len()).sum();
    }

    /// Gives what was gathered.
    pub fn finish(self) -> Gathered {
        let asked_for = self.bounds.per_instrument_max;
        let of = self.by_instrument.values().map(|held| held.seen.min(asked_for)).sum();
        let list = |(instrument, held): (String, Held)| InstrumentTicks {
            instrument,
            ticks: held.ticks.into(),
        };
        Gathered {
            thinned: Thinned { kept: self.ticks, of },
            instruments: self.by_instrument.into_iter().map(list).collect(),
            duplicates: self.duplicates,
            implausible: self.implausible,
        }
    }
}

/// Gives the highest level to which counts must be cut so that their sum is at most `target`.
fn level(counts: impl Iterator<Item = usize>, target: usize) -> usize {
    let mut counts: Vec<usize> = counts.collect();
    counts.sort_unstable();
    let mut left = target;
    for (index, count) in counts.iter().enumerate() {
        // What is left, shared out evenly among this one and the larger ones.
        let share = left / (counts.len() - index);
        if *count > share {
            return share;
        }
        left -= count;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tick::{Body, Trade};
    use crate::pipeline::time::EventTime;

    const WIDE: TickBounds = TickBounds {
        instruments_max: 10,
        per_instrument_max: 1000,
        per_instrument_budget: 1000,
        ticks_budget: 10_000,
    };

    fn tick(number: u64) -> Tick {
        Tick {
            event_time: EventTime(number as i64),
            sequence: Some(number.into()),
            body: Body::Trade(Trade { price: 1.0, size: None }),
        }
    }

    fn numbers(gathered: &Gathered, instrument: usize) -> Vec<u64> {
        let ticks = gathered.instruments[instrument].ticks.iter();
        ticks.filter_map(|tick| tick.sequence?.written()).collect()
    }

    #[test]
    fn a_duplicate_is_a_duplicate_in_training_too() {
        let mut reader = TickReader::new(WIDE);
        for number in [1, 2, 2, 3, 1, 4] {
            reader.push("A", tick(number));
        }
        // A feed that has begun to count anew repeats numbers, with other stamps.
        let restarted = Tick {
            event_time: EventTime(100),
            ..tick(1)
        };
        reader.push("A", restarted);
        // Another instrument's numbers are its own.
        reader.push("B", tick(1));
        let gathered = reader.finish();
        assert_eq!(numbers(&gathered, 0), [1, 2, 3, 4, 1]);
        assert_eq!(numbers(&gathered, 1), [1]);
        assert_eq!(gathered.duplicates, 2);
        assert_eq!(gathered.thinned, Thinned { kept: 6, of: 6 });
    }

    #[test]
    fn a_tick_of_implausible_prices_is_left_out_and_counted() {
        let mut reader = TickReader::new(WIDE);
        for number in 0..20 {
            reader.push("A", tick(number));
        }
        let place_holder = Tick {
            body: Body::Trade(Trade {
                price: 9_999_999_999.0,
                size: None,
            }),
            ..tick(20)
        };
        reader.push("A", place_holder);
        reader.push("A", tick(21));
        let gathered = reader.finish();
        assert_eq!(gathered.implausible, 1);
        assert_eq!(numbers(&gathered, 0).last(), Some(&21));
        assert_eq!(gathered.thinned, Thinned { kept: 21, of: 21 });
    }

    #[test]
    fn the_newest_ticks_of_every_instrument_are_kept_in_order_of_arrival() {
        let mut reader = TickReader::new(TickBounds {
            instruments_max: 2,
            per_instrument_max: 3,
            ..WIDE
        });
        for number in [5, 4, 3, 2] {
            for instrument in ["B", "A", "C"] {
                reader.push(instrument, tick(number));
            }
        }
        let gathered = reader.finish();
        assert_eq!(gathered.instruments.len(), 2);
        assert_eq!(gathered.instruments[0].instrument, "A");
        // Stamps go back: they do not decide the order.
        assert_eq!(numbers(&gathered, 0), [4, 3, 2]);
        assert!(!gathered.thinned.is_thinned());
    }

    #[test]
    fn what_memory_does_not_hold_is_given_up_by_those_that_have_most() {
        let bounds = TickBounds {
            ticks_budget: 800,
            ..WIDE
        };
        let mut reader = TickReader::new(bounds);
        for number in 0..900 {
            reader.push("busy", tick(number));
            if number % 9 == 0 {
                reader.push("slow", tick(number));
            }
            assert!(reader.ticks <= 800);
        }
        let gathered = reader.finish();
        assert_eq!(gathered.instruments[1].ticks.len(), 100, "the slow one keeps its own");
        let busy = numbers(&gathered, 0);
        assert!((600..=700).contains(&busy.len()), "{}", busy.len());
        assert_eq!(busy.last(), Some(&899));
        assert!(busy.windows(2).all(|pair| pair[1] == pair[0] + 1));
        let kept = busy.len() + 100;
        assert_eq!(gathered.thinned, Thinned { kept, of: 1000 });
        assert_eq!(gathered.thinned.to_string(), format!("{kept} of 1000 ticks"));
    }

    #[test]
    fn levels_cut_the_large_alone() {
        assert_eq!(level([5, 10, 100].into_iter(), 45), 30);
        assert_eq!(level([100, 100].into_iter(), 50), 25);
        assert_eq!(level([1, 2].into_iter(), 3), usize::MAX);
    }
}
