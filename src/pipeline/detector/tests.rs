//! The detector driven by hand, with a scorer of three lines in place of a network.

use super::*;
use crate::config::Config;
use crate::pipeline::alert::{Alert, AlertKind, AlertState};
use crate::pipeline::arms::{Arms, RowErrors, RunningErrors};
use crate::pipeline::calibration::{Calibration, Calibrations};
use crate::pipeline::decode::{Format, JsonFields, Texts, TimeUnit, Unmatched};
use crate::pipeline::feature::FEATURES;
use crate::pipeline::guard::Guard;
use crate::pipeline::position::{NextOffset, Offset, Partition, Position, TopicIndex};
use crate::pipeline::scaler::InputTransform;
use crate::pipeline::score::{Context, Evidence, Item, Scorer, Workspace};
use crate::pipeline::time::NANOS_PER_SEC;

/// Rebuilds every row as zeros, so that a row's error is its own size.
struct Zeros;

impl Scorer for Zeros {
    fn lookback(&self) -> usize {
        4
    }

    fn state_len(&self) -> usize {
        0
    }

    fn score(&self, items: &mut [Item<'_>], _: &mut Workspace, evidence: &mut Evidence) {
        evidence.clear();
        evidence.reconstruction.resize(items.len() * FEATURES, 0.0);
    }
}

fn model(version: u32) -> Model {
    let raw: Vec<_> = (0..2001_i16).map(|i| [f32::from(i - 1000) / 500.0; FEATURES]).collect();
    let transform = InputTransform::fit(&raw);
    let mut running = RunningErrors::default();
    let errors = |raw| RowErrors::new(&transform.apply(raw), &[0.0; FEATURES], None, None, Some(&mut running));
    let rows: Vec<_> = raw.iter().map(errors).collect();
    let pooled = Arc::new(Calibration::fit(transform, &rows, Arms::ALL));
    let instruments = [("A".to_string(), Arc::clone(&pooled))].into();
    Model {
        version: ModelVersion(version),
        scorer: Arc::new(Zeros),
        calibrations: Arc::new(Calibrations { pooled, instruments }),
    }
}

fn config() -> DetectorConfig {
    let at = |pointer: &str| pointer.to_string();
    DetectorConfig {
        topics: vec!["ticks".into()],
        decode: DecodeConfig {
            format: Format::Csv,
            preset: Texts::default(),
            preset_rules: Vec::new(),
            unmatched: Unmatched::DeadLetter,
            rules: Vec::new(),
            empty_values: Texts::default(),
            elements_max: 100,
            json: JsonFields {
                instrument: at("/s"),
                time: at("/t"),
                time_unit: TimeUnit::Ns,
                kind: String::new(),
                trade_values: Vec::new(),
                quote_values: Vec::new(),
                price: at("/p"),
                size: String::new(),
                bid: String::new(),
                ask: String::new(),
                bid_size: String::new(),
                ask_size: String::new(),
                sequence: at("/seq"),
            },
            record_bytes_max: 1000,
            instrument_bytes_max: 10,
            year_min: 1990,
            year_max: 2100,
        },
        // Records arrive in 1970 here.
        guards: GuardConfig {
            time_future: false,
            ..Config::from_toml("").unwrap().guards
        },
        alerts: AlertConfig {
            false_alarms_per_10k_ticks: 1.0,
            quiet_ticks: 5,
            hysteresis_decades: 1.0,
            critical_decades: 2.0,
            update_decades: 1.0,
            silence_secs: 60,
            ..Config::from_toml("").unwrap().alerts
        },
        limits: LimitConfig {
            stride: 1,
            warm_up_rows: 0,
            instruments_max: 3,
            rows_kept: 8,
            stamp_ahead_secs_max: 10,
        },
    }
}

/// A driver that hands in lines of CSV, one offset after the other, on one partition.
struct Driver {
    detector: Detector,
    effects: Effects,
    next: i64,
}

const AT: TopicPartition = TopicPartition {
    topic: TopicIndex(0),
    partition: Partition(0),
};

impl Driver {
    fn new(config: DetectorConfig) -> Self {
        Driver {
            detector: Detector::new(config).unwrap(),
            effects: Effects::default(),
            next: 0,
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.detector
            .handle(ArrivalTime(self.next * NANOS_PER_SEC), input, &mut self.effects);
    }

    fn payload_at(&mut self, offset: i64, payload: Option<&[u8]>) {
        let record = Record {
            position: Position {
                at: AT,
                offset: Offset(offset),
            },
            arrival_time: ArrivalTime(self.next * NANOS_PER_SEC),
            key: None,
            payload,
        };
        self.input(Input::Record(record));
    }

    fn payload(&mut self, payload: &str) {
        let offset = self.next;
        self.next += 1;
        self.payload_at(offset, Some(payload.as_bytes()));
    }

    fn trade(&mut self, instrument: &str, price: f64) {
        let time = 1_700_000_000 * NANOS_PER_SEC + self.next * 1_000_000;
        self.payload(&format!("{time},{instrument},trade,{price},1,,,,"));
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.input(Input::EndOfBatch);
        let outcomes = self.effects.verdicts.iter().map(|verdict| verdict.outcome).collect();
        self.effects.verdicts.clear();
        outcomes
    }
}

#[test]
fn every_record_has_exactly_one_outcome() {
    use Outcome::{AlreadyApplied, NoModel, OverCap, Rejected, Scored, WarmUp};
    let mut driver = Driver::new(config());
    driver.trade("A", 10.0);
    driver.payload("garbage");
    driver.payload_at(0, Some(b"again"));
    driver.payload_at(7, None);
    assert_eq!(driver.outcomes(), [NoModel, Rejected, AlreadyApplied, Rejected]);
    driver.next = 8;
    driver.input(Input::Model(model(1)));
    for name in ["B", "C", "D", "A", "A", "A"] {
        driver.trade(name, 10.0);
    }
    assert_eq!(driver.outcomes(), [WarmUp, WarmUp, OverCap, WarmUp, WarmUp, Scored]);
    let dead: Vec<_> = driver
        .effects
        .actions
        .iter()
        .filter(|effect| matches!(effect, Effect::DeadLetter(_)))
        .collect();
    assert_eq!(dead.len(), 2);
}

#[test]
fn stride_scores_every_nth_row() {
    use Outcome::{BetweenStrides, Scored, WarmUp};
    let mut driver = Driver::new(DetectorConfig {
        limits: LimitConfig {
            stride: 2,
            ..config().limits
        },
        ..config()
    });
    driver.input(Input::Model(model(1)));
    (0..7).for_each(|_| driver.trade("A", 10.0));
    let expected = [WarmUp, WarmUp, WarmUp, BetweenStrides, Scored, BetweenStrides, Scored];
    assert_eq!(driver.outcomes(), expected);
}

#[test]
fn repeated_feed_sequence_is_a_duplicate_and_equal_content_is_none() {
    let decode = DecodeConfig {
        format: Format::Json,
        ..config().decode
    };
    let mut driver = Driver::new(DetectorConfig { decode, ..config() });
    for sequence in [1, 2, 2, 1, 3] {
        driver.payload(&format!(
            r#"{{"s":"A","t":1700000000000000000,"p":1.5,"seq":{sequence}}}"#
        ));
    }
    let plain = r#"{"s":"A","t":1700000000000000000,"p":1.5}"#;
    driver.payload(plain);
    driver.payload(plain);
    use Outcome::{Duplicate, NoModel};
    assert_eq!(
        driver.outcomes(),
        [NoModel, NoModel, Duplicate, Duplicate, NoModel, NoModel, NoModel]
    );
}

#[test]
fn duplicate_can_raise_an_alert_but_counts_as_no_tick_of_one() {
    let decode = DecodeConfig {
        format: Format::Json,
        ..config().decode
    };
    let mut driver = Driver::new(DetectorConfig { decode, ..config() });
    let payload = |driver: &mut Driver, number: i64| {
        let (time, price) = (1_700_000_000_000_000_000 + number * 1_000_000, 10 + number % 2);
        driver.payload(&format!(r#"{{"s":"A","t":{time},"p":{price},"seq":{number}}}"#));
    };
    (0..10_000).for_each(|number| payload(&mut driver, number));
    (0..8).for_each(|_| payload(&mut driver, 9_999));
    (10_000..10_004).for_each(|number| payload(&mut driver, number));
    driver.input(Input::EndOfBatch);
    assert_eq!(driver.detector.status().open_alerts, 1);
    payload(&mut driver, 10_004);
    driver.input(Input::EndOfBatch);
    let alerts = alerts(&driver.effects);
    let kinds: Vec<_> = alerts.iter().map(|alert| (alert.kind.name(), alert.ticks)).collect();
    assert_eq!(kinds, [("duplicate", 1), ("duplicate", 6)]);
}

#[test]
fn late_tick_is_flagged_and_scored() {
    let mut driver = Driver::new(config());
    driver.input(Input::Model(model(1)));
    (0..6).for_each(|_| driver.trade("A", 10.0));
    driver.payload("1600000000000000000,A,trade,10,1,,,,");
    driver.input(Input::EndOfBatch);
    let last = driver.effects.verdicts.last().unwrap();
    assert_eq!((last.outcome, last.guard), (Outcome::Scored, Some(Guard::TimeRegress)));
}

#[test]
fn guard_alert_opens_before_any_model_and_resolves() {
    let mut driver = Driver::new(config());
    (0..10).for_each(|_| driver.trade("A", 10.0));
    driver.trade("A", 100.0);
    (0..10).for_each(|_| driver.trade("A", 10.0));
    driver.input(Input::EndOfBatch);
    let alerts: Vec<_> = alerts(&driver.effects);
    assert_eq!(
        alerts.iter().map(|alert| alert.state).collect::<Vec<_>>(),
        [AlertState::Opened, AlertState::Resolved]
    );
    assert_eq!(alerts[0].kind, AlertKind::Guard(Guard::DecimalShift));
    assert_eq!(&*alerts[0].id, "ticks-0-10");
    assert!(alerts[0].features.is_empty());
}

fn alerts(effects: &Effects) -> Vec<&Alert> {
    fn alert(effect: &Effect) -> Option<&Alert> {
        match effect {
            Effect::Alert(alert) => Some(alert),
            Effect::DeadLetter(_) | Effect::Commit(..) | Effect::Outside(..) => None,
        }
    }
    effects.actions.iter().filter_map(alert).collect()
}

#[test]
fn model_alert_names_features_with_shares_that_sum_to_one() {
    let mut driver = Driver::new(config());
    driver.input(Input::Model(model(3)));
    (0..200).for_each(|i| driver.trade("A", 10.0 + 0.01 * f64::from(i % 3)));
    driver.input(Input::EndOfBatch);
    driver.detector.slots[0].as_mut().unwrap().episode = Default::default();
    driver.effects.clear();
    driver.trade("A", 12.0);
    driver.input(Input::EndOfBatch);
    let alerts = alerts(&driver.effects);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].model_version, Some(ModelVersion(3)));
    let sum: f32 = alerts[0].features.iter().map(|feature| feature.share).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert!(alerts[0].features.iter().all(|feature| feature.expected == Some(0.0)));
}

#[test]
fn open_alert_of_a_silent_instrument_resolves_with_time() {
    let mut driver = Driver::new(config());
    (0..10).for_each(|_| driver.trade("A", 10.0));
    driver.trade("A", 100.0);
    driver.input(Input::Time { idle: &[AT] });
    assert_eq!(driver.detector.status().open_alerts, 1);
    driver.next += 100;
    driver.input(Input::Time { idle: &[AT] });
    assert_eq!(driver.detector.status().open_alerts, 0);
}

#[test]
fn a_backlog_is_worked_off_in_its_own_time() {
    let mut driver = Driver::new(config());
    (0..10).for_each(|_| driver.trade("A", 10.0));
    driver.trade("A", 100.0);
    driver.next += 100;
    driver.input(Input::Time { idle: &[] });
    assert_eq!(
        driver.detector.status().open_alerts,
        1,
        "its next ticks may wait in the topic"
    );
}

/// A market on one partition: a tick of each instrument a second, with what happens to some of them.
struct Market {
    detector: Detector,
    effects: Effects,
    offset: i64,
    secs: i64,
    batch: usize,
}

impl Market {
    const OPEN_SECS: i64 = 1_700_000_000;

