//! `tapewatch check --sample`: what the layout makes of records, one by one, before anything is connected.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Exit;
use crate::config::Config;
use crate::config::Range;
use crate::pipeline::decode::{Decoder, Item, OddFields, Sides, What};
use crate::pipeline::input::Record;
use crate::pipeline::position::TopicIndex;
use crate::pipeline::tick::{Body, Quote, Tick};
use crate::pipeline::time::{ArrivalTime, EventTime};

/// A share.
const SHARES: Range = Range::Real(0.0, 1.0);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Read records from FILE, or from standard input with "-", one on each line; show what each is read as, or why not; end
    /// with 1 if any is refused.
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Topic whose rules read the sample, in place of the first of input.topics.
    #[arg(long, value_name = "NAME", requires = "sample")]
    topic: Option<String>,
    /// What stands between the key and the value on each line, as kcat -K prints them; without it, records have no key.
    #[arg(long, value_name = "TEXT", requires = "sample")]
    key_separator: Option<String>,
    /// Share of records that may be refused (0 to 1).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "sample", value_parser = |text: &str| SHARES.parse(text))]
    refused_share_max: f64,
}

impl Arguments {
    /// Tells whether a sample is to be read.
    pub fn is_given(&self) -> bool {
        self.sample.is_some()
    }
}

/// What came of the items that one rule read.
#[derive(Clone, Copy, Default)]
struct Tally {
    ticks: u64,
    incomplete: u64,
    ignored: u64,
    refused: u64,
}

/// What came of a sample.
struct Summary {
    /// By rule; what no rule read comes last.
    rules: Vec<(String, Tally)>,
    odd: [u64; OddFields::NAMES.len()],
    records: u64,
    refused_records: u64,
}

pub fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<Exit> {
    let path = arguments.sample.as_deref().unwrap_or(Path::new("-"));
    let topic = arguments.topic.as_ref().unwrap_or(&config.input.topics[0]);
    let decoder = Decoder::new(&config.decode, std::slice::from_ref(topic)).map_err(anyhow::Error::msg)?;
    let reader: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => {
            let file = File::open(path).map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
            Box::new(BufReader::new(file))
        }
    };
    let mut out = io::stdout().lock();
    let mut summary = Summary::new(config.decode.rule_names());
    match read(
        reader,
        &decoder,
        arguments.key_separator.as_deref(),
        &mut summary,
        &mut out,
    ) {
        // Whoever has seen enough and left is nothing to fail for.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    let share = summary.refused_records as f64 / summary.records.max(1) as f64;
    Ok(match share > arguments.refused_share_max {
        true => Exit::VerdictFailed,
        false => Exit::Done,
    })
}

fn read(
    mut reader: impl BufRead,
    decoder: &Decoder,
    key_separator: Option<&str>,
    summary: &mut Summary,
    out: &mut impl Write,
) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let arrival_time = ArrivalTime(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            line.pop();
        }
        if line.is_empty() {
            continue;
        }
        let (key, payload) = parted(&line, key_separator);
        let mut record = Record::of_line(payload);
        record.position.at.topic = TopicIndex(0);
        record.key = key;
        record.arrival_time = arrival_time;
        let mut lines = Vec::new();
        summary.records += 1;
        let mut is_refused = false;
        decoder.decode(&record, &mut |item| {
            is_refused |= matches!(item.what, What::Bad(_));
            lines.push(summary.take(&item));
        });
        summary.refused_records += u64::from(is_refused);
        writeln!(out, "{number}: {}", shown(payload))?;
        for line in lines {
            writeln!(out, "    {line}")?;
        }
    }
    summary.write(out)
}

