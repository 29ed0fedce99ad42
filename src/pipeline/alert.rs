//! Alerts: one per episode, with a life of its own — opened, updated, resolved.
//!
//! Promises that the same scores at the same positions give the same alerts with the same ids, and that an instrument
//! has at most one open alert. Knows neither clocks nor how an alert leaves the program.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::budget::threshold;
use super::feature::CATALOGUE;
use super::feature::inverse::FeedValues;
use super::guard::Guard;
use super::position::Position;
use super::run::RunRule;
use super::score::ModelVersion;
use super::shock::Group;
use super::time::{ArrivalTime, EventTime};

/// When alerts open, change and end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// The false-alarm budget: alerts that may open in 10,000 ticks of a normal feed (> 0, at most 1,000).
    pub false_alarms_per_10k_ticks: f64,
    /// The same per instrument and day of market time: takes the place of the former once the instrument's rate of ticks is
    /// known (false alarms, ≥ 0; 0: not set).
    pub false_alarms_per_instrument_day: f64,
    /// The most per hour of market time, over all instruments of one detector (false alarms, ≥ 0; 0: no total).
    pub false_alarms_per_hour: f64,
    /// An alert resolves after this many ticks in a row below the resolving level (ticks, > 0).
    pub quiet_ticks: u32,
    /// The resolving level lies this far below the threshold: hysteresis (decades of probability, ≥ 0).
    pub hysteresis_decades: f32,
    /// An alert is critical from this far above the threshold (decades of probability, > 0).
    pub critical_decades: f32,
    /// An open alert is published again when its score has grown by this much (decades of probability, > 0).
    pub update_decades: f32,
    /// An open alert resolves when its instrument has been silent for so long (seconds of arrival time, > 0).
    pub silence_secs: u64,
    /// Alerts of so many instruments at once are one (instruments, ≥ 2; 0: never) …
    pub shock_instruments_min: usize,
    /// … if they are this share of the instruments at work (share, above 0 to 1) …
    pub shock_share: f64,
    /// … and open within this time (seconds of arrival time, > 0).
    pub shock_window_secs: f64,
    /// An instrument is at work, and a shock gathers alerts, for so long (seconds of arrival time, at least
    /// `shock_window_secs`).
    pub shock_active_secs: f64,
}

impl AlertConfig {
    /// Gives the score from which a tick is anomalous by the budget of ticks in 10,000, as long as no other holds.
    pub fn threshold(&self) -> f32 {
        threshold(self.false_alarms_per_10k_ticks / 1e4)
    }

    /// Gives the rule by which ticks are one alert.
    pub fn runs(&self) -> RunRule {
        RunRule {
            quiet_ticks: self.quiet_ticks,
            hysteresis_decades: self.hysteresis_decades,
        }
    }
}

/// Where an alert stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It has just begun.
    Opened,
    /// It goes on and has become worse.
    Updated,
    /// It is over.
    Resolved,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Above the threshold.
    Warning,
    /// Far above the threshold.
    Critical,
}

/// One source of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// A guard.
    Guard,
    /// The decoder's error.
    Reconstruction,
    /// The head that was taught to tell clean ticks from injected faults.
    Judge,
    /// The predictor's error.
    Forecast,
    /// The features themselves.
    Pointwise,
}

/// Whether an instrument has a calibration of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Guards only, or the pooled calibration of the group.
    Learning,
    /// The instrument's own calibration.
    Scoring,
}

impl Mode {
    /// Taken off what a model says of an instrument that it does not know (decades): the pooled calibration is wrong by so
    /// much on some feeds, and fewer false alarms than the budget are better than more.
    const RESERVE_DECADES: f32 = 1.0;

    /// Gives what a model's score counts for.
    pub fn temper(self, score: f32) -> f32 {
        match self {
            Mode::Learning => (score - Self::RESERVE_DECADES).max(0.0),
            Mode::Scoring => score,
        }
    }
}

/// What is wrong, as far as it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// Unlike what the model has learnt.
    Anomaly,
    /// What a guard checks.
    Guard(Guard),
    /// Alerts of many instruments at once.
    Shock,
}

impl AlertKind {
    /// Gives the name used in alerts, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            AlertKind::Anomaly => "anomaly",
            AlertKind::Guard(guard) => guard.name(),
            AlertKind::Shock => "shock",
        }
    }
}

