//! `sagitta phantom`: a synthetic DICOM series, procedural or from any NIfTI volume.

use super::{Outcome, input};
use crate::dress::{Contrast, Dress, Form, Vendor, dress};
use anyhow::Context;
use clap::Args;
use models::nifti;
use std::path::PathBuf;

/// Arguments of `sagitta phantom`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder for the DICOM files.
    #[arg(short, long)]
    out: PathBuf,
    /// Dress this NIfTI volume instead of a procedural patient.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Patient, anatomy and UIDs are a function of it.
    #[arg(long, default_value_t = input::DEMO_SEED)]
    seed: u64,
    /// Which part of the spine is in view.
    #[arg(long, value_enum, default_value = "lumbar")]
    region: Region,
    #[arg(long, value_enum, default_value = "siemens")]
    vendor: Vendor,
    #[arg(long, value_enum, default_value = "classic")]
    form: Form,
    /// The weighting the header claims.
    #[arg(long, value_enum, default_value = "t2")]
    contrast: Contrast,
    #[arg(long, default_value_t = 3)]
    series_number: u16,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Region {
    Cervical,
    Thoracic,
    Lumbar,
    Whole,
}

impl From<Region> for phantom::Region {
    fn from(region: Region) -> Self {
        match region {
            Region::Cervical => phantom::Region::Cervical,
            Region::Thoracic => phantom::Region::Thoracic,
            Region::Lumbar => phantom::Region::Lumbar,
            Region::Whole => phantom::Region::Whole,
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let volume = match &arguments.from {
        Some(path) => nifti::read(path)?,
        None => input::patient(arguments.seed, arguments.region.into())?,
    };
    let recipe = Dress {
        vendor: arguments.vendor,
        form: arguments.form,
        contrast: arguments.contrast,
        seed: arguments.seed,
        series_number: arguments.series_number,
    };
    let objects = dress(&volume, &recipe)?;
    let cannot = || format!("cannot write to {}", arguments.out.display());
    std::fs::create_dir_all(&arguments.out).with_context(cannot)?;
    for object in &objects {
        std::fs::write(arguments.out.join(&object.file_name), &object.bytes)
            .with_context(cannot)?;
    }
    eprintln!("{} objects in {}", objects.len(), arguments.out.display());
    Ok(Outcome::Done)
}
