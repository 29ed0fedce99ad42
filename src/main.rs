//! The binary: hands the command line to the library and gives its exit code.

use std::process::ExitCode;

/// Training makes and drops tensors of hundreds of kilobytes without pause; the system's allocator returns each to the
/// kernel, which costs two thirds of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tapewatch::cli::main()
}
