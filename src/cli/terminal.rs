//! What people see while a command works, on stderr. A stderr that cannot be written to is nothing to fail for.

use std::fmt::Display;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::tick_reader::Thinned;
use crate::train::progress::Progress;

/// Steps of a bar: finer than a terminal is wide.
const STEPS: u64 = 1000;

/// Whether nothing but warnings and errors is told: set once, before a command begins.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Tells nothing but warnings and errors from now on.
pub fn set_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

fn line(text: std::fmt::Arguments<'_>) {
    // Nobody is there to be told that nobody can be told.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tells what is going on, unless `--quiet` was given.
pub fn tell(text: impl Display) {
    if !is_quiet() {
        line(format_args!("{text}"));
    }
}

/// Tells what is probably a mistake and does not end the command.
pub fn warn(text: impl Display) {
    line(format_args!("warning: {text}"));
}

/// Tells what ended the command: each line of it is a mistake of its own.
pub fn error(text: &str) {
    text.lines().for_each(|text| line(format_args!("error: {text}")));
}

/// Tells why a verdict is a failure.
pub fn failed(text: impl Display) {
    line(format_args!("failed: {text}"));
}

/// Makes a progress bar on stderr; where that is no terminal, nothing is drawn.
pub fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(STEPS);
    if is_quiet() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:40}] {percent:>3} %  {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what);
    bar
}

/// Moves a bar to a share (0–1) of its way.
pub fn set_share(bar: &ProgressBar, share: f64) {
    bar.set_position((share * STEPS as f64) as u64);
}

/// Says above a bar that memory did not hold all ticks, if so.
pub fn say_thinned(bar: &ProgressBar, thinned: Thinned) {
    if thinned.is_thinned() {
        bar.suspend(|| {
            warn(format_args!(
                "training takes the newest {thinned}: training.memory_bytes_max does not hold more"
            ));
        });
    }
}

/// Time between two lines of progress where stderr is no terminal, as in a job's log.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Gives what a training reports its progress to; each phase fills the bar anew.
pub fn fit_progress(bar: &ProgressBar) -> impl FnMut(Progress) -> ControlFlow<()> + '_ {
    let mut told = Instant::now();
    move |progress: Progress| {
        let epoch = progress.epoch.map(|epoch| format!(", epoch {epoch}"));
        let loss = progress.loss.map(|loss| format!(", loss {loss:.4}"));
        let [epoch, loss] = [epoch, loss].map(Option::unwrap_or_default);
        let message = format!("{}{epoch}{loss}", progress.phase.name());
        if bar.is_hidden() && told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            tell(format_args!(
                "{} {:.0} %  {message}",
                bar.prefix(),
                100.0 * progress.share
            ));
        }
        set_share(bar, progress.share);
        bar.set_message(message);
        ControlFlow::Continue(())
    }
}
