//! Files of recorded ticks: CSV, plain or gzip, one line per tick.
//!
//! Promises that everything is looked at before anything is done with it, so that what is wrong is told at once: a
//! [`Recording`] has read all of its files when it is opened. The name that counts is the column's: a file may hold several
//! instruments, and an instrument several files, which must follow one another in time. Blank lines are nothing. Lines that
//! are no ticks are left out and told, unless they are many.

mod listing;
mod scan;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use self::scan::Scanned;
use crate::pipeline::decode::{CSV_COLUMNS, DecodeConfig, Decoder, Format, TickError, What};
use crate::pipeline::input::Record;
use crate::pipeline::tick::Tick;
use crate::pipeline::time::EventTime;

/// Largest share of a file's lines that may be no ticks (0–1). A line that was cut off when a recorder stopped is below it;
/// a file of another kind, or of which a column is read wrongly, is far above it.
pub const UNREADABLE_SHARE_MAX: f64 = 0.01;
/// Largest share of an instrument's ticks in a file whose stamp may lie before that of the tick before (0–1). Feeds have
/// few of these; a file that is sorted in another way has half of them or all.
pub const STEPS_BACK_SHARE_MAX: f64 = 0.2;

/// What can be wrong with files of ticks.
#[derive(Debug, Error)]
pub enum TickFileError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder has no files of ticks.
    #[error("{} holds no file of ticks (.csv or .csv.gz){}", path.display(), listing::but(.passed_over))]
    NoFiles {
        /// The folder.
        path: PathBuf,
        /// What it holds, and why that is none.
        passed_over: Vec<PassedOver>,
    },
    /// The first line is not the header.
    #[error("{}: expected the header {}, found {found:?}", path.display(), CSV_COLUMNS.join(","))]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// The beginning of its first line.
        found: String,
    },
    /// Too many lines are no ticks.
    #[error(
        "{}: {unreadable} of {lines} lines are no ticks, more than {} %; the first is line {line}: {problem}",
        path.display(),
        UNREADABLE_SHARE_MAX * 100.0
    )]
    TooManyUnreadable {
        /// The file.
        path: PathBuf,
        /// Lines that are no ticks.
        unreadable: usize,
        /// All lines but the header and blank ones.
        lines: usize,
        /// Number of the first that is none, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is not in order of time.
    #[error(
        "{}: {steps_back} of {ticks} ticks of {instrument} have a stamp before that of the tick before; expected the \
         order in which they came",
        path.display()
    )]
    Unordered {
        /// The file.
        path: PathBuf,
        /// Name of the instrument.
        instrument: String,
        /// Ticks whose stamp goes back.
        steps_back: usize,
        /// Ticks of the instrument in this file.
        ticks: usize,
    },
    /// Two files hold an instrument's ticks of the same time.
    #[error(
        "{} and {} hold ticks of {instrument} of the same time; expected files that follow one another, or one file",
        first.display(),
        second.display()
    )]
    Overlap {
        /// Name of the instrument.
        instrument: String,
        /// The file that begins first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The limits of the configuration make no sense.
    #[error("config: {0}")]
    Config(String),
}

/// What a folder holds beside files of ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Which one.
    pub path: PathBuf,
    /// Why it is none.
    pub reason: String,
}

/// A tick of a recording.
#[derive(Debug)]
pub struct RecordedTick<'a> {
    /// Which run of files it is of: see [`Recording::runs`].
    pub run: usize,
    /// Name of the instrument.
    pub instrument: &'a str,
    /// The tick.
    pub tick: Tick,
    /// The line as it stands.
    pub line: &'a [u8],
}

/// Files of ticks that have been looked at, in the order in which they are to be read.
pub struct Recording {
    files: Vec<Scanned>,
    passed_over: Vec<PassedOver>,
    decoder: Decoder,
}

