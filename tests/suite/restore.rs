//! Restore: a partition that is stopped anywhere and goes on elsewhere gives what it would have given without.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use tapewatch::config::Config;
use tapewatch::pipeline::detector::{Detector, Effect, Effects, Input, Outcome, Record};
use tapewatch::pipeline::position::{NextOffset, Offset, Partition, Position, TopicIndex, TopicPartition};
use tapewatch::pipeline::score::Model;
use tapewatch::pipeline::snapshot::{Outside, Snapshot, SnapshotError, SnapshotKey};
use tapewatch::pipeline::tick::{Body, InstrumentTicks};
use tapewatch::pipeline::time::ArrivalTime;

use crate::market::{self, Line};

const PARTITIONS: [TopicPartition; 2] = [at(0), at(1)];
/// Arrival of the record with offset 0; later ones 20 milliseconds apart.
const FIRST_MS: i64 = 1_704_205_800_000;

const fn at(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicIndex(0),
        partition: Partition(partition),
    }
}

/// Eight instruments on two partitions with faults, and a fall of all prices.
fn lines() -> &'static [Line] {
    static LINES: OnceLock<Vec<Line>> = OnceLock::new();
    LINES.get_or_init(|| {
        let mut market = market::with_faults(&market::ticks(8, 12_000, 47), 47).0;
        let moment = market::OPEN.plus_nanos(60_000_000_000);
        for InstrumentTicks { ticks, .. } in &mut market {
            for tick in ticks.iter_mut().filter(|tick| tick.event_time >= moment) {
                match &mut tick.body {
                    Body::Trade(trade) => trade.price *= 0.97,
                    Body::Quote(quote) => (quote.bid, quote.ask) = (0.97 * quote.bid, 0.97 * quote.ask),
                }
            }
        }
        let mut next = [0; 2];
        let on_two = |mut line: Line| {
            line.partition %= 2;
            let next = &mut next[line.partition as usize];
            line.offset = *next;
            *next += 1;
            if line.offset % 97 == 0 {
                line.payload = Some(b"no tick".to_vec());
            }
            line
        };
        market::lines(&market).into_iter().map(on_two).collect()
    })
}

#[derive(Clone, Copy, Debug)]
enum With {
    NoModel,
    Window,
    Carried,
}

fn config(with: With, alerts: &str) -> Config {
    let text = market::SMALL.replace("[guards]", &format!("[alerts]\nsilence_secs = 2\n{alerts}\n[guards]"));
    // A judge is taught on a carried state alone.
    let (judge, context) = match with {
        With::Carried => ("", "carried"),
        With::Window | With::NoModel => ("judge_hidden = [0, 0]", "window"),
    };
    let text = text.replace("lookback = 16", &format!("lookback = 16\n{judge}"));
    Config::from_toml(&format!("{text}\n[model.experimental]\ncontext = \"{context}\"")).unwrap()
}

fn model(with: With, config: &Config) -> Option<Model> {
    match with {
        With::NoModel => None,
        With::Carried => Some(market::trained().model()),
        With::Window => {
            static WINDOW: OnceLock<Model> = OnceLock::new();
            let make = || market::seeded(config, &market::ticks(8, 12_000, 11), 3).model();
            Some(WINDOW.get_or_init(make).clone())
        }
    }
}

/// One process after another, and what they leave behind.
struct World<'a> {
    config: &'a Config,
    model: Option<Model>,
    detector: Detector,
    changelog: BTreeMap<(TopicPartition, SnapshotKey), Vec<u8>>,
    told: Vec<(TopicPartition, Outside)>,
    committed: BTreeMap<TopicPartition, NextOffset>,
    out: Vec<Effect>,
    scores: Vec<(Position, u32)>,
    redone: usize,
}

impl<'a> World<'a> {
    fn new(config: &'a Config, model: Option<Model>) -> Self {
        World {
            config,
            detector: detector(config, model.as_ref()),
            model,
            changelog: BTreeMap::new(),
            told: Vec::new(),
            committed: BTreeMap::new(),
            out: Vec::new(),
            scores: Vec::new(),
            redone: 0,
        }
    }

    /// Hands a batch in; after it, the wall clock where `looks`.
    fn batch(&mut self, lines: &[Line], looks: bool) -> Effects {
        let mut effects = Effects::default();
        for line in lines {
            hand_in(&mut self.detector, line, &mut effects);
        }
        self.detector.handle(ArrivalTime(0), Input::EndOfBatch, &mut effects);
        if looks && let Some(last) = lines.last() {
            let wall = ArrivalTime(arrival(last).0 + 5_000_000_000);
            self.detector
                .handle(wall, Input::Time { idle: &PARTITIONS }, &mut effects);
        }
        effects
    }