macro_rules! snake_case_names {
    ($type:ident { $($variant:ident => $name:literal),+ }) => {
        impl $type {
            /// Gives the name used in alerts, metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }
    };
}

snake_case_names!(AlertState { Opened => "opened", Updated => "updated", Resolved => "resolved" });
snake_case_names!(Severity { Warning => "warning", Critical => "critical" });
snake_case_names!(Arm { Guard => "guard", Reconstruction => "reconstruction", Forecast => "forecast", Judge => "judge", Pointwise => "pointwise" });
snake_case_names!(Mode { Learning => "learning", Scoring => "scoring" });

/// A tick that an alert speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Where its record stands.
    pub position: Position,
    /// The exchange's stamp.
    pub event_time: EventTime,
    /// The record's stamp.
    pub arrival_time: ArrivalTime,
}

/// One feature's part in an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureShare {
    /// Index in [`CATALOGUE`].
    pub feature: usize,
    /// Its share of the score (0–1); the shares of an alert sum to 1.
    pub share: f32,
    /// The feature's value at the tick, in its own unit.
    pub observed: f32,
    /// What the model expected, in the same unit.
    pub expected: Option<f32>,
    /// Both in a unit of the feed, where the feature has an inverse at this tick.
    pub feed: Option<FeedValues>,
}

impl FeatureShare {
    /// Gives the feature's name.
    pub fn name(&self) -> &'static str {
        CATALOGUE[self.feature].name
    }

    /// Gives the feature's unit.
    pub fn unit(&self) -> &'static str {
        CATALOGUE[self.feature].unit
    }
}

/// One revision of an alert, as it leaves the detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Stable over the alert's life: topic, partition and offset of the tick that opened it, and `shock` for a grouped one.
    pub id: Arc<str>,
    /// Where it stands in its life.
    pub state: AlertState,
    /// 0 when opened, counting up.
    pub revision: u32,
    /// Name of the instrument; [`EVERY_INSTRUMENT`](super::shock::EVERY_INSTRUMENT) for a grouped alert, which says of
    /// all of them what others say of one.
    pub instrument: Arc<str>,
    /// Whether the instrument has a calibration of its own.
    pub mode: Mode,
    /// How bad it is at its worst so far.
    pub severity: Severity,
    /// The arm that fired at its worst tick so far.
    pub arm: Arm,
    /// What is wrong, as far as it has a name, at its worst tick so far.
    pub kind: AlertKind,
    /// −log₁₀ of the p-value of the tick that made this revision (≥ 0).
    pub score: f32,
    /// Highest score so far (≥ 0).
    pub score_max: f32,
    /// Score from which the tick that made this revision is anomalous (> 0).
    pub threshold: f32,
    /// Ticks of the instrument since it opened, both ends included (≥ 1).
    pub ticks: u64,
    /// The tick that opened it.
    pub opened_by: Cause,
    /// The tick that made this revision.
    pub latest: Cause,
    /// What made up the score of the worst tick so far; empty when no model scored it.
    pub features: Vec<FeatureShare>,
    /// The model that scored the worst tick so far.
    pub model_version: Option<ModelVersion>,
    /// What a grouped alert says beside that.
    pub group: Option<Box<Group>>,
}

/// What is known of one tick when alerts are decided.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The tick.
    pub cause: Cause,
    /// −log₁₀ of its p-value (≥ 0).
    pub score: f32,
    /// The same with nothing taken off for recent ticks, which lets an open alert go on (≥ `score`).
    pub lasting: f32,
    /// Score from which it is anomalous (> 0).
    pub threshold: f32,
    /// The guard where it alone would have raised the alert, else the arm with the highest score.
    pub arm: Arm,
    /// What is wrong.
    pub kind: AlertKind,
    /// Whether the instrument has a calibration of its own.
    pub mode: Mode,
    /// The model that scored it.
    pub model_version: Option<ModelVersion>,
}

/// The open alert of one instrument, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Episode {
    open: Option<Box<Alert>>,
    quiet_ticks: u32,
    published_score: f32,
}

impl Episode {
    /// Tells whether an alert is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Gives the arrival of the open alert's last tick.
    pub fn last_arrival(&self) -> Option<ArrivalTime> {
        self.open.as_ref().map(|alert| alert.latest.arrival_time)
    }

