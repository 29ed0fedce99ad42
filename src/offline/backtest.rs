//! The backtest: fit on one folder of ticks, score another causally, tick by tick, with the daemon's detector.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use thiserror::Error;

use super::driver::Driver;
use super::evaluation::{InstrumentAlerts, InstrumentScores};
use super::tick_files::{self, Recording, TickFileError};
use crate::config::Config;
use crate::model::artifact::Artifact;
use crate::model::base::Base;
use crate::pipeline::alert::{Alert, AlertState};
use crate::pipeline::decode::{DecodeConfig, Format};
use crate::pipeline::detector::{DetectorConfig, Effect, LimitConfig};
use crate::pipeline::guard::GuardConfig;
use crate::pipeline::position::Position;
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick::{InstrumentTicks, Tick};
use crate::pipeline::tick_reader::{Gathered, Thinned, TickReader};
use crate::pipeline::time::ArrivalTime;
use crate::train::dataset::HeldBack;
use crate::train::progress::Progress;
use crate::train::trainer::{TrainError, settle, to_base, train};

/// Why there is no result.
#[derive(Debug, Error)]
pub enum BacktestError {
    /// The files.
    #[error(transparent)]
    Files(#[from] TickFileError),
    /// The training.
    #[error("training: {0}")]
    Train(#[from] TrainError),
    /// The configuration.
    #[error("config: {0}")]
    Config(String),
}

/// What scoring one folder gives, one entry per instrument.
#[derive(Default)]
pub struct Outcome {
    /// One score per tick of each instrument: −log₁₀ of the tick's p-value.
    pub scores: Vec<InstrumentScores>,
    /// Ticks that opened an alert, by their number within the instrument's, from 0.
    pub alerts: Vec<InstrumentAlerts>,
    /// The opened alerts, each with the number of the tick that opened it; instruments in order.
    pub opened: Vec<(usize, Alert)>,
}

/// Gathers the ticks of a recording that a training with this configuration learns from.
///
/// # Errors
/// [`BacktestError`].
pub fn gather(recording: &Recording, config: &Config) -> Result<Gathered, BacktestError> {
    let mut reader = TickReader::new(config.training.tick_bounds(config.detector.instruments_max));
    recording.read(|recorded| reader.push(recorded.instrument, recorded.tick))?;
    Ok(reader.finish())
}

/// Fits a model to a recording; says how many of its ticks memory held.
///
/// # Errors
/// [`BacktestError`].
pub fn fit_recording(
    recording: &Recording,
    config: &Config,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Artifact, Thinned), BacktestError> {
    let read = gather(recording, config)?;
    Ok((fit_ticks(&read.instruments, config, progress)?, read.thinned))
}

/// Fits a model to recorded ticks.
///
/// # Errors
/// [`BacktestError`].
pub fn fit_ticks(
    ticks: &[InstrumentTicks],
    config: &Config,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Artifact, BacktestError> {
    // The files are the past up to now; provenance says when the newest tick was made, so that a repeated run gives the
    // same bytes.
    let newest = ticks
        .iter()
        .filter_map(|ticks| ticks.ticks.last())
        .map(|tick| tick.event_time.0)
        .max();
    let trained_at = jiff::Timestamp::from_nanosecond(i128::from(newest.unwrap_or(0)))
        .map_or_else(|_| String::new(), |stamp| stamp.to_string());
    Ok(train(
        ticks,
        &config.model,
        &config.training,
        HeldBack::Calibration,
        ModelVersion(1),
        &trained_at,
        progress,
    )?)
}

/// Scores all ticks of `test`. The detector first sees the instrument's ticks of `past`, which those of the test continue,
/// if there are any.
///
/// # Errors
/// [`BacktestError`].
pub fn score_recording(
    past: &Recording,
    test: &Recording,
    artifact: &Artifact,
    config: &Config,
) -> Result<Outcome, BacktestError> {
    score_instruments(past, test, &|_| true, artifact, config)
}

/// Scores every instrument with weights that were fitted without it: in so many rounds, weights are fitted to the others from
/// scratch, and scaling and tails alone to the round's own ticks.
///
/// # Errors
/// [`BacktestError`].
pub fn zero_shot(
    past: &Recording,
    test: &Recording,
    rounds: usize,
    config: &Config,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Outcome, BacktestError> {
    let mut config = config.clone();
    config.model.base = Base::None;
    let ticks = gather(past, &config)?.instruments;
    let mut outcome = Outcome::default();
    for round in 0..rounds {
        let is_of_round = |index: usize| index % rounds == round;
        let of_round = |is: bool| -> Vec<InstrumentTicks> {
            let some = ticks.iter().enumerate().filter(|(index, _)| is_of_round(*index) == is);
            some.map(|(_, ticks)| ticks.clone()).collect()
        };
        let fitted = to_base(fit_ticks(&of_round(false), &config, progress)?);
        let own = of_round(true);
        let settled = settle(
            &fitted,
            &own,
            &config.training,
            HeldBack::Calibration,
            ModelVersion(1),
            "",
            progress,
        )?;
        let names = &settled.calibrations.instruments;
        let scored = score_instruments(past, test, &|name| names.contains_key(name), &settled, &config)?;
        outcome.scores.extend(scored.scores);
        outcome.alerts.extend(scored.alerts);
        outcome.opened.extend(scored.opened);
    }
    Ok(outcome)
}

/// What scoring one instrument gives.
#[derive(Default)]
struct Scored {
    /// Ticks that the detector saw before the test.
    before: usize,
    /// Ticks handed in so far of the past, and then of the test.
    count: usize,
    scores: Vec<f64>,
    opened: Vec<(usize, Alert)>,
}

/// Scores the instruments of `test` that are wanted, each on a partition of its own, so that none knows of another.
fn score_instruments(
    past: &Recording,
    test: &Recording,
    is_wanted: &dyn Fn(&str) -> bool,
    artifact: &Artifact,
    config: &Config,
) -> Result<Outcome, BacktestError> {
    let mut driver = Driver::new(detector_config(config)).map_err(BacktestError::Config)?;
    driver.swap(artifact.model());
    let instruments = test.instruments();
    let names: Vec<&str> = instruments.keys().copied().filter(|name| is_wanted(name)).collect();
    let feeds: BTreeMap<&str, usize> = names.iter().enumerate().map(|(feed, name)| (*name, feed)).collect();
    let mut scored: Vec<Scored> = names.iter().map(|_| Scored::default()).collect();
    for (recording, is_test) in [(past, false), (test, true)] {
        scored.iter_mut().for_each(|scored| scored.count = 0);
        recording.read_lines(|instrument, line| {
            let Some(&feed) = feeds.get(instrument) else {
                return;
            };
            let arrival = ArrivalTime(scored[feed].count as i64);
            scored[feed].count += 1;
            scored[feed].before += usize::from(!is_test);
            driver.line(feed, line, arrival);
            take(&mut driver, &mut scored);
        })?;
        driver.end_batch();
        take(&mut driver, &mut scored);
    }
    let mut outcome = Outcome::default();
    for (name, scored) in names.iter().zip(scored) {
        outcome.alerts.push(InstrumentAlerts {
            instrument: (*name).to_owned(),
            ticks: scored.scores.len(),
            alerted: scored.opened.iter().map(|(tick, _)| *tick).collect(),
        });
        outcome.opened.extend(scored.opened);
        outcome.scores.push(InstrumentScores {
            instrument: (*name).to_owned(),
            scores: scored.scores,
        });
    }
    Ok(outcome)
}

/// Takes over what the detector has decided on ticks of the test; what it says of those before is nobody's question.
fn take(driver: &mut Driver, scored: &mut [Scored]) {
    if driver.effects.verdicts.is_empty() && driver.effects.actions.is_empty() {
        return;
    }
    let number = |position: Position, scored: &[Scored]| {
        let feed = position.at.partition.0 as usize;
        let before = scored.get(feed)?.before;
        (position.offset.0 as usize)
            .checked_sub(before)
            .map(|tick| (feed, tick))
    };
    for verdict in &driver.effects.verdicts {
        if let Some((feed, _)) = number(verdict.position, scored) {
            scored[feed].scores.push(f64::from(verdict.score));
        }
    }
    for effect in &driver.effects.actions {
        if let Effect::Alert(alert) = effect
            && alert.state == AlertState::Opened
            && let Some((feed, tick)) = number(alert.opened_by.position, scored)
        {
            scored[feed].opened.push((tick, (**alert).clone()));
        }
    }
    driver.effects.clear();
}

/// Reads all ticks of a recording, instruments by name.
///
/// # Errors
/// [`BacktestError`].
pub fn ticks(recording: &Recording) -> Result<Vec<InstrumentTicks>, BacktestError> {
    let mut instruments: BTreeMap<String, Vec<Tick>> = BTreeMap::new();
    recording.read(|recorded| match instruments.get_mut(recorded.instrument) {
        Some(ticks) => ticks.push(recorded.tick),
        None => drop(instruments.insert(recorded.instrument.into(), vec![recorded.tick])),
    })?;
    let instruments = instruments.into_iter();
    Ok(instruments
        .map(|(instrument, ticks)| InstrumentTicks { instrument, ticks })
        .collect())
}

/// Every tick is scored, whatever the stride of the daemon; lines are CSV, and nobody knows when they arrived.
fn detector_config(config: &Config) -> DetectorConfig {
    DetectorConfig {
        decode: DecodeConfig {
            format: Format::Csv,
            ..config.decode.clone()
        },
        limits: LimitConfig {
            stride: 1,
            // A recording is scored in whole.
            instruments_max: usize::MAX,
            ..config.detector.clone()
        },
        guards: GuardConfig {
            time_future: false,
            ..config.guards.clone()
        },
        ..config.detector_config()
    }
}

/// Writes `instrument,seq,score`, shortest digits that read back the same; gzip if the name ends in `.gz`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_scores(path: &Path, scores: &[InstrumentScores]) -> io::Result<()> {
    write_table(path, |out| {
        writeln!(out, "instrument,seq,score")?;
        for instrument in scores {
            for (seq, score) in instrument.scores.iter().enumerate() {
                writeln!(out, "{},{seq},{score}", instrument.instrument)?;
            }
        }
        Ok(())
    })
}

/// Writes one line per opened alert; gzip if the name ends in `.gz`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_alerts(path: &Path, opened: &[(usize, Alert)]) -> io::Result<()> {
    write_table(path, |out| {
        writeln!(out, "instrument,seq,arm,kind,severity,score,feature")?;
        for (seq, alert) in opened {
            let feature = alert.features.first().map_or("", |feature| feature.name());
            let (arm, kind, severity) = (alert.arm.name(), alert.kind.name(), alert.severity.name());
            writeln!(
                out,
                "{},{seq},{arm},{kind},{severity},{},{feature}",
                alert.instrument, alert.score
            )?;
        }
        Ok(())
    })
}

/// Writes what `rows` writes to a file, as gzip if its name ends in `.gz`. The same rows give the same bytes: the gzip
/// header holds no stamp.
fn write_table(path: &Path, rows: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    if tick_files::is_gzip(path) {
        let mut packed = GzEncoder::new(file, Compression::default());
        rows(&mut packed)?;
        file = packed.finish()?;
    } else {
        rows(&mut file)?;
    }
    file.flush()
}
