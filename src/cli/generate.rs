//! `tapewatch generate`: a synthetic market → a topic, until stopped.

use std::time::{Duration, Instant};

use super::{ConfigArguments, Exit, KafkaArguments, flag, say, seeds, signals, terminal};
use crate::config::Range;
use crate::kafka::feeder::Feeder;
use crate::offline::endless::{Due, EndlessConfig, EndlessMarket};
use crate::offline::market::MarketConfig;
use crate::offline::replay::to_json;
use crate::pipeline::time::EventTime;

/// Slower, and an instrument has a tick a minute; faster than any machine.
const RATES: Range = Range::Real(0.1, 1e6);
/// Shorter than any use; a year.
const DURATIONS: Range = Range::Real(0.1, 31_536_000.0);
/// Ticks between two steps of the bar.
const TOLD_TICKS: u64 = 500;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    kafka: KafkaArguments,
    /// Topic to write to, in place of the first of input.topics.
    #[arg(long)]
    topic: Option<String>,
    /// Ticks per second of all instruments together, on average (0.1 to 1,000,000).
    #[arg(long, default_value_t = 200.0, value_name = "NUMBER", value_parser = |text: &str| RATES.parse(text))]
    ticks_per_sec: f64,
    /// End after so many ticks; without it and --seconds, when stopped.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    ticks: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "NUMBER", value_parser = |text: &str| DURATIONS.parse(text))]
    seconds: Option<f64>,
    /// Number of instruments (1 to 1,000).
    #[arg(long, default_value_t = 4, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    instruments: u16,
    /// Seed of market and faults.
    #[arg(long, default_value_t = 1, value_parser = seeds())]
    seed: u64,
    /// Inject about one fault per so many ticks of an instrument (100 to 1,000,000); each is told on stdout.
    #[arg(long, default_value_t = 3_000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    ticks_per_fault: u32,
    /// Inject none: a clean market.
    #[arg(long, conflicts_with = "ticks_per_fault")]
    no_faults: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut flags = arguments.kafka.flags();
    flags.extend(
        arguments
            .topic
            .iter()
            .map(|topic| flag("--topic", "input.topics", topic)),
    );
    let config = arguments.config.load_with(&flags)?;
    let topic = &config.input.topics[0];
    config.kafka.wait_for_topics(&[topic])?;
    let mut feeder = Feeder::new(&config.kafka.producer()?, topic)?;
    let mut market = open(arguments);
    let names = market.names();
    terminal::tell(format_args!(
        "writing {} instruments at about {} ticks per second to {topic}; stop with Ctrl-C",
        names.len(),
        arguments.ticks_per_sec
    ));
    signals::finish_first();
    let is_asked = || signals::asked().is_some();
    let bar = terminal::bar("generating");
    let (started, mut sent) = (Instant::now(), 0_u64);
    let opened_at = now();
    let ends = arguments.seconds.map(Duration::from_secs_f64);
    while !is_asked() && arguments.ticks.is_none_or(|ticks| sent < ticks) {
        let Some(due) = market.next_tick() else { break };
        let elapsed = due.at.nanos_since(opened_at).max(0);
        if ends.is_some_and(|ends| Duration::from_nanos(elapsed as u64) >= ends) {
            break;
        }
        if !feeder.wait_until(started, elapsed, 1.0, is_asked)? {
            break;
        }
        let name = &names[due.instrument];
        tell(name, &due)?;
        feeder.send(None, name.as_bytes(), to_json(name, &due.tick).as_bytes())?;
        sent += 1;
        if sent.is_multiple_of(TOLD_TICKS) {
            bar.set_message(format!("{sent} ticks"));
        }
    }
    feeder.finish()?;
    bar.finish_and_clear();
    terminal::tell(format_args!(
        "wrote {sent} ticks to {topic} in {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(Exit::Done)
}

/// Opens the market now: stamps run with the wall clock.
fn open(arguments: &Arguments) -> EndlessMarket {
    EndlessMarket::open(EndlessConfig {
        market: MarketConfig {
            instruments: arguments.instruments.into(),
            start: now(),
            ..MarketConfig::unseen(0, arguments.seed)
        },
        ticks_per_sec: arguments.ticks_per_sec,
        ticks_per_fault: (!arguments.no_faults).then_some(arguments.ticks_per_fault as usize),
    })
}

fn now() -> EventTime {
    // A clock beyond the year 2262 is none of this program's.
    EventTime(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

/// Tells of a fault that begins, as one JSON object, for whoever compares alerts with what was done.
fn tell(instrument: &str, due: &Due) -> std::io::Result<()> {
    let Some(begun) = due.begun else { return Ok(()) };
    let fault = serde_json::json!({
        "instrument": instrument,
        "fault": begun.fault.name(),
        "magnitude": begun.magnitude,
        "first": due.at.to_string(),
        "last": begun.last.to_string(),
    });
    say(&fault.to_string())
}
