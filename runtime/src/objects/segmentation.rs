//! DICOM SEG, BINARY (PS3.3 A.51): the semantic structures in one object, the levels in another,
//! because they overlap.
//!
//! One frame per segment and slice that holds any of it, on the grid of the source; empty frames
//! are left out. Every viewer and PACS that knows SEG reads this form; the newer LABELMAP form is
//! refused by most (scanner-side design, section 7).

use super::codes::{self, Property};
use super::element::{Code, LO_CHARACTERS, code, empty, item, line, sequence, short, shorts, text};
use super::module::{Context, WARNING};
use super::{ObjectError, OutputKind, OutputObject};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use kernels::Volume;
use pipeline::{Segmentation, Structure, VertebraId};
use std::collections::{BTreeMap, BTreeSet};

/// One segment: the voxels of a mask that hold `value`.
struct Segment {
    value: u16,
    label: String,
    property: Property,
}

/// A frame of the object: which segment on which slice. Ordered by segment, then slice.
struct Frame {
    /// Index into the segments.
    segment: usize,
    slice: usize,
}

/// The structures of the semantic mask that are present; `None` when there is none.
pub(super) fn semantic(
    context: &Context<'_>,
    result: &Segmentation,
) -> Result<Option<OutputObject>, ObjectError> {
    let segments = Structure::ALL.map(|structure| Segment {
        value: u16::from(structure.value()),
        label: structure.name().to_owned(),
        property: codes::structure(structure),
    });
    let mask = result.semantic.map(u16::from);
    let kind = OutputKind::SemanticSegmentation;
    object(context, kind, "seg.dcm", &mask, Vec::from(segments))
}

/// The vertebrae, discs and sacrum of the instance mask that are present; `None` when there is
/// none.
pub(super) fn instances(
    context: &Context<'_>,
    result: &Segmentation,
) -> Result<Option<OutputObject>, ObjectError> {
    let verified = result.numbering.is_verified();
    let ids = || (1..=u8::MAX).filter_map(VertebraId::new);
    let vertebrae = ids().map(|id| vertebra(id, verified));
    let discs = ids().filter(|&id| id != VertebraId::SACRUM).map(|id| disc(id, verified));
    let segments = vertebrae.chain(discs).collect();
    let kind = OutputKind::InstanceSegmentation;
    object(context, kind, "seg-instances.dcm", &result.instances, segments)
}

fn vertebra(id: VertebraId, verified: bool) -> Segment {
    let label = match id {
        VertebraId::SACRUM => "Sacrum".to_owned(),
        id if verified => format!("{} vertebra", id.name()),
        id => format!("Vertebra {} (level unverified)", id.value()),
    };
    let code = codes::vertebra(id, verified);
    let property = Property { code, side: None, colour: codes::level_colour(id) };
    Segment { value: u16::from(id.value()), label, property }
}

fn disc(id: VertebraId, verified: bool) -> Segment {
    let label = match verified {
        true => format!("Disc below {}", id.name()),
        false => format!("Disc below vertebra {} (level unverified)", id.value()),
    };
    let code = codes::disc_below(id, verified);
    let property = Property { code, side: None, colour: codes::level_colour(id) };
    Segment { value: VertebraId::DISC_OFFSET + u16::from(id.value()), label, property }
}

fn object(
    context: &Context<'_>,
    kind: OutputKind,
    file_name: &str,
    mask: &Volume<u16>,
    mut segments: Vec<Segment>,
) -> Result<Option<OutputObject>, ObjectError> {
    let [columns, rows, slices] = mask.dims().counts();
    let present: Vec<BTreeSet<u16>> = (0..slices).map(|k| values(mask.slice(k))).collect();
    segments.retain(|segment| present.iter().any(|slice| slice.contains(&segment.value)));
    if segments.is_empty() {
        return Ok(None);
    }
    let frames: Vec<Frame> = (0..segments.len())
        .flat_map(|segment| (0..slices).map(move |slice| Frame { segment, slice }))
        .filter(|frame| present[frame.slice].contains(&segments[frame.segment].value))
        .collect();
    let pixels = pack(mask, &segments, &frames);
    let mut object = context.common(kind, 1);
    let description = segments.iter().enumerate().map(|(n, s)| describe(context, kind, n, s));
    let elements = [
        text(tags::MODALITY, VR::CS, "SEG"),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        text(tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string()),
        short(tags::ROWS, rows as u16),
        short(tags::COLUMNS, columns as u16),
        short(tags::BITS_ALLOCATED, 1),
        short(tags::BITS_STORED, 1),
        short(tags::HIGH_BIT, 0),
        short(tags::PIXEL_REPRESENTATION, 0),
        text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        text(tags::SEGMENTS_OVERLAP, VR::CS, "NO"),
        text(tags::CONTENT_LABEL, VR::CS, content_label(kind)),
        text(tags::CONTENT_DESCRIPTION, VR::LO, WARNING),
        empty(tags::CONTENT_CREATOR_NAME, VR::PN),
        sequence(tags::SEGMENT_SEQUENCE, description.collect()),
        context.referenced_series(),
        sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared_groups(context)]),
        sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame_groups(context, &frames)),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())),
    ];
    for element in elements.into_iter().chain(dimensions(context, kind)) {
        object.put(element);
    }
    context.file(kind, 1, file_name.to_owned(), &object).map(Some)
}

