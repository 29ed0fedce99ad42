//! `tapewatch demo`: everything at once, on an embedded broker.

use std::io::IsTerminal;
use std::path::PathBuf;

use indicatif::ProgressBar;

use super::{Exit, say, seeds, terminal};
use crate::config::{Config, LogConfig, LogFormat, LogLevel};
use crate::daemon::DaemonOptions;
use crate::demo::scenario::Scenario;
use crate::demo::sender::AHEAD_TICKS_MAX;
use crate::demo::stage::{News, Stage};
use crate::offline::market::{MarketConfig, generate};
use crate::offline::tick_files;
use crate::pipeline::tick::InstrumentTicks;
use crate::pipeline::tick_reader::{TickBounds, TickReader};
use crate::pipeline::time::EventTime;
use crate::status::TrainingPhase;
use crate::telemetry;

/// When the synthetic market opens: 2024-01-02 14:30:00 UTC.
pub(super) const MARKET_OPEN: EventTime = EventTime(1_704_205_800_000_000_000);
/// Pace of `--keep-running`: lively, and light on the machine.
const LASTING_TICKS_PER_SEC: f64 = 5_000.0;
/// Share of every instrument's ticks that stay clean, to learn from.
const CLEAN_SHARE: f64 = 0.4;

/// Settings of the demo over the defaults: a model that is trained within seconds, and a budget that suits a short run.
const SETTINGS: &str = r#"
[alerts]
false_alarms_per_10k_ticks = 8.0
quiet_ticks = 32
# Faults that are minutes apart in the market arrive within a second here.
shock_instruments_min = 0
hysteresis_decades = 0.3

[training]
ticks_per_instrument_max = 12000
ticks_per_instrument_min = 1000
held_back_share = 0.4

[training.fit]
windows_max = 8000
epochs_max = 4

[worker]
commit_interval_ms = 100
"#;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Stream these recorded ticks (files or folders) in place of the synthetic market; faults are injected all the same.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    ticks: Vec<PathBuf>,
    /// Ticks of the synthetic market (20,000 to 10,000,000).
    // With fewer, an instrument's share of them is too small to learn from; more take gigabytes.
    #[arg(long, default_value_t = 160_000, value_parser = clap::value_parser!(u32).range(20_000..=10_000_000))]
    size: u32,
    /// Seed of market, faults and training.
    #[arg(long, default_value_t = 1, value_parser = seeds())]
    seed: u64,
    /// Use this model instead of training one.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Go on streaming, with /metrics up, until stopped.
    #[arg(long)]
    keep_running: bool,
    /// Where /metrics and /status are served; port 0: any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: String,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    telemetry::start(&LogConfig {
        level: LogLevel::Warn,
        format: LogFormat::Text,
    });
    let models = ModelsFolder::new()?;
    let config = config(arguments, &models)?;
    let scenario = Scenario::new(
        market(arguments, &config, arguments.seed)?,
        CLEAN_SHARE,
        AHEAD_TICKS_MAX as usize,
        arguments.seed,
    );
    let mut screen = Screen::new();
    let options = DaemonOptions {
        model: arguments.model.clone(),
    };
    let mut stage = Stage::start(config.clone(), &options, &scenario, &mut |news| screen.show(&news))?;
    let board = stage.play(&scenario, &mut |news| screen.show(&news))?;
    screen.end();
    if arguments.json {
        say(&serde_json::to_string(&board)?)?;
    } else {
        say(&format!("\n{}", board.to_text()))?;
    }
    let failures = board.failures();
    failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    if arguments.keep_running {
        keep_running(arguments, &config, &mut stage, &mut screen)?;
    }
    stage.stop()?;
    Ok(if failures.is_empty() {
        Exit::Done
    } else {
        Exit::VerdictFailed
    })
}

fn config(arguments: &Arguments, models: &ModelsFolder) -> anyhow::Result<Config> {
    let mut config = Config::from_toml(SETTINGS)?;
    config.training.seed = arguments.seed;
    config.retrain.models_dir.clone_from(&models.path);
    config.http.listen.clone_from(&arguments.listen);
    Ok(config)
}

fn market(arguments: &Arguments, config: &Config, seed: u64) -> anyhow::Result<Vec<InstrumentTicks>> {
    if arguments.ticks.is_empty() {
        let market = MarketConfig {
            instruments: 4,
            ticks: arguments.size as usize,
            seed,
            start: MARKET_OPEN,
        };
        return Ok(generate(&market));
    }
    let decoder = tick_files::line_decoder(&config.decode).map_err(anyhow::Error::msg)?;
    let files = tick_files::list(&arguments.ticks)?;
    let mut reader = TickReader::new(TickBounds::UNBOUNDED);
    for file in &files {
        tick_files::read(file, &decoder, &mut reader)?;
    }
    Ok(reader.finish().instruments)
}

/// Streams one market after the other until a signal comes.
fn keep_running(arguments: &Arguments, config: &Config, stage: &mut Stage, screen: &mut Screen) -> anyhow::Result<()> {
    eprintln!("streaming on; stop with Ctrl-C");
    for round in 1.. {
        let seed = arguments.seed.wrapping_add(round);
        let mut scenario = Scenario::new(market(arguments, config, seed)?, 0.0, 0, seed);
        scenario.delay(round);
        stage.stream(&scenario, Some(LASTING_TICKS_PER_SEC), &mut |news| screen.show(&news))?;
        stage.forget();
        if stage.daemon().stop_requested() {
            break;
        }
    }
    Ok(())
}

/// A folder for the demo's models that goes with it.
struct ModelsFolder {
    path: PathBuf,
}

impl ModelsFolder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tapewatch-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(ModelsFolder { path })
    }
}

impl Drop for ModelsFolder {
    fn drop(&mut self) {
        // What cannot be removed from a folder for temporary files is removed by the system some day.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What people see: progress bars and alerts as they come, on stderr.
struct Screen {
    training: ProgressBar,
    streaming: ProgressBar,
}

impl Screen {
    fn new() -> Self {
        Screen {
            training: terminal::bar("training "),
            streaming: terminal::bar("streaming"),
        }
    }

    fn show(&mut self, news: &News<'_>) {
        match news {
            News::Started { brokers, http } => {
                eprintln!("embedded broker at {brokers}: kcat -b {brokers} -t tapewatch.alerts joins in");
                if let Some(address) = http {
                    eprintln!("http://{address}/metrics and /status are up");
                }
            }
            News::Training(status) => {
                let share = if status.phase == TrainingPhase::Gating {
                    1.0
                } else {
                    status.share
                };
                terminal::set_share(&self.training, share);
            }
            News::Streamed { share } => {
                if !self.training.is_finished() {
                    self.training.finish_and_clear();
                    eprintln!("model ready; streaming");
                }
                terminal::set_share(&self.streaming, *share);
            }
            News::Alert(heard) => {
                let line = format!("{:<8} {:<8} {}", heard.state, heard.severity, heard.summary);
                if std::io::stderr().is_terminal() {
                    self.streaming.println(line);
                } else {
                    eprintln!("{line}");
                }
            }
        }
    }

    fn end(&self) {
        self.streaming.finish_and_clear();
    }
}
