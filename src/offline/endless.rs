//! The endless market: the synthetic market as a stream that goes on, with faults if wanted, and for each tick the time at
//! which it is due.
//!
//! It makes each instrument's ticks some thousands at a time, in the pace that is wanted, and injects faults into them
//! after the stamps have that pace. It knows no clock: the same settings give the same ticks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::inject::{self, Catalogue, Fault, Label};
use crate::offline::market::{Market, MarketConfig};
use crate::pipeline::tick::{Sequence, Tick};
use crate::pipeline::time::EventTime;

/// Ticks that are made of one instrument at a time: enough for what is usual of it to be measured.
const STRETCH_TICKS: usize = 6_000;
/// Ticks at the start of a stretch that stay clean, so that faults of two stretches do not meet (ticks).
const CLEAN_TICKS: usize = 300;
/// Ticks around one whose middle stamp says when it is due: twice as many as any fault puts out of order.
const DUE_TICKS: usize = 64;

/// What is streamed.
#[derive(Clone, Debug, PartialEq)]
pub struct EndlessConfig {
    /// The instruments, the seed, and when trading begins.
    pub market: MarketConfig,
    /// Mean rate of all instruments together (ticks per second, > 0).
    pub ticks_per_sec: f64,
    /// About one fault per so many ticks of an instrument (ticks, ≥ 1); none without faults.
    pub ticks_per_fault: Option<usize>,
}

/// A fault that begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Begun {
    /// What is done.
    pub fault: Fault,
    /// How strongly, in the fault's unit.
    pub magnitude: f64,
    /// When its last tick is due.
    pub last: EventTime,
}

/// The next tick of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Which instrument.
    pub instrument: usize,
    /// The tick.
    pub tick: Tick,
    /// When it is due: its true time, which never goes back, whatever a fault does to its stamp.
    pub at: EventTime,
    /// The fault whose first tick it is.
    pub begun: Option<Begun>,
}

/// One instrument's ticks that are made and not yet due.
struct Feed {
    ticks: VecDeque<(EventTime, Tick, Option<Begun>)>,
    due: EventTime,
    /// What faults have added to the sequence numbers so far, or taken away (count).
    sequence_shift: i64,
    stretches: u64,
}

/// The stream.
pub struct EndlessMarket {
    config: EndlessConfig,
    market: Market,
    /// Seconds of the stream in a second of the market.
    pace: f64,
    feeds: Vec<Feed>,
    next: BinaryHeap<Reverse<(EventTime, usize)>>,
}

impl EndlessMarket {
    /// Opens the market.
    pub fn open(config: EndlessConfig) -> Self {
        let market = Market::open(&config.market);
        let feed = |_| Feed {
            ticks: VecDeque::new(),
            due: config.market.start,
            sequence_shift: 0,
            stretches: 0,
        };
        let mut endless = EndlessMarket {
            pace: market.ticks_per_sec() / config.ticks_per_sec,
            feeds: (0..config.market.instruments).map(feed).collect(),
            next: BinaryHeap::new(),
            market,
            config,
        };
        (0..endless.feeds.len()).for_each(|feed| endless.queue(feed));
        endless
    }

    /// Gives the names of the instruments.
    pub fn names(&self) -> Vec<String> {
        self.market.names()
    }

    /// Gives the next tick; none of a market without instruments.
    pub fn next_tick(&mut self) -> Option<Due> {
        let Reverse((_, instrument)) = self.next.pop()?;
        let (at, tick, begun) = self.feeds[instrument].ticks.pop_front()?;
        self.queue(instrument);
        Some(Due {
            instrument,
            tick,
            at,
            begun,
        })
    }

    fn queue(&mut self, feed: usize) {
        if self.feeds[feed].ticks.is_empty() {
            self.make(feed);
        }
        if let Some((due, ..)) = self.feeds[feed].ticks.front() {
            self.next.push(Reverse((*due, feed)));
        }
    }

