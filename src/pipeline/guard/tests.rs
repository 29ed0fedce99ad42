//! Each guard on its fault and on its natural trap, with the limits that are shipped.

use super::*;
use crate::config::Config;
use crate::pipeline::tick::{Body, Quote, Trade};
use crate::pipeline::time::{EventTime, NANOS_PER_SEC};

/// When every feed here begins: 2024-01-02 14:30:00 UTC.
const OPEN: f64 = 1_704_205_800.0;
/// From here a finding is an alert: one tick in 10,000.
const ALARM: f32 = 4.0;

fn shipped() -> GuardConfig {
    Config::from_toml("").unwrap().guards
}

/// One instrument, by seconds since its open; ticks arrive a tenth of a second after their stamp.
struct Feed {
    config: GuardConfig,
    state: GuardState,
    alarms: Vec<Guard>,
}

impl Feed {
    fn new() -> Self {
        Feed {
            config: shipped(),
            state: GuardState::default(),
            alarms: Vec::new(),
        }
    }

    fn take(&mut self, secs: f64, arrival_secs: f64, sequence: Option<u64>, body: Body) -> Option<Guard> {
        let nanos = |secs: f64| ((OPEN + secs) * 1e3).round() as i64 * (NANOS_PER_SEC / 1000);
        let tick = Tick {
            event_time: EventTime(nanos(secs)),
            sequence: sequence.map(Into::into),
            body,
        };
        let finding = self
            .state
            .observe(&self.config, &tick, ArrivalTime(nanos(arrival_secs)))
            .finding;
        self.alarms
            .extend(finding.filter(|finding| finding.surprise >= ALARM).map(|it| it.guard));
        finding.map(|finding| finding.guard)
    }

    fn quote(&mut self, secs: f64, bid: f64, ask: f64) -> Option<Guard> {
        let body = Body::Quote(Quote {
            bid,
            ask,
            bid_size: None,
            ask_size: None,
        });
        self.take(secs, secs + 0.1, None, body)
    }

    fn trade(&mut self, secs: f64, price: f64) -> Option<Guard> {
        self.take(secs, secs + 0.1, None, Body::Trade(Trade { price, size: None }))
    }

    fn numbered(&mut self, secs: f64, sequence: u64) -> Option<Guard> {
        let price = 10.0 + (secs * 7.0) % 1.0;
        let body = Body::Trade(Trade { price, size: None });
        self.take(secs, secs + 0.1, Some(sequence), body)
    }

    /// Hands in ordinary trades, a second apart; gives the time of the last.
    fn ordinary(&mut self, from: f64, ticks: u32) -> f64 {
        for i in 1..=ticks {
            self.trade(from + f64::from(i), 10.0 + 0.01 * f64::from(i % 7));
        }
        from + f64::from(ticks)
    }
}

#[test]
fn each_guard_finds_its_fault_at_the_first_ticks() {
    let mut feed = Feed::new();
    assert_eq!(feed.quote(1.0, 10.0, 10.1), None);
    assert_eq!(feed.quote(2.0, 10.2, 10.1), Some(Guard::CrossedQuote));
    assert_eq!(feed.quote(3.0, 10.1, 10.1), Some(Guard::LockedQuote));
    assert_eq!(feed.trade(2.0, 10.1), Some(Guard::TimeRegress));
    assert_eq!(feed.trade(2.0, 50.0), Some(Guard::AbsurdPrice));
    assert_eq!(feed.trade(3.0, -1.0), Some(Guard::AbsurdPrice));
    assert_eq!(feed.trade(3.0, 10.0), None);
}

#[test]
fn price_elsewhere_by_a_power_of_ten_is_a_decimal_shift_on_one_side_too() {
    let mut feed = Feed::new();
    feed.ordinary(0.0, 20);
    for (bid, ask) in [(100.2, 100.4), (1.0, 10.03), (10.0, 1003.0), (0.1, 0.1003)] {
        assert_eq!(feed.quote(21.0, bid, ask), Some(Guard::DecimalShift), "{bid} {ask}");
        for _ in 0..9 {
            feed.quote(21.0, 10.0, 10.1);
        }
    }
    assert_eq!(feed.trade(21.0, 50.0), Some(Guard::AbsurdPrice));
    feed.config.decimal_shift = false;
    assert_eq!(feed.trade(21.0, 100.2), Some(Guard::AbsurdPrice));
}

#[test]
fn locked_quotes_of_a_venue_that_locks_often_lose_their_surprise() {
    let surprise = |locked_every: u32| {
        let mut feed = Feed::new();
        for i in 1..=10_000 {
            feed.quote(f64::from(i), 10.0, if i % locked_every == 0 { 10.0 } else { 10.1 });
        }
        feed.state.surprise(Guard::LockedQuote)
    };
    assert!(surprise(u32::MAX) > 3.9);
    assert!(surprise(4) < 0.75);
}