impl Recording {
    /// Reads files once, to see what they hold; a folder stands for all of its files. `progress` hears which share of the
    /// files has been read (0–1).
    ///
    /// # Errors
    /// [`TickFileError`] that names the file.
    pub fn open(
        paths: &[PathBuf],
        config: &DecodeConfig,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self, TickFileError> {
        let decoder = line_decoder(config).map_err(TickFileError::Config)?;
        let listed = listing::list(paths)?;
        let mut files = Vec::with_capacity(listed.files.len());
        for (done, path) in listed.files.iter().enumerate() {
            progress(done as f64 / listed.files.len() as f64);
            files.push(scan::scan(path, &decoder)?);
        }
        Ok(Recording {
            files: scan::in_order(files)?,
            passed_over: listed.passed_over,
            decoder,
        })
    }

    /// Says what people should know: what was passed over, and which lines are no ticks.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = listing::notes(&self.passed_over);
        notes.extend(self.files.iter().filter_map(Scanned::note));
        notes
    }

    /// Counts the ticks of each instrument.
    pub fn instruments(&self) -> BTreeMap<&str, usize> {
        let mut instruments = BTreeMap::new();
        for (instrument, stretch) in self.files.iter().flat_map(|file| &file.stretches) {
            *instruments.entry(instrument.as_str()).or_default() += stretch.ticks;
        }
        instruments
    }

    /// Counts all ticks.
    pub fn ticks(&self) -> usize {
        self.instruments().values().sum()
    }

    /// Counts the files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Counts the runs: files that share an instrument, directly or by others between, are one run and follow one another.
    pub fn runs(&self) -> usize {
        self.files.last().map_or(0, |file| file.run + 1)
    }

    /// Gives about when the ticks of an instrument begin and end.
    pub fn span(&self, instrument: &str) -> Option<(EventTime, EventTime)> {
        let mut stretches = self.files.iter().filter_map(|file| file.stretches.get(instrument));
        let first = stretches.next()?;
        let last = stretches.next_back().unwrap_or(first);
        Some((first.start(), last.end()))
    }

    /// Hands all ticks to `take`, one run after the other.
    ///
    /// # Errors
    /// [`TickFileError`] when a file cannot be read any more.
    pub fn read(&self, mut take: impl FnMut(RecordedTick<'_>)) -> Result<(), TickFileError> {
        for run in 0..self.runs() {
            let mut reader = self.reader(run);
            while reader.next_into(&mut take)? {}
        }
        Ok(())
    }

    /// Hands the lines of all ticks to `take`, each with the name of its instrument, one run after the other: for who
    /// decodes them anyway.
    ///
    /// # Errors
    /// [`TickFileError`] when a file cannot be read any more.
    pub fn read_lines(&self, mut take: impl FnMut(&str, &[u8])) -> Result<(), TickFileError> {
        let mut line = Vec::new();
        for file in &self.files {
            let mut lines = Lines::open(&file.path)?;
            while lines.next_into(&mut line)? {
                // Where all lines are ticks, the second column is a name.
                if file.is_whole() {
                    let name = line.split(|byte| *byte == b',').nth(1).unwrap_or_default();
                    take(std::str::from_utf8(name).unwrap_or_default(), &line);
                } else {
                    // What can't be read was counted and told when the recording was opened.
                    let _ = decode_line(&self.decoder, &line, |instrument, _| take(instrument, &line));
                }
            }
        }
        Ok(())
    }

    /// Reads the ticks of one run, one by one.
    pub fn reader(&self, run: usize) -> RunReader<'_> {
        let start = self.files.partition_point(|file| file.run < run);
        let end = self.files.partition_point(|file| file.run <= run);
        RunReader {
            run,
            files: self.files[start..end].iter(),
            decoder: &self.decoder,
            lines: None,
            line: Vec::new(),
        }
    }
}

/// Reads the files of one run.
pub struct RunReader<'a> {
    run: usize,
    files: std::slice::Iter<'a, Scanned>,
    decoder: &'a Decoder,
    lines: Option<Lines>,
    line: Vec<u8>,
}

