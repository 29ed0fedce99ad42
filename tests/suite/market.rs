//! Ticks, configurations and models that several tests share.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use tapewatch::config::Config;
use tapewatch::inject::{self, Catalogue, Fault, Label};
use tapewatch::kafka::alert_record;
use tapewatch::model::artifact::{Artifact, Provenance};
use tapewatch::model::kernel::scorer::KernelScorer;
use tapewatch::model::weights::Weights;
use tapewatch::offline::market::{MarketConfig, generate};
use tapewatch::offline::replay::to_json;
use tapewatch::pipeline::calibration::Calibrations;
use tapewatch::pipeline::detector::{Detector, Effect, Effects, Input, Outcome, Record, Verdict};
use tapewatch::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use tapewatch::pipeline::scaler::InputTransform;
use tapewatch::pipeline::score::{Model, ModelVersion};
use tapewatch::pipeline::summary::summary;
use tapewatch::pipeline::tick::InstrumentTicks;
use tapewatch::pipeline::time::{ArrivalTime, EventTime};
use tapewatch::train::calibrate::{Calibrator, PooledRows, ScoreTerms};
use tapewatch::train::dataset::{Chunk, HeldBack, Split};
use tapewatch::train::trainer::train;

/// A model that is trained within a second, and limits that suit it.
pub const SMALL: &str = r#"
# Records arrive a millisecond apart here, whatever their stamps say.
[guards]
time_future = false

[model]
base = "none"
hidden_size = 8
lookback = 16
decoded_rows = 4

[training]
ticks_per_instrument_min = 800
ticks_per_instrument_max = 4000

[training.fit]
windows_max = 1500
epochs_max = 2

[training.exposure]
copies = 2
"#;

/// When the synthetic market opens: 2024-01-02 14:30:00 UTC.
pub const OPEN: EventTime = EventTime(1_704_205_800_000_000_000);
/// When the record with offset 0 arrives; later ones a millisecond apart.
const FIRST_ARRIVAL_MS: i64 = 1_704_205_800_000;

/// Gives the small configuration.
pub fn config() -> Config {
    Config::from_toml(SMALL).unwrap()
}

/// Makes clean ticks of so many instruments.
pub fn ticks(instruments: usize, ticks: usize, seed: u64) -> Vec<InstrumentTicks> {
    generate(&MarketConfig {
        instruments,
        ticks,
        seed,
        start: OPEN,
    })
}

/// Injects faults into a market; says where.
pub fn with_faults(market: &[InstrumentTicks], seed: u64) -> (Vec<InstrumentTicks>, Vec<Vec<Label>>) {
    let faults = [
        Fault::PriceSpike,
        Fault::DecimalShift,
        Fault::CrossedQuote,
        Fault::TimeJump,
        Fault::VolumeBurst,
        Fault::LevelShift,
    ];
    let catalogue = Catalogue {
        ticks_per_fault: 200,
        ..Catalogue::only(&faults)
    };
    let inject = |of: &InstrumentTicks| {
        let (ticks, labels) = inject::apply(&of.ticks, None, &catalogue, seed);
        let instrument = of.instrument.clone();
        (InstrumentTicks { instrument, ticks }, labels)
    };
    market.iter().map(inject).unzip()
}

/// A record as a test hands it to a detector, or sends it to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
}

/// Turns a market into records: all instruments side by side, each on the partition of its number.
pub fn lines(market: &[InstrumentTicks]) -> Vec<Line> {
    let mut stamped: Vec<(i64, usize, usize)> = Vec::new();
    for (partition, of) in market.iter().enumerate() {
        let mut latest = i64::MIN;
        for (index, tick) in of.ticks.iter().enumerate() {
            // A stamp that goes back keeps its place.
            latest = latest.max(tick.event_time.0);
            stamped.push((latest, partition, index));
        }
    }
    stamped.sort_unstable();
    let line = |(_, partition, index): (i64, usize, usize)| {
        let of = &market[partition];
        Line {
            partition: partition as i32,
            offset: index as i64,
            key: Some(of.instrument.clone().into_bytes()),
            payload: Some(to_json(&of.instrument, &of.ticks[index]).into_bytes()),
        }
    };
    stamped.into_iter().map(line).collect()
}

