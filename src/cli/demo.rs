use super::Exit;
#[derive(Debug, clap::Args)]
pub struct Arguments {}
pub fn run(_: &Arguments) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