impl RunReader<'_> {
    /// Hands the next tick to `take`; false after the last one.
    ///
    /// # Errors
    /// [`TickFileError`] when a file cannot be read any more.
    pub fn next_into(&mut self, mut take: impl FnMut(RecordedTick<'_>)) -> Result<bool, TickFileError> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => match self.files.next() {
                    Some(file) => self.lines.insert(Lines::open(&file.path)?),
                    None => return Ok(false),
                },
            };
            if !lines.next_into(&mut self.line)? {
                self.lines = None;
                continue;
            }
            let mut is_taken = false;
            // What cannot be read was counted and told when the recording was opened.
            let _ = decode_line(self.decoder, &self.line, |instrument, tick| {
                let Some(tick) = tick else { return };
                is_taken = true;
                take(RecordedTick {
                    run: self.run,
                    instrument,
                    tick,
                    line: &self.line,
                });
            });
            if is_taken {
                return Ok(true);
            }
        }
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> TickFileError {
    TickFileError::Unreadable {
        path: path.into(),
        source,
    }
}

/// Tells by its name whether a file is gzip.
pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// The lines of a file after its header, without blank ones.
struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    /// Number of the line that was read last, from 1.
    number: usize,
}

impl Lines {
    /// Opens a file and checks its header.
    fn open(path: &Path) -> Result<Lines, TickFileError> {
        /// What programs of Windows write in front of UTF-8.
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let file = File::open(path).map_err(|source| unreadable(path, source))?;
        let reader: Box<dyn Read + Send> = if is_gzip(path) {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut lines = Lines {
            path: path.into(),
            reader: BufReader::new(reader),
            number: 0,
        };
        let mut header = Vec::new();
        lines.read_line(&mut header)?;
        let header = header.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&header);
        if header != CSV_COLUMNS.join(",").as_bytes() {
            const SHOWN_CHARS: usize = 80;
            let found = String::from_utf8_lossy(header).chars().take(SHOWN_CHARS).collect();
            return Err(TickFileError::BadHeader {
                path: path.into(),
                found,
            });
        }
        Ok(lines)
    }

    /// Reads the next line that is not blank, without its end, into `line`; false at the end of the file.
    fn next_into(&mut self, line: &mut Vec<u8>) -> Result<bool, TickFileError> {
        while self.read_line(line)? {
            if !line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, TickFileError> {
        line.clear();
        let read = self
            .reader
            .read_until(b'\n', line)
            .map_err(|source| unreadable(&self.path, source))?;
        while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            line.pop();
        }
        self.number += 1;
        Ok(read > 0)
    }
}

/// Makes a decoder for lines of files, with the limits of `config`.
///
/// # Errors
/// A text when the limits make no sense.
pub fn line_decoder(config: &DecodeConfig) -> Result<Decoder, String> {
    let config = DecodeConfig {
        format: Format::Csv,
        ..config.clone()
    };
    Decoder::new(&config, &[])
}

/// Hands what a line says to `take`: the name of its instrument, and its tick unless that is incomplete.
///
/// # Errors
/// What is wrong with the line.
fn decode_line(decoder: &Decoder, line: &[u8], mut take: impl FnMut(&str, Option<Tick>)) -> Result<(), TickError> {
    let mut bad = None;
    decoder.decode(&Record::of_line(line), &mut |item| match item.what {
        What::Tick { instrument, tick, .. } => take(instrument, Some(tick)),
        What::Incomplete { instrument, .. } => take(instrument, None),
        What::Ignored => {}
        What::Bad(error) => bad = Some(error),
    });
    bad.map_or(Ok(()), Err)
}

/// Writes a tick as a line of the CSV form, without its end.
pub fn to_line(instrument: &str, tick: &Tick) -> String {
    use crate::pipeline::tick::Body;
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let time = tick.event_time.0;
    match tick.body {
        Body::Trade(trade) => format!("{time},{instrument},trade,{},{},,,,", trade.price, number(trade.size)),
        Body::Quote(quote) => format!(
            "{time},{instrument},quote,,,{},{},{},{}",
            quote.bid,
            quote.ask,
            number(quote.bid_size),
            number(quote.ask_size)
        ),
    }
}

#[cfg(test)]
mod tests;
