//! `sagitta segment`: one DICOM folder or NIfTI file to masks, pictures and DICOM objects.

use super::{Outcome, input, log, refusal_json, table};
use crate::decode;
use crate::jobs::clock::StageClock;
use crate::jobs::produce::{ProduceError, Request, Source, Workshop};
use crate::messages::JobStage;
use clap::Args;
use models::nifti;
use pipeline::{Refusal, Series};
use std::path::{Path, PathBuf};

/// Arguments of `sagitta segment`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A folder with a DICOM series, or a NIfTI file.
    input: PathBuf,
    /// Folder for the outputs.
    #[arg(short, long)]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Threads of the engine; all cores when absent.
    #[arg(long)]
    threads: Option<usize>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    log("warn");
    let mut clock = StageClock::idle();
    clock.begin(JobStage::Volume, &mut |_| {});
    let source = match read(&arguments.input) {
        Ok(source) => source,
        Err(error) => return refused(arguments, error),
    };
    let request = Request {
        name: input::stem(&arguments.input),
        folder: arguments.out.clone(),
        made: source.made(),
        generation: 1,
    };
    let mut workshop = Workshop::open(arguments.threads)?;
    let product = match workshop.produce(&source, &request, &mut clock, &mut |_| {}) {
        Ok(product) => product,
        Err(ProduceError::Refused(refusal)) => return refused(arguments, refusal.into()),
        Err(error) => return Err(error.into()),
    };
    clock.end();
    let report = product.report.timed(clock.timings().clone());
    report.write(&arguments.out)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", table::of(&report));
    }
    Ok(Outcome::Done)
}

/// A refusal is printed as JSON where that was asked for; any other error goes up.
fn refused(arguments: &Arguments, error: anyhow::Error) -> anyhow::Result<Outcome> {
    let refusal: Refusal = error.downcast()?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&refusal_json(&refusal))?);
    }
    Ok(Outcome::Refused(refusal))
}

fn read(path: &Path) -> anyhow::Result<Source> {
    if input::is_nifti(path) {
        let series = Series::from_volume(nifti::read(path)?);
        series.admit()?;
        return Ok(Source::Volume(Box::new(series)));
    }
    let files = decode::dicom::read_folder(path)?;
    Ok(Source::Dicom(Box::new(decode::dicom::decode_files(&files)?)))
}
