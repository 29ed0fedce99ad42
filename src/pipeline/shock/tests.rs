//! Shocks driven by hand: instruments whose scores are given.

use super::*;
use crate::config::Config;
use crate::pipeline::alert::{Cause, FeatureShare, Mode, Severity};
use crate::pipeline::arms::Arm;
use crate::pipeline::guard::{Fact, Finding};
use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick::{Body, Tick, Trade};

const QUIET: f32 = 0.0;
const LOUD: f32 = 5.0;

/// What a tick of a test says.
#[derive(Clone, Copy)]
enum Says {
    /// An anomaly led by this feature.
    Feature(&'static str),
    /// A guard.
    Guard(Guard),
}

const MARKET: Says = Says::Feature("reference_return");

/// Instruments and their shocks.
struct Floor {
    config: AlertConfig,
    shocks: Shocks,
    instruments: Vec<(Arc<str>, Membership, Episode)>,
    next: i64,
    out: Vec<Alert>,
}

impl Floor {
    fn new(instruments: usize, settings: &str) -> Self {
        let text = format!("[alerts]\nquiet_ticks = 2\n{settings}");
        let config = Config::from_toml(&text).unwrap().alerts;
        Floor {
            shocks: Shocks::new(&config),
            config,
            instruments: (0..instruments)
                .map(|index| (format!("I{index}").into(), Membership::default(), Episode::default()))
                .collect(),
            next: 0,
            out: Vec::new(),
        }
    }

    /// One tick of an instrument, arriving at so many seconds, when it was made.
    fn tick(&mut self, slot: usize, secs: f64, score: f32, says: Says) {
        self.late_tick(slot, secs, secs, score, says);
    }

    /// One tick of an instrument, made at so many seconds and arriving at so many.
    fn late_tick(&mut self, slot: usize, made_secs: f64, secs: f64, score: f32, says: Says) {
        let at = TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(0),
        };
        let (arm, kind) = match says {
            Says::Feature(_) => (Arm::Judge, AlertKind::Anomaly),
            Says::Guard(guard) => (Arm::Guard, AlertKind::Guard(guard)),
        };
        let offset = Offset(self.next);
        self.next += 1;
        let seen = Observation {
            cause: Cause {
                position: Position { at, offset },
                index: None,
                arrival_time: nanos(secs),
                clock_time: nanos(secs),
                tick: Tick {
                    event_time: EventTime(nanos(made_secs).0),
                    sequence: None,
                    body: Body::Trade(Trade { price: 1.0, size: None }),
                },
            },
            score,
            lasting: score,
            threshold: 4.0,
            arm,
            kind,
            finding: match says {
                Says::Guard(guard) => Some(Finding {
                    guard,
                    surprise: score,
                    fact: Fact::Repeated { sequence: 1.into() },
                }),
                Says::Feature(_) => None,
            },
            mode: Mode::Scoring,
            model_version: Some(ModelVersion(1)),
        };
        let features = || match says {
            Says::Guard(_) => Vec::new(),
            Says::Feature(name) => vec![FeatureShare {
                feature: CATALOGUE.iter().position(|feature| feature.name == name).unwrap(),
                share: 1.0,
                observed: 9.0,
                expected: None,
                feed: None,
            }],
        };
        let (name, part, episode) = &mut self.instruments[slot];
        let revision = episode.observe(&self.config, name, "ticks", &seen, features);
        let published = self.shocks.observe(slot, part, episode, &seen, revision);
        self.out.extend(published.into_iter().flatten());
    }

    /// A quiet tick of every instrument.
    fn quiet(&mut self, secs: f64) {
        (0..self.instruments.len()).for_each(|slot| self.tick(slot, secs, QUIET, MARKET));
    }

    /// Alerts of so many instruments, ten milliseconds apart.
    fn shock(&mut self, slots: std::ops::Range<usize>, secs: f64, says: Says) {
        for slot in slots {
            self.tick(slot, secs + 0.01 * slot as f64, LOUD, says);
        }
    }

    /// Takes what was published so far: instrument and state of each.
    fn told(&mut self) -> Vec<(String, &'static str)> {
        let told = |alert: Alert| (alert.instrument.to_string(), alert.state.name());
        self.out.drain(..).map(told).collect()
    }

    fn group(&self) -> &Group {
        let groups = self.out.iter().rev().filter_map(|alert| alert.group.as_deref());
        groups.take(1).next().expect("a grouped alert")
    }
}

fn nanos(secs: f64) -> ArrivalTime {
    ArrivalTime((secs * NANOS_PER_SEC as f64) as i64)
}

fn told(all: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    all.iter().map(|(name, state)| (name.to_string(), *state)).collect()
}

