//! What is on this machine, what Sagitta uses of it, what is missing and what to do.
//!
//! Only looks: builds nothing, starts nothing, sends no image; destinations are asked whether they would take one. What is
//! missing without harm is told apart from what stops the service. Holds no patient data: findings leave in the log bundle.

mod accelerator;
mod destinations;
mod machine;

use crate::config::{Config, ConfigError};
use crate::jobs::{self, engines};
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Good,
    /// Not there, and the service works without it.
    Absent,
    /// The service does not work as it is configured.
    Wrong,
}

/// What was found of one part.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub part: &'static str,
    pub health: Health,
    /// A word for scripts where there is one: a state of an engine.
    pub state: Option<&'static str>,
    pub text: String,
    /// What to do.
    pub advice: Option<String>,
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

/// Looks at everything that `config` names, and at the machine alone where there is none. Takes seconds, and as long as the
/// slowest destination.
pub fn examine(config: Option<&Config>) -> Vec<Finding> {
    let jobs = config.map_or_else(jobs::Settings::default, |c| c.jobs.clone());
    let settings = engines::settings(&jobs, config.map(|c| c.data.as_path()));
    let mut findings = vec![machine::processor(), machine::memory()];
    findings.extend(accelerator::findings(&settings));
    if let Some(config) = config {
        findings.push(machine::broker(&config.mqtt.broker));
        findings.push(machine::disk(&config.data));
        findings.push(machine::clock(SystemTime::now()));
        findings.extend(config.tls.as_ref().map(machine::certificate));
    }
    let mcu = config.and_then(|config| config.mcu.as_ref());
    findings.push(machine::supervisor(mcu.map(|mcu| mcu.port.as_path())));
    findings.extend(config.into_iter().flat_map(destinations::findings));
    findings
}

/// The configuration at `path`, and what there is to say of it. One that nobody `asked` for by name may be missing.
pub fn configuration(path: &Path, asked: bool) -> (Option<Config>, Finding) {
    const PART: &str = "configuration";
    match Config::read(path) {
        Ok(config) => (Some(config), Finding::good(PART, path.display().to_string())),
        Err(ConfigError::Read { .. }) if !asked => {
            let text = format!("no {}: `sagitta run` has nothing to run with yet", path.display());
            let advice = "`sagitta setup` writes one; `sagitta demo` needs none";
            (None, Finding::absent(PART, text, advice))
        }
        Err(error) => (None, Finding::wrong(PART, error.to_string(), "mend it, then ask again")),
    }
}
