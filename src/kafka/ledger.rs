//! The ledger: which offsets may be committed, given which deliveries are acknowledged.
//!
//! Promises that an offset is given out only when every alert and dead letter that it covers, and every one before, is
//! acknowledged. Pure bookkeeping; knows no client.

use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::position::{NextOffset, TopicPartition};

/// Number of a batch, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchNumber(pub usize);

#[derive(Debug, Default)]
struct Batch {
    unacknowledged: usize,
    closed: bool,
    commits: Vec<(TopicPartition, NextOffset)>,
}

/// Deliveries under way and the offsets that wait for them.
#[derive(Debug, Default)]
pub struct Ledger {
    batches: VecDeque<Batch>,
    /// Unacknowledged records of all batches.
    in_flight: usize,
    first: usize,
    committable: BTreeMap<TopicPartition, NextOffset>,
    /// What was last given out for commit of each partition, as long as it belongs to us.
    given: BTreeMap<TopicPartition, NextOffset>,
}

impl Ledger {
    /// Gives the number of the open batch; opens one if there is none.
    pub fn open(&mut self) -> BatchNumber {
        if self.batches.back().is_none_or(|batch| batch.closed) {
            self.batches.push_back(Batch::default());
        }
        BatchNumber(self.first + self.batches.len() - 1)
    }

    /// Notes that one more record of a batch is under way.
    pub fn sent(&mut self, batch: BatchNumber) {
        if let Some(batch) = self.at(batch) {
            batch.unacknowledged += 1;
            self.in_flight += 1;
        }
    }

    /// Notes that the broker has one record of a batch.
    pub fn acknowledged(&mut self, batch: BatchNumber) {
        if let Some(batch) = self.at(batch).filter(|batch| batch.unacknowledged > 0) {
            batch.unacknowledged -= 1;
            self.in_flight -= 1;
        }
        self.settle();
    }

    /// Closes the open batch: once all is acknowledged, these offsets may be committed.
    pub fn close(&mut self, commits: Vec<(TopicPartition, NextOffset)>) {
        self.open();
        if let Some(batch) = self.batches.back_mut() {
            batch.closed = true;
            batch.commits = commits;
        }
        self.settle();
    }

    /// Gives the records that are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes the offsets that may be committed.
    pub fn take_committable(&mut self) -> Vec<(TopicPartition, NextOffset)> {
        let taken = std::mem::take(&mut self.committable);
        self.given.extend(taken.iter().map(|(at, next)| (*at, *next)));
        taken.into_iter().collect()
    }

    /// Notes that a commit failed: what was last given out for these partitions may be committed again, unless newer offsets
    /// wait already. A partition that belongs to someone else now has nothing of ours to commit, whatever failed before.
    pub fn put_back(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for at in partitions {
            if let Some(next) = self.given.get(&at) {
                self.committable.entry(at).or_insert(*next);
            }
        }
    }

    /// Forgets offsets of partitions that belong to someone else now.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.committable.retain(|at, _| !partitions.contains(at));
        self.given.retain(|at, _| !partitions.contains(at));
        for batch in &mut self.batches {
            batch.commits.retain(|(at, _)| !partitions.contains(at));
        }
    }

    fn at(&mut self, number: BatchNumber) -> Option<&mut Batch> {
        self.batches.get_mut(number.0.checked_sub(self.first)?)
    }

    fn settle(&mut self) {
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.closed && batch.unacknowledged == 0)
        {
            if let Some(batch) = self.batches.pop_front() {
                self.first += 1;
                self.committable.extend(batch.commits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::position::{Partition, TopicIndex};

    fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(partition),
        }
    }

    #[test]
    fn offsets_wait_for_their_own_and_all_earlier_deliveries() {
        let mut ledger = Ledger::default();
        let first = ledger.open();
        ledger.sent(first);
        ledger.sent(first);
        ledger.close(vec![(at(0), NextOffset(5))]);
        let second = ledger.open();
        ledger.sent(second);
        ledger.close(vec![(at(0), NextOffset(9)), (at(1), NextOffset(2))]);
        ledger.acknowledged(second);
        ledger.acknowledged(first);
        assert!(ledger.take_committable().is_empty());
        assert_eq!(ledger.in_flight(), 1);
        ledger.acknowledged(first);
        assert_eq!(
            ledger.take_committable(),
            [(at(0), NextOffset(9)), (at(1), NextOffset(2))]
        );
        assert!(ledger.take_committable().is_empty());
    }

    #[test]
    fn offsets_whose_commit_failed_come_again_unless_newer_ones_wait() {
        let mut ledger = Ledger::default();
        ledger.close(vec![(at(0), NextOffset(5)), (at(1), NextOffset(3))]);
        ledger.take_committable();
        ledger.close(vec![(at(0), NextOffset(9))]);
        ledger.put_back([at(0), at(1)]);
        assert_eq!(
            ledger.take_committable(),
            [(at(0), NextOffset(9)), (at(1), NextOffset(3))]
        );
    }

    #[test]
    fn a_failed_commit_of_a_partition_that_was_revoked_since_is_never_made_again() {
        let mut ledger = Ledger::default();
        ledger.close(vec![(at(0), NextOffset(5)), (at(1), NextOffset(3))]);
        ledger.take_committable();
        ledger.forget(&[at(0)]);
        ledger.put_back([at(0), at(1)]);
        assert_eq!(ledger.take_committable(), [(at(1), NextOffset(3))]);
        // It comes back, and what counts is what was read since.
        ledger.close(vec![(at(0), NextOffset(8))]);
        ledger.take_committable();
        ledger.put_back([at(0)]);
        assert_eq!(ledger.take_committable(), [(at(0), NextOffset(8))]);
    }

    #[test]
    fn batch_without_deliveries_is_committable_at_once() {
        let mut ledger = Ledger::default();
        ledger.close(vec![(at(0), NextOffset(5))]);
        assert_eq!(ledger.take_committable(), [(at(0), NextOffset(5))]);
    }

    #[test]
    fn revoked_partitions_are_never_committed() {
        let mut ledger = Ledger::default();
        let batch = ledger.open();
        ledger.sent(batch);
        ledger.close(vec![(at(0), NextOffset(5)), (at(1), NextOffset(6))]);
        ledger.forget(&[at(0)]);
        ledger.acknowledged(batch);
        assert_eq!(ledger.take_committable(), [(at(1), NextOffset(6))]);
    }
}
