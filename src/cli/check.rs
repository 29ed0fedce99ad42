//! `tapewatch check`: is this configuration sound?

use super::{ConfigArguments, Exit};
use crate::config::{Config, DEFAULTS};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print the built-in defaults, commented, and end.
    #[arg(long)]
    defaults: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.defaults {
        print!("{DEFAULTS}");
        return Ok(Exit::Done);
    }
    let config = arguments.config.load()?;
    print_summary(&config);
    Ok(Exit::Done)
}

fn print_summary(config: &Config) {
    println!("configuration is sound");
    println!(
        "  reads      {} at {}, group {}",
        config.input.topics.join(", "),
        config.kafka.brokers,
        config.kafka.group
    );
    println!(
        "  writes     {}, {}",
        config.output.alerts_topic, config.output.dead_letters_topic
    );
    println!(
        "  alerts     at most {} ticks in 10,000 on a normal feed: score {:.2} and above",
        config.alerts.false_alarms_per_10k_ticks,
        config.alerts.threshold()
    );
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
            println!("             {budget} per {of}");
        }
    }
    let model = &config.model;
    println!(
        "  model      LSTM of {} units × {}, {} rows back",
        model.hidden_size, model.layers, model.lookback
    );
    println!("  models in  {}", config.retrain.models_dir.display());
}
