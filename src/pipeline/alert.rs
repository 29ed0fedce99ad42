//! Alerts: what the detector says when an instrument's ticks stop looking like themselves.
//!
//! An alert names the tick that opened it and the tick that made this revision, whole, with everything that was measured
//! against it. How alerts come to be stands in [`episode`](super::episode). Knows neither clocks nor how an alert leaves the
//! program.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::arms::Arm;
use super::bounded::below;
use super::budget::{Allowance, threshold};
use super::feature::inverse::FeedValues;
use super::feature::{CATALOGUE, FEATURES};
use super::group::Group;
use super::guard::{Finding, Guard};
use super::position::{Position, TopicPartition};
use super::run::RunRule;
use super::score::ModelVersion;
use super::tick::Tick;
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
    /// The most per hour of market time, over all instruments of one partition (false alarms, ≥ 0; 0: no total).
    pub false_alarms_per_hour: f64,
    /// An alert resolves after this many ticks in a row below the resolving level (ticks, > 0).
    pub quiet_ticks: u32,
    /// The resolving level lies this far below the threshold: hysteresis (decades of probability, ≥ 0).
    pub hysteresis_decades: f32,
    /// An alert is critical from this far above the threshold (decades of probability, > 0).
    pub critical_decades: f32,
    /// An open alert is published again when its score has grown by this much (decades of probability, > 0).
    pub update_decades: f32,
    /// An open alert resolves when its instrument has been silent for so long (seconds by the partition's clock, > 0).
    pub silence_secs: u64,
    /// Alerts of so many instruments of one partition at once are one (instruments, ≥ 2; 0: never) …
    pub shock_instruments_min: usize,
    /// … if they are this share of the instruments at work (share, above 0 to 1) …
    pub shock_share: f64,
    /// … and open within this time, by the partition's clock and by event time alike (seconds, > 0).
    pub shock_window_secs: f64,
    /// An instrument is at work, and a shock gathers alerts, for so long (seconds, at least `shock_window_secs`).
    pub shock_active_secs: f64,
}

impl AlertConfig {
    /// Gives the score from which a tick is anomalous by the budget of ticks in 10,000, as long as no other holds.
    pub fn threshold(&self) -> f32 {
        threshold(self.false_alarms_per_10k_ticks / 1e4)
    }

    /// Gives the budgets of one partition whose instruments have one tick in `stride` scored.
    pub fn allowance(&self, stride: u32) -> Allowance {
        Allowance {
            per_10k_ticks: self.false_alarms_per_10k_ticks,
            per_instrument_day: self.false_alarms_per_instrument_day,
            per_hour: self.false_alarms_per_hour,
            stride,
        }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
snake_case_names!(Mode { Learning => "learning", Scoring => "scoring" });

/// A tick that an alert speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// Where its record stands.
    pub position: Position,
    /// Its place in the record, from 0, where the record holds several.
    pub index: Option<u32>,
    /// The record's stamp, as it stands there.
    pub arrival_time: ArrivalTime,
    /// What the partition's clock said when the tick was judged.
    pub clock_time: ArrivalTime,
    /// The tick itself.
    pub tick: Tick,
}

impl Cause {
    /// Gives the exchange's stamp.
    pub fn event_time(&self) -> EventTime {
        self.tick.event_time
    }
}

/// One feature's part in an alert.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureShare {
    /// Index in [`CATALOGUE`].
    #[serde(deserialize_with = "below::<FEATURES, _>")]
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

    /// Gives the feature in words, for people.
    pub fn words(&self) -> &'static str {
        CATALOGUE[self.feature].words()
    }
}

/// One revision of an alert, as it leaves the detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Stable over the alert's life: topic, partition and offset of the tick that opened it, and `shock` for a grouped one.
    pub id: Arc<str>,
    /// Where it stands in its life.
    pub state: AlertState,
    /// 0 when opened, counting up.
    pub revision: u32,
    /// Name of the instrument; [`EVERY_INSTRUMENT`](super::group::EVERY_INSTRUMENT) for a grouped alert, which says of
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
    /// What a guard found at the worst tick so far, if one did.
    pub finding: Option<Finding>,
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

impl Alert {
    /// Says that its ticks stand in this partition: the number of a topic is that of the configuration at hand.
    pub(super) fn set_partition(&mut self, at: TopicPartition) {
        self.opened_by.position.at = at;
        self.latest.position.at = at;
    }
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
    /// What a guard found, if one did.
    pub finding: Option<Finding>,
    /// Whether the instrument has a calibration of its own.
    pub mode: Mode,
    /// The model that scored it.
    pub model_version: Option<ModelVersion>,
}
