//! What the header of the source says of its pixels: thickness, window, rescaling; classic in the
//! data set itself, enhanced in the first item of its functional groups.
//!
//! How single values are read is [`super::element`]'s.

use super::element::{number_of, value_of};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// Slice thickness, mm.
pub(super) fn slice_thickness(header: &InMemDicomObject) -> Option<f64> {
    number(header, tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS).filter(|&mm| mm > 0.0)
}

/// Centre and width of the window the source is shown with, after rescaling.
pub(super) fn window(header: &InMemDicomObject) -> Option<[f64; 2]> {
    let of = |tag| number(header, tags::FRAME_VOILUT_SEQUENCE, tag);
    let width = of(tags::WINDOW_WIDTH).filter(|&width| width >= 1.0)?;
    Some([of(tags::WINDOW_CENTER)?, width])
}

/// Slope and intercept from stored to shown values; `None` where stored values are shown.
pub(super) fn rescale(header: &InMemDicomObject) -> Option<[f64; 2]> {
    let of = |tag| number(header, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag);
    let slope = of(tags::RESCALE_SLOPE).filter(|&slope| slope != 0.0)?;
    Some([slope, of(tags::RESCALE_INTERCEPT).unwrap_or(0.0)])
}

/// Whether the smallest value is shown white.
pub(super) fn is_inverted(header: &InMemDicomObject) -> bool {
    value_of(header, tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("MONOCHROME1")
}

/// A number of the data set, else of the functional group `group` that all frames share, else of
/// the first frame's.
fn number(header: &InMemDicomObject, group: Tag, tag: Tag) -> Option<f64> {
    fn inner(object: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
        object.get(tag)?.items()?.first()
    }
    let grouped = |groups| number_of(inner(inner(header, groups)?, group)?, tag);
    number_of(header, tag)
        .or_else(|| grouped(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE))
        .or_else(|| grouped(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE))
}

#[cfg(test)]
mod tests {
    use super::super::element::{item, text};
    use super::*;
    use dicom_core::VR;

    #[test]
    fn classic_and_enhanced_headers_say_the_same() {
        let window_of = [
            text(tags::WINDOW_CENTER, VR::DS, "300\\40"),
            text(tags::WINDOW_WIDTH, VR::DS, "700\\80"),
        ];
        let slope = text(tags::RESCALE_SLOPE, VR::DS, "2.5");
        let classic =
            InMemDicomObject::from_element_iter(window_of.iter().cloned().chain([slope.clone()]));
        let shared = [item(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, [slope])];
        let frame = [item(tags::FRAME_VOILUT_SEQUENCE, window_of)];
        let enhanced = InMemDicomObject::from_element_iter([
            item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared),
            item(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame),
        ]);
        for header in [classic, enhanced] {
            assert_eq!(window(&header), Some([300.0, 700.0]));
            assert_eq!(rescale(&header), Some([2.5, 0.0]));
            assert_eq!(slice_thickness(&header), None);
        }
        let nothing = InMemDicomObject::new_empty();
        assert_eq!((window(&nothing), rescale(&nothing)), (None, None));
    }
}