    fn new(instruments_max: usize, batch: usize) -> Self {
        let limits = LimitConfig {
            instruments_max,
            ..config().limits
        };
        Market {
            detector: Detector::new(DetectorConfig { limits, ..config() }).unwrap(),
            effects: Effects::default(),
            offset: 0,
            secs: Self::OPEN_SECS,
            batch,
        }
    }

    /// One tick; its record is stamped so many seconds ahead of the wall clock.
    fn quote(&mut self, partition: i32, name: &str, bid: f64, ask: f64, ahead_secs: i64) {
        let line = format!("{},{name},quote,,,{bid},{ask},1,1", self.secs * NANOS_PER_SEC);
        let record = Record {
            position: Position {
                at: TopicPartition {
                    topic: TopicIndex(0),
                    partition: Partition(partition),
                },
                offset: Offset(self.offset),
            },
            arrival_time: ArrivalTime((self.secs + ahead_secs) * NANOS_PER_SEC),
            key: None,
            payload: Some(line.as_bytes()),
        };
        self.offset += 1;
        let wall = ArrivalTime(self.secs * NANOS_PER_SEC);
        self.detector.handle(wall, Input::Record(record), &mut self.effects);
        if (self.offset as usize).is_multiple_of(self.batch) {
            self.detector.handle(wall, Input::EndOfBatch, &mut self.effects);
        }
    }

