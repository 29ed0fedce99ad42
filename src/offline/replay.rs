//! Recorded files as one stream: merged by the time since each file's first tick, so that feeds of different years run
//! side by side.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use super::backtest::BacktestError;
use super::tick_files::{self, Lines, TickFile, TickFileError};
use crate::pipeline::decode::{DecodeConfig, Decoder, Sides, What};
use crate::pipeline::input::Record;
use crate::pipeline::tick::{Sequence, Tick};
use crate::pipeline::time::EventTime;

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
    /// Event time since the first tick of its file (nanoseconds, ≥ 0, never falling within a file).
    pub elapsed_nanos: i64,
}

/// One file that is being read.
struct Feed {
    file: TickFile,
    lines: Lines,
    line_number: usize,
    first_nanos: Option<i64>,
    elapsed_nanos: i64,
    waiting: Option<(String, Vec<u8>)>,
}

/// Files merged into one stream.
pub struct Replay {
    form: RecordForm,
    decoder: Decoder,
    feeds: Vec<Feed>,
    /// Which feed is next: least elapsed time first, then the order of files.
    next: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Replay {
    /// Opens the files.
    ///
    /// # Errors
    /// [`BacktestError`] when one cannot be read.
    pub fn open(files: &[TickFile], form: RecordForm, config: &DecodeConfig) -> Result<Self, BacktestError> {
        let decoder = tick_files::line_decoder(config).map_err(BacktestError::Config)?;
        let mut replay = Replay {
            form,
            decoder,
            feeds: Vec::new(),
            next: BinaryHeap::new(),
        };
        for file in files {
            replay.feeds.push(Feed {
                file: file.clone(),
                lines: tick_files::open(&file.path)?,
                line_number: 1,
                first_nanos: None,
                elapsed_nanos: 0,
                waiting: None,
            });
            replay.advance(replay.feeds.len() - 1)?;
        }
        Ok(replay)
    }

    /// Gives the next record; `None` after the last.
    ///
    /// # Errors
    /// [`BacktestError`] when a file cannot be read on, or a line is no tick.
    pub fn next_record(&mut self) -> Result<Option<ReplayRecord>, BacktestError> {
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

    fn advance(&mut self, index: usize) -> Result<(), BacktestError> {
        let feed = &mut self.feeds[index];
        let mut line = Vec::new();
        feed.line_number += 1;
        if !feed.lines.next_into(&mut line)? {
            return Ok(());
        }
        let bad = |problem: String| TickFileError::BadLine {
            path: PathBuf::from(&feed.file.path),
            line: feed.line_number,
            problem,
        };
        let mut read = Err(String::new());
        self.decoder.decode(&Record::of_line(&line), &mut |item| {
            read = match item.what {
                What::Tick { instrument, tick, .. } => {
                    Ok((instrument.to_owned(), tick.event_time, to_json(instrument, &tick)))
                }
                What::Incomplete {
                    instrument,
                    event_time,
                    sides,
                    ..
                } => Ok((
                    instrument.to_owned(),
                    event_time,
                    incomplete_to_json(instrument, event_time, sides),
                )),
                // A line is a tick, or bad.
                What::Ignored => Err("the line holds no tick".into()),
                What::Bad(error) => Err(error.to_string()),
            };
        });
        let (instrument, event_time, json) = read.map_err(bad)?;
        let time = event_time.0;
        let first = *feed.first_nanos.get_or_insert(time);
        // A stamp that goes back keeps its place in the file.
        feed.elapsed_nanos = feed.elapsed_nanos.max(time.saturating_sub(first));
        let payload = match self.form {
            RecordForm::Json => json.into_bytes(),
            RecordForm::Csv => line,
        };
        feed.waiting = Some((instrument, payload));
        self.next.push(Reverse((feed.elapsed_nanos, index)));
        Ok(())
    }
}

/// Writes a quote that lacks a side, or a trade of nothing, as a JSON object from which the default configuration reads the
/// same.
fn incomplete_to_json(instrument: &str, event_time: EventTime, sides: Option<Sides>) -> String {
    let object = match sides {
        Some(sides) => serde_json::json!({
            "instrument": instrument, "ts_ns": event_time.0, "bid": sides.bid, "ask": sides.ask,
            "bid_size": sides.bid_size, "ask_size": sides.ask_size, "kind": "quote",
        }),
        None => serde_json::json!({
            "instrument": instrument, "ts_ns": event_time.0, "price": 0, "size": 0, "kind": "trade",
        }),
    };
    object.to_string()
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
