//! Recorded ticks as one stream: runs of files merged by the time since each run's first tick, so that feeds of different
//! years run side by side. Files that share an instrument are one run and follow one another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::tick_files::{Recording, RunReader, TickFileError};
use crate::pipeline::tick::{Sequence, Tick};

/// Form of a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordForm {
    /// A JSON object as the default configuration reads it.
    Json,
    /// The line as it stands.
    Csv,
}

/// The next record of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRecord {
    /// Name of the instrument: the record's key.
    pub instrument: String,
    /// The record's value.
    pub payload: Vec<u8>,
    /// Event time since the first tick of its run (nanoseconds, ≥ 0, never falling within a run).
    pub elapsed_nanos: i64,
}

/// One run of files that is being read.
struct Feed<'a> {
    reader: RunReader<'a>,
    first_nanos: Option<i64>,
    elapsed_nanos: i64,
    waiting: Option<(String, Vec<u8>)>,
}

/// Recorded ticks merged into one stream.
pub struct Replay<'a> {
    form: RecordForm,
    feeds: Vec<Feed<'a>>,
    /// Which feed is next: least elapsed time first, then the order of runs.
    next: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<'a> Replay<'a> {
    /// Opens the files.
    ///
    /// # Errors
    /// [`TickFileError`] when one cannot be read any more.
    pub fn open(recording: &'a Recording, form: RecordForm) -> Result<Self, TickFileError> {
        let feed = |run| Feed {
            reader: recording.reader(run),
            first_nanos: None,
            elapsed_nanos: 0,
            waiting: None,
        };
        let mut replay = Replay {
            form,
            feeds: (0..recording.runs()).map(feed).collect(),
            next: BinaryHeap::new(),
        };
        (0..replay.feeds.len()).try_for_each(|feed| replay.advance(feed))?;
        Ok(replay)
    }

    /// Gives the next record; `None` after the last.
    ///
    /// # Errors
    /// [`TickFileError`] when a file cannot be read on.
    pub fn next_record(&mut self) -> Result<Option<ReplayRecord>, TickFileError> {
        let Some(Reverse((elapsed_nanos, feed))) = self.next.pop() else {
            return Ok(None);
        };
        let Some((instrument, payload)) = self.feeds[feed].waiting.take() else {
            return Ok(None);
        };
        self.advance(feed)?;
        Ok(Some(ReplayRecord {
            instrument,
            payload,
            elapsed_nanos,
        }))
    }

    fn advance(&mut self, index: usize) -> Result<(), TickFileError> {
        let (feed, form) = (&mut self.feeds[index], self.form);
        let (first_nanos, elapsed_nanos, waiting) = (&mut feed.first_nanos, &mut feed.elapsed_nanos, &mut feed.waiting);
        let is_read = feed.reader.next_into(|recorded| {
            let time = recorded.tick.event_time.0;
            let first = *first_nanos.get_or_insert(time);
            // A stamp that goes back keeps its place in the file.
            *elapsed_nanos = (*elapsed_nanos).max(time.saturating_sub(first));
            let payload = match form {
                RecordForm::Json => to_json(recorded.instrument, &recorded.tick).into_bytes(),
                RecordForm::Csv => recorded.line.to_vec(),
            };
            *waiting = Some((recorded.instrument.to_owned(), payload));
        })?;
        if is_read {
            self.next.push(Reverse((feed.elapsed_nanos, index)));
        }
        Ok(())
    }
}

/// Writes a tick as the JSON object that the default configuration reads.
pub fn to_json(instrument: &str, tick: &Tick) -> String {
    let mut object = serde_json::Map::new();
    object.insert("instrument".into(), instrument.into());
    object.insert("ts_ns".into(), tick.event_time.0.into());
    for (name, number) in tick.body.numbers() {
        object.insert(name.into(), number.into());
    }
    object.insert("kind".into(), tick.body.kind().into());
    if let Some(sequence) = tick.sequence.and_then(Sequence::written) {
        object.insert("seq".into(), sequence.into());
    }
    serde_json::Value::Object(object).to_string()
}