#[test]
fn auction_of_crossed_quotes_is_a_few_alarms_at_its_start() {
    let mut feed = Feed::new();
    let open = feed.ordinary(0.0, 20_000);
    for i in 0..500 {
        feed.quote(open + f64::from(i), 10.1, 10.0 + 0.01 * f64::from(i % 3));
    }
    assert!((1..=3).contains(&feed.alarms.len()), "{:?}", feed.alarms);
}

#[test]
fn stamps_that_leap_and_come_back_are_a_jump_and_late_ones_a_regress() {
    let mut feed = Feed::new();
    let now = feed.ordinary(0.0, 100);
    assert_eq!(feed.trade(now + 4.0, 10.0), None);
    assert_eq!(feed.trade(now + 4.5, 10.01), None);
    assert_eq!(feed.trade(now + 1.0, 10.02), Some(Guard::TimeJump));
    let now = feed.ordinary(now + 1.0, 100);
    assert_eq!(feed.trade(now - 3.0, 10.0), Some(Guard::TimeRegress));
    assert_eq!(feed.trade(now + 1.0, 10.01), None, "going on is no leap and no silence");
}

#[test]
fn stamps_of_whole_seconds_that_fall_back_by_one_are_no_jump() {
    let mut feed = Feed::new();
    for i in 0..2000_u32 {
        let late = if i % 50 == 49 { 1.0 } else { 0.0 };
        let found = feed.trade(f64::from(i / 4) - late, 10.0 + 0.01 * f64::from(i % 7));
        assert!(found.is_none_or(|guard| guard == Guard::TimeRegress), "{found:?}");
    }
}

#[test]
fn stamp_ahead_of_its_arrival_is_found_once_and_a_replay_never() {
    let mut feed = Feed::new();
    let body = Body::Trade(Trade {
        price: 10.0,
        size: None,
    });
    for i in 0..100 {
        let secs = f64::from(i);
        assert_eq!(feed.take(secs, secs + 1e6, None, body), None, "a replay");
    }
    assert_eq!(feed.take(110.0, 101.0, None, body), Some(Guard::TimeFuture));
    for i in 0..100 {
        let secs = 111.0 + f64::from(i);
        assert_eq!(feed.take(secs, secs - 9.0, None, body), None, "a clock that is fast");
    }
}

#[test]
fn old_data_that_is_replayed_is_one_alarm() {
    let mut feed = Feed::new();
    for start in [90_000.0, 0.0] {
        for i in 0..20_000_u32 {
            let (secs, price) = (start + f64::from(i), 10.0 + 0.01 * f64::from(i % 7));
            let body = Body::Trade(Trade { price, size: None });
            feed.take(secs, 200_000.0, Some(start as u64 + u64::from(i)), body);
        }
    }
    assert_eq!(feed.alarms, [Guard::TimeRegress]);
}

#[test]
fn repeated_number_is_a_duplicate_and_counts_as_no_tick() {
    let mut feed = Feed::new();
    for i in 0..100_u32 {
        assert_eq!(feed.numbered(f64::from(i), u64::from(i)), None);
    }
    let before = feed.state.ticks;
    assert_eq!(feed.numbered(98.0, 98), Some(Guard::Duplicate));
    assert_eq!(feed.numbered(99.0, 99), Some(Guard::Duplicate));
    assert_eq!(feed.state.ticks, before);
    assert_eq!(feed.numbered(100.0, 100), None);
}

#[test]
fn feed_whose_every_message_comes_twice_raises_no_alarm() {
    let mut feed = Feed::new();
    for i in 0..20_000_u32 {
        feed.numbered(f64::from(i), u64::from(i));
        feed.numbered(f64::from(i), u64::from(i));
    }
    assert!(feed.alarms.is_empty());
    assert!(feed.state.surprise(Guard::Duplicate) < 0.1);
}

#[test]
fn missing_numbers_are_a_gap_of_a_feed_that_counts_without_holes() {
    let mut feed = Feed::new();
    for i in 0..100_u32 {
        feed.numbered(f64::from(i), u64::from(i));
    }
    assert_eq!(feed.numbered(100.0, 103), Some(Guard::SequenceGap));
    assert_eq!(feed.numbered(101.0, 104), None);
}

#[test]
fn numbers_that_begin_anew_are_neither_gap_nor_duplicate() {
    let mut feed = Feed::new();
    let mut secs = 0.0;
    // Restarts at 0, also before 32 numbers were seen, and at the base of a new session.
    for (start, ticks) in [
        (0, 20),
        (0, 25),
        (0, 500),
        (0, 500),
        (20_240_103_000_000_000, 500),
        (5, 500),
    ] {
        for number in start..start + ticks {
            secs += 1.0;
            assert_eq!(feed.numbered(secs, number), None, "{number} of {start}");
        }
    }
}

