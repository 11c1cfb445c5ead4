//! DICOM objects out: derived MR label series, RGB secondary capture, DICOM SEG. Built from the
//! source header, byte for byte repeatable: the same series, result, provenance and date give the
//! same bytes.
//!
//! Pictures are drawn by [`crate::render`]; objects leave by [`crate::publish::store`]. What all
//! objects share is in `module`, codes and colours are in [`codes`].

mod capture;
pub mod codes;
mod derived;
mod element;
mod module;
mod segmentation;

use crate::decode::DicomSeries;
use crate::error::Move;
use crate::identity::Provenance;
use pipeline::Segmentation;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use element::Code;

/// A kind of output object; configuration selects them by these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OutputKind {
    /// MR Image Storage, one a slice: structures as grey values. Every console takes it.
    #[serde(rename = "mr_derived")]
    DerivedMr,
    /// Secondary Capture Image Storage, one a slice: the overlay burned in.
    #[serde(rename = "sc_rgb")]
    SecondaryCapture,
    /// Segmentation Storage, one object: the structures of the semantic mask.
    #[serde(rename = "seg_semantic")]
    SemanticSegmentation,
    /// Segmentation Storage, one object: vertebrae, discs and sacrum by level.
    #[serde(rename = "seg_instances")]
    InstanceSegmentation,
}

impl OutputKind {
    pub const ALL: [OutputKind; 4] = [
        OutputKind::DerivedMr,
        OutputKind::SecondaryCapture,
        OutputKind::SemanticSegmentation,
        OutputKind::InstanceSegmentation,
    ];

    /// The stable name: configuration, reports and UIDs use it.
    pub fn name(self) -> &'static str {
        match self {
            OutputKind::DerivedMr => "mr_derived",
            OutputKind::SecondaryCapture => "sc_rgb",
            OutputKind::SemanticSegmentation => "seg_semantic",
            OutputKind::InstanceSegmentation => "seg_instances",
        }
    }
}

/// When the objects were made. Stored with the job, so that repeating the job repeats the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// `YYYYMMDD` (DA, PS3.5 section 6.2).
    pub date: String,
    /// `HHMMSS` or `HHMMSS.ffffff` (TM, PS3.5 section 6.2).
    pub time: String,
}

/// A rendered slice: the source image with the overlay and the warning burned in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    pub columns: usize,
    pub rows: usize,
    /// sRGB, three bytes a pixel, columns fastest; `rows * columns * 3` bytes.
    pub pixels: Vec<u8>,
    /// The slice `k` it shows. It covers exactly the field of view of the source image, at any
    /// scale.
    pub slice: usize,
}

/// A finished DICOM object. Holds patient data: never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct OutputObject {
    pub kind: OutputKind,
    /// Unique within one result, without patient data: `seg.dcm`, `mr-derived-0001.dcm`.
    pub file_name: String,
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    pub transfer_syntax_uid: String,
    /// The Part 10 file, Explicit VR Little Endian.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for OutputObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OutputObject({}, {} bytes)", self.file_name, self.bytes.len())
    }
}

/// Why the objects of a result cannot be made. The texts hold no patient data.
#[derive(Debug, Error)]
pub enum ObjectError {
    #[error("the source series has no {attribute}; outputs cannot refer to it")]
    MissingSource { attribute: &'static str },
    #[error("the source images are {columns}x{rows} pixels; an object holds at most 65535x65535")]
    TooLarge { columns: usize, rows: usize },
    #[error("the {mask} mask is not on the grid of the source series")]
    OffGrid { mask: &'static str },
    #[error("slice {slice} of the source series refers to no instance")]
    UnknownSource { slice: usize },
    #[error(
        "the capture of slice {slice} ({columns}x{rows} pixels, {bytes} bytes) does not fit the series or repeats a slice"
    )]
    Capture { slice: usize, columns: usize, rows: usize, bytes: usize },
    /// The text of the source header does not fit the character set it declares.
    #[error("{file_name} cannot be encoded with the character set of the source series")]
    Encode { file_name: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl ObjectError {
    /// Who can do something about it. Repeating the job helps in no case.
    pub fn whose_move(&self) -> Move {
        match self {
            ObjectError::MissingSource { .. }
            | ObjectError::TooLarge { .. }
            | ObjectError::Encode { .. } => Move::Peer,
            ObjectError::OffGrid { .. }
            | ObjectError::UnknownSource { .. }
            | ObjectError::Capture { .. } => Move::Sagitta,
        }
    }
}

/// All objects of a result, in the order in which a destination wants them: derived MR by slice,
/// captures as given, semantic SEG, instance SEG. A SEG without a segment is left out: the standard
/// has no empty one.
pub fn build(
    source: &DicomSeries,
    result: &Segmentation,
    provenance: &Provenance,
    made: &Made,
    captures: &[RgbImage],
) -> Result<Vec<OutputObject>, ObjectError> {
    let context = module::Context::new(source, result, provenance, made)?;
    let mut objects = derived::build(&context, result)?;
    objects.extend(capture::build(&context, captures)?);
    objects.extend(segmentation::semantic(&context, result)?);
    objects.extend(segmentation::instances(&context, result)?);
    Ok(objects)
}
