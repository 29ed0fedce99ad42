//! tapewatch as others run it: the built binary, as a process of its own.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::wait;

/// A command that trains, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(150);

/// What a command left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary to its end, in `folder`.
///
/// # Panics
/// When it takes too long.
pub fn run<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: &[S]) -> Ended {
    start(folder, arguments).ended()
}

/// Runs the binary and makes sure of its exit code.
///
/// # Panics
/// When it is another one.
pub fn expect<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(folder: &Path, code: i32, arguments: &[S]) -> Ended {
    /// What went wrong stands at the end.
    const SHOWN_CHARS: usize = 2000;
    let ended = run(folder, arguments);
    if ended.code != Some(code) {
        let text: Vec<char> = (ended.stdout + &ended.stderr).chars().collect();
        let end: String = text[text.len().saturating_sub(SHOWN_CHARS)..].iter().collect();
        panic!("{arguments:?} ended with {:?}, expected {code}: {end}", ended.code);
    }
    ended
}

/// Runs the binary in `folder` with nobody to read its stderr, for at most so long; gives its exit code, none if it still
/// ran.
pub fn run_unheard(folder: &Path, arguments: &[&str], stderr: Stdio, time: Duration) -> Option<i32> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapewatch"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// Starts the binary in `folder`, free of configuration from the environment.
pub fn start<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: &[S]) -> Running {
    start_with(folder, arguments, &[])
}

/// The same with variables of the environment.
pub fn start_with<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: &[S], variables: &[(&str, &str)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapewatch"));
    command.args(arguments).envs(variables.iter().copied());
    spawn(folder, command)
}

/// Starts a command in `folder` and collects what it writes.
pub fn spawn(folder: &Path, mut command: Command) -> Running {
    let mut child = command
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    Running {
        child,
        output: Some((stdout, stderr)),
    }
}

type Collector = JoinHandle<Vec<u8>>;

fn collect(mut pipe: impl Read + Send + 'static) -> Collector {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// A running binary; it is ended when the test forgets it.
pub struct Running {
    child: Child,
    /// What collects its stdout and stderr.
    output: Option<(Collector, Collector)>,
}

impl Running {
    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Tells it that its terminal is gone.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// The highest resident memory so far (bytes).
    #[cfg(target_os = "linux")]
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Ends it at once, without a chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Sends a signal, such as `-HUP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Tells whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end and gives what it left behind.
    pub fn ended(self) -> Ended {
        let Output { status, stdout, stderr } = self.output();
        Ended {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Waits for its end and gives what it wrote.
    pub fn output(mut self) -> Output {
        let deadline = Instant::now() + DEADLINE;
        let status: ExitStatus = wait::until_some("the process ends", DEADLINE, || {
            if Instant::now() >= deadline {
                // Its output then says where it hangs.
                self.child.kill().unwrap();
            }
            self.child.try_wait().unwrap()
        });
        let (stdout, stderr) = self.output.take().unwrap();
        Output {
            status,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (Some((_, stderr)), true) = (self.output.take(), thread::panicking()) {
            let stderr = stderr.join().unwrap_or_default();
            eprintln!("the process wrote:\n{}", String::from_utf8_lossy(&stderr));
        }
    }
}
