//! Snapshots: the state of a partition and of its instruments as bytes, and what the log does not say.
//!
//! A snapshot is a format version, what it is of, a checksum, and the state in [`postcard`]'s encoding, which keeps every bit
//! of a number. Bytes of another version, damaged bytes and bytes of another thing are errors by name; what is read is
//! bounded by the bytes that are there. Parameters (weights, calibrations, configuration) are no state and in no snapshot. How
//! snapshots become a checkpoint stands in [`detector::checkpoint`](super::detector::checkpoint).

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::position::NextOffset;
use super::score::ModelVersion;
use super::time::ArrivalTime;

/// Version of the format that is written. No other is read yet.
pub const FORMAT: u8 = 1;

/// Bytes before the state: format, kind, checksum.
const HEADER: usize = 6;

/// What bytes are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Instrument,
    Partition,
    Outside,
}

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is too short to be one.
    #[error("{0} bytes are too few for a snapshot")]
    Short(usize),
    /// Another version of the program wrote it.
    #[error("the snapshot has format {0}; this version reads format {FORMAT}")]
    Format(u8),
    /// It is a snapshot of something else.
    #[error("the snapshot is of another kind than expected")]
    Kind,
    /// Its checksum is wrong.
    #[error("the snapshot is damaged: its checksum is wrong")]
    Checksum,
    /// Its checksum is right, but there is no such state.
    #[error("the snapshot holds no state: {0}")]
    State(String),
    /// A checkpoint lacks snapshots of instruments.
    #[error("the checkpoint has {expected} instruments, but snapshots of {found} are there")]
    Missing {
        /// As the partition's snapshot says.
        expected: usize,
        /// That are there.
        found: usize,
    },
    /// The checkpoint lies beyond what is committed.
    #[error("the checkpoint is of offset {}, beyond the committed offset {}", .0.0, .1.0)]
    Beyond(NextOffset, NextOffset),
    /// Records of the partition have been handed in already.
    #[error("the partition is at work already")]
    AtWork,
}

/// What a snapshot is of: its key in a changelog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SnapshotKey {
    /// One instrument. Its snapshots alternate between two sides, so that the last whole checkpoint stays while the next one
    /// is written.
    Instrument {
        /// Its name.
        name: Arc<str>,
        /// 0 or 1.
        side: u8,
    },
    /// What belongs to the partition as a whole. It is the last of a checkpoint and makes it whole.
    Partition,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is of. A later snapshot with the same key replaces it.
    pub key: SnapshotKey,
    /// The state.
    pub bytes: Vec<u8>,
}

/// Something that a partition was told from outside and that its log does not say: a redo needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// It was told before the record at this offset.
    pub at: NextOffset,
    /// Counts what the partition was told, from 0.
    pub number: u64,
    /// What it was told.
    pub told: Told,
}

/// What a partition was told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// Its clock moved on to this time though no record said so, and open alerts may have ended by it.
    Time(ArrivalTime),
    /// The next record's stamp was held against this time of the wall clock and not believed. (All others were.)
    Wall(ArrivalTime),
    /// This model took over.
    Model(ModelVersion),
}

impl Outside {
    /// Gives it as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(Kind::Outside, self)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are damaged or of another format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        decode(Kind::Outside, bytes)
    }
}

/// The point in a partition's history at which a checkpoint was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Cut {
    /// All records below this are in it …
    pub at: NextOffset,
    /// … and so much that was told from outside.
    pub outside: u64,
}

/// Gives a state as bytes.
#[expect(
    clippy::expect_used,
    reason = "no type of a state has a length that is unknown, and a vector takes all"
)]
pub(super) fn encode(kind: Kind, state: &impl Serialize) -> Vec<u8> {
    let header = vec![FORMAT, kind as u8, 0, 0, 0, 0];
    let mut bytes = postcard::to_extend(state, header).expect("a state has an encoding");
    let sum = crc32fast::hash(&bytes[HEADER..]).to_le_bytes();
    bytes[2..HEADER].copy_from_slice(&sum);
    bytes
}

/// Reads a state.
pub(super) fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, SnapshotError> {
    let Some(([format, of, sum @ ..], state)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(SnapshotError::Short(bytes.len()));
    };
    if *format != FORMAT {
        return Err(SnapshotError::Format(*format));
    }
    if *of != kind as u8 {
        return Err(SnapshotError::Kind);
    }
    if crc32fast::hash(state) != u32::from_le_bytes(*sum) {
        return Err(SnapshotError::Checksum);
    }
    let wrong = |text: String| SnapshotError::State(text);
    match postcard::take_from_bytes(state) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(wrong(format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(wrong(error.to_string())),
    }
}