    /// Takes one tick in and gives the revision it makes, if it makes one. `features` is asked only for a tick that
    /// opens an alert or is its worst so far; `topic` names the input topic of the id. Each tick is held against its own
    /// threshold, within an alert too: where a budget has moved it since, the present one says what is quiet and what is
    /// critical.
    pub fn observe(
        &mut self,
        config: &AlertConfig,
        instrument: &Arc<str>,
        topic: &str,
        seen: &Observation,
        features: impl FnOnce() -> Vec<FeatureShare>,
    ) -> Option<Alert> {
        let threshold = seen.threshold;
        let Some(alert) = &mut self.open else {
            if seen.score < threshold {
                return None;
            }
            let alert = opened(instrument, topic, seen, config, features());
            self.published_score = alert.score;
            self.quiet_ticks = 0;
            self.open = Some(Box::new(alert.clone()));
            return Some(alert);
        };
        alert.ticks += 1;
        alert.score = seen.score;
        alert.threshold = threshold;
        alert.latest = seen.cause;
        alert.mode = seen.mode;
        if seen.score > alert.score_max {
            alert.score_max = seen.score;
            alert.arm = seen.arm;
            alert.kind = seen.kind;
            alert.model_version = seen.model_version;
            alert.severity = alert.severity.max(severity(seen, config));
            alert.features = features();
        }
        let Some(quiet_ticks) = config.runs().go_on(self.quiet_ticks, seen.lasting, threshold) else {
            return self.resolve();
        };
        self.quiet_ticks = quiet_ticks;
        if alert.score_max >= self.published_score + config.update_decades {
            self.published_score = alert.score_max;
            alert.revision += 1;
            alert.state = AlertState::Updated;
            return Some((**alert).clone());
        }
        None
    }

    /// Lets the open alert, if there is one, open anew as it is now: one that nobody has heard of yet.
    pub fn reopen(&mut self) -> Option<Alert> {
        let alert = self.open.as_mut()?;
        alert.revision = 0;
        alert.state = AlertState::Opened;
        self.published_score = alert.score_max;
        Some((**alert).clone())
    }

    /// Ends the open alert, if there is one, and gives its last revision.
    pub fn resolve(&mut self) -> Option<Alert> {
        let mut alert = *self.open.take()?;
        alert.revision += 1;
        alert.state = AlertState::Resolved;
        Some(alert)
    }
}

fn severity(seen: &Observation, config: &AlertConfig) -> Severity {
    if seen.score >= seen.threshold + config.critical_decades {
        Severity::Critical
    } else {
        Severity::Warning
    }
}

