//! What a job works on: a decoded DICOM series, or a volume that never was DICOM.

use crate::decode::DicomSeries;
use crate::decode::selection::Selection;
use pipeline::Series;

/// A decoded series.
#[derive(Debug)]
pub enum Source {
    Dicom(Box<DicomSeries>),
    /// A volume read from a file: no DICOM objects can be made of it.
    Volume(Box<Series>),
}

impl Source {
    pub fn series(&self) -> &Series {
        match self {
            Source::Dicom(dicom) => &dicom.series,
            Source::Volume(series) => series,
        }
    }

    /// The series alone.
    pub fn into_series(self) -> Series {
        match self {
            Source::Dicom(dicom) => dicom.series,
            Source::Volume(series) => *series,
        }
    }

    pub fn instances(&self) -> usize {
        match self {
            Source::Dicom(dicom) => dicom.instances.len(),
            Source::Volume(_) => 0,
        }
    }

    /// What it was taken as; `None` where no header tells.
    pub fn selection(&self) -> Option<&Selection> {
        match self {
            Source::Dicom(dicom) => Some(&dicom.selection),
            Source::Volume(_) => None,
        }
    }
}
