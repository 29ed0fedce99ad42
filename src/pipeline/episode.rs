//! Episodes: how the ticks of one instrument become one alert with a life of its own — opened, updated, resolved.
//!
//! Promises that the same scores at the same positions give the same alerts with the same ids, and that an instrument has
//! at most one open alert. Knows no other instrument.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertConfig, AlertState, FeatureShare, Observation, Severity};
use super::position::TopicPartition;
use super::time::ArrivalTime;

/// The open alert of one instrument, if there is one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Episode {
    open: Option<Box<Alert>>,
    quiet_ticks: u32,
    published_score: f32,
}

impl Episode {
    /// Says in which partition the ticks of the open alert stand.
    pub fn set_partition(&mut self, at: TopicPartition) {
        if let Some(alert) = &mut self.open {
            alert.set_partition(at);
        }
    }

    /// Tells whether an alert is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Tells whether an alert is open whose last tick lies further back than this (nanoseconds, ≥ 0).
    pub fn is_silent(&self, now: ArrivalTime, silence_nanos: i64) -> bool {
        let last = self.open.as_ref().map(|alert| alert.latest.clock_time);
        last.is_some_and(|last| now.nanos_since(last) > silence_nanos)
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
            alert.finding = seen.finding;
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
    let (position, index) = (seen.cause.position, seen.cause.index);
    let record = format!("{topic}-{}-{}", position.at.partition.0, position.offset.0);
    Alert {
        id: index.map_or_else(|| record.as_str().into(), |index| format!("{record}-{index}").into()),
        state: AlertState::Opened,
        revision: 0,
        instrument: Arc::clone(instrument),
        mode: seen.mode,
        severity: severity(seen, config),
        arm: seen.arm,
        kind: seen.kind,
        finding: seen.finding,
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
    use crate::pipeline::alert::{AlertKind, Cause, Mode};
    use crate::pipeline::arms::Arm;
    use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
    use crate::pipeline::score::ModelVersion;
    use crate::pipeline::tick::{Body, Tick, Trade};
    use crate::pipeline::time::EventTime;

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
                    index: None,
                    arrival_time: ArrivalTime(i as i64),
                    clock_time: ArrivalTime(i as i64),
                    tick: Tick {
                        event_time: EventTime(i as i64),
                        sequence: None,
                        body: Body::Trade(Trade { price: 1.0, size: None }),
                    },
                },
                score: *score,
                lasting: *lasting,
                threshold: threshold(i),
                arm: Arm::Reconstruction,
                kind: AlertKind::Anomaly,
                finding: None,
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
