//! Dresses a volume as a DICOM MR series in a vendor's style: test input with known geometry (`sagitta phantom`).

pub mod style;
pub mod write;
