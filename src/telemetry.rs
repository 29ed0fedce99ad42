//! The log: structured lines on stderr, for people or for machines.
//!
//! Promises that a log that cannot be written costs nothing but its lines: a full disk or a reader that has left ends no
//! process. Colours are for terminals alone, and a log of JSON is JSON to its last line.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;
use tracing_subscriber::fmt;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Whether the lines are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging; a second call changes nothing.
pub fn start(config: &LogConfig) {
    let level = match config.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let builder = fmt()
        .with_max_level(level)
        .with_writer(|| Unfailing(io::stderr()))
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_target(false);
    // Fails only when logging has been started before, as tests in one process do.
    let started = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_ok() && config.format == LogFormat::Json {
        IS_JSON.store(true, Ordering::Relaxed);
        panics_are_json();
    }
}

/// Says why the process ends: one line for people, or of the log where that is JSON.
pub fn say_why_it_ends(error: &dyn std::fmt::Display) {
    if IS_JSON.load(Ordering::Relaxed) {
        tracing::error!(error = %error, "ended by an error");
    } else {
        // There is nobody to tell that nothing can be told.
        let _ = writeln!(io::stderr(), "error: {error}");
    }
}

/// A panic's message is a line of the log.
fn panics_are_json() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current();
        tracing::error!(
            thread = thread.name().unwrap_or("-"),
            place,
            message,
            "panic: this is a bug; please report it"
        );
    }));
}

/// A writer that swallows what cannot be written.
struct Unfailing<W>(W);

impl<W: Write> Write for Unfailing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_no_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::Error::from(io::ErrorKind::BrokenPipe))
            }
        }
        let mut log = Unfailing(Full);
        log.write_all(b"a line\n").unwrap();
        log.flush().unwrap();
    }
}
