//! The newest ticks of every instrument: what a training reads of the past, within bounds.

use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::tick::{InstrumentTicks, Tick};

/// The newest ticks of every instrument, within bounds.
pub(super) struct RecentTicks {
    per_instrument_max: usize,
    instruments_max: usize,
    by_instrument: BTreeMap<String, VecDeque<Tick>>,
}

impl RecentTicks {
    pub fn new(per_instrument_max: usize, instruments_max: usize) -> Self {
        RecentTicks {
            per_instrument_max,
            instruments_max,
            by_instrument: BTreeMap::new(),
        }
    }

    pub fn push(&mut self, instrument: &str, tick: Tick) {
        let is_full = self.by_instrument.len() >= self.instruments_max;
        let ticks = match self.by_instrument.get_mut(instrument) {
            Some(ticks) => ticks,
            None if is_full => return,
            None => self.by_instrument.entry(instrument.into()).or_default(),
        };
        if ticks.len() >= self.per_instrument_max {
            ticks.pop_front();
        }
        ticks.push_back(tick);
    }

    pub fn into_instruments(self) -> Vec<InstrumentTicks> {
        let list = |(instrument, ticks): (String, VecDeque<Tick>)| InstrumentTicks {
            instrument,
            ticks: ticks.into(),
        };
        self.by_instrument.into_iter().map(list).collect()
    }
}
