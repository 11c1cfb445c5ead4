//! Which SOP classes and transfer syntaxes the receiver accepts.
//!
//! Consoles push ExamCards, raw data and reports beside the images, and some fail their whole job when one class is
//! rejected (scanner-side section 3.5). Such classes are accepted, stored and ignored.

use dicom_dictionary_std::uids;

/// What becomes of an instance of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Assembled into a series and segmented.
    Image,
    /// Stored, acknowledged, never looked at.
    Ignored,
}

/// Classes that are stored and ignored.
pub const IGNORED: [&str; 14] = [
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::RAW_DATA_STORAGE,
    uids::MR_SPECTROSCOPY_STORAGE,
    uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::COMPREHENSIVE3_DSR_STORAGE,
    uids::X_RAY_RADIATION_DOSE_SR_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
    uids::SEGMENTATION_STORAGE,
];

/// Philips' private storage classes (MR spectrum, series, ExamCard) share this root.
pub const PHILIPS_PRIVATE: &str = "1.3.46.670589.11.0.0.12.";

/// What the receiver does with a storage class; `None`: not supported.
pub fn usage(sop_class: &str) -> Option<Use> {
    match sop_class {
        uids::MR_IMAGE_STORAGE | uids::ENHANCED_MR_IMAGE_STORAGE => Some(Use::Image),
        class if IGNORED.contains(&class) || class.starts_with(PHILIPS_PRIVATE) => {
            Some(Use::Ignored)
        }
        _ => None,
    }
}

/// Transfer syntaxes in order of preference: those whose pixels need no decoder first, then the lossless ones our
/// registry decodes. Deflated and big endian are not taken: a bomb, and dead. Lossy is not proposed, because the nets
/// would see its artefacts.
pub const TRANSFER_SYNTAXES: [&str; 5] = [
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG_LOSSLESS,
    uids::RLE_LOSSLESS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_used_and_side_objects_ignored() {
        assert_eq!(usage("1.2.840.10008.5.1.4.1.1.4"), Some(Use::Image));
        assert_eq!(usage("1.2.840.10008.5.1.4.1.1.4.1"), Some(Use::Image));
        assert_eq!(usage("1.2.840.10008.5.1.4.1.1.66"), Some(Use::Ignored));
        assert_eq!(usage("1.3.46.670589.11.0.0.12.1"), Some(Use::Ignored));
        assert_eq!(usage("1.2.840.10008.5.1.4.1.1.2"), None, "CT");
    }
}
