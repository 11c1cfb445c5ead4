//! `sagitta run`: the service.

use super::{Outcome, log, runtime};
use crate::config::{self, Config};
use crate::recent::Recent;
use crate::service;
use clap::Args;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `sagitta run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    config: PathBuf,
    /// Checks the configuration, prints what is in force and ends.
    #[arg(long)]
    check_config: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let config = Config::read(&arguments.config)?;
    let effective = toml::to_string(&config)?;
    if arguments.check_config {
        print!("{effective}");
        return Ok(Outcome::Done);
    }
    // Where the data folder cannot be used the start says so in its own words.
    log("info", Recent::open(&config.data).ok());
    tracing::info!(file = %arguments.config.display(), "configuration:\n{effective}");
    let runtime = runtime()?;
    runtime.block_on(async { service::run(config, end()?).await })?;
    // A job at work ends with the process: its series is in the spool and runs again.
    runtime.shutdown_background();
    Ok(Outcome::Done)
}

/// Ends with the first SIGTERM or SIGINT after this call: one that comes while the service starts ends it in order, too, and
/// does not kill it. Needs a tokio runtime.
pub(super) fn end() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
