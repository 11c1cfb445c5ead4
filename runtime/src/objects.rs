//! DICOM objects out: derived MR label series, RGB secondary capture, DICOM SEG. Built from the source header, byte for
//! byte repeatable.

pub mod capture;
pub mod codes;
pub mod derived;
pub mod module;
pub mod segmentation;
