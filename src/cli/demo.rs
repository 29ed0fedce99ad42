//! `tapewatch demo`: everything at once, on an embedded broker.

mod screen;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::screen::Screen;
use super::outputs::{self, CannotWrite};
use super::{Exit, say, seeds, terminal};
use crate::config::{Config, LogConfig, LogFormat, LogLevel, Range};
use crate::daemon::{DaemonError, DaemonOptions};
use crate::demo::rerun;
use crate::demo::scenario::{CLEAN_SHARE, Scenario};
use crate::demo::sender::AHEAD_TICKS_MAX;
use crate::demo::stage::{Stage, StageError};
use crate::model::artifact::Artifact;
use crate::offline::market::{MarketConfig, generate};
use crate::offline::report;
use crate::pipeline::tick::InstrumentTicks;
use crate::pipeline::tick_reader::{TickBounds, TickReader};
use crate::store::{self, ModelStore};
use crate::telemetry;

/// Pace of `--keep-running`: lively, and light on the machine.
const LASTING_TICKS_PER_SEC: f64 = 5_000.0;
/// Slower, and the demo lasts for days; faster than any machine.
const PACES: Range = Range::Real(1.0, 1e7);
/// Longest time for the report of a demo that a signal has ended: with what follows, below two seconds.
const STOPPED_REPORT: Duration = Duration::from_millis(600);
/// Where the report goes, unless a flag says otherwise.
const REPORT: &str = "tapewatch-demo.html";

/// All that differs from the defaults, beside the folder of models and the address of the endpoints. It changes nothing
/// of what is found: the embedded broker keeps little, so commits that come soon let the demo go on sooner.
const SETTINGS: &str = r#"
[worker]
commit_interval_ms = 100
"#;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Stream these recorded ticks (files or folders) in place of the synthetic market; faults are injected all the same.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    ticks: Vec<PathBuf>,
    /// Ticks of the synthetic market (50,000 to 10,000,000).
    // With fewer, an instrument's share of them is too small to learn from; more take gigabytes.
    #[arg(long, default_value_t = 160_000, value_parser = clap::value_parser!(u32).range(50_000..=10_000_000))]
    size: u32,
    /// Seed of market, faults and training.
    #[arg(long, default_value_t = 1, value_parser = seeds())]
    seed: u64,
    /// Use this model instead of making one.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Stream at most so many ticks per second; without it, as many as the daemon takes.
    #[arg(long, value_name = "NUMBER", value_parser = |text: &str| PACES.parse(text))]
    ticks_per_sec: Option<f64>,
    /// Go on streaming, with /metrics up, until stopped.
    #[arg(long)]
    keep_running: bool,
    /// Where /metrics and /status are served; port 0: any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: String,
    /// Where to write the report, one HTML page.
    #[arg(long, default_value = REPORT, value_name = "FILE", conflicts_with = "no_report")]
    report: PathBuf,
    /// Write no report.
    #[arg(long)]
    no_report: bool,
    /// Print a line for each alert, on a terminal too.
    #[arg(long, short)]
    verbose: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    telemetry::start(&LogConfig {
        level: LogLevel::Warn,
        format: LogFormat::Text,
    });
    // Whatever is wrong with the arguments is told before anything starts.
    let report_path = (!arguments.no_report).then_some(arguments.report.as_path());
    outputs::probe(&[("--report", report_path)])?;
    let models = ModelsFolder::new()?;
    let config = config(arguments, &models)?;
    let scenario = Scenario::new(
        market(arguments, &config, arguments.seed)?,
        CLEAN_SHARE,
        AHEAD_TICKS_MAX as usize,
        arguments.seed,
    );
    scenario.check(config.training.ticks_per_instrument_min)?;
    let mut screen = Screen::new(arguments.verbose, &scenario, &config);
    let options = DaemonOptions {
        model: arguments.model.clone(),
    };
    let started = Stage::start(config.clone(), &options, &scenario, &mut |news| {
        screen.show(&scenario, &news)
    });
    let mut stage = started.map_err(named_by_flag)?;
    if stage.is_stopped() {
        screen.end();
        terminal::tell("interrupted before the model was ready: no tick has been scored");
        stage.stop()?;
        return Ok(Exit::Interrupted);
    }
    let mut board = stage.play(&scenario, arguments.ticks_per_sec, &mut |news| {
        screen.show(&scenario, &news)
    })?;
    screen.end();
    board.seed = arguments.seed;
    board.budget_per_10k_ticks = config.alerts.false_alarms_per_10k_ticks;
    if arguments.json {
        say(&serde_json::to_string(&board)?)?;
    } else {
        say(&format!("\n{}", board.to_text()))?;
    }
    let failures = board.failures();
    failures.iter().for_each(terminal::failed);
    if let Some(path) = report_path {
        write_report(path, arguments, &config, &scenario, &mut stage)?;
    }
    if arguments.keep_running && !board.interrupted {
        keep_running(arguments, &config, &mut stage, &mut screen)?;
    }
    stage.stop()?;
    Ok(match (board.interrupted, failures.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::VerdictFailed,
    })
}