fn opened(
    instrument: &Arc<str>,
    topic: &str,
    seen: &Observation,
    config: &AlertConfig,
    features: Vec<FeatureShare>,
) -> Alert {
    let position = seen.cause.position;
    Alert {
        id: format!("{topic}-{}-{}", position.at.partition.0, position.offset.0).into(),
        state: AlertState::Opened,
        revision: 0,
        instrument: Arc::clone(instrument),
        mode: seen.mode,
        severity: severity(seen, config),
        arm: seen.arm,
        kind: seen.kind,
        score: seen.score,
        score_max: seen.score,
        threshold: seen.threshold,
        ticks: 1,
        opened_by: seen.cause,
        latest: seen.cause,
        features,
        model_version: seen.model_version,
        group: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::position::{Offset, Partition, TopicIndex, TopicPartition};

    const CONFIG: AlertConfig = AlertConfig {
        false_alarms_per_10k_ticks: 1.0,
        false_alarms_per_instrument_day: 0.0,
        false_alarms_per_hour: 0.0,
        quiet_ticks: 3,
        hysteresis_decades: 1.0,
        critical_decades: 2.0,
        update_decades: 1.0,
        silence_secs: 60,
        shock_instruments_min: 5,
        shock_share: 0.3,
        shock_window_secs: 2.0,
        shock_active_secs: 60.0,
    };

    fn revisions(scores: &[f32]) -> Vec<(AlertState, u32, Severity, u64, i64)> {
        revisions_by(scores, |_| CONFIG.threshold())
    }

    fn revisions_by(scores: &[f32], threshold: impl Fn(usize) -> f32) -> Vec<(AlertState, u32, Severity, u64, i64)> {
        let pairs: Vec<(f32, f32)> = scores.iter().map(|score| (*score, *score)).collect();
        revisions_of(&pairs, threshold)
    }

    /// Pairs: the score, and the one with nothing taken off.
    fn revisions_of(
        scores: &[(f32, f32)],
        threshold: impl Fn(usize) -> f32,
    ) -> Vec<(AlertState, u32, Severity, u64, i64)> {
        let mut episode = Episode::default();
        let name: Arc<str> = "A".into();
        let mut out = Vec::new();
        for (i, (score, lasting)) in scores.iter().enumerate() {
            let at = TopicPartition {
                topic: TopicIndex(0),
                partition: Partition(2),
            };
            let seen = Observation {
                cause: Cause {
                    position: Position {
                        at,
                        offset: Offset(i as i64),
                    },
                    event_time: EventTime(i as i64),
                    arrival_time: ArrivalTime(i as i64),
                },
                score: *score,
                lasting: *lasting,
                threshold: threshold(i),
                arm: Arm::Reconstruction,
                kind: AlertKind::Anomaly,
                mode: Mode::Scoring,
                model_version: Some(ModelVersion(1)),
            };
            if let Some(alert) = episode.observe(&CONFIG, &name, "ticks", &seen, Vec::new) {
                assert_eq!(&*alert.id, format!("ticks-2-{}", alert.opened_by.position.offset.0));
                out.push((
                    alert.state,
                    alert.revision,
                    alert.severity,
                    alert.ticks,
                    alert.latest.position.offset.0,
                ));
            }
        }
        out
    }

    #[test]
    fn alert_opens_grows_and_resolves_once() {
        use AlertState::{Opened, Resolved, Updated};
        use Severity::{Critical, Warning};
        let found = revisions(&[1.0, 4.5, 4.6, 6.5, 3.5, 1.0, 1.0, 3.2, 1.0, 1.0, 1.0, 1.0]);
        let expected = [
            (Opened, 0, Warning, 1, 1),
            (Updated, 1, Critical, 3, 3),
            (Resolved, 2, Critical, 10, 10),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn scores_between_resolving_level_and_threshold_open_nothing_and_keep_an_alert_open() {
        assert!(revisions(&[3.9; 20]).is_empty());
        assert_eq!(revisions(&[&[4.0][..], &[3.1; 20]].concat()).len(), 1);
    }

    #[test]
    fn an_alert_opens_by_its_score_and_goes_on_by_what_it_was_before_anything_was_taken_off() {
        assert!(revisions_of(&[(3.9, 5.0); 9], |_| CONFIG.threshold()).is_empty());
        let burst = [&[(4.5, 4.5)][..], &[(1.0, 3.5); 20], &[(1.0, 1.0); 3]].concat();
        let found = revisions_of(&burst, |_| CONFIG.threshold());
        let states: Vec<_> = found.iter().map(|(state, _, _, ticks, _)| (*state, *ticks)).collect();
        assert_eq!(states, [(AlertState::Opened, 1), (AlertState::Resolved, 24)]);
    }

    #[test]
    fn every_tick_is_held_against_its_own_threshold() {
        use AlertState::{Opened, Resolved};
        use Severity::Warning;
        // The threshold rises from 4 to 6 within the alert, so that 4.5 becomes quiet and 6.5 is not critical.
        let found = revisions_by(&[4.5, 6.5, 4.5, 4.5, 4.5, 4.5], |tick| if tick > 0 { 6.0 } else { 4.0 });
        let states: Vec<_> = found
            .iter()
            .map(|(state, _, severity, ticks, _)| (*state, *severity, *ticks))
            .collect();
        let updated = (AlertState::Updated, Warning, 2);
        assert_eq!(states, [(Opened, Warning, 1), updated, (Resolved, Warning, 5)]);
    }

    #[test]
    fn a_model_speaks_with_reserve_of_what_it_does_not_know() {
        assert_eq!(Mode::Learning.temper(5.5), 4.5);
        assert_eq!(Mode::Learning.temper(0.5), 0.0);
        assert_eq!(Mode::Scoring.temper(5.5), 5.5);
    }

    #[test]
    fn threshold_is_the_budgeted_share_of_ticks() {
        assert_eq!(CONFIG.threshold(), 4.0);
        assert_eq!(
            AlertConfig {
                false_alarms_per_10k_ticks: 10.0,
                ..CONFIG
            }
            .threshold(),
            3.0
        );
    }
}
