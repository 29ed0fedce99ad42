//! Judgement: what the arms and guards together make of one tick, and what becomes of its instrument's alert.

use super::*;
use crate::pipeline::alert::{AlertKind, AlertState, Observation};
use crate::pipeline::arms::Arm;
use crate::pipeline::budget;
use crate::pipeline::row_evidence::RowEvidence;

impl Detector {
    /// Joins the arms into the tick's score and lets the instrument's alert take it in.
    pub(super) fn judge(
        &mut self,
        partition: usize,
        pending: PendingTick,
        verdict: &mut Verdict,
        effects: &mut Effects,
    ) {
        let partition = &mut self.partitions[partition];
        let Some(instrument) = &mut self.slots[pending.slot] else {
            return;
        };
        let Instrument {
            name,
            number,
            episode,
            errors,
            adaptation,
            pace,
            membership,
            calibration,
            mode,
            ..
        } = instrument;
        let evidence = calibration
            .as_deref()
            .zip(pending.scored)
            .and_then(|(calibration, index)| RowEvidence::new(calibration, &self.batch, index, errors, adaptation));
        let guard_score = pending.finding.map_or(0.0, |finding| finding.surprise);
        let model_score = evidence.as_ref().map_or(0.0, |evidence| mode.temper(evidence.score()));
        let lasting = evidence
            .as_ref()
            .map_or(0.0, |evidence| mode.temper(evidence.lasting()));
        verdict.score = guard_score.max(model_score);
        verdict.guard = pending.finding.map(|finding| finding.guard);
        let is_repeated = verdict.outcome == Outcome::Duplicate;
        if !is_repeated {
            partition.budget.observe(pace, pending.cause.event_time());
        }
        verdict.allowed_share = partition.budget.share(pace);
        let threshold = budget::threshold(verdict.allowed_share);
        verdict.is_above = verdict.score >= threshold;
        // A tick that came before can raise an alert; it does not count as one more quiet tick.
        if is_repeated && !verdict.is_above {
            return;
        }
        // The alert is named after the guard when the guard's score alone reaches the threshold, else after the model's arm.
        let (arm, kind) = match pending.finding {
            Some(finding) if guard_score >= model_score.min(threshold) => (Arm::Guard, AlertKind::Guard(finding.guard)),
            _ => (
                evidence.as_ref().map_or(Arm::Pointwise, RowEvidence::arm),
                AlertKind::Anomaly,
            ),
        };
        let seen = Observation {
            cause: pending.cause,
            score: verdict.score,
            lasting: guard_score.max(lasting),
            threshold,
            arm,
            kind,
            finding: pending.finding,
            mode: *mode,
            model_version: evidence.as_ref().and(verdict.model_version),
        };
        let topic = &self.config.topics[usize::from(pending.cause.position.at.topic.0)];
        let features = || evidence.as_ref().map_or_else(Vec::new, RowEvidence::shares);
        let revision = episode.observe(&self.config.alerts, name, topic, &seen, features);
        match episode.is_open() {
            true => drop(partition.open.insert(*number, pending.slot)),
            false => drop(partition.open.remove(number)),
        }
        if let Some(evidence) = &evidence {
            evidence.adapt(adaptation, self.config.alerts.runs(), episode.is_open());
        }
        let opened = revision.as_ref().is_some_and(|alert| alert.state == AlertState::Opened);
        let published = partition.shocks.observe(*number, membership, episode, &seen, revision);
        verdict.is_folded = opened && membership.is_folded();
        effects
            .actions
            .extend(published.into_iter().flatten().map(Effect::alert));
    }
}