/// Code strings allow capitals, digits, blank and underscore, 16 bytes.
fn content_label(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::InstanceSegmentation => "SPINE_LEVELS",
        _ => "SPINE_STRUCTURES",
    }
}

/// The values of a slice. Runs are long, so a value is looked up only where it changes.
fn values(slice: &[u16]) -> BTreeSet<u16> {
    slice.chunk_by(|a, b| a == b).map(|run| run[0]).collect()
}

/// One item of the segment sequence (PS3.3 C.8.20.2); `index` counts from 0.
fn describe(
    context: &Context<'_>,
    kind: OutputKind,
    index: usize,
    segment: &Segment,
) -> InMemDicomObject {
    let Property { code: what, side, colour } = segment.property;
    let modifier =
        side.map(|side: Code| code(tags::SEGMENTED_PROPERTY_TYPE_MODIFIER_CODE_SEQUENCE, side));
    let property = InMemDicomObject::from_element_iter(what.elements().into_iter().chain(modifier));
    let name = line(&context.provenance().model, LO_CHARACTERS);
    let algorithm = item(
        tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE,
        [
            code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, codes::ARTIFICIAL_INTELLIGENCE),
            text(tags::ALGORITHM_NAME, VR::LO, &*name),
            text(
                tags::ALGORITHM_VERSION,
                VR::LO,
                line(&context.provenance().model_version, LO_CHARACTERS),
            ),
            text(tags::ALGORITHM_PARAMETERS, VR::LT, line(&context.trace(), usize::MAX)),
        ],
    );
    InMemDicomObject::from_element_iter([
        short(tags::SEGMENT_NUMBER, index as u16 + 1),
        text(tags::SEGMENT_LABEL, VR::LO, &*segment.label),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, name),
        algorithm,
        code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, codes::ANATOMICAL_STRUCTURE),
        sequence(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![property]),
        shorts(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, &codes::cielab(colour)),
        text(tags::TRACKING_ID, VR::UT, &*segment.label),
        text(tags::TRACKING_UID, VR::UI, context.uid("tracking", kind, segment.value.into())),
    ])
}

/// The dimensions of the frames: segment, then position (PS3.3 C.7.6.17).
fn dimensions(context: &Context<'_>, kind: OutputKind) -> [InMemElement; 2] {
    let organization = context.uid("dimensions", kind, 0);
    let uid = || text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &*organization);
    let tag = |tag: Tag, to: Tag| DataElement::new(tag, VR::AT, PrimitiveValue::from(to));
    let index = |pointer: Tag, group: Tag, label: &str| {
        InMemDicomObject::from_element_iter([
            uid(),
            tag(tags::DIMENSION_INDEX_POINTER, pointer),
            tag(tags::FUNCTIONAL_GROUP_POINTER, group),
            text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label),
        ])
    };
    [
        item(tags::DIMENSION_ORGANIZATION_SEQUENCE, [uid()]),
        sequence(
            tags::DIMENSION_INDEX_SEQUENCE,
            vec![
                index(
                    tags::REFERENCED_SEGMENT_NUMBER,
                    tags::SEGMENT_IDENTIFICATION_SEQUENCE,
                    "Segment number",
                ),
                index(
                    tags::IMAGE_POSITION_PATIENT,
                    tags::PLANE_POSITION_SEQUENCE,
                    "Slice position",
                ),
            ],
        ),
    ]
}

