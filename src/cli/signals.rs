//! Signals: every command ends soon after Ctrl-C, SIGTERM or SIGHUP, as the first process of a container too, where the
//! system would pass SIGTERM over.
//!
//! The daemon and the demo hear signals themselves, and the daemon drains. All other commands end at once, or within
//! [`PATIENCE`] where they said that they have something to finish.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use super::terminal;

/// Longest time from a signal to the end of a command that has something to finish: with what follows, below two seconds.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What a shell adds to a signal's number to make an exit code.
const SIGNAL_EXIT: i32 = 128;

/// The signal that asked to stop; 0 before one has.
static ASKED_BY: AtomicI32 = AtomicI32::new(0);
/// Whether the command looks for a signal itself.
static FINISHES: AtomicBool = AtomicBool::new(false);
/// Whether somebody else has taken the signals over.
static HANDED_OVER: AtomicBool = AtomicBool::new(false);

/// Gives the exit code of a command that a signal has asked to stop; none while nothing has.
pub fn asked() -> Option<u8> {
    match ASKED_BY.load(Ordering::Relaxed) {
        0 => None,
        signal => u8::try_from(SIGNAL_EXIT + signal).ok(),
    }
}

/// Says that the command looks at [`asked`] and finishes what it is at.
pub fn finish_first() {
    FINISHES.store(true, Ordering::Relaxed);
}

/// Says that the daemon hears signals from now on.
pub fn hand_over() {
    HANDED_OVER.store(true, Ordering::Relaxed);
}

/// Begins to listen.
#[cfg(unix)]
pub fn listen() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    // `nohup` has SIGHUP ignored, and who uses it means that.
    let hangup = (!is_hangup_ignored()).then_some(SIGHUP);
    // Without them, the system's own handling ends the process, which is nearly as good.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup)) else {
        return;
    };
    let listen = move || {
        for signal in signals.forever() {
            if HANDED_OVER.load(Ordering::Relaxed) {
                return;
            }
            let is_second = ASKED_BY.swap(signal, Ordering::Relaxed) != 0;
            if FINISHES.load(Ordering::Relaxed) && !is_second {
                std::thread::spawn(|| {
                    std::thread::sleep(PATIENCE);
                    terminal::tell("not finished in time; what was under way may be missing");
                    end();
                });
            } else {
                terminal::tell("stopped by a signal");
                end();
            }
        }
    };
    // Without a thread, the same holds as without signals.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(listen);
}

#[cfg(not(unix))]
pub fn listen() {}

/// Tells whether whoever started this process wants SIGHUP ignored.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    // A mask of signals in hexadecimal digits; SIGHUP is number 1, the lowest bit.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 != 0))
}

/// Ends the process without waiting for any thread.
#[cfg(unix)]
fn end() {
    signal_hook::low_level::exit(SIGNAL_EXIT + ASKED_BY.load(Ordering::Relaxed));
}
