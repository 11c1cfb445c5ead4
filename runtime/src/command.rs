//! The command line, one module a command. `main` parses and sets the exit code; everything else happens here.

pub mod audit;
pub mod bundle;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod input;
pub mod key;
pub mod mcu;
pub mod model;
pub mod order;
pub mod phantom;
pub mod replay;
pub mod run;
pub mod segment;
pub mod setup;
mod table;
pub mod user;
pub mod verify;

use crate::decode::folder::FolderError;
use crate::error::Move;
use crate::recent::Recent;
use clap::{Parser, Subcommand};
use models::nifti::NiftiError;
use pipeline::{Refusal, RefusalCode};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

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
    /// Plays invented arrivals to the rules by which a series is complete, and tells how long each takes.
    Replay(replay::Arguments),
    /// Writes the first configuration of a device, from a file of answers or from a page.
    Setup(setup::Arguments),
    /// Says what is on this machine, what is used of it, what is missing and what to do.
    Doctor(doctor::Arguments),
    /// Packs what somebody far away needs to find a fault, without patient data.
    Bundle(bundle::Arguments),
    /// Checks, describes, tries and takes back configurations.
    Config(config::Arguments),
    /// Proves that the log of who did what is whole.
    Audit(audit::Arguments),
    /// Names who may log in to the page.
    User(user::Arguments),
    /// Builds or lists what an engine needs on this device.
    Engine(engine::Arguments),
    /// Lists, tries, promotes and takes back models.
    Model(model::Arguments),
    /// Proves that files are what a device made, without the device.
    Verify(verify::Arguments),
    /// Prints the public key of this device, for those who verify what it makes.
    Key(key::Arguments),
    /// Signs a command for a device; `mosquitto_pub` or a fleet's own tool brings it to the broker.
    Order(order::Arguments),
    /// Says which image the supervisor MCU runs, and gives it another.
    Mcu(mcu::Arguments),
}

/// How a command ended.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// The input is not for us: a result, but not the one hoped for. Holds the line for a person.
    Refused(String),
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
            Command::Replay(arguments) => replay::run(&arguments),
            Command::Setup(arguments) => setup::run(&arguments),
            Command::Doctor(arguments) => doctor::run(&arguments),
            Command::Bundle(arguments) => bundle::run(&arguments),
            Command::Config(arguments) => config::run(&arguments),
            Command::Audit(arguments) => audit::run(&arguments),
            Command::User(arguments) => user::run(&arguments),
            Command::Engine(arguments) => engine::run(&arguments),
            Command::Model(arguments) => model::run(&arguments),
            Command::Verify(arguments) => verify::run(&arguments),
            Command::Key(arguments) => key::run(&arguments),
            Command::Order(arguments) => order::run(arguments),
            Command::Mcu(arguments) => mcu::run(&arguments),
        };
        match outcome {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::Refused(line)) => {
                eprintln!("refused: {line}");
                ExitCode::from(REFUSED)
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Ends a command whose input is not for us: the refusal as JSON where that was asked for, and a line that names the
/// input. An error that is no refusal goes up.
fn refused(input: &Path, json: bool, error: anyhow::Error) -> anyhow::Result<Outcome> {
    let refusal = as_refusal(error)?;
    if json {
        let wrapped = serde_json::json!({ "refused": refusal });
        println!("{}", serde_json::to_string_pretty(&wrapped)?);
    }
    Ok(Outcome::Refused(format!("{}: {refusal}; {}", input.display(), Move::Peer.advice())))
}

/// A file that is no series of ours is refused like a series that is none: scripts get one kind of answer.
fn as_refusal(error: anyhow::Error) -> anyhow::Result<Refusal> {
    let code = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(FolderError::Nothing { .. }), _) => RefusalCode::WrongClass,
        (_, Some(NiftiError::NotNifti { .. } | NiftiError::Truncated { .. })) => {
            RefusalCode::UnreadablePixels
        }
        (_, Some(NiftiError::WrongType { .. })) => RefusalCode::UnreadablePixels,
        (_, Some(NiftiError::NoAffine { .. } | NiftiError::Geometry { .. })) => {
            RefusalCode::MissingGeometry
        }
        (_, Some(NiftiError::WrongDims { .. })) => RefusalCode::MissingGeometry,
        _ => return error.downcast(),
    };
    Ok(Refusal::new(code, error.to_string()))
}

/// Logs to standard error, and to what keeps the last lines; `SAGITTA_LOG` overrides the level. The embedded broker reports
/// every client that comes and goes as an error: what matters of it is seen by our own clients.
fn log(default: &str, kept: Option<Recent>) {
    let filter = EnvFilter::try_from_env("SAGITTA_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{default},rumqttd=off")));
    let shown = fmt::layer()
        .with_writer(std::io::stderr)
        // A journal or a file shows colours as noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // It would be told on the same stderr, and a panic of whoever logs: a log file on a full disk ended the thread.
        .log_internal_errors(false);
    let kept = kept.map(|kept| fmt::layer().with_writer(kept).with_ansi(false).with_target(false));
    tracing_subscriber::registry().with(filter).with(shown).with(kept).init();
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
