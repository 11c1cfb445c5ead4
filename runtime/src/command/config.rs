//! `sagitta config`: a configuration checked, described, tried and taken back.

use super::Outcome;
use crate::config::trial::{Ending, Place, Proposer, Taken, TrialError};
use crate::config::{self, change::Change, schema};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Between two looks whether a trial has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `sagitta config`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says whether a configuration can be used and what it would change. Changes nothing.
    Check {
        file: PathBuf,
        #[command(flatten)]
        in_force: InForce,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Puts a configuration in force, on trial: where the service does not become ready, the one before comes back.
    Apply {
        file: PathBuf,
        #[command(flatten)]
        in_force: InForce,
        #[command(flatten)]
        restart: Restart,
    },
    /// Puts the configuration before this one in force, in the same way.
    Rollback {
        #[command(flatten)]
        in_force: InForce,
        #[command(flatten)]
        restart: Restart,
    },
    /// Prints the JSON Schema of the configuration.
    Schema,
    /// For the unit, before a start: puts a candidate in force, or takes back one that was not kept.
    #[command(hide = true)]
    Take(InForce),
    /// For the unit, when the service is ready: what is on trial stays.
    #[command(hide = true)]
    Keep(InForce),
}

/// Which configuration it is about.
#[derive(Debug, Args)]
struct InForce {
    /// The configuration in force.
    #[arg(long = "config", env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    path: PathBuf,
}

/// How the service comes to take it.
#[derive(Debug, Args)]
struct Restart {
    /// The unit that is restarted.
    #[arg(long, default_value = "sagitta.service")]
    unit: String,
    /// Leave it to the next start.
    #[arg(long)]
    no_restart: bool,
    /// Seconds to wait for the end of the trial: a start, an end and another start, as long as the unit gives them.
    #[arg(long, default_value_t = 420)]
    limit_s: u64,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    match &arguments.action {
        Action::Check { file, in_force, json } => check(file, &in_force.path, *json),
        Action::Apply { file, in_force, restart } => {
            let text = read(file)?;
            apply(&Place::new(&in_force.path), &text, restart)
        }
        Action::Rollback { in_force, restart } => {
            let place = Place::new(&in_force.path);
            let text = place.previous_text().map_err(advised)?;
            apply(&place, &text, restart)
        }
        Action::Schema => {
            println!("{}", serde_json::to_string_pretty(&schema::schema())?);
            Ok(Outcome::Done)
        }
        Action::Take(in_force) => {
            match Place::new(&in_force.path).take().map_err(advised)? {
                Taken::Nothing => {}
                Taken::OnTrial => eprintln!("a new configuration is in force, on trial"),
                Taken::Back => eprintln!(
                    "the service did not become ready with the new configuration: the one before is in force again"
                ),
                Taken::Refused(reason) => eprintln!("the new configuration was refused: {reason}"),
            }
            Ok(Outcome::Done)
        }
        Action::Keep(in_force) => {
            if Place::new(&in_force.path).keep().map_err(advised)? {
                eprintln!("the service is ready: the new configuration stays");
            }
            Ok(Outcome::Done)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The error with whose move it is.
fn advised(error: TrialError) -> anyhow::Error {
    anyhow::anyhow!("{error}; {}", error.whose_move().advice())
}

fn check(file: &Path, in_force: &Path, json: bool) -> anyhow::Result<Outcome> {
    let changes = match Place::new(in_force).check(&read(file)?) {
        Ok(changes) => changes,
        Err(TrialError::NoChange) => Vec::new(),
        Err(error) => return Err(advised(error)),
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&changes)?),
        false if changes.is_empty() => println!("it can be used and changes nothing"),
        false => print(&changes),
    }
    Ok(Outcome::Done)
}

fn print(changes: &[Change]) {
    changes.iter().for_each(|change| println!("{change}"));
}

fn apply(place: &Place, text: &str, restart: &Restart) -> anyhow::Result<Outcome> {
    let before = place.outcome().map_or(0, |outcome| outcome.number);
    let changes = place.propose(text, Proposer::Administrator).map_err(advised)?;
    print(&changes);
    if restart.no_restart {
        println!("it is taken at the next start of the service");
        return Ok(Outcome::Done);
    }
    let systemctl = Command::new("systemctl").arg("restart").arg(&restart.unit).status();
    // One that fails to start is started again, and takes the one before: what became of it is in the outcome.
    systemctl.context("no systemd is here to restart the service: restart it yourself")?;
    match ended(place, before, Duration::from_secs(restart.limit_s))? {
        Ending::Kept => println!("the service is ready with it"),
        Ending::TakenBack => bail!(
            "the service did not become ready with it: the one before is in force again; look at `journalctl -u {}`; the site's move",
            restart.unit
        ),
        Ending::Refused { reason } => bail!("it was refused: {reason}; the site's move"),
    }
    Ok(Outcome::Done)
}

/// Waits for the end of the trial after number `before`.
fn ended(place: &Place, before: u64, limit: Duration) -> anyhow::Result<Ending> {
    let since = Instant::now();
    loop {
        if let Some(outcome) = place.outcome().filter(|outcome| outcome.number > before) {
            return Ok(outcome.ending);
        }
        if since.elapsed() > limit {
            bail!("the trial has not ended within {} s: look at the service", limit.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}