    /// So many seconds in which nothing happens.
    fn quiet(&mut self, names: &[String], secs: i64) {
        for _ in 0..secs {
            self.secs += 1;
            names.iter().for_each(|name| self.quote(0, name, 10.0, 10.1, 0));
        }
    }

    fn opened(&mut self) -> Vec<Alert> {
        let wall = ArrivalTime(self.secs * NANOS_PER_SEC);
        self.detector.handle(wall, Input::EndOfBatch, &mut self.effects);
        let all = alerts(&self.effects).into_iter().cloned();
        let opened = all.filter(|alert| alert.state == AlertState::Opened).collect();
        self.effects.actions.clear();
        opened
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| format!("I{index}")).collect()
}

#[test]
fn stamps_from_the_future_hold_no_shock_open() {
    let all = names(0..27);
    for ahead_secs in [0, 86_400] {
        let mut market = Market::new(100, 50);
        market.quiet(&all, 20);
        all[..15]
            .iter()
            .for_each(|name| market.quote(0, name, 10.2, 10.1, ahead_secs));
        let first = market.opened();
        assert_eq!(first.last().unwrap().kind, AlertKind::Shock, "{ahead_secs}");
        // Single incidents in the hour after, five minutes apart.
        let mut own = 0;
        for name in &all[15..] {
            market.quiet(&all, 300);
            market.quote(0, name, 10.2, 10.1, 0);
            own += market
                .opened()
                .iter()
                .filter(|alert| *alert.instrument == **name)
                .count();
        }
        assert_eq!(own, 12, "{ahead_secs} s ahead");
        let ahead = market
            .effects
            .verdicts
            .iter()
            .filter(|verdict| verdict.is_stamp_ahead)
            .count();
        assert_eq!(ahead, if ahead_secs > 0 { 15 } else { 0 });
    }
}

#[test]
fn one_stamp_from_the_future_does_not_tear_an_incident_apart() {
    let mut market = Market::new(100, 50);
    let one = names(0..1);
    market.quiet(&one, 100);
    market.quote(0, "I0", 10.0, 10.1, 3_000);
    for _ in 0..60 {
        market.secs += 1;
        market.quote(0, "I0", 10.0, 10.1, 0);
        market.quote(0, "I0", 10.2, 10.1, 0);
        let wall = ArrivalTime(market.secs * NANOS_PER_SEC);
        market
            .detector
            .handle(wall, Input::Time { idle: &[AT] }, &mut market.effects);
    }
    assert_eq!(market.opened().len(), 1);
}

#[test]
fn silence_ends_an_alert_at_the_same_record_however_records_are_cut_into_batches() {
    let run = |batch| {
        let mut market = Market::new(100, batch);
        market.quiet(&names(0..2), 50);
        market.quote(0, "I0", 10.2, 10.1, 0);
        market.quiet(&names(1..2), 70);
        market.quote(0, "I0", 10.2, 10.1, 0);
        market.opened();
        (market.effects, market.detector.status())
    };
    let mut market = Market::new(100, 7);
    market.quiet(&names(0..2), 50);
    market.quote(0, "I0", 10.2, 10.1, 0);
    market.quiet(&names(1..2), 70);
    market
        .detector
        .handle(ArrivalTime(0), Input::EndOfBatch, &mut market.effects);
    let states: Vec<AlertState> = alerts(&market.effects).iter().map(|alert| alert.state).collect();
    assert_eq!(states, [AlertState::Opened, AlertState::Resolved]);
    assert_eq!(run(1), run(7));
    assert_eq!(run(1), run(1000));
}

#[test]
fn a_name_on_two_partitions_is_two_instruments_and_neither_knows_the_other() {
    let run = |with_other: bool| {
        let mut market = Market::new(100, 13);
        for second in 0..200 {
            market.secs += 1;
            for (partition, price) in [(0, 10.0), (1, 5_000.0)] {
                let crossed = if second == 150 { 0.2 } else { 0.0 };
                if partition == 0 || with_other {
                    market.quote(partition, "A", price + crossed, price + 0.1, 0);
                } else {
                    market.offset += 1;
                }
            }
        }
        let instruments = market.detector.status().instruments;
        let of_first = market
            .opened()
            .into_iter()
            .filter(|alert| alert.latest.position.at == AT);
        (instruments, of_first.collect::<Vec<_>>())
    };
    let ((alone, first), (both, same)) = (run(false), run(true));
    assert_eq!((alone, both), (1, 2));
    assert_eq!(first.len(), 1);
    assert_eq!(first, same);
}

#[test]
fn dead_letters_are_found_by_the_record_that_they_are() {
    let mut driver = Driver::new(config());
    driver.payload("garbage");
    driver.payload("rubbish");
    let position = |offset| Position {
        at: AT,
        offset: Offset(offset),
    };
    let first: Vec<DeadLetter> = driver.effects.take_dead_letters(position(0)).collect();
    assert_eq!(
        first.iter().map(|letter| letter.position).collect::<Vec<_>>(),
        [position(0)]
    );
    assert_eq!(driver.effects.take_dead_letters(position(0)).count(), 0);
    assert_eq!(driver.effects.take_dead_letters(position(1)).count(), 1);
}

#[test]
fn revoked_partition_takes_its_instruments_along() {
    let mut driver = Driver::new(config());
    for name in ["A", "B", "C"] {
        driver.trade(name, 10.0);
    }
    driver.input(Input::Revoked(&[AT]));
    assert_eq!(driver.detector.status().instruments, 0);
    driver.payload_at(0, Some(b"1700000000000000000,D,trade,10,1,,,,"));
    assert_eq!(driver.outcomes().last(), Some(&Outcome::NoModel));
}

#[test]
fn commit_covers_everything_handed_in_and_comes_last() {
    let mut driver = Driver::new(config());
    driver.trade("A", 10.0);
    driver.payload("garbage");
    driver.input(Input::EndOfBatch);
    assert_eq!(driver.effects.actions.last(), Some(&Effect::Commit(AT, NextOffset(2))));
    driver.effects.clear();
    driver.input(Input::EndOfBatch);
    assert!(driver.effects.actions.is_empty());
}

#[test]
fn alerts_do_not_depend_on_how_records_are_cut_into_batches() {
    let run = |cut: usize, alerts_config: AlertConfig| {
        let mut driver = Driver::new(DetectorConfig {
            alerts: alerts_config,
            ..config()
        });
        driver.input(Input::Model(model(1)));
        for i in 0..600_usize {
            let name = ["A", "B", "C"][i % 3];
            let price = if i % 97 > 94 {
                10.0 + i as f64 / 50.0
            } else {
                10.0 + 0.01 * (i % 5) as f64
            };
            driver.trade(name, price);
            if i % cut == 0 {
                driver.input(Input::EndOfBatch);
            }
        }
        driver.input(Input::EndOfBatch);
        let alerts: Vec<Alert> = alerts(&driver.effects).into_iter().cloned().collect();
        (alerts, driver.effects.verdicts)
    };
    let by_time = AlertConfig {
        false_alarms_per_instrument_day: 1e3,
        false_alarms_per_hour: 100.0,
        ..config().alerts
    };
    for alerts in [config().alerts, by_time] {
        let one = run(1, alerts.clone());
        assert!(one.0.len() > 5);
        assert_eq!(one, run(7, alerts.clone()));
        assert_eq!(one, run(500, alerts));
    }
}

/// Shares of the last ticks of A and B, at one and at four ticks a second for three hours.
fn shares(alerts: AlertConfig, with_b: bool) -> (f64, f64) {
    let mut driver = Driver::new(DetectorConfig { alerts, ..config() });
    let mut last = (0.0, 0.0);
    for i in 0..43_200_i64 {
        let time = 1_700_000_000 * NANOS_PER_SEC + i * NANOS_PER_SEC / 4;
        for (name, share) in [("A", &mut last.0), ("B", &mut last.1)] {
            if (name == "A" && i % 4 == 0) || (name == "B" && with_b) {
                driver.payload(&format!("{time},{name},trade,10,1,,,,"));
                driver.input(Input::EndOfBatch);
                *share = driver.effects.verdicts.last().unwrap().allowed_share;
            }
        }
        driver.effects.clear();
    }
    last
}

#[test]
fn budgets_by_time_hold_for_each_tick_and_only_a_total_couples_instruments() {
    let alerts = config().alerts;
    assert_eq!(shares(alerts.clone(), true), (1e-4, 1e-4));
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.01;
    let daily = AlertConfig {
        false_alarms_per_instrument_day: 2.0,
        ..alerts.clone()
    };
    let (a, b) = shares(daily.clone(), true);
    assert!(near(a, 2.0 / 86_400.0) && near(b, 2.0 / 345_600.0), "{a} {b}");
    assert_eq!(shares(daily, false).0, a);
    let hourly = AlertConfig {
        false_alarms_per_hour: 1.0,
        ..alerts
    };
    let (a, b) = shares(hourly.clone(), true);
    assert!(a == b && near(a, 1.0 / 18_000.0), "{a} {b}");
    assert_eq!(shares(hourly, false).0, 1e-4);
}

#[test]
fn verdict_says_whether_its_score_reaches_the_threshold_of_its_share() {
    let mut driver = Driver::new(config());
    (0..10).for_each(|_| driver.trade("A", 10.0));
    driver.trade("A", 100.0);
    driver.payload("garbage");
    driver.input(Input::EndOfBatch);
    let verdicts = &driver.effects.verdicts;
    assert!(verdicts[10].is_above && !verdicts[9].is_above && !verdicts[11].is_above);
    assert_eq!((verdicts[9].allowed_share, verdicts[11].allowed_share), (1e-4, 0.0));
}

#[test]
fn other_instruments_change_no_bit_of_a_score() {
    let run = |others: bool| {
        let mut driver = Driver::new(config());
        driver.input(Input::Model(model(1)));
        for i in 0..300_i64 {
            let time = 1_700_000_000 * NANOS_PER_SEC + i * 1_000_000;
            driver.payload(&format!("{time},A,trade,{},1,,,,", 10.0 + 0.01 * (i % 7) as f64));
            if others {
                driver.payload(&format!("{time},B,trade,{},9,,,,", 500.0 - i as f64));
            }
        }
        driver.input(Input::EndOfBatch);
        let step = if others { 2 } else { 1 };
        driver
            .effects
            .verdicts
            .iter()
            .step_by(step)
            .map(|verdict| verdict.score.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(false), run(true));
}

/// Carries the number of rows so far and rebuilds every row as a hundredth of it.
struct Counting;

impl Scorer for Counting {
    fn lookback(&self) -> usize {
        4
    }

    fn state_len(&self) -> usize {
        2
    }

    fn score(&self, items: &mut [Item<'_>], _: &mut Workspace, evidence: &mut Evidence) {
        evidence.clear();
        for item in items {
            let Context::Carried(state) = &mut item.context else {
                panic!("expected a carried state")
            };
            for _ in item.rows.chunks_exact(FEATURES) {
                state[0] += 1.0;
                evidence.reconstruction.extend([state[0] / 100.0; FEATURES]);
            }
        }
    }
}

fn counting() -> Model {
    Model {
        scorer: Arc::new(Counting),
        ..model(1)
    }
}

/// Runs ticks of instruments, as `names` says, in batches of so many; gives scores and the states in the end.
fn carried(names: &str, batch: usize) -> (Vec<u32>, Vec<f32>) {
    let mut driver = Driver::new(config());
    driver.input(Input::Model(counting()));
    for (index, name) in names.chars().enumerate() {
        driver.trade(&name.to_string(), 100.0 + (index % 7) as f64);
        if (index + 1) % batch == 0 {
            driver.input(Input::EndOfBatch);
        }
    }
    driver.input(Input::EndOfBatch);
    let instruments = driver.detector.slots.iter().flatten();
    let states = instruments.map(|instrument| instrument.state[0]).collect();
    let scores = driver.effects.verdicts.iter().map(|verdict| verdict.score.to_bits());
    (scores.collect(), states)
}

#[test]
fn carried_states_move_with_every_row_and_scores_do_not_depend_on_batches() {
    let names = "AABABBBAABAAABBABA".repeat(20);
    let (scores, states) = carried(&names, 1);
    let count = |name| names.chars().filter(|c| *c == name).count() as f32;
    assert_eq!(states, [count('A'), count('B')]);
    for batch in [2, 7, 1000] {
        assert_eq!(carried(&names, batch), (scores.clone(), states.clone()), "{batch}");
    }
}

#[test]
fn new_model_carries_a_state_of_its_own_over_the_rows_that_are_kept() {
    let mut driver = Driver::new(config());
    (0..100).for_each(|_| driver.trade("A", 100.0));
    driver.input(Input::Model(counting()));
    let state = |driver: &Driver| {
        driver.detector.slots[0]
            .as_ref()
            .map(|instrument| instrument.state.clone())
    };
    assert_eq!(state(&driver), Some(vec![config().limits.rows_kept as f32, 0.0]));
    driver.input(Input::Model(model(2)));
    assert_eq!(state(&driver), Some(Vec::new()));
}

#[test]
fn model_with_the_same_weights_keeps_what_is_remembered_where_the_calibration_is_the_same() {
    let mut driver = Driver::new(config());
    let first = counting();
    driver.input(Input::Model(first.clone()));
    for _ in 0..50 {
        driver.trade("A", 100.0);
        driver.trade("B", 100.0);
    }
    driver.input(Input::EndOfBatch);
    let states = |driver: &Driver| -> Vec<f32> {
        let instruments = driver.detector.slots.iter().flatten();
        instruments.map(|instrument| instrument.state[0]).collect()
    };
    let modes = |driver: &Driver| {
        let status = driver.detector.status();
        (status.scoring, status.learning, status.learning_rows_max)
    };
    assert_eq!((states(&driver), modes(&driver)), (vec![50.0, 50.0], (1, 1, 50)));
    // B gets a calibration of its own; A and the pooled one stay.
    let mut calibrations = Calibrations::clone(&first.calibrations);
    let own = Arc::new(Calibration::clone(&calibrations.pooled));
    calibrations.instruments.insert("B".into(), own);
    let extended = Model {
        version: ModelVersion(2),
        scorer: Arc::clone(&first.scorer),
        calibrations: Arc::new(calibrations),
    };
    driver.input(Input::Model(extended.clone()));
    let kept = config().limits.rows_kept as f32;
    assert_eq!((states(&driver), modes(&driver)), (vec![50.0, kept], (2, 0, 0)));
    assert_eq!(driver.detector.status().model_version, Some(ModelVersion(2)));
    // Other weights make both begin anew.
    driver.input(Input::Model(Model {
        scorer: Arc::new(Counting),
        ..extended
    }));
    assert_eq!(states(&driver), [kept, kept]);
}
