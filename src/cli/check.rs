//! `tapewatch check`: is this configuration sound?

use super::{ConfigArguments, Exit, sample, say};
use crate::config::{Config, DEFAULTS, presets};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print the built-in defaults, commented, and end.
    #[arg(long)]
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
    Ok(Exit::Done)
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
