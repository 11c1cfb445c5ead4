//! `sagitta engine`: plans of TensorRT on this device, built at once or listed.

use super::Outcome;
use crate::config::Config;
use crate::jobs::{self, engines, plans};
use clap::{Args, Subcommand};
use models::engine::tensorrt::{self, Progress};
use models::engine::trouble::Trouble;
use models::engine::{self, Forms};
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

/// Which engine, and where its parts are: as a configuration says, or as the packages install them.
#[derive(Debug, Args)]
pub struct EngineArguments {
    /// Take engine, shims and plans from this configuration.
    #[arg(long, env = "SAGITTA_CONFIG")]
    config: Option<PathBuf>,
    /// The engine, whatever the configuration says.
    #[arg(long, value_enum)]
    engine: Option<engines::Choice>,
}

impl EngineArguments {
    pub(super) fn settings(&self) -> anyhow::Result<engine::Settings> {
        let config = self.config.as_deref().map(Config::read).transpose()?;
        let mut jobs = config.as_ref().map_or_else(jobs::Settings::default, |c| c.jobs.clone());
        jobs.engine = self.engine.unwrap_or(jobs.engine);
        Ok(engines::settings(&jobs, config.as_ref().map(|config| config.data.as_path())))
    }
}

/// Arguments of `sagitta engine`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Builds the plans of TensorRT for this device and proves them on a drawn patient. Takes minutes.
    Build {
        #[command(flatten)]
        place: Place,
        /// Build even if the plans are ready.
        #[arg(long)]
        force: bool,
    },
    /// Lists the plans and what they are good for.
    List {
        #[command(flatten)]
        place: Place,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where shims and plans are.
#[derive(Debug, Args)]
struct Place {
    /// Take shims and plans from this configuration.
    #[arg(long, env = "SAGITTA_CONFIG")]
    config: Option<PathBuf>,
}

impl Place {
    fn read(&self) -> anyhow::Result<engine::Settings> {
        EngineArguments { config: self.config.clone(), engine: None }.settings()
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    match &arguments.what {
        What::Build { place, force } => build(&place.read()?, *force),
        What::List { place, json } => list(&place.read()?, *json),
    }
}

fn build(settings: &engine::Settings, force: bool) -> anyhow::Result<Outcome> {
    let weights = Forms::embedded(settings.precision)?.gpu;
    let plans = plans::list(settings, &weights);
    if !force && plans.iter().all(|plan| plan.state == plans::READY) {
        eprintln!("the plans are ready; --force builds them again");
        return Ok(Outcome::Done);
    }
    let threads = kernels::threads::available();
    let built = tensorrt::build(&weights, &settings.place, threads, &mut shown());
    clear_line();
    let (_, proof) = built.map_err(advised)?;
    eprintln!(
        "built and proven: Dice {:.4} against simd, {} vertebrae; {}",
        proof.dice,
        proof.vertebrae,
        settings.place.plans.display()
    );
    Ok(Outcome::Done)
}

/// The trouble with what to do about it.
fn advised(trouble: Trouble) -> anyhow::Error {
    let (state, advice) = (trouble.state.name(), trouble.state.advice());
    anyhow::anyhow!("{state}: {trouble}; {advice}")
}

/// Shows a build: one line that changes on a terminal, nothing in a pipe.
fn shown() -> impl FnMut(Progress) + Send {
    let terminal = stderr().is_terminal();
    move |Progress { net, phase, done, steps }| {
        if terminal {
            let percent = 100 * i64::from(done) / i64::from(steps.max(1));
            // A terminal that went away is no reason to stop building.
            let _ = write!(stderr(), "\r\x1b[2K{net}: {phase} {percent} %");
            let _ = stderr().flush();
        }
    }
}

fn clear_line() {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[2K");
    }
}

fn list(settings: &engine::Settings, json: bool) -> anyhow::Result<Outcome> {
    let plans = plans::list(settings, &Forms::embedded(settings.precision)?.gpu);
    if json {
        println!("{}", serde_json::to_string_pretty(&plans)?);
        return Ok(Outcome::Done);
    }
    for plan in &plans {
        println!("{:<10}{}", plan.net, plan.state);
        if let Some(text) = &plan.text {
            println!("          {text}");
        }
        if let (Some(key), Some(proof)) = (&plan.built_for, &plan.proof) {
            println!(
                "          TensorRT {} on {}, driver {}; Dice {:.4}, {} vertebrae",
                key.tensorrt, key.device, key.driver, proof.dice, proof.vertebrae
            );
        }
    }
    Ok(Outcome::Done)
}
