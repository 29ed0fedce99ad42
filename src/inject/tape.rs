//! The tape: clean ticks with episodes spliced in, written from front to back.
//!
//! Promises that every tick outside an episode is the clean one, its sequence number moved on by what was added before.

use super::Label;
use super::catalogue::Fault;
use super::episode::Episode;
use crate::pipeline::tick::Tick;

/// Ticks written so far.
pub(super) struct Tape<'a> {
    clean: &'a [Tick],
    taken: usize,
    written: Vec<Tick>,
    labels: Vec<Label>,
    sequences_added: u64,
}

impl<'a> Tape<'a> {
    pub fn new(clean: &'a [Tick]) -> Self {
        let written = Vec::with_capacity(clean.len() + clean.len() / 2);
        Self {
            clean,
            taken: 0,
            written,
            labels: Vec::new(),
            sequences_added: 0,
        }
    }

    /// Gives the clean ticks used up so far (count, ≥ 0).
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Writes the clean ticks up to `start`, then the episode.
    pub fn splice(&mut self, start: usize, fault: Fault, episode: Episode) {
        self.write(&self.clean[self.taken..start]);
        let offset = self.written.len();
        self.labels.push(Label {
            start: offset + episode.first,
            end: offset + episode.last,
            fault,
            magnitude: episode.magnitude,
        });
        self.write(&episode.ticks);
        self.taken = start + episode.taken;
        self.sequences_added += episode.sequences_added;
    }

    /// Writes the clean ticks that are left.
    pub fn finish(mut self) -> (Vec<Tick>, Vec<Label>) {
        self.write(&self.clean[self.taken..]);
        (self.written, self.labels)
    }

    fn write(&mut self, ticks: &[Tick]) {
        let added = self.sequences_added;
        let renumbered = |tick: &Tick| Tick {
            sequence: tick.sequence.map(|sequence| sequence.plus(added)),
            ..*tick
        };
        self.written.extend(ticks.iter().map(renumbered));
    }
}
