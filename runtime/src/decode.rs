//! Foreign bytes -> checked series. Pure: bytes in, values out; shared by every way in.

mod contrast;
pub mod dicom;
mod facts;
pub mod folder;
mod gate;
mod geometry;
mod instance;
mod parts;
mod pixels;
mod public;
pub mod selection;

use dicom_core::Tag;
use dicom_object::InMemDicomObject;
use pipeline::Series;
use selection::Selection;

/// One instance of a source series, as outputs refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRef {
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
}

/// The image behind one slice: an instance and, for Enhanced MR, its frame (from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Index into [`DicomSeries::instances`].
    pub instance: usize,
    pub frame: Option<u32>,
}

/// A decoded DICOM series.
#[derive(Debug, Clone)]
pub struct DicomSeries {
    /// The checked volume; `series.sources[k]` indexes `frames`.
    pub series: Series,
    pub frames: Vec<FrameRef>,
    pub instances: Vec<InstanceRef>,
    /// The data set of the instance behind slice 0, without pixel data and private elements: patient and study modules,
    /// character set, frame of reference, window. Outputs copy from it. Contains patient data: never logged.
    pub header: InMemDicomObject,
    /// Contrast class, and what it rests on.
    pub selection: Selection,
    pub acquisition: Acquisition,
}

/// What tells two series of one acquisition from one another, and one acquisition from the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acquisition {
    /// Of the first slice, as digits that sort by time. Patient data: never shown.
    pub begun: Option<String>,
    /// The more, the better corrected: for distortion, for the coils.
    pub corrections: usize,
}

impl DicomSeries {
    /// A text attribute of the header; `None` where it is missing or empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        Some(geometry::text(&self.header, tag)).filter(|text| !text.is_empty())
    }
}