fn shared_groups(context: &Context<'_>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        item(tags::PLANE_ORIENTATION_SEQUENCE, [context.orientation()]),
        item(tags::PIXEL_MEASURES_SEQUENCE, context.pixel_measures()),
    ])
}

/// The functional groups of each frame. Position indices count the slices that have a frame,
/// without holes.
fn frame_groups(context: &Context<'_>, frames: &[Frame]) -> Vec<InMemDicomObject> {
    let used: BTreeSet<usize> = frames.iter().map(|frame| frame.slice).collect();
    let ranks: Vec<usize> = used.into_iter().collect();
    let group = |frame: &Frame| {
        let rank = ranks.partition_point(|&slice| slice < frame.slice) as u32 + 1;
        let index = PrimitiveValue::U32([frame.segment as u32 + 1, rank].into_iter().collect());
        let number = short(tags::REFERENCED_SEGMENT_NUMBER, frame.segment as u16 + 1);
        InMemDicomObject::from_element_iter([
            item(
                tags::DERIVATION_IMAGE_SEQUENCE,
                [
                    sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![context.source_image(frame.slice)]),
                    code(tags::DERIVATION_CODE_SEQUENCE, codes::SEGMENTATION),
                ],
            ),
            item(
                tags::FRAME_CONTENT_SEQUENCE,
                [DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, index)],
            ),
            item(tags::PLANE_POSITION_SEQUENCE, [context.position(frame.slice)]),
            item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, [number]),
        ])
    };
    frames.iter().map(group).collect()
}

/// The frames as pixels of one bit, first pixel in the least significant bit, without a gap between
/// frames (PS3.5 section 8.1.1 and annex D: frames need not begin at a byte), padded to an even
/// number of bytes.
fn pack(mask: &Volume<u16>, segments: &[Segment], frames: &[Frame]) -> Vec<u8> {
    let plane = mask.dims().plane();
    let mut bytes = vec![0; (frames.len() * plane).div_ceil(8).next_multiple_of(2)];
    for slice in 0..mask.dims().counts()[2] {
        // The frames of this slice by the value they show: their first bit.
        let begins: BTreeMap<u16, usize> = frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame.slice == slice)
            .map(|(n, frame)| (segments[frame.segment].value, n * plane))
            .collect();
        let mut at = 0;
        for run in mask.slice(slice).chunk_by(|a, b| a == b) {
            if let Some(begin) = begins.get(&run[0]) {
                for bit in begin + at..begin + at + run.len() {
                    bytes[bit / 8] |= 1 << (bit % 8);
                }
            }
            at += run.len();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    #[test]
    fn frames_of_any_length_are_packed_without_gaps() {
        for length in [1, 7, 8, 9, 15, 35] {
            let dims = Dims::new([length, 1, 3]).unwrap();
            let affine =
                Affine::new([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-4.0, 0.0, 0.0]], [0.0; 3]);
            let grid = Grid { dims, affine: affine.unwrap() };
            let voxels: Vec<u16> = (0..length * 3).map(|n| (n * n / 3 % 3) as u16).collect();
            let mask = Volume::new(grid, voxels).unwrap();
            let id = |v| vertebra(VertebraId::new(v).unwrap(), true);
            let segments = [id(1), id(2)];
            let frames = [(0, 0), (0, 2), (1, 1)].map(|(segment, slice)| Frame { segment, slice });
            let bytes = pack(&mask, &segments, &frames);
            assert!(bytes.len().is_multiple_of(2) && bytes.len() <= (3 * length).div_ceil(8) + 1);
            for n in 0..bytes.len() * 8 {
                let frame = frames.get(n / length);
                let want = frame.is_some_and(|frame| {
                    mask.slice(frame.slice)[n % length] == segments[frame.segment].value
                });
                assert_eq!(bytes[n / 8] >> (n % 8) & 1 == 1, want, "length {length}, bit {n}");
            }
        }
    }

    #[test]
    fn unverified_levels_say_so() {
        let id = VertebraId::new(3).unwrap();
        assert_eq!(vertebra(id, false).label, "Vertebra 3 (level unverified)");
        assert_eq!(vertebra(id, false).property.code.value, "51282000");
        assert_eq!(disc(id, false).label, "Disc below vertebra 3 (level unverified)");
        assert_eq!(vertebra(VertebraId::L5, true).label, "L5 vertebra");
        assert_eq!(disc(VertebraId::L5, true).value, 124);
    }
}
