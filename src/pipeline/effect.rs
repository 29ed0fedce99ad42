//! Effects: what the detector wants done, in order.
//!
//! An effect names what it is about by position, so that whoever performs it needs no memory of what was handed in last.

use super::alert::Alert;
use super::position::{NextOffset, Position, TopicPartition};
use super::snapshot::Outside;
use super::verdict::Verdict;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Publish a revision of an alert.
    Alert(Box<Alert>),
    /// Send the record that stands at the letter's position to the dead-letter topic.
    DeadLetter(DeadLetter),
    /// Everything below this offset is applied; it may be committed once all effects before it are acknowledged.
    Commit(TopicPartition, NextOffset),
    /// The partition was told this from outside. It is to be durable with, or before, the commit that comes next and the
    /// alerts that come after it; a redo is told it again.
    Outside(TopicPartition, Outside),
}

impl Effect {
    /// Makes the effect of an alert's revision.
    pub(super) fn alert(alert: Alert) -> Self {
        Effect::Alert(Box::new(alert))
    }
}

/// Why a record is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record stands.
    pub position: Position,
    /// Label under which it is counted.
    pub reason: &'static str,
    /// What was wrong, for people.
    pub detail: String,
}

/// What one or more inputs led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// What is to be done, in this order.
    pub actions: Vec<Effect>,
    /// One verdict per tick, and one per record that holds none, in the order they were handed in.
    pub verdicts: Vec<Verdict>,
}

impl Effects {
    /// Takes out the dead letters of the record at `position`: whoever still has the record sends it along with them.
    pub fn take_dead_letters(&mut self, position: Position) -> impl Iterator<Item = DeadLetter> {
        let is_of_record =
            move |effect: &mut Effect| matches!(effect, Effect::DeadLetter(letter) if letter.position == position);
        self.actions
            .extract_if(.., is_of_record)
            .filter_map(|effect| match effect {
                Effect::DeadLetter(letter) => Some(letter),
                Effect::Alert(_) | Effect::Commit(..) | Effect::Outside(..) => None,
            })
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.verdicts.clear();
    }
}
