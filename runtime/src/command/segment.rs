//! `sagitta segment`: one DICOM folder or NIfTI file to masks, pictures and DICOM objects.

use super::engine::EngineArguments;
use super::{Outcome, input, log, refused, table};
use crate::decode;
use crate::decode::selection::Settings;
use crate::jobs::clock::StageClock;
use crate::jobs::levels::Neighbours;
use crate::jobs::produce::{ProduceError, Request, Workshop};
use crate::jobs::source::Source;
use crate::messages::JobStage;
use crate::objects::Made;
use crate::publish::advance::Advance;
use crate::seal::Digest;
use clap::Args;
use dicom_dictionary_std::tags;
use models::nifti;
use pipeline::{Series, Use};
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
    /// Look for enhancing lesions on T1 after a contrast agent: experimental, not for diagnosis.
    #[arg(long)]
    lesions: bool,
    #[command(flatten)]
    engine: EngineArguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    log("warn", None);
    let mut clock = StageClock::idle();
    clock.begin(JobStage::Volume, &mut |_| {});
    let (source, inputs) = match read(&arguments.input) {
        Ok(source) => source,
        Err(error) => return refused(&arguments.input, arguments.json, error),
    };
    // The report names outputs so that they are found from any folder.
    let folder = std::path::absolute(&arguments.out)?;
    let request = Request {
        name: input::stem(&arguments.input),
        inputs,
        folder: folder.clone(),
        made: made(&source),
        generation: 1,
        neighbours: Neighbours::default(),
        supersedes: None,
        labelmap: false,
    };
    let mut workshop = Workshop::open(arguments.threads, &arguments.engine.settings()?, None)?;
    if arguments.lesions {
        workshop = workshop.with_lesions()?;
    }
    let product =
        match workshop.produce(&source, &request, &mut Advance::none(), &mut clock, &mut |_| {}) {
            Ok(product) => product,
            Err(ProduceError::Refused(refusal)) => {
                return refused(&arguments.input, arguments.json, refusal.into());
            }
            Err(error) => return Err(error.into()),
        };
    clock.end();
    let report = product.report.timed(clock.timings().clone());
    // No device vouches for it: this may be any machine.
    report.write(&folder, None)?;
    if arguments.json {
        println!("{}", report.text(None));
    } else {
        println!("{}", table::of(&report));
    }
    Ok(Outcome::Done)
}

/// The date of the objects where no job stores one: the series' own, so that a repetition gives the same bytes.
fn made(source: &Source) -> Made {
    let text = |tag, otherwise: &str| {
        let text = match source {
            Source::Dicom(dicom) => dicom.text(tag),
            Source::Volume(_) => None,
        };
        text.unwrap_or_else(|| otherwise.to_owned())
    };
    Made { date: text(tags::SERIES_DATE, "19000101"), time: text(tags::SERIES_TIME, "000000") }
}

/// The series, and the digests of its files.
fn read(path: &Path) -> anyhow::Result<(Source, Vec<Digest>)> {
    if input::is_nifti(path) {
        let series = Series::from_volume(nifti::read(path)?);
        series.admit(Use::Exam)?;
        let inputs = Digest::of_all([&std::fs::read(path)?]);
        return Ok((Source::Volume(Box::new(series)), inputs));
    }
    let folder = input::series_folder(path)?;
    let inputs = Digest::of_all(&folder.files);
    let decoded = std::thread::Builder::new()
        .stack_size(decode::dicom::STACK_BYTES)
        .spawn(move || decode::dicom::decode(&folder.files, Use::Exam, &Settings::default()))?
        .join();
    let decoded = decoded.map_err(|_| anyhow::anyhow!("the decoder panicked"))??;
    Ok((Source::Dicom(Box::new(decoded)), inputs))
}
