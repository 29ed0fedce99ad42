//! The labels: which ticks of each instrument belong to which event.
//!
//! A label file is CSV with a header; it needs the columns `instrument`, `start_seq`, `end_seq` and `kind`, in any
//! order. This file does not know how many ticks an instrument has, so [`evaluate`](super::evaluate) checks the ends.

use std::collections::BTreeMap;
use std::path::Path;

use csv::StringRecord;

use super::EvaluationError;

/// Maps each instrument to its labelled events, in the order of the label file.
pub type Labels = BTreeMap<String, Vec<Event>>;

/// Names the ticks of one labelled anomaly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The first tick (tick number of the instrument's test ticks, from 0).
    pub start: usize,
    /// The last tick, itself included (tick number, ≥ `start`).
    pub end: usize,
    /// The kind of anomaly, for instance `spike4`.
    pub kind: String,
}

/// Reads a label file.
///
/// # Errors
/// Returns an error when the file cannot be read, lacks a column, or has an empty cell or a tick that is no whole number.
pub fn read_labels(path: &Path) -> Result<Labels, EvaluationError> {
    let unreadable = |source| EvaluationError::UnreadableLabels {
        path: path.to_owned(),
        source,
    };
    let mut reader = csv::Reader::from_path(path).map_err(unreadable)?;
    let columns = Columns::find(path, reader.headers().map_err(unreadable)?)?;
    let mut labels = Labels::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        let event = Event {
            start: columns.start_seq.tick(&record)?,
            end: columns.end_seq.tick(&record)?,
            kind: columns.kind.text(&record)?.to_owned(),
        };
        labels
            .entry(columns.instrument.text(&record)?.to_owned())
            .or_default()
            .push(event);
    }
    Ok(labels)
}

/// Looks whether labels fit the ticks of these instruments, of which each has so many.
///
/// # Errors
/// Returns an error when an event lies outside its instrument's ticks or ends before it starts, or none is of these
/// instruments.
pub fn check_labels(labels: &Labels, instruments: &BTreeMap<&str, usize>) -> Result<(), EvaluationError> {
    let mut is_any = false;
    for (instrument, &ticks) in instruments {
        let events = labels.get(*instrument).map_or(&[][..], Vec::as_slice);
        check_events(instrument, events, ticks)?;
        is_any |= !events.is_empty();
    }
    match is_any {
        true => Ok(()),
        false => Err(EvaluationError::no_events(
            labels.keys().map(String::as_str),
            instruments.keys().copied(),
        )),
    }
}

/// Looks whether an instrument's events lie within its ticks.
pub(super) fn check_events(instrument: &str, events: &[Event], ticks: usize) -> Result<(), EvaluationError> {
    match events
        .iter()
        .find(|event| event.start > event.end || event.end >= ticks)
    {
        Some(&Event { start, end, .. }) => Err(EvaluationError::EventOutside {
            instrument: instrument.to_owned(),
            start,
            end,
            ticks,
        }),
        None => Ok(()),
    }
}

/// The places of the columns that a label file needs.
struct Columns<'a> {
    instrument: Column<'a>,
    start_seq: Column<'a>,
    end_seq: Column<'a>,
    kind: Column<'a>,
}

impl<'a> Columns<'a> {
    fn find(path: &'a Path, header: &StringRecord) -> Result<Self, EvaluationError> {
        let find = |name| Column::find(path, header, name);
        Ok(Self {
            instrument: find("instrument")?,
            start_seq: find("start_seq")?,
            end_seq: find("end_seq")?,
            kind: find("kind")?,
        })
    }
}

/// One column of a label file, and what an error about it must name.
struct Column<'a> {
    path: &'a Path,
    name: &'static str,
    position: usize,
}

impl<'a> Column<'a> {
    fn find(path: &'a Path, header: &StringRecord, name: &'static str) -> Result<Self, EvaluationError> {
        match header.iter().position(|column| column == name) {
            Some(position) => Ok(Self { path, name, position }),
            None => Err(EvaluationError::MissingColumn {
                path: path.to_owned(),
                column: name,
                found: header.iter().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    fn text<'r>(&self, record: &'r StringRecord) -> Result<&'r str, EvaluationError> {
        match record.get(self.position) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.wrong(record, "a name")),
        }
    }

    fn tick(&self, record: &StringRecord) -> Result<usize, EvaluationError> {
        let tick = record.get(self.position).and_then(|text| text.parse().ok());
        tick.ok_or_else(|| self.wrong(record, "a whole number from 0"))
    }

    fn wrong(&self, record: &StringRecord, expected: &'static str) -> EvaluationError {
        EvaluationError::WrongCell {
            path: self.path.to_owned(),
            line: record.position().map_or(0, csv::Position::line),
            column: self.name,
            expected,
            found: record.get(self.position).unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(name: &str, text: &str) -> Result<Labels, String> {
        let path = std::env::temp_dir().join(format!("tapewatch-labels-{}-{name}.csv", std::process::id()));
        fs::write(&path, text).unwrap();
        let labels = read_labels(&path).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"));
        fs::remove_file(&path).unwrap();
        labels
    }

    #[test]
    fn columns_are_found_by_name() {
        let labels = read(
            "order",
            "kind,extra,end_seq,instrument,start_seq\nspike,x,7,B,5\ngap,,9,A,9\nspike,,3,B,1\n",
        );
        let event = |start, end, kind: &str| Event {
            start,
            end,
            kind: kind.to_owned(),
        };
        let expected = [
            ("A".to_owned(), vec![event(9, 9, "gap")]),
            ("B".to_owned(), vec![event(5, 7, "spike"), event(1, 3, "spike")]),
        ];
        assert_eq!(labels.unwrap(), Labels::from(expected));
    }

    #[test]
    fn wrong_labels_are_refused_with_file_line_and_column() {
        let refused = |name, text| read(name, text).unwrap_err();
        assert_eq!(
            refused("column", "instrument,start_seq,kind\n"),
            "FILE, line 1: missing column end_seq; found instrument, start_seq, kind"
        );
        assert_eq!(
            refused("number", "instrument,start_seq,end_seq,kind\nA,1,2,gap\nA,3,4.5,gap\n"),
            "FILE, line 3, column end_seq: expected a whole number from 0, found \"4.5\""
        );
        assert_eq!(
            refused("empty", "instrument,start_seq,end_seq,kind\nA,1,2,\n"),
            "FILE, line 2, column kind: expected a name, found \"\""
        );
        assert_eq!(
            refused("ragged", "instrument,start_seq,end_seq,kind\nA,1\n"),
            "cannot read the labels FILE"
        );
    }
}