    /// Makes the next stretch of one instrument.
    fn make(&mut self, index: usize) {
        let start = self.config.market.start;
        let mut clean = self.market.next_ticks(index, STRETCH_TICKS);
        for tick in &mut clean {
            let elapsed = tick.event_time.nanos_since(start) as f64 * self.pace;
            tick.event_time = start.plus_nanos(elapsed as i64);
        }
        let feed = &mut self.feeds[index];
        feed.stretches += 1;
        let (mut ticks, labels) = match self.config.ticks_per_fault {
            Some(ticks_per_fault) => {
                let catalogue = Catalogue {
                    ticks_per_fault,
                    ..Catalogue::default()
                };
                let seed = self.config.market.seed ^ (feed.stretches << 16) ^ index as u64;
                inject::apply_after(CLEAN_TICKS, &clean, &catalogue, seed)
            }
            None => (clean.clone(), Vec::new()),
        };
        let last = |ticks: &[Tick]| {
            ticks
                .last()
                .and_then(|tick| tick.sequence)
                .map_or(0, |sequence| sequence.number) as i64
        };
        let shift = feed.sequence_shift;
        feed.sequence_shift += last(&ticks) - last(&clean);
        for tick in &mut ticks {
            tick.sequence = tick.sequence.map(|sequence| Sequence {
                number: sequence.number.saturating_add_signed(shift),
                ..sequence
            });
        }
        feed.fill(&ticks, &labels);
    }
}

impl Feed {
    /// Takes a stretch in. A tick is due at the middle stamp of those around it, and not before the one before it.
    fn fill(&mut self, ticks: &[Tick], labels: &[Label]) {
        let stamps: Vec<EventTime> = ticks.iter().map(|tick| tick.event_time).collect();
        let mut dues = Vec::with_capacity(ticks.len());
        for index in 0..ticks.len() {
            // As many on either side, or the middle would lie ahead at one end and behind at the other.
            let reach = (DUE_TICKS / 2).min(index).min(ticks.len() - 1 - index);
            let mut around = stamps[index - reach..=index + reach].to_vec();
            let (_, middle, _) = around.select_nth_unstable(reach);
            self.due = self.due.max(*middle);
            dues.push(self.due);
        }
        let mut labels = labels.iter().peekable();
        for (index, tick) in ticks.iter().enumerate() {
            let begun = labels.next_if(|label| label.start == index).map(|label| Begun {
                fault: label.fault,
                magnitude: label.magnitude,
                last: dues[label.end],
            });
            self.ticks.push_back((dues[index], *tick, begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::time::NANOS_PER_SEC;

    fn config(ticks_per_sec: f64, ticks_per_fault: Option<usize>) -> EndlessConfig {
        EndlessConfig {
            market: MarketConfig::unseen(0, 5),
            ticks_per_sec,
            ticks_per_fault,
        }
    }

    fn taken(config: EndlessConfig, count: usize) -> Vec<Due> {
        let mut market = EndlessMarket::open(config);
        (0..count).map(|_| market.next_tick().expect("it goes on")).collect()
    }

    #[test]
    fn stream_has_the_rate_that_was_asked_for_and_never_goes_back() {
        for rate in [10.0, 200.0, 3_000.0] {
            let ticks = taken(config(rate, Some(1_000)), 60_000);
            assert!(ticks.is_sorted_by_key(|due| due.at));
            let seconds = ticks[59_999].at.nanos_since(ticks[0].at) as f64 / NANOS_PER_SEC as f64;
            let made = 60_000.0 / seconds;
            assert!((0.5..2.0).contains(&(made / rate)), "{made} for {rate}");
        }
    }

    #[test]
    fn clean_ticks_are_due_at_their_stamps_and_continue_each_instrument() {
        let ticks = taken(config(500.0, None), 60_000);
        assert!(
            ticks
                .iter()
                .all(|due| due.at == due.tick.event_time && due.begun.is_none())
        );
        for instrument in 0..4 {
            let own = ticks.iter().filter(|due| due.instrument == instrument);
            let numbers: Vec<u64> = own.filter_map(|due| Some(due.tick.sequence?.number)).collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
        assert_eq!(ticks, taken(config(500.0, None), 60_000));
    }

    #[test]
    fn faults_begin_about_as_often_as_asked_and_leave_the_true_time_alone() {
        let ticks = taken(config(200.0, Some(1_000)), 80_000);
        let faults = ticks.iter().filter(|due| due.begun.is_some()).count();
        assert!((40..=100).contains(&faults), "{faults}");
        assert!(
            ticks.iter().any(|due| due.at != due.tick.event_time),
            "no stamp is wrong"
        );
        // A tick is never sent long before its true time, or a guard would call every stamp one of the future.
        let early = ticks
            .iter()
            .map(|due| due.tick.event_time.nanos_since(due.at))
            .filter(|nanos| *nanos > 0);
        let far = early.filter(|nanos| *nanos > 4 * NANOS_PER_SEC).count();
        assert!(far < 60, "{far} ticks are sent long before their stamps");
        // Where a stretch ends, the numbers go on.
        let numbers: Vec<u64> = ticks
            .iter()
            .filter(|due| due.instrument == 1)
            .filter_map(|due| Some(due.tick.sequence?.number))
            .collect();
        let back = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(back <= 2 * faults, "{back} steps back");
    }
}
