//! The derived MR label series: one MR image a slice whose grey values are the structures of the
//! semantic mask.
//!
//! Every console takes MR Image Storage (scanner-side conformance statements list it), so this is
//! the output that always arrives. Classic and enhanced sources give the same classic form.

use super::codes;
use super::element::{
    ST_CHARACTERS, copied, decimals, empty, line, sequence, short, text, value_of,
};
use super::module::{Context, WARNING, derivation};
use super::{ObjectError, OutputKind, OutputObject};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use kernels::Volume;
use pipeline::Structure;

/// Consoles store 12 bits (scanner-side design, section 2); structure values end at 100.
const BITS_STORED: u16 = 12;
/// A linear window (PS3.3 C.11.2.1.2.1) that maps background to black and the largest structure
/// value, 100, to white.
const WINDOW_CENTER: f64 = 50.5;
const WINDOW_WIDTH: f64 = 101.0;

/// How the source was acquired, taken over from a classic header (PS3.3 C.8.3.1); type 2 attributes
/// are there even when empty.
const ACQUISITION: [(Tag, Option<VR>); 6] = [
    (tags::SCAN_OPTIONS, Some(VR::CS)),
    (tags::MR_ACQUISITION_TYPE, Some(VR::CS)),
    (tags::REPETITION_TIME, Some(VR::DS)),
    (tags::ECHO_TIME, Some(VR::DS)),
    (tags::ECHO_TRAIN_LENGTH, Some(VR::IS)),
    (tags::MAGNETIC_FIELD_STRENGTH, None),
];

pub(super) fn build(
    context: &Context<'_>,
    semantic: &Volume<u8>,
) -> impl Iterator<Item = Result<OutputObject, ObjectError>> {
    (0..context.grid().dims.counts()[2]).map(|slice| image(context, semantic, slice))
}

fn image(
    context: &Context<'_>,
    semantic: &Volume<u8>,
    slice: usize,
) -> Result<OutputObject, ObjectError> {
    let kind = OutputKind::DerivedMr;
    let mut object = context.common(kind, slice + 1);
    for element in acquisition(context.header()) {
        object.put(element);
    }
    let labels = semantic.slice(slice);
    let bound = |label: Option<&u8>| label.map_or(0, |&label| u16::from(label));
    let (smallest, largest) = (bound(labels.iter().min()), bound(labels.iter().max()));
    // As the bytes of the file: a writer of numbers asks for each of them.
    let pixels: Vec<u8> = labels.iter().flat_map(|&label| u16::from(label).to_le_bytes()).collect();
    let [columns, rows, _] = context.grid().dims.counts().map(|n| n as u16);
    let elements = [
        text(tags::MODALITY, VR::CS, "MR"),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\OTHER"),
        context.orientation(),
        context.position(slice),
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![context.source_image(slice)]),
        derivation(codes::SEGMENTATION),
        text(tags::DERIVATION_DESCRIPTION, VR::ST, legend()),
        text(tags::IMAGE_COMMENTS, VR::LT, format!("{WARNING}. {}", legend())),
        text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO"),
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        short(tags::ROWS, rows),
        short(tags::COLUMNS, columns),
        short(tags::BITS_ALLOCATED, 16),
        short(tags::BITS_STORED, BITS_STORED),
        short(tags::HIGH_BIT, BITS_STORED - 1),
        short(tags::PIXEL_REPRESENTATION, 0),
        short(tags::SMALLEST_IMAGE_PIXEL_VALUE, smallest),
        short(tags::LARGEST_IMAGE_PIXEL_VALUE, largest),
        decimals(tags::WINDOW_CENTER, &[WINDOW_CENTER]),
        decimals(tags::WINDOW_WIDTH, &[WINDOW_WIDTH]),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U8(pixels.into())),
    ];
    for element in elements.into_iter().chain(context.pixel_measures()) {
        object.put(element);
    }
    context.file(kind, slice + 1, format!("mr-derived-{:04}.dcm", slice + 1), &object)
}

/// The MR acquisition attributes. An enhanced source keeps them in functional groups with other
/// terms: there the image is marked as research mode (`RM`), the one defined term that claims
/// nothing.
fn acquisition(header: &InMemDicomObject) -> Vec<InMemElement> {
    let mut elements: Vec<_> = ACQUISITION
        .into_iter()
        .filter_map(|(tag, required)| {
            copied(header, tag).or_else(|| required.map(|vr| empty(tag, vr)))
        })
        .collect();
    let known = |tag| value_of(header, tag).and_then(|_| copied(header, tag));
    let or_text = |tag, term| known(tag).unwrap_or_else(|| text(tag, VR::CS, term));
    elements.push(or_text(tags::SCANNING_SEQUENCE, "RM"));
    elements.push(or_text(tags::SEQUENCE_VARIANT, "NONE"));
    let or_empty = |tag, vr| copied(header, tag).unwrap_or_else(|| empty(tag, vr));
    elements.push(or_empty(tags::PATIENT_POSITION, VR::CS));
    // Of inversion recovery only, then always (type 2C); Siemens writes it into other sequences
    // too.
    let techniques = header.get(tags::SCANNING_SEQUENCE).and_then(|e| e.to_str().ok());
    if techniques.is_some_and(|terms| terms.split('\\').any(|term| term.trim() == "IR")) {
        elements.push(or_empty(tags::INVERSION_TIME, VR::DS));
    }
    elements
}

/// What the grey values mean.
fn legend() -> String {
    let names: Vec<String> =
        Structure::ALL.iter().map(|s| format!("{} {}", s.value(), s.name())).collect();
    line(
        &format!("Label map, value = structure: 0 background, {}", names.join(", ")),
        ST_CHARACTERS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_names_every_structure_and_fits() {
        let legend = legend();
        assert!(legend.ends_with("100 Intervertebral disc"), "{legend}");
    }
}
