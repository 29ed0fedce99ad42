//! The binary: hands the command line to the library and gives its exit code.

use std::process::ExitCode;

/// Training makes and drops tensors of hundreds of kilobytes without pause; the system's allocator returns each to the
/// kernel, which costs two thirds of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    start_with_one_thread_for_candle();
    tapewatch::cli::main()
}

/// candle spreads even small tensors over all cores, which spin while they wait for each other: slower than one thread,
/// and it takes the cores from the workers. It reads the number of its threads from the environment alone, so the program
/// starts itself once more with that set, unless somebody has set it.
fn start_with_one_thread_for_candle() {
    const THREADS: &str = "RAYON_NUM_THREADS";
    #[cfg(unix)]
    if std::env::var_os(THREADS).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        use std::os::unix::process::CommandExt;
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| program.clone().into());
        // Comes back only if it fails, and then everything works as well, more slowly.
        let _ = std::process::Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(THREADS, "1")
            .exec();
    }
}
