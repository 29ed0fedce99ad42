//! The worker with its state log: partitions that come are restored, offsets are committed together with state.

use std::time::Instant;

use super::Worker;
use super::state_log::Beginning;
use crate::kafka::client::BrokerError;
use crate::kafka::trouble;
use crate::pipeline::position::{NextOffset, TopicPartition};

impl Worker {
    /// Puts new partitions where their last checkpoints were made; says from where they are to be read.
    pub(super) fn restore(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, BrokerError> {
        let Some(state) = &mut self.state else {
            return Ok(Vec::new());
        };
        let mut starts = Vec::new();
        for (at, committed) in self.source.committed(partitions)? {
            let started = Instant::now();
            let beginning = state.restore(at, committed, &mut self.detector)?;
            let restores = &self.context.metrics.restores;
            restores.with_label_values(&[beginning.name()]).inc();
            if let Beginning::Restored { instruments, from } = beginning {
                starts.push((at, from));
                tracing::info!(
                    worker = self.context.index,
                    partition = at.partition.0,
                    instruments,
                    records_again = committed.0 - from.0,
                    millis = started.elapsed().as_millis() as u64,
                    "state restored"
                );
            }
        }
        Ok(starts)
    }

    /// Commits offsets together with state; tells whether the broker took them. Everything must be delivered.
    pub(super) fn commit_state(&mut self, whole: bool) -> bool {
        let Some(state) = &mut self.state else { return true };
        let offsets = self.sink.take_committable();
        let partitions = self.source.assignment();
        let committed = state.commit(&mut self.detector, &self.source, (&partitions, &offsets), whole);
        let label = if committed.is_ok() { "ok" } else { "failed" };
        self.context.metrics.commits.with_label_values(&[label]).inc();
        match committed {
            Ok(bytes) => {
                self.context.metrics.changelog_bytes.inc_by(bytes as u64);
                self.context.troubles.over(trouble::COMMIT);
                true
            }
            Err(error) => {
                self.context.troubles.note(trouble::COMMIT, &error.to_string());
                self.sink.put_back(offsets.into_iter().map(|(at, _)| at));
                false
            }
        }
    }
}
