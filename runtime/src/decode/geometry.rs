//! Attributes of one frame: classic ones from the data set, Enhanced MR ones from the functional groups, per frame first,
//! then shared (PS3.3 C.7.6.16).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// Where an attribute of a frame is looked up.
#[derive(Clone, Copy)]
pub(super) struct FrameView<'a> {
    header: &'a InMemDicomObject,
    /// Per-frame, then shared groups; both empty for a classic image.
    groups: [Option<&'a InMemDicomObject>; 2],
}

impl<'a> FrameView<'a> {
    pub(super) fn classic(header: &'a InMemDicomObject) -> FrameView<'a> {
        FrameView { header, groups: [None, None] }
    }

    /// Frame `frame` (from 0) of an Enhanced MR object.
    pub(super) fn enhanced(header: &'a InMemDicomObject, frame: usize) -> FrameView<'a> {
        let item = |tag, index: usize| header.get(tag)?.items()?.get(index);
        let per_frame = item(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame);
        let shared = item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0);
        FrameView { header, groups: [per_frame, shared] }
    }

    /// The first item of a functional group.
    pub(super) fn group(&self, sequence: Tag) -> Option<&'a InMemDicomObject> {
        self.groups.iter().flatten().find_map(|groups| groups.get(sequence)?.items()?.first())
    }

    /// Numbers of an attribute in a functional group, or outside of all groups.
    pub(super) fn numbers(&self, sequence: Tag, tag: Tag) -> Option<Vec<f64>> {
        let element = self
            .group(sequence)
            .and_then(|group| group.get(tag))
            .or_else(|| self.header.get(tag))?;
        let numbers = element.to_multi_float64().ok()?;
        numbers.iter().all(|n| n.is_finite()).then_some(numbers)
    }

    pub(super) fn number(&self, sequence: Tag, tag: Tag) -> Option<f64> {
        self.numbers(sequence, tag)?.first().copied()
    }

    /// Exactly `N` numbers.
    fn exactly<const N: usize>(&self, sequence: Tag, tag: Tag) -> Option<[f64; N]> {
        self.numbers(sequence, tag)?.try_into().ok()
    }

    pub(super) fn place(&self) -> Result<Place, &'static str> {
        let position = self
            .exactly(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)
            .ok_or("Image Position (Patient)")?;
        let [a, b, c, d, e, f] = self
            .exactly(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)
            .ok_or("Image Orientation (Patient)")?;
        let [between_rows, between_columns] = self
            .exactly(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)
            .filter(|spacing: &[f64; 2]| spacing.iter().all(|&mm| mm > 0.0))
            .ok_or("Pixel Spacing")?;
        Ok(Place {
            position,
            orientation: [[a, b, c], [d, e, f]],
            spacing_mm: [between_columns, between_rows],
        })
    }

    /// When the frame was acquired, as digits that sort by time; `None` where nobody tells.
    pub(super) fn acquired(&self) -> Option<String> {
        let of_frame = self.group(tags::FRAME_CONTENT_SEQUENCE);
        let whole = of_frame
            .map(|group| text(group, tags::FRAME_ACQUISITION_DATE_TIME))
            .filter(|at| !at.is_empty())
            .unwrap_or_else(|| text(self.header, tags::ACQUISITION_DATE_TIME));
        if !whole.is_empty() {
            return Some(whole);
        }
        let time = text(self.header, tags::ACQUISITION_TIME);
        let date = text(self.header, tags::ACQUISITION_DATE);
        (!time.is_empty()).then(|| date + &time)
    }

    /// Slope and intercept from stored values to intensities (PS3.3 C.7.6.16.2.9); identity where not given.
    pub(super) fn rescale(&self) -> [f64; 2] {
        let sequence = tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE;
        let slope = self.number(sequence, tags::RESCALE_SLOPE).filter(|&slope| slope != 0.0);
        let intercept = self.number(sequence, tags::RESCALE_INTERCEPT);
        [slope.unwrap_or(1.0), intercept.unwrap_or(0.0)]
    }
}

/// The place of a frame in the patient, as `pipeline::SourceImage` wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// LPS mm, centre of the first pixel.
    pub(super) position: [f64; 3],
    /// Along increasing column, along increasing row.
    pub(super) orientation: [[f64; 3]; 2],
    /// Between columns, between rows.
    pub(super) spacing_mm: [f64; 2],
}

/// How far direction vectors may be from unit length and from square: four decimals and some rounding.
const DIRECTION_TOLERANCE: f64 = 1e-2;

impl Place {
    /// Whether the directions are unit vectors at right angles (PS3.3 C.7.6.2.1.1).
    pub(super) fn is_square(&self) -> bool {
        use kernels::volume::{dot, norm};
        let [row, column] = self.orientation;
        (norm(row) - 1.0).abs() < DIRECTION_TOLERANCE
            && (norm(column) - 1.0).abs() < DIRECTION_TOLERANCE
            && dot(row, column).abs() < DIRECTION_TOLERANCE
    }
}

/// Text of an attribute of the data set, without padding; empty when absent.
pub(super) fn text(header: &InMemDicomObject, tag: Tag) -> String {
    let value = header.get(tag).and_then(|element| element.to_str().ok());
    value.map(|text| text.trim_matches(['\0', ' ']).to_owned()).unwrap_or_default()
}

/// Values of a multi-valued text attribute, upper case.
pub(super) fn words(header: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let element = header.get(tag).and_then(|element| element.to_multi_str().ok());
    element
        .map(|values| values.iter().map(|value| value.trim().to_ascii_uppercase()).collect())
        .unwrap_or_default()
}

pub(super) fn integer(header: &InMemDicomObject, tag: Tag) -> Option<i64> {
    header.get(tag)?.to_int().ok()
}
