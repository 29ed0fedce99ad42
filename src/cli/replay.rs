//! `tapewatch replay`: recorded ticks → a topic.

use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;

use super::{ConfigArguments, Exit, terminal};
use crate::config::Range;
use crate::kafka::feeder::Feeder;
use crate::offline::replay::{RecordForm, Replay};
use crate::offline::tick_files;

/// Form of the records.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// JSON objects as the default configuration reads them.
    Json,
    /// The lines as they stand.
    Csv,
}

/// Slower, and a gap of an hour lasts for months; faster, and it is a microsecond.
const SPEEDS: Range = Range::Real(0.001, 1e6);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Brokers, in place of kafka.brokers.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Topic to write to, in place of the first of input.topics.
    #[arg(long)]
    topic: Option<String>,
    /// So many times as fast as recorded (0.001 to 1,000,000); without it, as fast as possible.
    #[arg(long, value_name = "FACTOR", value_parser = |text: &str| SPEEDS.parse(text))]
    speed: Option<f64>,
    /// Form of the records.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,
    /// Files of ticks (<instrument>.csv, .csv.gz), or folders of them.
    #[arg(required = true, value_name = "FILE")]
    ticks: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut config = arguments.config.load()?;
    if let Some(brokers) = &arguments.brokers {
        config.kafka.brokers.clone_from(brokers);
    }
    let topic = arguments.topic.as_ref().unwrap_or(&config.input.topics[0]);
    let files = tick_files::list(&arguments.ticks)?;
    let form = match arguments.format {
        Form::Json => RecordForm::Json,
        Form::Csv => RecordForm::Csv,
    };
    let mut replay = Replay::open(&files, form, &config.decode)?;
    config.kafka.wait_for_topics(&[topic])?;
    let mut feeder = Feeder::new(&config.kafka.producer()?, topic)?;
    let bar = terminal::bar("replaying");
    let started = Instant::now();
    let mut sent: u64 = 0;
    while let Some(record) = replay.next_record()? {
        if let Some(speed) = arguments.speed {
            feeder.wait_until(started, record.elapsed_nanos, speed)?;
        }
        feeder.send(None, record.instrument.as_bytes(), &record.payload)?;
        sent += 1;
        if sent.is_multiple_of(10_000) {
            bar.set_message(format!("{sent} ticks"));
        }
    }
    feeder.finish()?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "replayed {sent} ticks of {} files to {topic} in {seconds:.1} s",
        files.len()
    );
    Ok(Exit::Done)
}