#[test]
fn alerts_of_many_instruments_at_once_are_one() {
    let mut floor = Floor::new(20, "");
    floor.quiet(0.0);
    floor.shock(0..20, 10.0, MARKET);
    let group = floor.group();
    assert_eq!((group.instruments, group.active, group.alerts_folded), (12, 20, 7));
    assert_eq!(&*group.published[0], "ticks-0-20");
    let shock = floor.out.iter().find(|alert| alert.kind == AlertKind::Shock).unwrap();
    assert_eq!(&*shock.id, "ticks-0-25-shock", "the sixth of twenty makes 0.3 of them");
    let alone: Vec<String> = (0..5).map(|slot| format!("I{slot}")).collect();
    let mut expected: Vec<(&str, &str)> = alone.iter().map(|name| (name.as_str(), "opened")).collect();
    expected.extend([("*", "opened"), ("*", "updated")]);
    assert_eq!(floor.told(), told(&expected));

    // Alerts that were published resolve as ever, the others with the shock, and what comes later is an alert again.
    floor.quiet(20.0);
    floor.quiet(21.0);
    let resolved: Vec<(&str, &str)> = alone.iter().map(|name| (name.as_str(), "resolved")).collect();
    assert_eq!(floor.told(), told(&resolved));
    floor.quiet(71.0);
    assert_eq!(
        (
            floor.group().instruments,
            floor.group().alerts_folded,
            floor.group().alerts_open
        ),
        (20, 15, 0)
    );
    assert_eq!(floor.told(), told(&[("*", "resolved")]));
    floor.tick(7, 72.0, LOUD, MARKET);
    assert_eq!(floor.told(), told(&[("I7", "opened")]));
}

#[test]
fn alerts_of_few_instruments_or_of_many_one_after_the_other_are_alerts_each() {
    let is_grouped = |floor: &Floor| floor.out.iter().any(|alert| alert.group.is_some());
    for (instruments, alerts, settings) in [
        (6, 4, ""),
        (20, 5, ""),
        (20, 20, "shock_instruments_min = 0"),
        (20, 20, "shock_instruments_min = 21"),
    ] {
        let mut floor = Floor::new(instruments, settings);
        floor.quiet(0.0);
        floor.shock(0..alerts, 10.0, MARKET);
        assert!(!is_grouped(&floor), "{alerts} of {instruments}, {settings}");
        assert_eq!(floor.out.len(), alerts);
    }
    let mut slow = Floor::new(20, "");
    (0..20).for_each(|slot| slow.tick(slot, slot as f64, LOUD, MARKET));
    assert!(!is_grouped(&slow));
    // One instrument that opens again and again is one.
    let mut one = Floor::new(5, "");
    for step in 0..20 {
        one.tick(
            0,
            0.01 * f64::from(step),
            if step % 3 == 0 { LOUD } else { QUIET },
            MARKET,
        );
    }
    assert!(!is_grouped(&one));
}

#[test]
fn instruments_that_have_gone_silent_are_not_at_work() {
    let mut floor = Floor::new(40, "");
    floor.quiet(0.0);
    floor.shock(0..5, 100.0, MARKET);
    assert_eq!((floor.group().instruments, floor.group().active), (5, 5));
}

#[test]
fn feed_and_market_are_told_apart() {
    let looks_like = |says: &[Says]| {
        let mut floor = Floor::new(10, "");
        says.iter()
            .enumerate()
            .for_each(|(slot, says)| floor.tick(slot, 0.01, LOUD, *says));
        floor.group().looks_like
    };
    for market in ["reference_return", "volatility_ratio", "spread", "trade_size"] {
        assert_eq!(looks_like(&[Says::Feature(market); 5]), LooksLike::Market, "{market}");
    }
    let of_feed: Vec<&str> = CATALOGUE
        .iter()
        .filter(|feature| feature.tells == Tells::OfFeed)
        .map(|feature| feature.name)
        .collect();
    assert!(
        of_feed.contains(&"gap") && of_feed.len() < CATALOGUE.len() / 4,
        "{of_feed:?}"
    );
    for feed in of_feed {
        assert_eq!(looks_like(&[Says::Feature(feed); 5]), LooksLike::Feed, "{feed}");
    }
    for guard in Guard::ALL {
        let is_market = matches!(guard, Guard::CrossedQuote | Guard::LockedQuote);
        let expected = if is_market { LooksLike::Market } else { LooksLike::Feed };
        assert_eq!(looks_like(&[Says::Guard(guard); 5]), expected, "{guard:?}");
    }
    let stale = Says::Guard(Guard::Stale);
    assert_eq!(looks_like(&[stale, MARKET, stale, MARKET, stale]), LooksLike::Feed);
    assert_eq!(looks_like(&[stale, MARKET, MARKET, MARKET, stale]), LooksLike::Market);
}

#[test]
fn group_is_told_again_when_it_has_doubled_or_grown_worse() {
    let mut floor = Floor::new(40, "shock_share = 0.1");
    floor.shock(0..40, 0.0, MARKET);
    let instruments: Vec<usize> = floor
        .out
        .iter()
        .filter_map(|alert| alert.group.as_ref())
        .map(|of| of.instruments)
        .collect();
    assert_eq!(instruments, [5, 10, 20, 40]);
    assert_eq!(
        (floor.group().names.len(), floor.group().published.len()),
        (NAMED_MAX, 4)
    );
    floor.told();
    floor.tick(30, 1.0, 5.9, MARKET);
    assert_eq!(floor.told(), []);
    floor.tick(31, 1.0, 6.0, Says::Guard(Guard::Stale));
    let worse = &floor.out[0];
    assert_eq!(
        (&*worse.instrument, worse.state, worse.revision, worse.arm),
        ("*", AlertState::Updated, 4, Arm::Guard)
    );
    assert_eq!((worse.score_max, worse.severity), (6.0, Severity::Critical));
}

