//! `tapewatch completions` and `tapewatch man`: the command line told to shells and to `man`.

use std::path::PathBuf;

use clap::CommandFactory;

use super::{CannotWrite, Cli, Exit, say, terminal};

#[derive(Debug, clap::Args)]
pub struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub struct ManArguments {
    /// Write a page for each command into this folder, in place of printing the first one.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn completions(arguments: &CompletionsArguments) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "tapewatch", &mut text);
    say(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Exit::Done)
}

pub fn man(arguments: &ManArguments) -> anyhow::Result<Exit> {
    // Pages are files of the program, not of the machine that makes them: the short version.
    let command = Cli::command().long_version(env!("CARGO_PKG_VERSION"));
    match &arguments.folder {
        Some(folder) => {
            let unwritable = |source| CannotWrite::at(folder, "DIR")(source);
            std::fs::create_dir_all(folder).map_err(unwritable)?;
            clap_mangen::generate_to(command, folder).map_err(CannotWrite::at(folder, "DIR"))?;
            terminal::tell(format_args!("manual pages are in {}", folder.display()));
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text)?;
            say(String::from_utf8_lossy(&text).trim_end())?;
        }
    }
    Ok(Exit::Done)
}
