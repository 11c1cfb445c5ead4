//! `sagitta key`: the public key of this device.

use super::Outcome;
use crate::config::{self, Config};
use crate::seal::DeviceKey;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `sagitta key`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration of the service, whose data folder holds the key.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let config = Config::read(&arguments.config)?;
    let key = DeviceKey::read(&config.data)?.public();
    // Beside the key, not in it: the file that this is written to is the key.
    eprintln!("key {}", key.fingerprint());
    print!("{}", key.to_pem());
    Ok(Outcome::Done)
}
