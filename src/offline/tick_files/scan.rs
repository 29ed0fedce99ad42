//! The first look at a file of ticks: what it holds, and whether it can be what it is taken for.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::{Lines, STEPS_BACK_SHARE_MAX, TickFileError, UNREADABLE_SHARE_MAX, decode_line};
use crate::pipeline::decode::Decoder;
use crate::pipeline::time::EventTime;

/// Ticks whose median stamp says when a stretch begins or ends: a single wrong stamp does not decide.
const EDGE_TICKS: usize = 9;
/// Steps back below which nothing is said of an instrument's order: a few faults in a short file.
const STEPS_BACK_MIN: usize = 10;

/// A file that has been read once.
pub(super) struct Scanned {
    pub path: PathBuf,
    /// Which files it is read together with.
    pub run: usize,
    /// The ticks of each instrument.
    pub stretches: BTreeMap<String, Stretch>,
    /// Lines but the header and blank ones.
    lines: usize,
    unreadable: usize,
    /// Number of the first line that is no tick, and what is wrong with it.
    first_unreadable: Option<(usize, String)>,
}

/// The ticks of an instrument in a file.
#[derive(Default)]
pub(super) struct Stretch {
    pub ticks: usize,
    first: Vec<EventTime>,
    last: VecDeque<EventTime>,
    steps_back: usize,
}

impl Stretch {
    fn push(&mut self, time: EventTime) {
        if self.last.back().is_some_and(|before| time < *before) {
            self.steps_back += 1;
        }
        if self.first.len() < EDGE_TICKS {
            self.first.push(time);
        }
        if self.last.len() == EDGE_TICKS {
            self.last.pop_front();
        }
        self.last.push_back(time);
        self.ticks += 1;
    }

    /// About when it begins.
    pub(super) fn start(&self) -> EventTime {
        median(self.first.iter().copied())
    }

    /// About when it ends.
    pub(super) fn end(&self) -> EventTime {
        median(self.last.iter().copied())
    }
}

fn median(times: impl Iterator<Item = EventTime>) -> EventTime {
    let mut times: Vec<EventTime> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(EventTime(0))
}

impl Scanned {
    /// Says which lines are no ticks, if there are any.
    pub(super) fn note(&self) -> Option<String> {
        let (line, problem) = self.first_unreadable.as_ref()?;
        let (path, unreadable, lines) = (self.path.display(), self.unreadable, self.lines);
        Some(format!(
            "{path}: left out {unreadable} of {lines} lines that are no ticks; the first is line {line}: {problem}"
        ))
    }

    /// Tells whether all lines are ticks.
    pub(super) fn is_whole(&self) -> bool {
        self.unreadable == 0
    }

    fn start(&self) -> EventTime {
        let starts = self.stretches.values().map(Stretch::start);
        starts.min().unwrap_or(EventTime(i64::MIN))
    }

    fn check(&self) -> Result<(), TickFileError> {
        if self.unreadable as f64 > self.lines as f64 * UNREADABLE_SHARE_MAX {
            let (line, problem) = self.first_unreadable.clone().unwrap_or_default();
            return Err(TickFileError::TooManyUnreadable {
                path: self.path.clone(),
                unreadable: self.unreadable,
                lines: self.lines,
                line,
                problem,
            });
        }
        let is_unordered = |stretch: &Stretch| {
            let share = stretch.steps_back as f64 / stretch.ticks as f64;
            stretch.steps_back >= STEPS_BACK_MIN && share > STEPS_BACK_SHARE_MAX
        };
        match self.stretches.iter().find(|(_, stretch)| is_unordered(stretch)) {
            Some((instrument, stretch)) => Err(TickFileError::Unordered {
                path: self.path.clone(),
                instrument: instrument.clone(),
                steps_back: stretch.steps_back,
                ticks: stretch.ticks,
            }),
            None => Ok(()),
        }
    }
}

/// Reads a file.
pub(super) fn scan(path: &Path, decoder: &Decoder) -> Result<Scanned, TickFileError> {
    let mut lines = Lines::open(path)?;
    let mut scanned = Scanned {
        path: path.into(),
        run: 0,
        stretches: BTreeMap::new(),
        lines: 0,
        unreadable: 0,
        first_unreadable: None,
    };
    let mut line = Vec::new();
    while lines.next_into(&mut line)? {
        scanned.lines += 1;
        let read = decode_line(decoder, &line, |instrument, tick| {
            // What is incomplete is no tick, and no mistake either.
            let Some(tick) = tick else { return };
            match scanned.stretches.get_mut(instrument) {
                Some(stretch) => stretch.push(tick.event_time),
                None => {
                    let stretch = scanned.stretches.entry(instrument.to_owned()).or_default();
                    stretch.push(tick.event_time);
                }
            }
        });
        if let Err(error) = read {
            scanned.unreadable += 1;
            scanned
                .first_unreadable
                .get_or_insert_with(|| (lines.number, error.to_string()));
        }
    }
    scanned.check()?;
    Ok(scanned)
}

/// Puts files in the order in which they are read: those that share an instrument follow one another in time, and such runs
/// stand in the order of their first instrument's name.
pub(super) fn in_order(mut files: Vec<Scanned>) -> Result<Vec<Scanned>, TickFileError> {
    let runs = runs(&files);
    files.iter_mut().zip(runs).for_each(|(file, run)| file.run = run);
    files.sort_by(|a, b| (a.run, a.start(), &a.path).cmp(&(b.run, b.start(), &b.path)));
    let mut before: BTreeMap<&str, (&Scanned, EventTime)> = BTreeMap::new();
    for file in &files {
        for (instrument, stretch) in &file.stretches {
            let earlier = before.insert(instrument, (file, stretch.end()));
            if let Some((first, end)) = earlier
                && (stretch.start() < end || stretch.start() == first.stretches[instrument].start())
            {
                return Err(TickFileError::Overlap {
                    instrument: instrument.clone(),
                    first: first.path.clone(),
                    second: file.path.clone(),
                });
            }
        }
    }
    Ok(files)
}

/// Gives each file the number of its run, by the order of the runs' first instruments.
fn runs(files: &[Scanned]) -> Vec<usize> {
    // Each file stands for itself until it is joined to the one that names its run.
    let mut heads: Vec<usize> = (0..files.len()).collect();
    let mut first_with: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for instrument in file.stretches.keys() {
            let other = *first_with.entry(instrument).or_insert(index);
            let (from, to) = (heads[index], heads[other]);
            if from != to {
                heads
                    .iter_mut()
                    .filter(|head| **head == from)
                    .for_each(|head| *head = to);
            }
        }
    }
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    for index in first_with.values() {
        let next = numbers.len();
        numbers.entry(heads[*index]).or_insert(next);
    }
    // Files without ticks come last, each by itself.
    let mut number = |head: usize| {
        let next = numbers.len();
        *numbers.entry(head).or_insert(next)
    };
    heads.iter().map(|head| number(*head)).collect()
}
