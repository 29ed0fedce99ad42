//! Signals: the first asks to stop, the second ends the process at once.
//!
//! SIGTERM, SIGINT (Ctrl-C) and SIGHUP are heard alike, save that a process that was started with SIGHUP ignored, as by
//! `nohup`, goes on ignoring it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Notes that a signal has asked to stop; ends the process at the second one.
pub(super) async fn follow(asked_to_stop: Arc<AtomicBool>) {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return tracing::error!(%error, "signals cannot be heard"),
    };
    signals.next().await;
    asked_to_stop.store(true, Ordering::Relaxed);
    let number = signals.next().await;
    tracing::warn!("a second signal: ending at once; what was not acknowledged will be repeated");
    // What a shell gives for a process that a signal has ended.
    std::process::exit(128 + number);
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hang_up = match is_hang_up_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up,
        })
    }

    /// Waits for the next signal; gives its number.
    async fn next(&mut self) -> i32 {
        use tokio::signal::unix::SignalKind;
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = hang_up => SignalKind::hangup(),
        }
        .as_raw_value()
    }
}

/// Tells whether whoever started this process wants SIGHUP ignored. Where the system does not say, nobody does.
#[cfg(unix)]
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> i32 {
        let _ = tokio::signal::ctrl_c().await;
        2
    }
}
