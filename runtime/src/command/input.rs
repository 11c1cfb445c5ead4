//! What a command works on: a DICOM folder, a NIfTI file or a procedural patient.

use crate::decode::dicom::{Folder, read_folder};
use crate::dress::{Contrast, Dress, Form, Vendor, dress};
use crate::publish::store::StoredObject;
use anyhow::{Context, Result};
use kernels::Volume;
use models::nifti;
use std::path::Path;

/// The seed of the demo's patient: a lumbar spine with all five discs and a sacrum in view.
pub const DEMO_SEED: u64 = 1;

/// Whether `path` is named like a NIfTI file.
pub fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    name.is_some_and(|name| name.ends_with(".nii") || name.ends_with(".nii.gz"))
}

/// The name of `path` without the NIfTI endings.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".nii").unwrap_or(name).to_owned()
}

/// A procedural patient.
pub fn patient(seed: u64, region: phantom::Region) -> Result<Volume<f32>> {
    Ok(phantom::generate(&phantom::Recipe::of(region, seed))?.image)
}

/// The objects a scanner would send: those of a DICOM folder as they are, any volume dressed as a Siemens series.
pub fn scanner_objects(input: Option<&Path>) -> Result<Vec<StoredObject>> {
    let volume = match input {
        None => patient(DEMO_SEED, phantom::Region::Lumbar)?,
        Some(path) if is_nifti(path) => nifti::read(path)?,
        Some(path) => return folder_objects(path),
    };
    let recipe = Dress {
        vendor: Vendor::Siemens,
        form: Form::Classic,
        contrast: Contrast::T2,
        seed: DEMO_SEED,
        series_number: 3,
    };
    let objects = dress(&volume, &recipe)?;
    Ok(objects.iter().map(|object| StoredObject::parse(&object.bytes)).collect::<Result<_, _>>()?)
}

fn folder_objects(path: &Path) -> Result<Vec<StoredObject>> {
    let folder = series_folder(path)?;
    let pairs = folder.paths.iter().zip(&folder.files);
    pairs
        .map(|(path, bytes)| StoredObject::parse(bytes).with_context(|| path.display().to_string()))
        .collect()
}

/// The series of a DICOM folder; says on standard error what else is in it.
pub fn series_folder(path: &Path) -> Result<Folder> {
    let folder = read_folder(path)?;
    for (file, reason) in &folder.ignored {
        eprintln!("ignored {}: {reason}", file.display());
    }
    if folder.other_series > 0 {
        eprintln!("ignored {} smaller MR series in {}", folder.other_series, path.display());
    }
    Ok(folder)
}
