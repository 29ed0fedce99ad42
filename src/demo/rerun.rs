//! The rerun: what was streamed goes once more through the daemon's detector, offline, so that every tick's score can be
//! drawn. Alerts tell scores only where they open or grow worse.
//!
//! The same ticks, model and configuration give the same scores and alerts as in the daemon, because the detector has no
//! clock of its own.

use super::scenario::{Feed, Scenario};
use crate::config::Config;
use crate::model::artifact::Artifact;
use crate::offline::backtest::Outcome;
use crate::offline::driver::Driver;
use crate::offline::evaluation::{EvaluationError, Event, InstrumentAlerts, InstrumentScores, Labels};
use crate::offline::replay::to_json;
use crate::offline::report::{self, Judgement, Report, Run};
use crate::pipeline::alert::{Alert, AlertState};
use crate::pipeline::detector::{Effect, Effects};
use crate::pipeline::tick::Tick;
use crate::pipeline::time::ArrivalTime;

/// Ticks between two looks whether it goes on.
const LOOK_TICKS: usize = 1024;
/// Records arrive a microsecond apart (nanoseconds).
const ARRIVAL_STEP_NANOS: i64 = 1_000;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The configuration.
    #[error("config: {0}")]
    Config(String),
    /// The labels of the faults.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}

/// Scores the first `seen` ticks of every feed, and puts what came out beside the faults that were injected; nothing when
/// `goes_on` says no before it is done.
///
/// # Errors
/// [`RerunError`].
pub fn report(
    scenario: &Scenario,
    seen: &[usize],
    artifact: &Artifact,
    config: &Config,
    what: &str,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Report>, RerunError> {
    let mut outcome = Outcome::default();
    let mut ticks = Vec::with_capacity(scenario.feeds.len());
    for (index, feed) in scenario.feeds.iter().enumerate() {
        if !score(
            index,
            &feed.instrument,
            &feed.ticks[..seen[index]],
            artifact,
            config,
            goes_on,
            &mut outcome,
        )? {
            return Ok(None);
        }
        ticks.push(feed.ticks[..seen[index]].iter().copied().map(Some).collect());
    }
    let labels = labels(scenario, seen);
    let judgement = match labels.values().all(Vec::is_empty) {
        true => None,
        false => Some(Judgement::new(&outcome, &labels)?),
    };
    Ok(Some(Report {
        run: Run {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            title: "tapewatch demo".to_owned(),
            train: "the clean ticks at the start of each instrument".to_owned(),
            test: what.to_owned(),
            labels: Some("the faults that were injected".to_owned()),
            model: None,
            spec: artifact.weights.spec,
            provenance: artifact.provenance.clone(),
            budget_per_10k: config.alerts.false_alarms_per_10k_ticks,
            alert_threshold: f64::from(config.alerts.threshold()),
        },
        tapes: report::tapes(outcome, ticks),
        judgement,
    }))
}

/// Scores one feed on the partition that it has in the demo; tells whether it came to the end.
fn score(
    partition: usize,
    instrument: &str,
    ticks: &[Tick],
    artifact: &Artifact,
    config: &Config,
    goes_on: &mut dyn FnMut() -> bool,
    outcome: &mut Outcome,
) -> Result<bool, RerunError> {
    let mut driver = Driver::new(config.detector_config()).map_err(RerunError::Config)?;
    driver.swap(artifact.model());
    // As in the demo, records arrive after all that they tell of.
    let arrival = ticks.iter().map(|tick| tick.event_time.0).max().unwrap_or(0);
    let (mut scores, mut opened) = (Vec::with_capacity(ticks.len()), Vec::new());
    let mut take = |effects: &mut Effects| {
        scores.extend(effects.verdicts.iter().map(|verdict| f64::from(verdict.score)));
        for effect in &effects.actions {
            if let Effect::Alert(alert) = effect
                && alert.state == AlertState::Opened
            {
                let tick = alert.opened_by.position.offset.0 as usize;
                opened.push((tick, Alert::clone(alert)));
            }
        }
        effects.clear();
    };
    for (index, tick) in ticks.iter().enumerate() {
        if index % LOOK_TICKS == 0 && !goes_on() {
            return Ok(false);
        }
        let arrival = ArrivalTime(arrival + index as i64 * ARRIVAL_STEP_NANOS);
        driver.line(partition, to_json(instrument, tick).as_bytes(), arrival);
        take(&mut driver.effects);
    }
    driver.end_batch();
    take(&mut driver.effects);
    outcome.alerts.push(InstrumentAlerts {
        instrument: instrument.to_owned(),
        ticks: ticks.len(),
        alerted: opened.iter().map(|(tick, _)| *tick).collect(),
    });
    outcome.scores.push(InstrumentScores {
        instrument: instrument.to_owned(),
        scores,
    });
    outcome.opened.append(&mut opened);
    Ok(true)
}

/// Gives the faults that lie within the ticks seen.
fn labels(scenario: &Scenario, seen: &[usize]) -> Labels {
    let of_feed = |(feed, seen): (&Feed, &usize)| {
        let within = feed.labels.iter().filter(|label| label.end < *seen);
        let events = within.map(|label| Event {
            start: label.start,
            end: label.end,
            kind: label.fault.name().to_owned(),
        });
        (feed.instrument.clone(), events.collect())
    };
    scenario.feeds.iter().zip(seen).map(of_feed).collect()
}