/// Gives a small model trained on a clean market; trained once.
pub fn trained() -> &'static Artifact {
    static TRAINED: OnceLock<Artifact> = OnceLock::new();
    TRAINED.get_or_init(|| train_on(&ticks(3, 9000, 11), 1))
}

/// Trains the small model.
pub fn train_on(market: &[InstrumentTicks], version: u32) -> Artifact {
    let config = config();
    let version = ModelVersion(version);
    let stamp = "2024-01-02T21:00:00Z";
    train(
        market,
        &config.model,
        &config.training,
        HeldBack::Calibration,
        version,
        stamp,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap()
}

/// Makes a model whose weights are drawn, not trained, and calibrates it on a market: the same bits on every machine.
pub fn seeded(config: &Config, market: &[InstrumentTicks], seed: u64) -> Artifact {
    let weights = Weights::seeded(config.model.spec(), seed);
    let scorer = KernelScorer::new(&weights);
    let terms = ScoreTerms {
        arms: config.training.arms,
        runs: config.training.runs,
    };
    let memory = config.training.memory();
    let mut calibrator = Calibrator::new(&scorer, terms, memory, market.len());
    let mut pooled_rows = PooledRows::new(memory, market.len());
    for own in market {
        let chunk = Chunk::new(&own.instrument, &own.ticks, Vec::new());
        let split = Split::new(chunk.rows.len(), config.training.held_back_share, HeldBack::Calibration);
        pooled_rows.take(chunk.usable_rows());
        calibrator.take(
            InputTransform::fit(&chunk.rows[split.fit]),
            &chunk.rows,
            split.calibrate,
        );
    }
    let (own, pooled) = calibrator.finish(pooled_rows.transform());
    let names = market.iter().map(|own| own.instrument.clone());
    Artifact {
        version: ModelVersion(1),
        weights,
        calibrations: Arc::new(Calibrations {
            pooled,
            instruments: names.zip(own).collect(),
        }),
        provenance: Provenance {
            program: "test".into(),
            trained_at: "2024-01-02T21:00:00Z".into(),
            seed,
            ticks: market.iter().map(|own| own.ticks.len() as u64).sum(),
            instruments: market.len() as u64,
            loss: None,
            loss_kind: None,
            origin: None,
            newest_tick: None,
            instruments_added: 0,
        },
    }
}

/// What a detector made of records.
#[derive(Debug, Default)]
pub struct Run {
    pub verdicts: Vec<Verdict>,
    /// Every alert as JSON, in order.
    pub alerts: Vec<Vec<u8>>,
    pub dead_letters: usize,
}

impl Run {
    /// Counts one outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.verdicts
            .iter()
            .filter(|verdict| verdict.outcome == outcome)
            .count()
    }
}

/// Hands records to a fresh detector in batches of so many and collects what comes of them.
pub fn run(config: &Config, model: Option<Model>, lines: &[Line], batch: usize) -> Run {
    let mut detector = Detector::new(config.detector_config()).unwrap();
    let mut effects = Effects::default();
    if let Some(model) = model {
        detector.handle(ArrivalTime(0), Input::Model(model), &mut effects);
    }
    let mut run = Run::default();
    for batch in lines.chunks(batch) {
        for line in batch {
            let arrival_time = ArrivalTime::from_millis(FIRST_ARRIVAL_MS + line.offset);
            let record = Record {
                position: Position {
                    at: TopicPartition {
                        topic: TopicIndex(0),
                        partition: Partition(line.partition),
                    },
                    offset: Offset(line.offset),
                },
                arrival_time,
                key: line.key.as_deref(),
                payload: line.payload.as_deref(),
            };
            detector.handle(arrival_time, Input::Record(record), &mut effects);
        }
        detector.handle(ArrivalTime(0), Input::EndOfBatch, &mut effects);
        take(&mut run, &mut effects, config);
    }
    run
}

fn take(run: &mut Run, effects: &mut Effects, config: &Config) {
    run.verdicts.append(&mut effects.verdicts);
    for effect in effects.actions.drain(..) {
        match effect {
            Effect::Alert(alert) => {
                run.alerts
                    .push(alert_record::to_json(&alert, &summary(&alert), &config.input.topics))
            }
            Effect::DeadLetter(_) => run.dead_letters += 1,
            Effect::Commit(..) | Effect::Outside(..) => {}
        }
    }
}
