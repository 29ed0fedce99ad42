//! Files of recorded ticks: CSV, plain or gzip, one line per tick.
//!
//! Promises that lines are handed on as they stand, so that a bad one meets the same decoder as a record from Kafka.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use crate::pipeline::decode::{CSV_COLUMNS, DecodeConfig, Decoder, Format, What};
use crate::pipeline::input::Record;
use crate::pipeline::tick::Tick;
use crate::pipeline::tick_reader::TickReader;

/// What can be wrong with files of ticks.
#[derive(Debug, Error)]
pub enum TickFileError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder has no files of ticks.
    #[error("{path} holds no <instrument>.csv or <instrument>.csv.gz")]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// The first line is not the header.
    #[error("{path}: expected the header {}, found {found}", CSV_COLUMNS.join(","))]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
    /// A line is no tick.
    #[error("{path}: line {line}: {problem}")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// A file of ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickFile {
    /// Name of the instrument: the file's name without `.csv` or `.csv.gz`.
    pub instrument: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Lists files of ticks in the order of their names; a folder stands for all of its files.
///
/// # Errors
/// [`TickFileError`] when a folder cannot be read or holds none.
pub fn list(paths: &[PathBuf]) -> Result<Vec<TickFile>, TickFileError> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if !metadata.is_dir() {
            let instrument = instrument_of(path).unwrap_or_else(|| path.display().to_string());
            files.push(TickFile {
                instrument,
                path: path.clone(),
            });
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|source| unreadable(path, source))?;
        let found = files.len();
        for entry in entries {
            let path = entry.map_err(|source| unreadable(path, source))?.path();
            // A folder may hold other tables beside the ticks; they are told by their header.
            if let Some(instrument) = instrument_of(&path).filter(|_| open(&path).is_ok()) {
                files.push(TickFile { instrument, path });
            }
        }
        if files.len() == found {
            return Err(TickFileError::NoFiles { path: path.clone() });
        }
        files[found..].sort_by(|a, b| a.instrument.cmp(&b.instrument));
    }
    Ok(files)
}

fn instrument_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".csv")
        .or_else(|| name.strip_suffix(".csv.gz"))
        .map(str::to_string)
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

/// The lines of a file after its header.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
}

/// Opens a file and checks its header.
///
/// # Errors
/// [`TickFileError`] when it cannot be read or has another header.
pub fn open(path: &Path) -> Result<Lines, TickFileError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let reader: Box<dyn Read + Send> = if is_gzip(path) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut lines = Lines {
        path: path.into(),
        reader: BufReader::new(reader),
    };
    let mut header = Vec::new();
    lines.next_into(&mut header)?;
    if header != CSV_COLUMNS.join(",").as_bytes() {
        const SHOWN_CHARS: usize = 120;
        let found = String::from_utf8_lossy(&header).chars().take(SHOWN_CHARS).collect();
        return Err(TickFileError::BadHeader {
            path: path.into(),
            found,
        });
    }
    Ok(lines)
}

impl Lines {
    /// Reads the next line without its end into `line`; false at the end of the file.
    ///
    /// # Errors
    /// [`TickFileError::Unreadable`].
    pub fn next_into(&mut self, line: &mut Vec<u8>) -> Result<bool, TickFileError> {
        line.clear();
        let read = self
            .reader
            .read_until(b'\n', line)
            .map_err(|source| unreadable(&self.path, source))?;
        while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            line.pop();
        }
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

/// Hands all ticks of a file to a reader, under the name of the instrument that each line gives, as a detector takes them.
///
/// # Errors
/// [`TickFileError`]; a line that is no tick is named.
pub fn read(file: &TickFile, decoder: &Decoder, reader: &mut TickReader) -> Result<(), TickFileError> {
    const HEADER_LINES: usize = 1;
    let mut lines = open(&file.path)?;
    let mut line = Vec::new();
    let mut number = HEADER_LINES;
    while lines.next_into(&mut line)? {
        number += 1;
        let mut bad = None;
        decoder.decode(&Record::of_line(&line), &mut |item| match item.what {
            What::Tick { instrument, tick, .. } => reader.push(instrument, tick),
            What::Incomplete { .. } | What::Ignored => {}
            What::Bad(error) => bad = Some(error),
        });
        if let Some(error) = bad {
            return Err(TickFileError::BadLine {
                path: file.path.clone(),
                line: number,
                problem: error.to_string(),
            });
        }
    }
    Ok(())
}

/// Reads all lines of a file; one that is no tick gives none, so that places in the list are those of the lines.
///
/// # Errors
/// [`TickFileError`] when the file cannot be read or has another header.
pub fn read_lines(file: &TickFile, decoder: &Decoder) -> Result<Vec<Option<Tick>>, TickFileError> {
    let mut lines = open(&file.path)?;
    let (mut line, mut ticks) = (Vec::new(), Vec::new());
    while lines.next_into(&mut line)? {
        let mut read = None;
        decoder.decode(&Record::of_line(&line), &mut |item| match item.what {
            What::Tick { tick, .. } => read = Some(tick),
            What::Incomplete { .. } | What::Ignored | What::Bad(_) => {}
        });
        ticks.push(read);
    }
    Ok(ticks)
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
