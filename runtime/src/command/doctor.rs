//! `sagitta doctor`: the findings of [`crate::doctor`] for a person or a script.

use super::Outcome;
use crate::config;
use crate::doctor::{self, Finding, Health};
use clap::Args;
use std::path::{Path, PathBuf};

/// Arguments of `sagitta doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration of the service; the packaged one when absent, if it is there.
    #[arg(long, env = "SAGITTA_CONFIG")]
    config: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let asked = arguments.config.as_deref();
    let path = asked.unwrap_or(Path::new(config::PLACE));
    let (config, read) = doctor::configuration(path, asked.is_some());
    let mut findings = vec![read];
    findings.extend(doctor::examine(config.as_ref()));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(print);
    }
    let wrong = findings.iter().filter(|finding| finding.health == Health::Wrong).count();
    anyhow::ensure!(wrong == 0, "{wrong} parts need somebody");
    Ok(Outcome::Done)
}

pub(super) fn print(finding: &Finding) {
    let mark = match finding.health {
        Health::Good => "ok",
        Health::Absent => "-",
        Health::Wrong => "!!",
    };
    println!("{mark:<3}{:<14}{}", finding.part, finding.text);
    if let Some(advice) = &finding.advice {
        println!("{:17}-> {advice}", "");
    }
}
