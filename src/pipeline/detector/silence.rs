//! Silence: what ends because nothing comes any more.

use super::*;

impl Detector {
    /// Lets the clocks of partitions whose records do not tell the time follow the wall clock: of an idle one only where
    /// something ends by it, so that such steps are as rare as what they lead to.
    pub(super) fn look_at_the_wall(&mut self, wall: ArrivalTime, idle: &[TopicPartition], effects: &mut Effects) {
        for index in 0..self.partitions.len() {
            let partition = &mut self.partitions[index];
            let is_idle = idle.contains(&partition.at);
            if partition.redo.is_some() {
                if is_idle {
                    self.end_redo(index);
                }
                continue;
            }
            let is_unbelieved = partition.clock.look();
            let Some(before) = partition.clock.now() else {
                continue;
            };
            let now = before.max(wall);
            let follows = (is_unbelieved && now > before) || (is_idle && partition.would_end(now, &self.slots));
            if follows && let Some(outside) = partition.tell(Told::Time(now)) {
                effects.actions.push(Effect::Outside(partition.at, outside));
                partition.clock.follow(now);
                self.end_silent(index, now, effects);
            }
        }
    }

    /// Ends the open alerts of instruments that have been silent for long, and a shock of which nothing is left.
    pub(super) fn end_silent(&mut self, partition: usize, now: ArrivalTime, effects: &mut Effects) {
        let partition = &mut self.partitions[partition];
        if !partition.is_time_to_look(now) {
            return;
        }
        let silence_nanos = partition.silence_nanos();
        let mut open = std::mem::take(&mut partition.open);
        open.retain(|_, slot| {
            let Some(instrument) = &mut self.slots[*slot] else {
                return false;
            };
            let is_silent = instrument.episode.is_silent(now, silence_nanos);
            if is_silent {
                partition.touch(instrument);
                let alert = partition
                    .shocks
                    .end(&mut instrument.membership, &mut instrument.episode);
                effects.actions.extend(alert.map(Effect::alert));
            }
            !is_silent
        });
        partition.open = open;
        effects
            .actions
            .extend(partition.shocks.end_silent(now).map(Effect::alert));
    }
}
