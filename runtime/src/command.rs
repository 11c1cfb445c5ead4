//! The command line, one module a command. `main` parses and sets the exit code; everything else happens here.

pub mod demo;
pub mod input;
pub mod phantom;
pub mod run;
pub mod segment;
mod table;

use clap::{Parser, Subcommand};
use pipeline::Refusal;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Segments sagittal spine MR beside the scanner: DICOM in, overlays and MQTT out. Not for diagnostic use.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service.
    Run(run::Arguments),
    /// Plays a whole examination on this machine: patient, scanner, service, console.
    Demo(demo::Arguments),
    /// Segments one DICOM folder or NIfTI file, without a service.
    Segment(segment::Arguments),
    /// Writes a synthetic DICOM series in a vendor's style.
    Phantom(phantom::Arguments),
}

/// How a command ended.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// The series is not for us: a result, but not the one hoped for.
    Refused(Refusal),
}

/// Exit codes: 0 done, 1 failed, 3 refused (architecture: machine-readable contracts).
const REFUSED: u8 = 3;

impl CommandLine {
    /// Runs the command to its end. Errors are printed here, once, with all their causes.
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Run(arguments) => run::run(&arguments),
            Command::Demo(arguments) => demo::run(&arguments),
            Command::Segment(arguments) => segment::run(&arguments),
            Command::Phantom(arguments) => phantom::run(&arguments),
        };
        match outcome {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::Refused(refusal)) => {
                eprintln!("refused: {refusal}");
                ExitCode::from(REFUSED)
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// A refusal as `--json` prints it.
fn refusal_json(refusal: &Refusal) -> serde_json::Value {
    serde_json::json!({ "refused": refusal })
}

/// Logs to standard error; `SAGITTA_LOG` overrides the level. The embedded broker reports every client that comes and
/// goes as an error: what matters of it is seen by our own clients.
fn log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SAGITTA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{default},rumqttd=off")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A journal or a file shows colours as noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