    /// Makes what came of a batch durable.
    fn commit(&mut self, effects: Effects) {
        for verdict in effects.verdicts {
            assert_ne!(verdict.outcome, Outcome::Redone);
            self.scores.push((verdict.position, verdict.score.to_bits()));
        }
        for effect in effects.actions {
            match effect {
                Effect::Commit(at, next) => drop(self.committed.insert(at, next)),
                Effect::Outside(at, outside) => {
                    let bytes = outside.to_bytes();
                    self.told.push((at, Outside::from_bytes(&bytes).unwrap()));
                }
                Effect::Alert(_) | Effect::DeadLetter(_) => self.out.push(effect),
            }
        }
    }

    /// Writes a few more bytes of the checkpoint of a partition, and begins one where none is under way.
    fn write(&mut self, at: TopicPartition, bytes: usize) {
        self.detector.begin_checkpoint(at);
        let mut snapshots = Vec::new();
        let is_whole = self.detector.take_snapshots(at, bytes, &mut snapshots);
        for Snapshot { key, bytes } in snapshots {
            self.changelog.insert((at, key), bytes);
        }
        if is_whole {
            self.detector.finish_checkpoint(at);
        }
    }

    /// Dies, and goes on in another process.
    fn die(&mut self, lines: &[Line]) {
        self.detector = detector(self.config, self.model.as_ref());
        for (at, committed) in &self.committed {
            let snapshots = self.changelog.iter().filter(|((of, _), _)| of == at);
            let snapshots = snapshots.map(|((_, key), bytes)| (key, bytes.as_slice()));
            let told = self.told.iter().filter(|(of, _)| of == at).map(|(_, outside)| *outside);
            let restored = self.detector.restore(*at, *committed, snapshots, told).unwrap();
            // Without a checkpoint it goes on from the beginning: the log alone is enough.
            let Some(restored) = restored else {
                panic!("the first thing that a partition does is a checkpoint");
            };
            let mut nothing = Effects::default();
            let again = |line: &&Line| {
                line.partition == at.partition.0 && (restored.seek.0..committed.0).contains(&line.offset)
            };
            for (number, line) in lines.iter().filter(again).enumerate() {
                hand_in(&mut self.detector, line, &mut nothing);
                if number % 50 == 0 {
                    self.detector.handle(ArrivalTime(0), Input::EndOfBatch, &mut nothing);
                }
            }
            self.detector.handle(ArrivalTime(0), Input::EndOfBatch, &mut nothing);
            let given_out = nothing
                .actions
                .iter()
                .filter(|effect| !matches!(effect, Effect::Commit(..)));
            assert_eq!(given_out.count(), 0);
            assert!(
                nothing
                    .verdicts
                    .iter()
                    .all(|verdict| verdict.outcome == Outcome::Redone)
            );
            self.redone += nothing.verdicts.len();
        }
    }
}

fn detector(config: &Config, model: Option<&Model>) -> Detector {
    let mut detector = Detector::new(config.detector_config()).unwrap();
    if let Some(model) = model {
        detector.handle(ArrivalTime(0), Input::Model(model.clone()), &mut Effects::default());
    }
    detector
}

fn arrival(line: &Line) -> ArrivalTime {
    ArrivalTime::from_millis(FIRST_MS + 20 * line.offset)
}

fn hand_in(detector: &mut Detector, line: &Line, effects: &mut Effects) {
    let record = Record {
        position: Position {
            at: at(line.partition),
            offset: Offset(line.offset),
        },
        // Some stamps lie far ahead of the wall clock.
        arrival_time: match line.offset % 501 {
            500 => ArrivalTime(arrival(line).0 + 900_000_000_000),
            _ => arrival(line),
        },
        key: line.key.as_deref(),
        payload: line.payload.as_deref(),
    };
    detector.handle(arrival(line), Input::Record(record), effects);
}

/// What happens after a batch.
#[derive(Clone, Debug)]
struct Plan {
    records: usize,
    looks: bool,
    /// Bytes that are written of each partition's checkpoint.
    bytes: [usize; 2],
    dies: bool,
    /// Whether what came of the batch is lost when it dies.
    loses: bool,
}

/// Of so many records each partition has some whose stamps are believed, so that the wall clock moves idle partitions alone.
fn plan() -> impl Strategy<Value = Plan> {
    let bytes = || prop_oneof![2 => Just(0_usize), 3 => 1..60_000_usize, 1 => Just(usize::MAX)];
    let weighted = proptest::bool::weighted;
    (
        30..400_usize,
        weighted(0.3),
        [bytes(), bytes()],
        weighted(0.15),
        any::<bool>(),
    )
        .prop_map(|(records, looks, bytes, dies, loses)| Plan {
            records,
            looks,
            bytes,
            dies,
            loses,
        })
}

