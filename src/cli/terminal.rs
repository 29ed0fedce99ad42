//! What people see while a command works.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::train::fit::FitProgress;

/// Steps of a bar: finer than a terminal is wide.
const STEPS: u64 = 1000;

/// Makes a progress bar on stderr; where that is no terminal, nothing is drawn.
pub fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(STEPS);
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

/// Time between two lines of progress where stderr is no terminal, as in a job's log.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Gives what a training reports its progress to.
pub fn fit_progress(bar: &ProgressBar) -> impl FnMut(FitProgress) -> ControlFlow<()> + '_ {
    let mut told = Instant::now();
    move |progress| {
        let loss = progress
            .loss
            .map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
        let message = format!("epoch {} of {}{loss}", progress.epoch, progress.epochs_max);
        if bar.is_hidden() && told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            eprintln!("{} {:.0} %  {message}", bar.prefix(), 100.0 * progress.share);
        }
        set_share(bar, progress.share);
        bar.set_message(message);
        ControlFlow::Continue(())
    }
}
