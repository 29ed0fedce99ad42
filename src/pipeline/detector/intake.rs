//! Taking records in: from the bytes of one record to the ticks that wait for the end of their batch.

use super::{Detector, Pending, PendingTick};
use crate::pipeline::alert::Cause;
use crate::pipeline::decode::{OddFields, TickError, What};
use crate::pipeline::effect::{DeadLetter, Effect, Effects};
use crate::pipeline::input::Record;
use crate::pipeline::position::NextOffset;
use crate::pipeline::snapshot::{Outside, Told};
use crate::pipeline::tick::Tick;
use crate::pipeline::time::ArrivalTime;
use crate::pipeline::verdict::{Outcome, Verdict};

/// What of a record could not be read: its first bad item, and how many there are.
#[derive(Default)]
struct BadItems {
    first: Option<(usize, TickError)>,
    count: usize,
}

impl BadItems {
    fn add(&mut self, index: usize, error: TickError) {
        self.first.get_or_insert((index, error));
        self.count += 1;
    }

    /// Makes the dead letter of a record of so many items.
    fn letter(self, record: &Record<'_>, items: usize) -> Option<DeadLetter> {
        let (index, error) = self.first?;
        let detail = match (items, self.count) {
            (1, _) => error.to_string(),
            (_, 1) => format!("element {index} of {items}: {error}"),
            (_, bad) => format!("element {index} of {items}: {error}; and {} more", bad - 1),
        };
        Some(DeadLetter {
            position: record.position,
            reason: error.reason(),
            detail,
        })
    }
}

impl Detector {
    /// Takes one record in: every item that it holds waits with a verdict of its own for the end of the batch.
    pub(super) fn take_record(&mut self, record: &Record<'_>, wall: ArrivalTime, effects: &mut Effects) {
        let mut verdict = Verdict::of(record.position, Outcome::AlreadyApplied, self.model_version());
        let partition = self.partition_of(record.position.at);
        let offset = record.position.offset;
        let redo_wall = match self.partitions[partition].is_new(offset) {
            true => self.redo(partition, offset, effects),
            false => None,
        };
        let is_redone = redo_wall.is_some();
        let state = &mut self.partitions[partition];
        if !state.is_new(offset) {
            let now = state.clock.now().unwrap_or(wall);
            self.pending.push(Pending {
                verdict,
                partition,
                now,
                is_redone: false,
                tick: None,
            });
            return;
        }
        let reading = state.clock.record(record.arrival_time, redo_wall.unwrap_or(wall));
        if reading.is_ahead && !is_redone {
            let outside = Outside {
                at: NextOffset(offset.0),
                number: state.told,
                told: Told::Wall(wall),
            };
            state.told += 1;
            effects.actions.push(Effect::Outside(state.at, outside));
        }
        state.advance(offset);
        let now = reading.now;
        let Some(decoder) = self.decoder.take() else {
            return;
        };
        let first = self.pending.len();
        let mut bad = BadItems::default();
        decoder.decode(record, &mut |item| {
            let index = self.pending.len() - first;
            let (outcome, tick, odd) = match item.what {
                What::Tick { instrument, tick, odd } => {
                    let (outcome, tick) = self.take_tick(instrument, tick, record, partition, now);
                    (outcome, tick, odd)
                }
                What::Incomplete { odd, .. } => (Outcome::Incomplete, None, odd),
                What::Ignored => (Outcome::Ignored, None, OddFields::default()),
                What::Bad(error) => {
                    bad.add(index, error);
                    (Outcome::Rejected, None, OddFields::default())
                }
            };
            verdict.index = index as u32;
            verdict.outcome = outcome;
            verdict.odd = odd;
            // A stamp is the record's: it is counted once.
            verdict.is_stamp_ahead = reading.is_ahead && index == 0;
            self.pending.push(Pending {
                verdict,
                partition,
                now,
                is_redone,
                tick,
            });
        });
        self.decoder = Some(decoder);
        let items = self.pending.len() - first;
        if items > 1 {
            let ticks = self.pending[first..].iter_mut().filter_map(|pending| {
                let index = pending.verdict.index;
                Some((index, pending.tick.as_mut()?))
            });
            ticks.for_each(|(index, tick)| tick.cause.index = Some(index));
        }
        if !is_redone {
            effects
                .actions
                .extend(bad.letter(record, items).map(Effect::DeadLetter));
        }
    }

    /// Lets guards and features see a tick, and puts it into the batch if it is to be scored.
    fn take_tick(
        &mut self,
        name: &str,
        tick: Tick,
        record: &Record<'_>,
        partition: usize,
        now: ArrivalTime,
    ) -> (Outcome, Option<PendingTick>) {
        let Some(slot) = self.slot_of(name, partition) else {
            return (Outcome::OverCap, None);
        };
        let Some(instrument) = &mut self.slots[slot] else {
            return (Outcome::OverCap, None);
        };
        self.partitions[partition].touch(instrument);
        let checked = instrument.guards.observe(&self.config.guards, &tick, now);
        let (outcome, scored) = match checked.is_repeated {
            true => (Outcome::Duplicate, None),
            false => self.take_row(slot, &tick),
        };
        let pending = PendingTick {
            slot,
            cause: Cause {
                position: record.position,
                index: None,
                arrival_time: record.arrival_time,
                clock_time: now,
                tick,
            },
            finding: checked.finding,
            scored,
        };
        (outcome, Some(pending))
    }
}
