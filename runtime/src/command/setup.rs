//! `sagitta setup`: the first configuration of a device, from a file of answers or from a page.

use super::doctor::print;
use super::{Outcome, runtime};
use crate::setup::page::SetupPage;
use crate::setup::{Answers, set_up};
use crate::{config, doctor};
use anyhow::Context;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Arguments of `sagitta setup`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The answers, as TOML: docs/configuration.md, "First set-up".
    #[arg(long, required_unless_present = "page", conflicts_with = "page")]
    answers: Option<PathBuf>,
    /// Ask on a page instead, on this machine or a link-local address; its one-time code is printed here.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8081")]
    page: Option<SocketAddr>,
    /// The configuration to write.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let place = &arguments.config;
    match (&arguments.answers, arguments.page) {
        (Some(file), _) => from_file(file, place)?,
        (None, Some(address)) => from_page(address, place)?,
        (None, None) => anyhow::bail!("name --answers FILE or --page"),
    }
    println!("configured: {}; now `systemctl restart sagitta`", place.display());
    Ok(Outcome::Done)
}

fn from_file(file: &Path, place: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let advised = |error: crate::setup::SetupError| {
        anyhow::anyhow!("{error}; {}", error.whose_move().advice())
    };
    let answers = Answers::parse(&text).map_err(advised)?;
    let config = set_up(&answers, place).map_err(advised)?;
    // What doctor finds wrong may be a peer that is not switched on yet: the configuration stays.
    doctor::examine(Some(&config)).iter().for_each(print);
    Ok(())
}

fn from_page(address: SocketAddr, place: &Path) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let page = SetupPage::open(address, place).await?;
        println!("open http://{}/ and enter the code {}", page.address, page.code);
        Ok(page.serve().await?)
    })
}
