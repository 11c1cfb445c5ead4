//! The RGB secondary capture: rendered slices with the overlay burned in, for every viewer that can
//! show a picture.
//!
//! Drawing is [`crate::render`]'s work. Position, orientation and spacing are added (allowed as an
//! extension of the class), so that a viewer can cross-reference the picture with the source.

use super::codes;
use super::element::{decimals, line, sequence, short, text};
use super::module::{Context, WARNING, derivation};
use super::{ObjectError, OutputKind, OutputObject, RgbImage};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemElement;
use std::collections::BTreeSet;

/// Samples of an RGB pixel.
const SAMPLES: usize = 3;
/// A direction is named by each axis of the patient less than 60 degrees away: `P`, or `PF` when it
/// lies between.
const NAMED_COSINE: f64 = 0.5;

pub(super) fn build(
    context: &Context<'_>,
    captures: impl IntoIterator<Item = RgbImage>,
) -> impl Iterator<Item = Result<OutputObject, ObjectError>> {
    let mut shown = BTreeSet::new();
    captures.into_iter().map(move |capture| {
        check(context, &capture, &mut shown)?;
        image(context, capture)
    })
}

fn image(context: &Context<'_>, capture: RgbImage) -> Result<OutputObject, ObjectError> {
    let kind = OutputKind::SecondaryCapture;
    let slice = capture.slice;
    let mut object = context.common(kind, slice + 1);
    let made = context.made();
    let placement = placement(context, &capture);
    let mut pixels = capture.pixels;
    pixels.resize(pixels.len().next_multiple_of(2), 0);
    let elements = [
        text(tags::MODALITY, VR::CS, "OT"),
        text(tags::CONVERSION_TYPE, VR::CS, "WSD"),
        text(tags::DATE_OF_SECONDARY_CAPTURE, VR::DA, &*made.date),
        text(tags::TIME_OF_SECONDARY_CAPTURE, VR::TM, &*made.time),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\OTHER"),
        text(tags::PATIENT_ORIENTATION, VR::CS, patient_orientation(context.directions())),
        context.orientation(),
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![context.source_image(slice)]),
        derivation(codes::SEGMENTATION),
        text(
            tags::DERIVATION_DESCRIPTION,
            VR::ST,
            "Source image with the segmentation drawn on it",
        ),
        text(tags::IMAGE_COMMENTS, VR::LT, line(&format!("{WARNING}. {}", context.trace()), 1024)),
        text(tags::BURNED_IN_ANNOTATION, VR::CS, "YES"),
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
        short(tags::SAMPLES_PER_PIXEL, SAMPLES as u16),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"),
        short(tags::PLANAR_CONFIGURATION, 0),
        short(tags::ROWS, capture.rows as u16),
        short(tags::COLUMNS, capture.columns as u16),
        short(tags::BITS_ALLOCATED, 8),
        short(tags::BITS_STORED, 8),
        short(tags::HIGH_BIT, 7),
        short(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())),
    ];
    for element in elements.into_iter().chain(placement) {
        object.put(element);
    }
    context.file(kind, slice + 1, format!("sc-rgb-{:04}.dcm", slice + 1), &object)
}

/// A capture has the size it says and shows a slice of the series that no other capture shows: the
/// UID follows from the slice, so a second one would take the first one's place.
fn check(
    context: &Context<'_>,
    capture: &RgbImage,
    shown: &mut BTreeSet<usize>,
) -> Result<(), ObjectError> {
    let RgbImage { columns, rows, ref pixels, slice } = *capture;
    let fits = (1..=usize::from(u16::MAX)).contains(&columns)
        && (1..=usize::from(u16::MAX)).contains(&rows)
        && pixels.len() == columns * rows * SAMPLES
        && slice < context.grid().dims.counts()[2]
        && shown.insert(slice);
    if fits {
        return Ok(());
    }
    Err(ObjectError::Capture { slice, columns, rows, bytes: pixels.len() })
}

/// Position, spacing and thickness of a capture that covers the field of view of its slice: the
/// outer edges of the two images agree, so the centre of its first pixel lies elsewhere when it is
/// scaled.
fn placement(context: &Context<'_>, capture: &RgbImage) -> [InMemElement; 4] {
    let grid = context.grid();
    let [columns, rows, _] = grid.dims.counts();
    let step = [columns as f64 / capture.columns as f64, rows as f64 / capture.rows as f64];
    let first = step.map(|step| step / 2.0 - 0.5);
    let position = grid.affine.world([first[0], first[1], capture.slice as f64]);
    let [dx, dy, _] = grid.affine.spacing();
    let [_, thickness, pitch] = context.pixel_measures();
    [
        decimals(tags::IMAGE_POSITION_PATIENT, &position),
        decimals(tags::PIXEL_SPACING, &[dy * step[1], dx * step[0]]),
        thickness,
        pitch,
    ]
}

/// Patient directions of the rows and columns (PS3.3 C.7.6.1.1.1), the dominant axis first.
fn patient_orientation(directions: [[f64; 3]; 2]) -> String {
    let named = |direction: [f64; 3]| {
        let letters = [('L', 'R'), ('P', 'A'), ('H', 'F')];
        let mut axes: Vec<(f64, (char, char))> = direction.into_iter().zip(letters).collect();
        axes.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        axes.into_iter()
            .filter(|(cosine, _)| cosine.abs() > NAMED_COSINE)
            .map(|(cosine, (towards, away))| if cosine > 0.0 { towards } else { away })
            .collect::<String>()
    };
    directions.map(named).join("\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_named_by_the_patient() {
        assert_eq!(patient_orientation([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]), "P\\F");
        let half = 0.5f64.sqrt();
        assert_eq!(patient_orientation([[0.1, 0.99, 0.0], [0.0, -half, half]]), "P\\AH");
    }
}
