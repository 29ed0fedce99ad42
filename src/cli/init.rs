//! `tapewatch init`: a configuration file to begin with.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{CannotWrite, Exit, KafkaArguments, say, terminal};
use crate::config::{Config, ConfigError};

/// The file, with the defaults that people change first.
const TEMPLATE: &str = include_str!("../../config/init.toml");
/// The lines of the template in whose place flags can stand.
const BROKERS: &str = "brokers = \"localhost:9092\"";
const TOPICS: &str = "topics = [\"ticks\"]";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    kafka: KafkaArguments,
    /// Topics of ticks.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// The file; "-" for stdout.
    #[arg(default_value = "tapewatch.toml", value_name = "FILE")]
    file: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let text = text(arguments)?;
    if arguments.file == Path::new("-") {
        say(text.trim_end())?;
        return Ok(Exit::Done);
    }
    let path = &arguments.file;
    let mut options = File::options();
    options.write(true);
    match arguments.force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    let explained = written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => std::io::Error::other("the file is there already; --force writes over it"),
        _ => error,
    });
    explained.map_err(CannotWrite::at(path, "FILE"))?;
    terminal::tell(format_args!(
        "wrote {0}\nhint: edit it, then look at it with: tapewatch check --config {0} --connect",
        path.display()
    ));
    Ok(Exit::Done)
}

/// Puts the flags into the template; what comes out is a sound configuration.
fn text(arguments: &Arguments) -> Result<String, ConfigError> {
    let quoted = |text: &String| format!("{text:?}");
    let mut text = TEMPLATE.to_owned();
    if let Some(brokers) = &arguments.kafka.brokers {
        text = text.replace(BROKERS, &format!("brokers = {}", quoted(brokers)));
    }
    if !arguments.topic.is_empty() {
        let topics: Vec<String> = arguments.topic.iter().map(quoted).collect();
        text = text.replace(TOPICS, &format!("topics = [{}]", topics.join(", ")));
    }
    Config::from_toml(&text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_the_defaults_and_its_comments_are_keys() {
        assert_eq!(Config::from_toml(TEMPLATE).unwrap(), Config::from_toml("").unwrap());
        assert!(TEMPLATE.contains(BROKERS) && TEMPLATE.contains(TOPICS));
        let uncomment = |line: &str| match line.strip_prefix("# ") {
            Some(key) if key.starts_with('[') || key.contains("\" = \"") => key.to_owned(),
            _ => line.to_owned(),
        };
        let all: Vec<String> = TEMPLATE.lines().map(uncomment).collect();
        let config = Config::from_toml(&all.join("\n")).unwrap();
        assert_eq!(config.kafka.properties.len(), 3);
        assert_eq!(config.kafka.secret_files.len(), 1);
    }
}
