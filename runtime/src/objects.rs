//! DICOM objects out: derived MR label series, RGB secondary capture, DICOM SEG, measurements as
//! structured report, outlines as presentation state. Built from the source header, byte for byte
//! repeatable: the same series, result, provenance and date give the same bytes.
//!
//! Pictures are drawn by [`crate::render`]; objects leave by [`crate::publish::store`]. What all
//! objects share is in `module`, codes and colours are in [`codes`].

mod capture;
pub mod codes;
mod content;
mod derived;
mod element;
mod header;
mod measurements;
mod module;
mod naming;
mod presentation;
mod segmentation;

use crate::decode::DicomSeries;
use crate::error::Move;
use crate::identity::Provenance;
use dicom_dictionary_std::uids;
use pipeline::{Masks, Segmentation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use element::Code;

/// A kind of output object; configuration selects them by these names.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
    /// Comprehensive 3D SR Storage, one object: what was measured, with references to the segments.
    #[serde(rename = "sr_measurements")]
    Measurements,
    /// Grayscale Softcopy Presentation State Storage, one object: outlines and level names on the
    /// source images.
    #[serde(rename = "gsps")]
    PresentationState,
    /// Label Map Segmentation Storage, one object: the structures of the semantic mask as one label
    /// a pixel. Made only where a destination asks for it: see [`labelmap`].
    #[serde(rename = "seg_labelmap")]
    Labelmap,
    /// Segmentation Storage, one object: what the patch net takes for enhancing lesions. Made only
    /// where the site has them looked for: experimental, not for diagnosis.
    #[serde(rename = "seg_lesions")]
    Lesions,
}

impl OutputKind {
    /// In the order of the numbers of our series: a new kind comes last.
    pub const ALL: [OutputKind; 8] = [
        OutputKind::DerivedMr,
        OutputKind::SecondaryCapture,
        OutputKind::SemanticSegmentation,
        OutputKind::InstanceSegmentation,
        OutputKind::Measurements,
        OutputKind::PresentationState,
        OutputKind::Labelmap,
        OutputKind::Lesions,
    ];

    /// The stable name: configuration, reports and UIDs use it.
    pub fn name(self) -> &'static str {
        match self {
            OutputKind::DerivedMr => "mr_derived",
            OutputKind::SecondaryCapture => "sc_rgb",
            OutputKind::SemanticSegmentation => "seg_semantic",
            OutputKind::InstanceSegmentation => "seg_instances",
            OutputKind::Measurements => "sr_measurements",
            OutputKind::PresentationState => "gsps",
            OutputKind::Labelmap => "seg_labelmap",
            OutputKind::Lesions => "seg_lesions",
        }
    }

    /// The SOP class of its objects.
    pub fn sop_class(self) -> &'static str {
        match self {
            OutputKind::DerivedMr => uids::MR_IMAGE_STORAGE,
            OutputKind::SecondaryCapture => uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
            OutputKind::SemanticSegmentation
            | OutputKind::InstanceSegmentation
            | OutputKind::Lesions => uids::SEGMENTATION_STORAGE,
            OutputKind::Measurements => uids::COMPREHENSIVE3_DSR_STORAGE,
            OutputKind::PresentationState => uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
            OutputKind::Labelmap => uids::LABEL_MAP_SEGMENTATION_STORAGE,
        }
    }
}

/// The transfer syntax of every object: what every receiver must take, with the representations of values written down.
pub const TRANSFER_SYNTAX: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

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
    /// Where its data set begins.
    head_bytes: usize,
}

impl OutputObject {
    /// What follows the file meta information.
    pub fn data_set(&self) -> &[u8] {
        &self.bytes[self.head_bytes..]
    }
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

/// Makes the images of a result, which need nothing but the masks, and hands each over as soon as it is there: derived MR by
/// slice, captures as given. They are the first that a destination wants.
pub fn images(
    source: &DicomSeries,
    masks: Masks<'_>,
    provenance: &Provenance,
    made: &Made,
    captures: impl IntoIterator<Item = RgbImage>,
    hand_over: &mut dyn FnMut(OutputObject),
) -> Result<(), ObjectError> {
    let context = module::Context::new(source, masks, provenance, made)?;
    for object in derived::build(&context, masks.semantic) {
        hand_over(object?);
    }
    for object in capture::build(&context, captures) {
        hand_over(object?);
    }
    Ok(())
}

/// Makes all other objects of a result but the label map, likewise: presentation state, semantic SEG, instance SEG, lesions, and
/// the report that refers to all three. What would be empty is left out: a SEG without a segment, outlines of nothing, a report
/// without a vertebra.
pub fn documents(
    source: &DicomSeries,
    result: &Segmentation,
    provenance: &Provenance,
    made: &Made,
    hand_over: &mut dyn FnMut(OutputObject),
) -> Result<(), ObjectError> {
    let context = module::Context::new(source, result.masks(), provenance, made)?;
    presentation::build(&context, result)?.into_iter().for_each(&mut *hand_over);
    let structures = segmentation::structures(result);
    let levels = segmentation::levels(result);
    let lesions = segmentation::lesions(result);
    for segments in [&structures, &levels].into_iter().chain(&lesions) {
        segmentation::build(&context, segments)?.into_iter().for_each(&mut *hand_over);
    }
    let masks = measurements::Masks { structures, levels, lesions };
    measurements::build(&context, result, &masks)?.into_iter().for_each(hand_over);
    Ok(())
}

/// The structures in the newer form of SEG, which most receivers refuse; `None` where there is none.
pub fn labelmap(
    source: &DicomSeries,
    result: &Segmentation,
    provenance: &Provenance,
    made: &Made,
) -> Result<Option<OutputObject>, ObjectError> {
    let context = module::Context::new(source, result.masks(), provenance, made)?;
    segmentation::labelmap(&context, &segmentation::structures(result))
}

/// The word that reports and messages have for an enumerated value.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
