//! What a guard saw: the numbers that its finding rests on, for people and for those who read alerts by machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Guard;
use crate::pipeline::tick::Sequence;
use crate::pipeline::time::{ArrivalTime, EventTime, NANOS_PER_SEC};

/// Which price of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// A trade's.
    Trade,
    /// A quote's bid.
    Bid,
    /// A quote's ask.
    Ask,
}

impl Side {
    /// Gives the name used in alerts.
    pub fn name(self) -> &'static str {
        match self {
            Side::Trade => "price",
            Side::Bid => "bid",
            Side::Ask => "ask",
        }
    }
}

/// What has stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Still {
    /// Prices, while sizes may have changed.
    Prices,
    /// Whole ticks: prices and sizes.
    Ticks,
}

/// The numbers that a finding rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// Both sides of a crossed or locked quote (prices in the feed's unit).
    Quote {
        /// The bid.
        bid: f64,
        /// The ask.
        ask: f64,
    },
    /// A price that makes no sense, and what it was held against (prices in the feed's unit).
    Price {
        /// Which price of the tick.
        side: Side,
        /// The price.
        price: f64,
        /// The median of the last nine; none before the first.
        median: Option<f64>,
    },
    /// A stamp that goes back.
    Regress {
        /// The stamp of the tick before.
        before: EventTime,
        /// The stamp.
        stamp: EventTime,
    },
    /// A stamp that comes back from a leap.
    Return {
        /// The last stamp before the leap.
        before: EventTime,
        /// The stamp of the tick before this one: where the feed had leapt to.
        leap: EventTime,
        /// The stamp.
        stamp: EventTime,
    },
    /// A stamp that lies ahead of the time of arrival.
    Ahead {
        /// The stamp.
        stamp: EventTime,
        /// When it was judged, by the partition's clock.
        arrival: ArrivalTime,
    },
    /// A sequence number that came before.
    Repeated {
        /// The number.
        sequence: Sequence,
    },
    /// Sequence numbers that are missing.
    Missing {
        /// The number that would have followed.
        expected: u64,
        /// The number that came (> `expected`).
        found: u64,
    },
    /// A silence that has ended (seconds of event time, > 0).
    Silence {
        /// How long it was.
        secs: f64,
        /// The longest of late.
        longest_secs: f64,
    },
    /// A standstill that goes on.
    Standstill {
        /// What stands still.
        what: Still,
        /// For how long now (ticks, > 0).
        ticks: u32,
        /// The longest of late (ticks, ≥ 0).
        longest_ticks: f64,
    },
}

/// Writes seconds as people do: three digits after the point at most.
fn secs(secs: f64) -> f64 {
    (secs * 1e3).round() / 1e3
}

fn secs_between(later: i64, earlier: i64) -> f64 {
    secs(later.saturating_sub(earlier) as f64 / NANOS_PER_SEC as f64)
}

