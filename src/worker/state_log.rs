//! The state log: what a worker writes to the changelog and reads back.
//!
//! All that goes there goes in one transaction with the offsets that it belongs to, so a member that has lost its partitions
//! can overwrite nothing, and whoever restores finds offsets and state that fit. After an error of a transaction the worker
//! is made anew, as after a crash. Keys name topic, kind and thing; the changelog's partition is that of the input.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::kafka::changelog::Changelog;
use crate::kafka::client::BrokerError;
use crate::kafka::source::Source;
use crate::kafka::transactions::{TransactionRecord, Transactions};
use crate::pipeline::detector::Detector;
use crate::pipeline::position::{NextOffset, TopicPartition};
use crate::pipeline::snapshot::{Outside, Snapshot, SnapshotKey};

/// Longest time to read one partition of the changelog.
const READ_SECS: u64 = 60;
/// Parts a key: no topic's name holds it.
const BAR: char = '\0';

/// What a key is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Snapshot(SnapshotKey),
    /// By its number.
    Outside(u64),
}

impl Key {
    fn text(&self, topic: &str) -> String {
        match self {
            Key::Snapshot(SnapshotKey::Partition) => format!("{topic}{BAR}partition"),
            Key::Snapshot(SnapshotKey::Instrument { name, side }) => {
                format!("{topic}{BAR}instrument{BAR}{side}{BAR}{name}")
            }
            Key::Outside(number) => format!("{topic}{BAR}outside{BAR}{number}"),
        }
    }

    /// Reads a key of this topic; nothing where it is of another, or of a version to come.
    fn read(text: &[u8], topic: &str) -> Option<Key> {
        let text = std::str::from_utf8(text).ok()?;
        let rest = text.strip_prefix(topic)?.strip_prefix(BAR)?;
        let mut parts = rest.splitn(3, BAR);
        match (parts.next()?, parts.next(), parts.next()) {
            ("partition", None, None) => Some(Key::Snapshot(SnapshotKey::Partition)),
            ("instrument", Some(side), Some(name)) => Some(Key::Snapshot(SnapshotKey::Instrument {
                name: name.into(),
                side: side.parse().ok()?,
            })),
            ("outside", Some(number), None) => Some(Key::Outside(number.parse().ok()?)),
            _ => None,
        }
    }
}

/// One record for the changelog.
struct Entry {
    partition: i32,
    key: String,
    value: Option<Vec<u8>>,
}

/// How a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With what it was when the checkpoint was made: instruments, and the offset of the first record to read again.
    Restored {
        /// Instruments whose state is there.
        instruments: usize,
        /// Where to read from.
        from: NextOffset,
    },
    /// With nothing: there is no state of it.
    Cold,
}

impl Beginning {
    /// Gives the name used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Beginning::Restored { .. } => "restored",
            Beginning::Cold => "cold",
        }
    }
}

/// A worker's part of the changelog.
pub(super) struct StateLog {
    config: Arc<Config>,
    id: String,
    changelog: Changelog,
    /// None after an error, until the next commit.
    transactions: Option<Transactions>,
    /// When snapshots were written last.
    written_at: Instant,
    /// What is to be written with the next commit.
    waiting: Vec<(TopicPartition, Outside)>,
    /// What is written of each partition and no checkpoint has made needless yet.
    outside: BTreeMap<TopicPartition, VecDeque<Outside>>,
    /// What is written and is to be deleted with the next commit.
    needless: Vec<(TopicPartition, u64)>,
}

impl StateLog {
    /// Opens the changelog, and takes over the right to write to it.
    ///
    /// # Errors
    /// When librdkafka refuses the settings, or the broker does not answer.
    pub fn open(config: &Arc<Config>, index: usize) -> Result<Self, BrokerError> {
        let id = transactional_id(config, index);
        Ok(StateLog {
            config: Arc::clone(config),
            changelog: Changelog::open(&config.kafka, &config.state.changelog_topic)?,
            transactions: Some(Transactions::new(config.kafka.producer()?, &id)?),
            id,
            written_at: Instant::now(),
            waiting: Vec::new(),
            outside: BTreeMap::new(),
            needless: Vec::new(),
        })
    }

    /// Puts a partition where its last checkpoint was made.
    ///
    /// # Errors
    /// When the changelog can't be read. State that can't be used is told, and the partition begins cold.
    pub fn restore(
        &mut self,
        at: TopicPartition,
        committed: NextOffset,
        detector: &mut Detector,
    ) -> Result<Beginning, BrokerError> {
        let topic = &self.config.input.topics[usize::from(at.topic.0)];
        let mut newest: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        self.changelog.begin(at.partition.0)?;
        let deadline = Instant::now() + Duration::from_secs(READ_SECS);
        self.changelog.read_on(deadline, |key, value| {
            let Some(key) = Key::read(key, topic) else { return };
            match value {
                Some(value) => drop(newest.insert(key, value.to_vec())),
                None => drop(newest.remove(&key)),
            }
        })?;
        let (mut snapshots, mut outside) = (Vec::new(), Vec::new());
        for (key, value) in &newest {
            match key {
                Key::Snapshot(key) => snapshots.push((key, value.as_slice())),
                Key::Outside(_) => outside.extend(Outside::from_bytes(value).ok()),
            }
        }
        outside.sort_unstable_by_key(|outside| outside.number);
        self.outside.insert(at, outside.iter().copied().collect());
        match detector.restore(at, committed, snapshots, outside) {
            Ok(Some(restored)) => Ok(Beginning::Restored {
                instruments: restored.instruments,
                from: restored.seek,
            }),
            Ok(None) => Ok(Beginning::Cold),
            Err(problem) => {
                let partition = at.partition.0;
                tracing::warn!(topic, partition, %problem, "the state in the changelog can't be used; beginning without it");
                Ok(Beginning::Cold)
            }
        }
    }

