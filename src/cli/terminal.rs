//! What people see while a command works.

use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressStyle};

use crate::train::fit::FitProgress;

/// Steps of a bar: finer than a terminal is wide.
const STEPS: u64 = 1000;

/// Makes a progress bar on stderr; nothing is drawn where stderr is no terminal.
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

/// Gives what a training reports its progress to.
pub fn fit_progress(bar: &ProgressBar) -> impl FnMut(FitProgress) -> ControlFlow<()> + '_ {
    move |progress| {
        set_share(bar, progress.share);
        let loss = progress
            .loss
            .map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
        bar.set_message(format!("epoch {} of {}{loss}", progress.epoch, progress.epochs_max));
        ControlFlow::Continue(())
    }
}