/// Writes a ratio to a median: three digits after the point, or powers of ten where it is out of all proportion.
fn ratio(ratio: f64) -> String {
    match (0.001..1e6).contains(&ratio) {
        true => format!("{}", (ratio * 1e3).round() / 1e3),
        false => format!("{ratio:.1e}"),
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fact::Quote { bid, ask } if bid == ask => write!(f, "bid and ask are both {bid}"),
            Fact::Quote { bid, ask } => write!(f, "the bid {bid} stands above the ask {ask}"),
            Fact::Price { side, price, median } => {
                write!(f, "the {} is {price}", side.name())?;
                match median {
                    Some(median) if price > 0.0 => {
                        write!(
                            f,
                            ", {} times the median {median} of the last nine",
                            ratio(price / median)
                        )
                    }
                    Some(median) => write!(f, ", the median of the last nine {median}"),
                    None => Ok(()),
                }
            }
            Fact::Regress { before, stamp } => {
                let back = secs_between(before.0, stamp.0);
                write!(f, "the stamp {stamp} lies {back} s before the last one, {before}")
            }
            Fact::Return { before, leap, stamp } => {
                let ahead = secs_between(leap.0, before.0);
                write!(
                    f,
                    "the stamp is back at {stamp} after a leap of {ahead} s from {before} to {leap}"
                )
            }
            Fact::Ahead { stamp, arrival } => {
                let ahead = secs_between(stamp.0, arrival.0);
                write!(f, "the stamp {stamp} lies {ahead} s ahead of its arrival")
            }
            Fact::Repeated { sequence } => match sequence.written() {
                Some(number) => write!(f, "sequence number {number} came before with the same stamp"),
                None => write!(f, "the tick's identifier came before with the same stamp"),
            },
            Fact::Missing { expected, found } => {
                let missing = found.saturating_sub(expected);
                write!(
                    f,
                    "sequence number {found} came where {expected} was expected: {missing} missing"
                )
            }
            Fact::Silence {
                secs: silence,
                longest_secs,
            } => {
                write!(
                    f,
                    "silent for {} s, the longest of late was {} s",
                    secs(silence),
                    secs(longest_secs)
                )
            }
            Fact::Standstill {
                what,
                ticks,
                longest_ticks,
            } => {
                let what = match what {
                    Still::Prices => "prices have",
                    Still::Ticks => "prices and sizes have",
                };
                let longest = longest_ticks.round();
                write!(
                    f,
                    "{what} not changed for {ticks} ticks, the longest of late was {longest}"
                )
            }
        }
    }
}

/// What a guard has to say of one tick.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The guard.
    pub guard: Guard,
    /// −log₁₀ of the probability of such a tick on this instrument (≥ 0).
    pub surprise: f32,
    /// What it saw.
    pub fact: Fact,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_in_whole_words() {
        let at = |secs: i64| EventTime((1_704_205_800 + secs) * NANOS_PER_SEC);
        let (before, leap, stamp) = (at(0), at(3_600), at(1));
        let told = |fact: Fact| fact.to_string();
        let cases = [
            (
                Fact::Quote {
                    bid: 101.26,
                    ask: 101.24,
                },
                "the bid 101.26 stands above the ask 101.24",
            ),
            (Fact::Quote { bid: 5.0, ask: 5.0 }, "bid and ask are both 5"),
            (
                Fact::Price {
                    side: Side::Ask,
                    price: 1012.5,
                    median: Some(101.25),
                },
                "the ask is 1012.5, 10 times the median 101.25 of the last nine",
            ),
            (
                Fact::Price {
                    side: Side::Trade,
                    price: -1.0,
                    median: Some(10.0),
                },
                "the price is -1, the median of the last nine 10",
            ),
            (
                Fact::Price {
                    side: Side::Bid,
                    price: 0.0,
                    median: None,
                },
                "the bid is 0",
            ),
            (
                Fact::Regress {
                    before: stamp,
                    stamp: before,
                },
                "the stamp 2024-01-02T14:30:00Z lies 1 s before the last one, 2024-01-02T14:30:01Z",
            ),
            (
                Fact::Return { before, leap, stamp },
                "the stamp is back at 2024-01-02T14:30:01Z after a leap of 3600 s from 2024-01-02T14:30:00Z to \
                 2024-01-02T15:30:00Z",
            ),
            (
                Fact::Ahead {
                    stamp: leap,
                    arrival: ArrivalTime(before.0),
                },
                "the stamp 2024-01-02T15:30:00Z lies 3600 s ahead of its arrival",
            ),
            (
                Fact::Repeated { sequence: 7.into() },
                "sequence number 7 came before with the same stamp",
            ),
            (
                Fact::Missing {
                    expected: 101,
                    found: 106,
                },
                "sequence number 106 came where 101 was expected: 5 missing",
            ),
            (
                Fact::Silence {
                    secs: 93.25,
                    longest_secs: 4.1,
                },
                "silent for 93.25 s, the longest of late was 4.1 s",
            ),
            (
                Fact::Standstill {
                    what: Still::Ticks,
                    ticks: 480,
                    longest_ticks: 59.7,
                },
                "prices and sizes have not changed for 480 ticks, the longest of late was 60",
            ),
        ];
        for (fact, text) in cases {
            assert_eq!(told(fact), text);
        }
    }
}