    /// Notes what a partition was told from outside: it is written with the next commit.
    pub fn note(&mut self, at: TopicPartition, outside: Outside) {
        self.waiting.push((at, outside));
    }

    /// Forgets partitions that were given up.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.waiting.retain(|(at, _)| !partitions.contains(at));
        self.needless.retain(|(at, _)| !partitions.contains(at));
        self.outside.retain(|at, _| !partitions.contains(at));
    }

    /// Commits offsets together with what waits and with as many snapshots of the partitions as there is room for; with
    /// `whole`, with all of them. Everything below the offsets must be delivered, and the detector's batch must have ended.
    /// Gives the bytes written.
    ///
    /// # Errors
    /// Nobody knows what holds then: the same is to be committed again.
    pub fn commit(
        &mut self,
        detector: &mut Detector,
        source: &Source,
        (partitions, offsets): (&[TopicPartition], &[(TopicPartition, NextOffset)]),
        whole: bool,
    ) -> Result<usize, BrokerError> {
        let (mut entries, mut finished) = (Vec::new(), Vec::new());
        for (at, outside) in &self.waiting {
            entries.push(self.entry(*at, &Key::Outside(outside.number), Some(outside.to_bytes())));
        }
        for (at, number) in &self.needless {
            entries.push(self.entry(*at, &Key::Outside(*number), None));
        }
        let per_sec = self.config.state.snapshot_bytes_per_sec_max as f64;
        let mut room = match whole {
            true => usize::MAX,
            false => (self.written_at.elapsed().as_secs_f64() * per_sec) as usize,
        };
        for at in partitions {
            if whole || offsets.iter().any(|(of, _)| of == at) {
                detector.begin_checkpoint(*at);
            }
            let mut snapshots: Vec<Snapshot> = Vec::new();
            if room > 0 && detector.take_snapshots(*at, room, &mut snapshots) {
                finished.push(*at);
            }
            for Snapshot { key, bytes } in snapshots {
                room = room.saturating_sub(bytes.len());
                entries.push(self.entry(*at, &Key::Snapshot(key), Some(bytes)));
            }
        }
        if entries.is_empty() && offsets.is_empty() {
            return Ok(0);
        }
        if let Err(error) = self.write(&entries, source, offsets) {
            // The producer's state is unknown, and so is what was written: both begin anew.
            self.transactions = None;
            partitions.iter().for_each(|at| detector.drop_checkpoint(*at));
            return Err(error);
        }
        self.written_at = Instant::now();
        self.needless.clear();
        for (at, outside) in std::mem::take(&mut self.waiting) {
            self.outside.entry(at).or_default().push_back(outside);
        }
        for at in finished {
            detector.finish_checkpoint(at);
            self.note_needless(at, detector.redo_from(at));
        }
        Ok(entries
            .iter()
            .map(|entry| entry.value.as_ref().map_or(0, Vec::len))
            .sum())
    }

    fn write(
        &mut self,
        entries: &[Entry],
        source: &Source,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Result<(), BrokerError> {
        let Some((list, group)) = source.for_transaction(offsets) else {
            return Ok(());
        };
        let topic = &self.config.state.changelog_topic;
        let records = entries.iter().map(|entry| TransactionRecord {
            topic,
            partition: entry.partition,
            key: entry.key.as_bytes(),
            value: entry.value.as_deref(),
        });
        let transactions = match &mut self.transactions {
            Some(transactions) => transactions,
            none => none.insert(Transactions::new(self.config.kafka.producer()?, &self.id)?),
        };
        transactions
            .commit(records, &list, &group)
            .map_err(|error| BrokerError::Refused {
                reason: error.to_string(),
            })
    }

    /// Notes what a redo from this offset on does not need.
    fn note_needless(&mut self, at: TopicPartition, from: Option<NextOffset>) {
        let (Some(outside), Some(from)) = (self.outside.get_mut(&at), from) else {
            return;
        };
        while let Some(first) = outside.pop_front_if(|first| first.at < from) {
            self.needless.push((at, first.number));
        }
    }

    fn entry(&self, at: TopicPartition, key: &Key, value: Option<Vec<u8>>) -> Entry {
        Entry {
            partition: at.partition.0,
            key: key.text(&self.config.input.topics[usize::from(at.topic.0)]),
            value,
        }
    }
}

/// Gives the id under which a worker writes: the instance's own where it has one, since whoever starts again under the same id ends
/// what the one before has left open; else one that no other has.
fn transactional_id(config: &Config, index: usize) -> String {
    let group = &config.kafka.group;
    match config.kafka.consumer_property("group.instance.id") {
        Some(instance) => format!("{group}-{instance}-{index}"),
        None => format!("{group}-{:016x}-{index}", RandomState::new().build_hasher().finish()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written_and_those_of_other_topics_are_not() {
        let instrument = |name: &str| {
            Key::Snapshot(SnapshotKey::Instrument {
                name: name.into(),
                side: 1,
            })
        };
        for key in [
            Key::Snapshot(SnapshotKey::Partition),
            instrument("A"),
            instrument("a\0b"),
            Key::Outside(7),
        ] {
            let text = key.text("ticks");
            assert_eq!(Key::read(text.as_bytes(), "ticks"), Some(key));
            assert_eq!(Key::read(text.as_bytes(), "tick"), None);
            assert_eq!(Key::read(text.as_bytes(), "ticks2"), None);
        }
        assert_eq!(Key::read(b"ticks\0later\0x", "ticks"), None);
        assert_eq!(Key::read(b"\xff", "ticks"), None);
    }
}
