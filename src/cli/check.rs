//! `tapewatch check`: is this configuration sound, and does the broker agree?

use super::{ConfigArguments, Exit, sample, say};
use crate::config::{Config, DEFAULTS, presets};
use crate::kafka::client::BrokerError;
use crate::kafka::probe::{FoundRecord, Probe};
use crate::offline::replay::to_json;
use crate::pipeline::decode::{Decoder, What};
use crate::pipeline::input::Record;
use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Ask the broker as well: topics, rights, limits, and whether a record can be read as a tick.
    #[arg(long)]
    connect: bool,
    /// Print the built-in defaults, commented, and end.
    #[arg(long, conflicts_with = "connect")]
    defaults: bool,
    /// Print the layout of a known feed, which decode.preset names, and end.
    #[arg(long, value_name = "NAME", value_parser = presets::text)]
    preset: Option<&'static str>,
    #[command(flatten)]
    sample: sample::Arguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.defaults {
        say(DEFAULTS.trim_end())?;
        return Ok(Exit::Done);
    }
    if let Some(text) = arguments.preset {
        say(text.trim_end())?;
        return Ok(Exit::Done);
    }
    let config = arguments.config.load()?;
    if arguments.sample.is_given() {
        return sample::run(&arguments.sample, &config);
    }
    config.kafka.try_properties()?;
    say(&summary(&config))?;
    if !arguments.connect {
        return Ok(Exit::Done);
    }
    let mut findings = Findings::default();
    ask(&config, &mut findings)?;
    findings.end()
}

/// What the broker's answers come to.
#[derive(Default)]
struct Findings {
    /// Something is missing at the broker.
    is_missing: bool,
    /// A record could not be read as a tick.
    is_unreadable: bool,
}

impl Findings {
    fn good(text: &str) -> std::io::Result<()> {
        say(&format!("  ok         {text}"))
    }

    fn unknown(text: &str) -> std::io::Result<()> {
        say(&format!("  unknown    {text}"))
    }

    fn bad(text: &str) -> std::io::Result<()> {
        say(&format!("  FAILED     {text}"))
    }

    /// Tells an answer, good or bad; gives what a good one holds.
    fn note<T>(
        &mut self,
        answer: Result<T, BrokerError>,
        good: impl FnOnce(&T) -> Option<String>,
    ) -> std::io::Result<Option<T>> {
        match answer {
            Ok(found) => {
                if let Some(text) = good(&found) {
                    Self::good(&text)?;
                }
                Ok(Some(found))
            }
            Err(error) => {
                self.is_missing = true;
                Self::bad(&error.to_string())?;
                Ok(None)
            }
        }
    }

    fn end(self) -> anyhow::Result<Exit> {
        Ok(match (self.is_missing, self.is_unreadable) {
            (true, _) => Exit::NoBroker,
            (false, true) => Exit::Config,
            (false, false) => Exit::Done,
        })
    }
}

/// Asks for all that the daemon will need. Without a broker there is nothing else to ask.
fn ask(config: &Config, findings: &mut Findings) -> anyhow::Result<()> {
    say(&format!("asking {}", config.kafka.brokers))?;
    let mut probe = Probe::new(&config.kafka);
    for topic in &config.input.topics {
        let Some(partitions) = partitions(&mut probe, topic, findings)? else {
            continue;
        };
        let record = probe.recent_record(topic, partitions);
        let record = findings.note(record, |_| Some(format!("topic {topic} may be read")))?;
        match record.flatten() {
            Some(record) => look_at(config, topic, &record, findings)?,
            None => Findings::unknown(&format!("topic {topic} holds no record to look at"))?,
        }
        let group = &config.kafka.group;
        findings.note(probe.group(topic), |()| Some(format!("group {group} may be used")))?;
    }
    let outputs = [&config.output.alerts_topic, &config.output.dead_letters_topic];
    for topic in outputs {
        if partitions(&mut probe, topic, findings)?.is_none() {
            continue;
        }
        let limit = probe.batch_limit(topic);
        match limit {
            Some(limit) => Findings::good(&format!(
                "topic {topic} takes batches of {limit} bytes (max.message.bytes)"
            ))?,
            None => Findings::unknown(&format!(
                "topic {topic}: its max.message.bytes may not be read (DescribeConfigs)"
            ))?,
        }
        let may_write = probe.may_write(topic, limit);
        let good = |may: &bool| may.then(|| format!("topic {topic} may be written to"));
        if findings.note(may_write, good)? == Some(false) {
            Findings::unknown(&format!(
                "whether topic {topic} may be written to shows when something is written"
            ))?;
        }
    }
    Ok(())
}

