//! What people see of the demo on stderr: on a terminal a panel of fixed height; elsewhere, and with `--verbose`, a line
//! for each alert.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::terminal;
use crate::config::Config;
use crate::demo::panel::Panel;
use crate::demo::scenario::Scenario;
use crate::demo::stage::News;
use crate::status::{TrainingPhase, TrainingStatus};

/// Time between two drawings of the panel: eyes see no more.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Steps of the bar: finer than a terminal is wide.
const STEPS: f64 = 1000.0;

/// The screen of one demo.
pub(super) struct Screen {
    bars: MultiProgress,
    progress: ProgressBar,
    /// None where alerts are lines.
    panel: Option<Lines>,
    started: Instant,
    sent: usize,
}

/// A panel, and the lines of the terminal that show it.
struct Lines {
    panel: Panel,
    lines: Vec<ProgressBar>,
    drawn_at: Option<Instant>,
}

impl Screen {
    /// Makes a screen: lines in place of a panel where stderr is no terminal, or with `verbose`.
    pub(super) fn new(verbose: bool, scenario: &Scenario, config: &Config) -> Self {
        let bars = MultiProgress::new();
        let progress = bar(&bars, "{prefix} [{bar:30}] {percent:>3} % {wide_msg}");
        progress.set_prefix("preparing");
        let panel = (std::io::stderr().is_terminal() && !verbose).then(|| Lines::new(scenario, config, &bars));
        let screen = Screen {
            bars,
            progress,
            panel,
            started: Instant::now(),
            sent: 0,
        };
        screen.say(&what_is_shown(scenario, config));
        screen
    }

    /// Begins anew with another scenario of as many instruments.
    pub(super) fn begin(&mut self, scenario: &Scenario, config: &Config) {
        self.started = Instant::now();
        self.sent = 0;
        self.progress.reset();
        if let Some(lines) = &mut self.panel {
            lines.panel = Panel::new(&scenario.feeds, config.alerts.false_alarms_per_10k_ticks);
        }
    }

    /// Shows what is new.
    pub(super) fn show(&mut self, scenario: &Scenario, news: &News<'_>) {
        match news {
            News::Started { brokers, http } => {
                self.say(&format!(
                    "embedded broker: kcat -b {brokers} -t tapewatch.alerts joins in"
                ));
                if let Some(address) = http {
                    self.say(&format!("http://{address}/metrics and /status are up"));
                }
            }
            News::Training(status) => self.training(status),
            News::Ready => {
                self.say("the base model is calibrated to these instruments; streaming");
                self.started = Instant::now();
                self.progress.set_prefix("streaming");
                self.progress.set_message("");
            }
            News::Sent { feed, index } => {
                self.sent += 1;
                if let Some(lines) = &mut self.panel {
                    lines.panel.tick(*feed, &scenario.feeds[*feed].ticks[*index]);
                }
            }
            News::Streamed { share } => {
                self.progress.set_position((share * STEPS) as u64);
                let pace = self.sent as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
                self.progress.set_message(format!("{} ticks, {pace:.0}/s", self.sent));
                self.draw();
            }
            News::Alert { heard, raised } => match &mut self.panel {
                Some(lines) => lines.panel.alert(&scenario.feeds, heard, *raised),
                None => self.say(&format!("{:<8} {:<8} {}", heard.state, heard.severity, heard.summary)),
            },
        }
    }

    fn training(&self, status: &TrainingStatus) {
        let what = match status.phase {
            TrainingPhase::Idle | TrainingPhase::Reading => "reading ticks back",
            TrainingPhase::Preparing => "measuring what is usual",
            TrainingPhase::Fitting => "fitting",
            TrainingPhase::Calibrating => "calibrating the base model",
            TrainingPhase::Gating => "comparing",
        };
        self.progress.set_position((status.share * STEPS) as u64);
        self.progress.set_message(what);
    }

    fn draw(&mut self) {
        let Some(lines) = &mut self.panel else { return };
        if lines.drawn_at.is_none_or(|drawn| drawn.elapsed() >= REDRAW_INTERVAL) {
            lines.drawn_at = Some(Instant::now());
            for (bar, line) in lines.lines.iter().zip(lines.panel.lines()) {
                bar.set_message(line);
            }
        }
    }

    /// Writes a line that stays, above what is drawn.
    fn say(&self, line: &str) {
        self.bars.suspend(|| terminal::tell(line));
    }

    /// Takes everything away that was drawn.
    pub(super) fn end(&self) {
        // Where nothing was drawn, there is nothing to clear.
        let _ = self.bars.clear();
    }
}

impl Lines {
    fn new(scenario: &Scenario, config: &Config, bars: &MultiProgress) -> Self {
        let panel = Panel::new(&scenario.feeds, config.alerts.false_alarms_per_10k_ticks);
        let line = |text: String| {
            let line = bar(bars, "{wide_msg}");
            line.set_message(text);
            line
        };
        Lines {
            lines: panel.lines().into_iter().map(line).collect(),
            panel,
            drawn_at: None,
        }
    }
}

/// Adds a line to what is drawn. It gets its style there: one that is drawn before would stay on the screen.
fn bar(bars: &MultiProgress, template: &str) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(STEPS as u64));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Says what the demo is made of.
fn what_is_shown(scenario: &Scenario, config: &Config) -> String {
    let feeds = &scenario.feeds;
    let clean: usize = feeds.iter().map(|feed| feed.clean).sum();
    let faults: usize = feeds.iter().map(|feed| feed.labels.len()).sum();
    format!(
        "{} instruments, {} ticks: {clean} to learn from, then {faults} hidden faults\n\
         default configuration: budget {} false alarms per 10,000 ticks, threshold {:.2}",
        feeds.len(),
        scenario.ticks(),
        config.alerts.false_alarms_per_10k_ticks,
        config.alerts.threshold()
    )
}