/// Scores what was streamed once more, and writes the page about it. A signal leaves little time for that.
fn write_report(
    path: &Path,
    arguments: &Arguments,
    config: &Config,
    scenario: &Scenario,
    stage: &mut Stage,
) -> anyhow::Result<()> {
    let artifact = match &arguments.model {
        Some(path) => store::load(path)?,
        None => match first_model(&config.retrain.models_dir)? {
            Some(artifact) => artifact,
            None => return Ok(()),
        },
    };
    let what = match arguments.ticks.is_empty() {
        true => format!("the demo's synthetic market, seed {}", arguments.seed),
        false => format!("recorded ticks with injected faults, seed {}", arguments.seed),
    };
    let (seen, started) = (stage.seen_ticks(), Instant::now());
    let mut goes_on = || !stage.is_stopped() || started.elapsed() < STOPPED_REPORT;
    match rerun::report(scenario, &seen, &artifact, config, &what, &mut goes_on)? {
        Some(report) => {
            std::fs::write(path, report::page(&report)).map_err(CannotWrite::at(path, "--report"))?;
            terminal::tell(format_args!("report: {}", path.display()));
        }
        None => terminal::tell("no report: a signal left no time for it"),
    }
    Ok(())
}

/// Names the flag where the daemon would name the key: the demo has no configuration file.
fn named_by_flag(error: StageError) -> anyhow::Error {
    match error {
        StageError::Daemon(DaemonError::Listen(error)) => {
            anyhow::anyhow!("cannot listen at {} (--listen): {}", error.listen, error.source)
        }
        error => error.into(),
    }
}

/// Gives the model that the daemon made first.
fn first_model(folder: &Path) -> anyhow::Result<Option<Artifact>> {
    let models = ModelStore::open(folder, 1)?;
    let first = models.versions()?.first().copied();
    Ok(first.map(|version| models.load(version)).transpose()?)
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
        return Ok(generate(&MarketConfig::unseen(arguments.size as usize, seed)));
    }
    let recording = super::open_ticks(&arguments.ticks, config)?;
    let mut reader = TickReader::new(TickBounds::UNBOUNDED);
    recording.read(|recorded| reader.push(recorded.instrument, recorded.tick))?;
    Ok(reader.finish().instruments)
}

/// Streams one market after the other until a signal comes.
fn keep_running(arguments: &Arguments, config: &Config, stage: &mut Stage, screen: &mut Screen) -> anyhow::Result<()> {
    terminal::tell("streaming on; stop with Ctrl-C");
    let pace = arguments.ticks_per_sec.unwrap_or(LASTING_TICKS_PER_SEC);
    for round in 1.. {
        let seed = arguments.seed.wrapping_add(round);
        let mut scenario = Scenario::new(market(arguments, config, seed)?, 0.0, 0, seed);
        scenario.delay(round);
        screen.begin(&scenario, config);
        stage.forget();
        stage.stream(&scenario, Some(pace), &mut |news| screen.show(&scenario, &news))?;
        if stage.is_stopped() {
            break;
        }
    }
    screen.end();
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
