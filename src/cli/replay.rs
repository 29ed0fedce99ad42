//! `tapewatch replay`: recorded ticks → a topic.

use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;

use super::{ConfigArguments, Exit, KafkaArguments, flag, open_ticks, signals, terminal};
use crate::config::Range;
use crate::kafka::feeder::Feeder;
use crate::offline::replay::{RecordForm, Replay};

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
/// Ticks between two steps of the bar.
const TOLD_TICKS: usize = 10_000;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    kafka: KafkaArguments,
    /// Topic to write to, in place of the first of input.topics.
    #[arg(long)]
    topic: Option<String>,
    /// So many times as fast as recorded (0.001 to 1,000,000); without it, as fast as possible.
    #[arg(long, value_name = "FACTOR", value_parser = |text: &str| SPEEDS.parse(text))]
    speed: Option<f64>,
    /// Form of the records.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,
    /// Files of ticks (.csv, .csv.gz), or folders of them. Files that share an instrument follow one another; others run
    /// side by side.
    #[arg(required = true, value_name = "FILE")]
    ticks: Vec<PathBuf>,
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
    let recording = open_ticks(&arguments.ticks, &config)?;
    let form = match arguments.format {
        Form::Json => RecordForm::Json,
        Form::Csv => RecordForm::Csv,
    };
    config.kafka.wait_for_topics(&[topic])?;
    let mut feeder = Feeder::new(&config.kafka.producer()?, topic)?;
    signals::finish_first();
    let bar = terminal::bar("replaying");
    let (started, of) = (Instant::now(), recording.ticks());
    let mut replay = Replay::open(&recording, form)?;
    let mut sent = 0;
    while signals::asked().is_none()
        && let Some(record) = replay.next_record()?
    {
        if let Some(speed) = arguments.speed {
            let is_asked = || signals::asked().is_some();
            if !feeder.wait_until(started, record.elapsed_nanos, speed, is_asked)? {
                break;
            }
        }
        feeder.send(None, record.instrument.as_bytes(), &record.payload)?;
        sent += 1;
        if sent % TOLD_TICKS == 0 {
            terminal::set_share(&bar, sent as f64 / of as f64);
            bar.set_message(format!("{sent} of {of} ticks"));
        }
    }
    feeder.finish()?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let verb = if signals::asked().is_some() {
        "stopped by a signal; replayed"
    } else {
        "replayed"
    };
    terminal::tell(format_args!(
        "{verb} {sent} of {of} ticks of {} files to {topic} in {seconds:.1} s",
        recording.files()
    ));
    Ok(Exit::Done)
}