#[test]
fn alert_that_outlives_its_shock_is_one_of_its_own() {
    let mut floor = Floor::new(10, "");
    floor.shock(0..10, 0.0, MARKET);
    floor.told();
    // All others end at once, and one goes on for longer than a silence.
    for step in 0..32 {
        let secs = 1.0 + 10.0 * f64::from(step);
        (0..9).for_each(|slot| floor.tick(slot, secs, QUIET, MARKET));
        floor.tick(9, secs, LOUD, MARKET);
    }
    let mut expected: Vec<(String, &str)> = (0..4).map(|slot| (format!("I{slot}"), "resolved")).collect();
    expected.extend(told(&[("*", "resolved"), ("I9", "opened")]));
    assert_eq!(floor.group().alerts_open, 1);
    let own = floor.out.last().unwrap();
    assert_eq!((own.revision, &*own.id, own.ticks), (0, "ticks-0-9", 32));
    assert_eq!(floor.told(), expected);
    floor.quiet(400.0);
    floor.quiet(401.0);
    assert_eq!(floor.told(), told(&[("I9", "resolved")]));
}

#[test]
fn many_that_stay_open_keep_the_shock_but_it_takes_in_no_more() {
    let mut floor = Floor::new(20, "");
    floor.quiet(0.0);
    floor.shock(0..12, 0.0, MARKET);
    floor.told();
    for step in 0..50 {
        let secs = 1.0 + 10.0 * f64::from(step);
        (0..12).for_each(|slot| floor.tick(slot, secs, LOUD, MARKET));
    }
    assert_eq!(floor.told(), []);
    floor.tick(15, 500.0, LOUD, MARKET);
    assert_eq!(floor.told(), told(&[("I15", "opened")]));
    // The shock comes back: what was published stays so, the next joins, and the group says so when it has doubled.
    floor.shock(12..19, 501.0, MARKET);
    let all = floor.told();
    let own = all.iter().filter(|(name, _)| name != "*").count();
    assert!((4..7).contains(&own) && floor.shocks.is_standing(), "{all:?}");
}

#[test]
fn what_arrives_at_once_and_happened_one_after_the_other_is_an_alert_each() {
    let mut floor = Floor::new(20, "");
    // A recording of half an hour that is loaded within a second.
    for minute in 0..30 {
        for slot in 0..20 {
            let (made, arrival) = (60.0 * f64::from(minute) + 0.01 * slot as f64, 0.03 * f64::from(minute));
            floor.late_tick(
                slot,
                made,
                arrival,
                if slot == minute as usize { LOUD } else { QUIET },
                MARKET,
            );
        }
    }
    assert!(floor.out.iter().all(|alert| alert.kind != AlertKind::Shock));
    assert_eq!(floor.told().iter().filter(|(_, state)| *state == "opened").count(), 20);
}

#[test]
fn what_happened_at_once_in_a_recording_is_one_alert_and_ends_by_event_time() {
    let mut floor = Floor::new(20, "");
    let at = |floor: &mut Floor, made: f64, slots: std::ops::Range<usize>, score: f32| {
        slots.for_each(|slot| floor.late_tick(slot, made, 1e-3 * made, score, MARKET));
    };
    at(&mut floor, 10.0, 0..20, QUIET);
    at(&mut floor, 20.0, 0..8, LOUD);
    assert_eq!(floor.group().instruments, 6, "the sixth of twenty makes 0.3 of them");
    for made in [21.0, 22.0, 50.0, 70.0, 90.0] {
        at(&mut floor, made, 0..20, QUIET);
    }
    assert_eq!(
        floor.out.last().map(|alert| (alert.kind, alert.state)),
        Some((AlertKind::Shock, AlertState::Resolved))
    );
    floor.told();
    at(&mut floor, 100.0, 12..13, LOUD);
    assert_eq!(floor.told(), told(&[("I12", "opened")]));
}

#[test]
fn silence_ends_folded_alerts_and_then_the_shock() {
    let mut floor = Floor::new(6, "");
    floor.shock(0..6, 0.0, MARKET);
    floor.told();
    let after = |secs: i64| ArrivalTime(secs * NANOS_PER_SEC);
    assert_eq!(floor.shocks.end_silent(after(400)), None, "its alerts are open");
    for (_, part, episode) in &mut floor.instruments {
        floor.out.extend(floor.shocks.end(part, episode));
    }
    floor.out.extend(floor.shocks.end_silent(after(400)));
    let mut expected: Vec<(String, &str)> = (0..4).map(|slot| (format!("I{slot}"), "resolved")).collect();
    expected.extend(told(&[("*", "resolved")]));
    assert_eq!(floor.told(), expected);
}
