//! `sagitta doctor`: what is on this machine, what Sagitta uses of it, what is missing and what to do.
//!
//! Only looks: builds nothing, starts nothing, sends no image; destinations are asked whether they would take one. What is missing without harm is told apart from what stops
//! the service.

mod accelerator;
mod destinations;
mod machine;

use super::Outcome;
use crate::config::{Config, ConfigError};
use crate::jobs::{self, engines};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where the packages put the configuration.
const CONFIG: &str = "/etc/sagitta/sagitta.toml";

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

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Good,
    /// Not there, and the service works without it.
    Absent,
    /// The service does not work as it is configured.
    Wrong,
}

/// What was found of one part.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    part: &'static str,
    health: Health,
    /// A word for scripts where there is one: a state of an engine.
    state: Option<&'static str>,
    text: String,
    /// What to do.
    advice: Option<String>,
}

impl Finding {
    fn good(part: &'static str, text: impl Into<String>) -> Finding {
        Finding { part, health: Health::Good, state: None, text: text.into(), advice: None }
    }

    fn absent(part: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { part, health: Health::Absent, state: None, text: text.into(), advice }
    }

    fn wrong(part: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { health: Health::Wrong, ..Finding::absent(part, text, advice) }
    }

    fn in_state(self, state: &'static str) -> Finding {
        Finding { state: Some(state), ..self }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let (config, read) = configuration(arguments.config.as_deref());
    let jobs = config.as_ref().map_or_else(jobs::Settings::default, |c| c.jobs.clone());
    let settings = engines::settings(&jobs, config.as_ref().map(|c| c.data.as_path()));

    let mut findings = vec![machine::processor(), machine::memory(), read];
    findings.extend(accelerator::findings(&settings));
    if let Some(config) = &config {
        findings.push(machine::broker(&config.mqtt.broker));
        findings.push(machine::disk(&config.data));
        findings.push(machine::clock(SystemTime::now()));
        findings.extend(config.tls.as_ref().map(machine::certificate));
    }
    let mcu = config.as_ref().and_then(|config| config.mcu.as_ref());
    findings.push(machine::supervisor(mcu.map(|mcu| mcu.port.as_path())));
    findings.extend(config.iter().flat_map(destinations::findings));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(print);
    }
    let wrong = findings.iter().filter(|finding| finding.health == Health::Wrong).count();
    anyhow::ensure!(wrong == 0, "{wrong} parts need somebody");
    Ok(Outcome::Done)
}

fn print(finding: &Finding) {
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

/// The configuration that the service would run with, and what there is to say of it.
fn configuration(asked: Option<&Path>) -> (Option<Config>, Finding) {
    const PART: &str = "configuration";
    let path = asked.unwrap_or(Path::new(CONFIG));
    match Config::read(path) {
        Ok(config) => (Some(config), Finding::good(PART, path.display().to_string())),
        Err(ConfigError::Read { .. }) if asked.is_none() => {
            let text = format!("no {CONFIG}: `sagitta run` has nothing to run with yet");
            let advice = "copy packaging/sagitta.toml there and set site and device; `sagitta demo` needs none";
            (None, Finding::absent(PART, text, advice))
        }
        Err(error) => (None, Finding::wrong(PART, error.to_string(), "mend it, then ask again")),
    }
}