/// Tells whether a topic is there, and of how many partitions.
fn partitions(probe: &mut Probe, topic: &str, findings: &mut Findings) -> anyhow::Result<Option<usize>> {
    match probe.partitions(topic) {
        answer @ (Ok(_) | Err(BrokerError::NoTopic { .. })) => {
            let good = |partitions: &usize| Some(format!("topic {topic} has {partitions} partitions"));
            Ok(findings.note(answer, good)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads a record as the daemon would, and shows what it is taken for.
fn look_at(config: &Config, topic: &str, record: &FoundRecord, findings: &mut Findings) -> anyhow::Result<()> {
    const SHOWN_CHARS: usize = 120;
    let place = format!(
        "topic {topic}, partition {}, offset {}",
        record.partition, record.offset
    );
    let decoder = Decoder::new(&config.decode, &config.input.topics).map_err(anyhow::Error::msg)?;
    let (mut ticks, mut problem) = (Vec::new(), None);
    let index = config.input.topics.iter().position(|known| known == topic).unwrap_or(0);
    let read = Record {
        position: Position {
            at: TopicPartition {
                topic: TopicIndex(index as u16),
                partition: Partition(record.partition),
            },
            offset: Offset(record.offset),
        },
        arrival_time: record.arrival_time,
        key: record.key.as_deref(),
        payload: record.payload.as_deref(),
    };
    decoder.decode(&read, &mut |item| match item.what {
        What::Tick { instrument, tick, .. } => ticks.push(to_json(instrument, &tick)),
        What::Incomplete { instrument, .. } => ticks.push(format!("incomplete, of {instrument}")),
        What::Ignored => ticks.push("left out by the layout".into()),
        What::Bad(error) => problem = Some(error),
    });
    match problem {
        None => Findings::good(&format!(
            "a record is read as a tick ({place}): {}",
            ticks.join(" and ")
        ))?,
        Some(error) => {
            findings.is_unreadable = true;
            let payload = String::from_utf8_lossy(record.payload.as_deref().unwrap_or_default()).into_owned();
            let shown: String = payload.chars().take(SHOWN_CHARS).collect();
            Findings::bad(&format!(
                "a record cannot be read as a tick ({place}): {error}; it begins {shown:?}; correct [decode]"
            ))?;
        }
    }
    Ok(())
}

fn summary(config: &Config) -> String {
    let mut lines = vec![
        "configuration is sound".to_string(),
        format!(
            "  reads      {} at {}, group {}",
            config.input.topics.join(", "),
            config.kafka.brokers,
            config.kafka.group
        ),
        format!(
            "  writes     {}, {}",
            config.output.alerts_topic, config.output.dead_letters_topic
        ),
        format!(
            "  alerts     at most {} in 10,000 ticks of a normal feed: score {:.2} and above",
            config.alerts.false_alarms_per_10k_ticks,
            config.alerts.threshold()
        ),
    ];
    for (budget, of) in [
        (
            config.alerts.false_alarms_per_instrument_day,
            "instrument and day once its rate is known, in place of that",
        ),
        (
            config.alerts.false_alarms_per_hour,
            "hour over all instruments of a worker, at most",
        ),
    ] {
        if budget > 0.0 {
            lines.push(format!("             {budget} per {of}"));
        }
    }
    let model = &config.model;
    lines.push(format!(
        "  model      LSTM of {} units × {}, {} rows back",
        model.hidden_size, model.experimental.layers, model.lookback
    ));
    lines.push(format!("  models in  {}", config.retrain.models_dir.display()));
    lines.join("\n")
}
