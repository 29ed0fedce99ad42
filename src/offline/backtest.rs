//! The backtest: fit on one folder of ticks, score another causally, tick by tick, with the daemon's detector.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use thiserror::Error;

use super::driver::Driver;
use super::evaluation::{InstrumentAlerts, InstrumentScores};
use super::tick_files::{self, TickFile, TickFileError};
use crate::config::Config;
use crate::model::artifact::Artifact;
use crate::model::base::Base;
use crate::pipeline::alert::{Alert, AlertState};
use crate::pipeline::decode::{DecodeConfig, Format};
use crate::pipeline::detector::{DetectorConfig, Effect, LimitConfig};
use crate::pipeline::guard::GuardConfig;
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
    /// One score per line of each test file: −log₁₀ of the tick's p-value.
    pub scores: Vec<InstrumentScores>,
    /// Lines that opened an alert.
    pub alerts: Vec<InstrumentAlerts>,
    /// The opened alerts, each with the line that opened it.
    pub opened: Vec<(usize, Alert)>,
}

/// Reads the ticks of all files of a folder that a training with this configuration learns from. `progress` hears which
/// share of the files has been read (0–1).
///
/// # Errors
/// [`BacktestError`].
pub fn read_folder(folder: &Path, config: &Config, progress: &mut dyn FnMut(f64)) -> Result<Gathered, BacktestError> {
    let decoder = tick_files::line_decoder(&config.decode).map_err(BacktestError::Config)?;
    let files = tick_files::list(&[PathBuf::from(folder)])?;
    let mut reader = TickReader::new(config.training.tick_bounds(config.detector.instruments_max));
    for (done, file) in files.iter().enumerate() {
        progress(done as f64 / files.len() as f64);
        tick_files::read(file, &decoder, &mut reader)?;
    }
    Ok(reader.finish())
}

/// Fits a model to all files of a folder; says how many of their ticks memory held.
///
/// # Errors
/// [`BacktestError`].
pub fn fit_folder(
    folder: &Path,
    config: &Config,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Artifact, Thinned), BacktestError> {
    let read = read_folder(folder, config, &mut |_| {})?;
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

/// Scores all files of `test` at every tick. The detector first sees the instrument's file of `train`, which the test
/// file continues, if there is one.
///
/// # Errors
/// [`BacktestError`].
pub fn score_folder(train: &Path, test: &Path, artifact: &Artifact, config: &Config) -> Result<Outcome, BacktestError> {
    let past = tick_files::list(&[PathBuf::from(train)])?;
    let files = tick_files::list(&[PathBuf::from(test)])?;
    let mut outcome = Outcome::default();
    score_files(&past, &files, artifact, config, &mut outcome)?;
    Ok(outcome)
}

/// Scores every instrument with weights that were fitted without it: in so many rounds, weights are fitted to the others from
/// scratch, and scaling and tails alone to the round's own ticks.
///
/// # Errors
/// [`BacktestError`].
pub fn zero_shot(
    train: &Path,
    test: &Path,
    rounds: usize,
    config: &Config,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Outcome, BacktestError> {
    let mut config = config.clone();
    config.model.base = Base::None;
    let ticks = read_folder(train, &config, &mut |_| {})?.instruments;
    let past = tick_files::list(&[PathBuf::from(train)])?;
    let files = tick_files::list(&[PathBuf::from(test)])?;
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
        let names: Vec<&str> = settled.calibrations.instruments.keys().map(String::as_str).collect();
        let of_round = files.iter().filter(|file| names.contains(&file.instrument.as_str()));
        let of_round: Vec<TickFile> = of_round.cloned().collect();
        score_files(&past, &of_round, &settled, &config, &mut outcome)?;
    }
    Ok(outcome)
}

fn score_files(
    past: &[TickFile],
    files: &[TickFile],
    artifact: &Artifact,
    config: &Config,
    outcome: &mut Outcome,
) -> Result<(), BacktestError> {
    for file in files {
        let mut driver = Driver::new(detector_config(config)).map_err(BacktestError::Config)?;
        driver.swap(artifact.model());
        let before = match past.iter().find(|past| past.instrument == file.instrument) {
            Some(past) => feed(&mut driver, past, |_| {})?,
            None => 0,
        };
        let (mut scores, mut alerted) = (Vec::new(), Vec::new());
        feed(&mut driver, file, |effects| {
            scores.extend(effects.verdicts.iter().map(|verdict| f64::from(verdict.score)));
            for effect in &effects.actions {
                if let Effect::Alert(alert) = effect
                    && alert.state == AlertState::Opened
                {
                    let line = alert.opened_by.position.offset.0 as usize - before;
                    alerted.push(line);
                    outcome.opened.push((line, (**alert).clone()));
                }
            }
        })?;
        outcome.alerts.push(InstrumentAlerts {
            instrument: file.instrument.clone(),
            ticks: scores.len(),
            alerted,
        });
        outcome.scores.push(InstrumentScores {
            instrument: file.instrument.clone(),
            scores,
        });
    }
    Ok(())
}

/// Reads all lines of a folder's files, for each file those that are ticks in their places.
///
/// # Errors
/// [`BacktestError`].
pub fn read_folder_lines(folder: &Path, config: &Config) -> Result<Vec<Vec<Option<Tick>>>, BacktestError> {
    let decoder = tick_files::line_decoder(&config.decode).map_err(BacktestError::Config)?;
    let files = tick_files::list(&[PathBuf::from(folder)])?;
    let ticks = files.iter().map(|file| tick_files::read_lines(file, &decoder));
    Ok(ticks.collect::<Result<_, _>>()?)
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
            ..config.detector.clone()
        },
        guards: GuardConfig {
            time_future: false,
            ..config.guards.clone()
        },
        ..config.detector_config()
    }
}

/// Hands all lines of a file in, gives the effects to `take` batch by batch, and tells how many lines there were.
fn feed(
    driver: &mut Driver,
    file: &TickFile,
    mut take: impl FnMut(&crate::pipeline::detector::Effects),
) -> Result<usize, BacktestError> {
    let mut lines = tick_files::open(&file.path)?;
    let (mut line, mut count) = (Vec::new(), 0);
    while lines.next_into(&mut line)? {
        driver.line(0, &line, ArrivalTime(count as i64));
        count += 1;
        if !driver.effects.verdicts.is_empty() {
            take(&driver.effects);
            driver.effects.clear();
        }
    }
    driver.end_batch();
    take(&driver.effects);
    driver.effects.clear();
    Ok(count)
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
