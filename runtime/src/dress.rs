//! Dresses a volume as a DICOM MR series in a vendor's style: test input with known geometry (`sagitta phantom`).
//!
//! What is imitated is what a receiver decides by: attribute sets, private count tags, number of objects, functional
//! group layout. The identity is invented (patient `Sagitta^Phantom`), the UIDs are a function of recipe and content,
//! so the same input gives the same bytes. Making the volume is left to `phantom` and `models::nifti`, sending to DICOM
//! tools or `publish::store`.

mod attributes;
mod classic;
mod csa;
mod enhanced;
mod geometry;
mod pixels;
mod style;
mod write;

use crate::error::Move;
use crate::identity::derived_uid;
use geometry::SlicePlanes;
use kernels::volume::PIR;
use kernels::{AxisMap, Volume};
use pixels::StoredPixels;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Whose console the series looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Vendor {
    /// Classic: syngo MR E11 with a CSA header. Enhanced: syngo MR XA30.
    Siemens,
    Philips,
    Ge,
}

/// Which storage class the series is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Form {
    /// MR Image Storage, one object a slice.
    Classic,
    /// Enhanced MR Image Storage, one object for the series.
    Enhanced,
}

/// The weighting that the header claims; it does not change a voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Contrast {
    T1,
    T2,
    Stir,
}

/// The recipe of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dress {
    pub vendor: Vendor,
    pub form: Form,
    pub contrast: Contrast,
    /// Names patient, study and frame of reference: series of one seed are one examination of one invented patient.
    pub seed: u64,
    pub series_number: u16,
}

/// One finished object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DressedObject {
    /// `0001.dcm`, by slice.
    pub file_name: String,
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    pub transfer_syntax_uid: String,
    /// A DICOM file (PS3.10): preamble, meta information, data set.
    pub bytes: Vec<u8>,
}

/// Why a volume cannot be a DICOM series.
#[derive(Debug, Error)]
pub enum DressError {
    #[error("voxel {0:?} of the volume is not a finite number")]
    NotFinite([usize; 3]),
    #[error("slices of {columns} x {rows} pixels: DICOM has at most 65535 of each")]
    TooWide { columns: usize, rows: usize },
    #[error("{0} slices: a series has at most {max}", max = geometry::MAX_SLICES)]
    TooManySlices(usize),
    #[error(
        "the voxel axes of the volume are {degrees:.2} degrees from a right angle; a DICOM series has straight slices"
    )]
    Sheared { degrees: f64 },
    #[error("the volume reaches {millimetres:.0} mm from the origin, further than any scanner")]
    FarAway { millimetres: f64 },
    #[error("the pixel data take {0} bytes: DICOM objects end below 4 GiB")]
    TooLarge(usize),
    #[error("object {file_name} could not be encoded")]
    Encode { file_name: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl DressError {
    /// Who can do something about it: whoever gave the volume, or we.
    pub fn whose(&self) -> Move {
        match self {
            DressError::Encode { .. } => Move::Sagitta,
            _ => Move::Peer,
        }
    }
}

/// Dresses `volume` (any orientation, right-angled axes) as a series of sagittal slices.
///
/// The volume is turned to the nearest (posterior, inferior, right) order without interpolation: `i` are columns, `j`
/// rows, `k` slices, and the position of a slice is the world place of its voxel (0, 0, k). Whole numbers that fit into
/// 16 bits are stored as they are; other values are rescaled linearly to 12 bits (see `pixels`).
pub fn dress(volume: &Volume<f32>, recipe: &Dress) -> Result<Vec<DressedObject>, DressError> {
    let turned = volume.reoriented(&AxisMap::towards(&volume.grid().affine, PIR));
    let planes = SlicePlanes::of(turned.grid())?;
    let pixels = StoredPixels::of(&turned)?;
    let series = SeriesIdentity::of(recipe, &planes, &pixels);
    let dressed = Dressing { recipe, planes: &planes, pixels: &pixels, series: &series };
    match recipe.form {
        Form::Classic => (0..planes.slices).map(|slice| classic::object(&dressed, slice)).collect(),
        Form::Enhanced => Ok(vec![enhanced::object(&dressed)?]),
    }
}

/// Everything the object writers share.
struct Dressing<'a> {
    recipe: &'a Dress,
    planes: &'a SlicePlanes,
    pixels: &'a StoredPixels,
    series: &'a SeriesIdentity,
}

/// The invented names and UIDs of one series.
struct SeriesIdentity {
    patient_id: String,
    study_uid: String,
    frame_of_reference_uid: String,
    series_uid: String,
}

impl SeriesIdentity {
    /// Patient, study and frame of reference follow the seed; the series also its recipe and content, because different
    /// pixels never share a UID.
    fn of(recipe: &Dress, planes: &SlicePlanes, pixels: &StoredPixels) -> SeriesIdentity {
        let seed = recipe.seed.to_string();
        let content = Sha256::new()
            .chain_update(format!("{planes:?} {:?}", pixels.rescale))
            .chain_update(pixels.bytes(0..planes.slices))
            .finalize();
        let style = format!(
            "{:?} {:?} {:?} {}",
            recipe.vendor, recipe.form, recipe.contrast, recipe.series_number
        );
        SeriesIdentity {
            patient_id: format!("PHANTOM-{seed}"),
            study_uid: derived_uid(&["dress", "study", &seed]),
            frame_of_reference_uid: derived_uid(&["dress", "frame of reference", &seed]),
            series_uid: derived_uid(&["dress", "series", &seed, &style, &format!("{content:x}")]),
        }
    }

    /// The SOP Instance UID of object `number` (from 1).
    fn instance_uid(&self, number: u16) -> String {
        derived_uid(&["dress", "instance", &self.series_uid, &number.to_string()])
    }
}