#[test]
fn numbers_that_instruments_share_or_that_come_out_of_order_are_no_gap() {
    let mut feed = Feed::new();
    for i in 0..10_000_u64 {
        assert_eq!(feed.numbered(i as f64, 3 * i + i % 2), None);
    }
    let mut feed = Feed::new();
    for i in 0..10_000_u64 {
        assert_eq!(feed.numbered(i as f64, if i % 20 < 2 { i ^ 1 } else { i }), None);
    }
}

#[test]
fn long_silence_is_stale_against_the_instruments_own() {
    let mut busy = Feed::new();
    let now = busy.ordinary(0.0, 2000);
    assert_eq!(busy.trade(now + 2.5, 10.0), None);
    assert_eq!(busy.trade(now + 20.0, 10.01), Some(Guard::Stale));
    let body = Body::Trade(Trade {
        price: 10.0,
        size: None,
    });
    busy.config.time_future = false;
    let arrival_means_nothing = -OPEN;
    let found = busy.take(now + 200.0, arrival_means_nothing, None, body);
    assert_eq!(found, Some(Guard::Stale));
    let mut idle = Feed::new();
    let mut secs = 0.0;
    for i in 0..3000_u32 {
        secs += if i % 10 == 0 { 300.0 } else { 0.5 };
        assert_eq!(idle.trade(secs, 10.0 + 0.01 * f64::from(i % 7)), None);
    }
    assert_eq!(idle.trade(secs + 400.0, 10.0), None);
}

#[test]
fn nights_raise_no_alarm_and_breaks_of_a_session_one() {
    let mut feed = Feed::new();
    let mut now = 0.0;
    for _ in 0..10 {
        now = feed.ordinary(now, 4000) + 3600.0;
        now = feed.ordinary(now, 4000) + 63_000.0;
    }
    assert_eq!(feed.alarms, [Guard::Stale]);
}

#[test]
fn feed_that_repeats_itself_is_frozen_and_found_once() {
    let mut feed = Feed::new();
    let now = feed.ordinary(0.0, 1000);
    for i in 0..5000 {
        feed.trade(now + f64::from(i), 10.0);
    }
    assert_eq!(feed.alarms, [Guard::Frozen]);
}

#[test]
fn prices_that_stand_still_by_nature_are_not_frozen() {
    let mut constant = Feed::new();
    for i in 0..20_000 {
        constant.quote(f64::from(i), 10.0, 10.1);
    }
    assert!(constant.alarms.is_empty());
    // An idle instrument whose price changes every few hundred ticks.
    let mut idle = Feed::new();
    let mut secs = 0.0;
    for i in 0..400_u32 {
        for _ in 0..50 + i * 97 % 300 {
            secs += 1.0;
            idle.quote(secs, 10.0 + 0.01 * f64::from(i % 5), 11.0);
        }
    }
    assert!(idle.alarms.is_empty(), "{:?}", idle.alarms);
}

#[test]
fn switched_off_guard_finds_nothing() {
    let mut feed = Feed::new();
    feed.config.crossed_quote = false;
    assert_eq!(feed.quote(1.0, 10.2, 10.1), None);
}

#[test]
fn numbers_that_name_what_came_before_show_a_hole_at_once_and_identifiers_never() {
    use crate::pipeline::tick::{Order, Sequence};
    let step = |feed: &mut Feed, secs: f64, number: u64, order| {
        let tick = Tick {
            event_time: EventTime(((OPEN + secs) * 1e9) as i64),
            sequence: Some(Sequence { number, order }),
            body: Body::Trade(Trade {
                price: 10.0,
                size: None,
            }),
        };
        let checked = feed.state.observe(&feed.config, &tick, ArrivalTime(tick.event_time.0));
        (checked.is_repeated, checked.finding.map(|finding| finding.fact))
    };
    let mut feed = Feed::new();
    assert_eq!(step(&mut feed, 0.0, 5, Order::Covering(5)), (false, None));
    assert_eq!(step(&mut feed, 1.0, 9, Order::Covering(4)), (false, None));
    let missing = Some(Fact::Missing {
        expected: 10,
        found: 12,
    });
    assert_eq!(step(&mut feed, 2.0, 14, Order::Covering(3)), (false, missing));
    let mut feed = Feed::new();
    for number in 0..100 {
        assert_eq!(step(&mut feed, number as f64, number, Order::Rising), (false, None));
    }
    assert_eq!(step(&mut feed, 100.0, 200, Order::Rising), (false, None));
    assert_eq!(step(&mut feed, 101.0, 3, Order::Text), (false, None));
    let (is_repeated, fact) = step(&mut feed, 101.0, 3, Order::Text);
    assert!(is_repeated && fact.unwrap().to_string().contains("identifier"));
}
