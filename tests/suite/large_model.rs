//! A model of many instruments: saved, loaded and put to work.

use std::sync::Arc;
use std::time::Instant;

use tapewatch::model::artifact::Artifact;
use tapewatch::pipeline::calibration::{Calibration, Calibrations};
use tapewatch::pipeline::detector::{Detector, Effects, Input, Record};
use tapewatch::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use tapewatch::pipeline::time::ArrivalTime;
use tapewatch::store::ModelStore;

use crate::market;

/// Instruments of the model; `TAPEWATCH_INSTRUMENTS=10000` asks for more than a test needs.
fn instruments() -> usize {
    let asked = std::env::var("TAPEWATCH_INSTRUMENTS").ok();
    asked.map_or(2500, |asked| asked.parse().unwrap())
}

fn name(instrument: usize) -> String {
    format!("INSTRUMENT-{instrument:05}")
}

/// A model that knows so many instruments, each by numbers of its own.
fn artifact(instruments: usize) -> Artifact {
    let some = market::seeded(&market::config(), &market::ticks(2, 3000, 31), 31);
    let fitted: Vec<Arc<Calibration>> = some.calibrations.instruments.values().cloned().collect();
    let own = |instrument: usize| {
        let mut own = Calibration::clone(&fitted[instrument % fitted.len()]);
        own.transform.centres[0] += instrument as f32;
        (name(instrument), Arc::new(own))
    };
    Artifact {
        calibrations: Arc::new(Calibrations {
            pooled: Arc::clone(&some.calibrations.pooled),
            instruments: (0..instruments).map(own).collect(),
        }),
        ..some
    }
}

/// A detector that has seen one tick of every instrument.
fn detector(instruments: usize) -> Detector {
    let mut detector = Detector::new(market::config().detector_config()).unwrap();
    let mut effects = Effects::default();
    let lines = market::lines(&market::ticks(1, 20, 33));
    for instrument in 0..instruments {
        let line = &lines[instrument % lines.len()];
        let text = String::from_utf8(line.payload.clone().unwrap()).unwrap();
        let of_market = String::from_utf8(line.key.clone().unwrap()).unwrap();
        let text = text.replace(&format!("\"{of_market}\""), &format!("\"{}\"", name(instrument)));
        let record = Record {
            position: Position {
                at: TopicPartition {
                    topic: TopicIndex(0),
                    partition: Partition(0),
                },
                offset: Offset(instrument as i64),
            },
            arrival_time: ArrivalTime::from_millis(1_704_205_800_000),
            key: None,
            payload: Some(text.as_bytes()),
        };
        detector.handle(record.arrival_time, Input::Record(record), &mut effects);
    }
    detector.handle(ArrivalTime(0), Input::EndOfBatch, &mut effects);
    detector
}

#[test]
fn model_of_thousands_of_instruments_is_saved_loaded_and_put_to_work() {
    let instruments = instruments();
    let artifact = artifact(instruments);
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::open(folder.path(), 1).unwrap();

    let started = Instant::now();
    store.save(&artifact).unwrap();
    let saved = started.elapsed();
    let bytes = std::fs::metadata(store.path(artifact.version)).unwrap().len() as usize;

    let started = Instant::now();
    let loaded = store.load(artifact.version).unwrap();
    let loading = started.elapsed();
    assert_eq!(loaded, artifact);

    let mut detector = detector(instruments);
    assert_eq!(detector.status().instruments, instruments);
    let started = Instant::now();
    let mut effects = Effects::default();
    detector.handle(ArrivalTime(0), Input::Model(loaded.model()), &mut effects);
    let swapped = started.elapsed();
    assert_eq!(detector.status().model_version, Some(artifact.version));

    // As JSON it was 46 KB, and a header of more than 100 MB is none of safetensors.
    let per_instrument = bytes / instruments;
    assert!(per_instrument < 12_000, "{per_instrument}");
    println!(
        "{instruments} instruments: {per_instrument} bytes each; saved in {saved:?}, loaded in {loading:?}, put to work in \
         {swapped:?}"
    );
}
