//! `sagitta bundle`: the log bundle of this device as a file.

use super::Outcome;
use crate::{bundle, config, doctor, durable};
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `sagitta bundle`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration of the service.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    config: PathBuf,
    /// The archive to write.
    #[arg(long, short, default_value = "sagitta-bundle.tar.gz")]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let (config, read) = doctor::configuration(&arguments.config, true);
    let mut findings = vec![read];
    findings.extend(doctor::examine(config.as_ref()));
    let packed = bundle::pack(config.as_ref(), &findings)?;
    let out = &arguments.out;
    durable::write(out, &packed).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{} ({} KiB), without patient data", out.display(), packed.len().div_ceil(1024));
    Ok(Outcome::Done)
}
