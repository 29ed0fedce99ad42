//! The binary: hands the command line to the library and gives its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tapewatch::cli::main()
}
