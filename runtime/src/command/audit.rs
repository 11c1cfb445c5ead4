//! `sagitta audit`: whether the log of who did what is whole.

use super::Outcome;
use crate::audit::{self, Head};
use crate::config::{self, Config};
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `sagitta audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Names the first record that was changed, is missing, is out of order or was cut off.
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// One file of a log; without it the whole log of this device.
    file: Option<PathBuf>,
    /// A record noted elsewhere, "NUMBER SHA-256" as this command prints the last one: finds a log that was written anew.
    #[arg(long, value_name = "RECORD")]
    head: Option<Head>,
    /// The configuration of the service, whose data folder holds the log.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let Action::Verify(Verify { file, head, config }) = &arguments.action;
    let (path, verified) = match file {
        Some(file) => (file.clone(), audit::verify_file(file, head.as_ref())),
        None => {
            let folder = Config::read(config)?.data.join(audit::FOLDER);
            let verified = audit::verify_folder(&folder, head.as_ref());
            (folder, verified)
        }
    };
    let verified = verified.with_context(|| format!("cannot read {}", path.display()))?;
    let verified = verified.map_err(|fault| anyhow::anyhow!("{}: {fault}", path.display()))?;
    println!("records {} to {} fit", verified.before.number + 1, verified.last.number);
    println!("last record: {}", verified.last);
    Ok(Outcome::Done)
}