/// Parts a line into key and value.
fn parted<'l>(line: &'l [u8], separator: Option<&str>) -> (Option<&'l [u8]>, &'l [u8]) {
    let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
        return (None, line);
    };
    let separator = separator.as_bytes();
    match line.windows(separator.len()).position(|part| part == separator) {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

/// Cuts a record's text to what a terminal shows on a line or two.
fn shown(payload: &[u8]) -> String {
    const SHOWN_CHARS: usize = 160;
    let text = String::from_utf8_lossy(payload);
    let is_plain = |c: char| !c.is_control();
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if is_plain(c) { c } else { '\u{fffd}' })
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

impl Summary {
    fn new(mut names: Vec<String>) -> Self {
        names.push("no rule".into());
        Summary {
            rules: names.into_iter().map(|name| (name, Tally::default())).collect(),
            odd: [0; OddFields::NAMES.len()],
            records: 0,
            refused_records: 0,
        }
    }

    /// Counts an item, and gives a line about it.
    fn take(&mut self, item: &Item<'_>) -> String {
        let last = self.rules.len() - 1;
        let (name, tally) = &mut self.rules[item.rule.map_or(last, usize::from)];
        let (what, odd) = match &item.what {
            What::Tick { instrument, tick, odd } => {
                tally.ticks += 1;
                (tick_text(instrument, tick), *odd)
            }
            What::Incomplete {
                instrument,
                event_time,
                sides,
                odd,
            } => {
                tally.incomplete += 1;
                (incomplete_text(instrument, *event_time, *sides), *odd)
            }
            What::Ignored => {
                tally.ignored += 1;
                ("ignored".into(), OddFields::default())
            }
            What::Bad(error) => {
                tally.refused += 1;
                (format!("refused ({}): {error}", error.reason()), OddFields::default())
            }
        };
        let mut line = match item.rule {
            Some(_) => format!("{what}  [{name}]"),
            None => what,
        };
        if !odd.is_empty() {
            let names: Vec<&str> = odd.names().collect();
            line += &format!("  (odd: {})", names.join(", "));
        }
        for (count, field) in self.odd.iter_mut().zip(OddFields::NAMES) {
            *count += u64::from(odd.names().any(|name| name == field));
        }
        line
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self
            .rules
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or_default();
        writeln!(out)?;
        writeln!(
            out,
            "{:width$}  {:>8} {:>10} {:>8} {:>8}",
            "", "ticks", "incomplete", "ignored", "refused"
        )?;
        for (name, tally) in &self.rules {
            writeln!(
                out,
                "{name:width$}  {:>8} {:>10} {:>8} {:>8}",
                tally.ticks, tally.incomplete, tally.ignored, tally.refused
            )?;
        }
        for (field, count) in OddFields::NAMES.iter().zip(self.odd).filter(|(_, count)| *count > 0) {
            writeln!(out, "{count} ticks without their {field}, which could not be read")?;
        }
        writeln!(
            out,
            "{} records, {} of them refused",
            self.records, self.refused_records
        )
    }
}

fn tick_text(instrument: &str, tick: &Tick) -> String {
    let sequence = tick
        .sequence
        .map_or_else(String::new, |sequence| match sequence.written() {
            Some(number) => format!(" sequence {number}"),
            None => " identifier".into(),
        });
    let body = match tick.body {
        Body::Trade(trade) => format!("price {}{}", trade.price, size_text(trade.size)),
        Body::Quote(Quote {
            bid,
            ask,
            bid_size,
            ask_size,
        }) => format!("bid {bid}{} ask {ask}{}", size_text(bid_size), size_text(ask_size)),
    };
    let kind = if tick.is_trade() { "trade" } else { "quote" };
    format!("{kind} {instrument} {} {body}{sequence}", tick.event_time)
}

fn size_text(size: Option<f64>) -> String {
    size.map_or_else(String::new, |size| format!(" × {size}"))
}

fn incomplete_text(instrument: &str, event_time: EventTime, sides: Option<Sides>) -> String {
    let Some(sides) = sides else {
        return format!("incomplete {instrument} {event_time} a trade of nothing at a price of 0");
    };
    let side = |name, price: Option<f64>, size| match price {
        Some(price) => format!("{name} {price}{}", size_text(size)),
        None => format!("no {name}"),
    };
    let (bid, ask) = (
        side("bid", sides.bid, sides.bid_size),
        side("ask", sides.ask, sides.ask_size),
    );
    format!("incomplete {instrument} {event_time} {bid}, {ask}")
}