fn assert_goes_on(with: With, alerts: &str, plans: &[Plan]) -> usize {
    let config = config(with, alerts);
    let model = model(with, &config);
    let mut undisturbed = World::new(&config, model.clone());
    let mut disturbed = World::new(&config, model);
    let mut rest = lines();
    for (number, plan) in plans.iter().cycle().enumerate() {
        let (batch, later) = rest.split_at(plan.records.min(rest.len()));
        if batch.is_empty() {
            break;
        }
        rest = later;
        let effects = undisturbed.batch(batch, plan.looks);
        undisturbed.commit(effects);
        let mut effects = disturbed.batch(batch, plan.looks);
        if plan.dies && plan.loses && number > 0 {
            disturbed.die(lines());
            effects = disturbed.batch(batch, plan.looks);
        }
        disturbed.commit(effects);
        for (at, bytes) in PARTITIONS.into_iter().zip(plan.bytes) {
            disturbed.write(
                at,
                if disturbed.detector.redo_from(at).is_none() {
                    usize::MAX
                } else {
                    bytes
                },
            );
        }
        if plan.dies {
            disturbed.die(lines());
        }
    }
    assert_eq!(undisturbed.scores.len(), lines().len());
    assert!(
        undisturbed
            .out
            .iter()
            .filter(|effect| matches!(effect, Effect::Alert(_)))
            .count()
            > 20
    );
    assert!(undisturbed.scores == disturbed.scores);
    // Partitions know nothing of each other: which comes first at one moment is nobody's promise.
    for out in [&mut undisturbed.out, &mut disturbed.out] {
        out.sort_by_key(partition_of);
    }
    for (expected, found) in undisturbed.out.iter().zip(&disturbed.out) {
        assert_eq!(expected, found);
    }
    assert_eq!(undisturbed.out.len(), disturbed.out.len());
    disturbed.redone
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_that_dies_anywhere_goes_on_as_if_it_had_not(
        plans in vec(plan(), 10..40),
        with in prop_oneof![Just(With::NoModel), Just(With::Window), Just(With::Carried)],
        alerts in prop_oneof![
            Just("shock_instruments_min = 3\n"),
            Just("shock_instruments_min = 0\n"),
            Just("shock_instruments_min = 3\nfalse_alarms_per_hour = 40.0\nfalse_alarms_per_instrument_day = 5000.0\n"),
        ],
    ) {
        assert_goes_on(with, alerts, &plans);
    }

    #[test]
    fn damaged_snapshots_are_an_error_and_never_a_panic(
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        random in vec(any::<u8>(), 0..400),
    ) {
        let config = config(With::NoModel, "");
        let mut world = World::new(&config, None);
        let effects = world.batch(&lines()[..400], false);
        world.commit(effects);
        world.write(at(0), usize::MAX);
        let restore = |changed: &dyn Fn(&mut Vec<u8>)| {
            let mut changelog = world.changelog.clone();
            changelog.values_mut().for_each(changed);
            let snapshots = changelog.iter().map(|((_, key), bytes)| (key, bytes.as_slice()));
            detector(&config, None).restore(at(0), world.committed[&at(0)], snapshots, [])
        };
        let whole = restore(&|_| ());
        prop_assert!(whole.unwrap().is_some());
        prop_assert!(restore(&|bytes| bytes[0] = 0).is_err_and(|error| error == SnapshotError::Format(0)));
        let flip = |bytes: &mut Vec<u8>| {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        };
        prop_assert!(restore(&flip).is_err());
        prop_assert!(restore(&|bytes| *bytes = random.clone()).is_err());
        // The checksum is right, and the state still random.
        let signed = |bytes: &mut Vec<u8>| {
            let sum = crc32fast::hash(&random).to_le_bytes();
            bytes.splice(2.., sum.into_iter().chain(random.iter().copied()));
        };
        prop_assert!(restore(&signed).is_err());
        prop_assert!(Outside::from_bytes(&random).is_err());
    }
}

#[test]
fn every_kind_of_state_is_redone_to_the_bit() {
    for with in [With::NoModel, With::Window, With::Carried] {
        let plan = |number: usize| Plan {
            records: 150,
            looks: number.is_multiple_of(4),
            bytes: [30_000, 9_000],
            dies: number % 5 == 4,
            loses: number.is_multiple_of(2),
        };
        let plans: Vec<Plan> = (0..40).map(plan).collect();
        let redone = assert_goes_on(with, "shock_instruments_min = 3\n", &plans);
        assert!(redone > 500, "{redone} records were redone");
    }
}

fn partition_of(effect: &Effect) -> TopicPartition {
    match effect {
        Effect::Alert(alert) => alert.latest.position.at,
        Effect::DeadLetter(letter) => letter.position.at,
        Effect::Outside(at, _) | Effect::Commit(at, _) => *at,
    }
}
