//! DICOM SEG, BINARY (PS3.3 A.51): the semantic structures in one object, the levels in another,
//! because they overlap.
//!
//! One frame per segment and slice that holds any of it, on the grid of the source; empty frames
//! are left out. Every viewer and PACS that knows SEG reads this form. The newer LABELMAP form, one
//! frame a slice, is made of the structures where a destination asks for it: most receivers refuse
//! the class (scanner-side design, section 7).

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
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// One segment: the voxels of a mask that hold `value`.
struct Segment {
    value: u16,
    label: String,
    property: Property,
}

/// A frame of the object: which segment on which slice. Ordered by segment, then slice.
struct Frame {
    /// Index into the segments; `None` where a frame shows all of them.
    segment: Option<usize>,
    slice: usize,
}

/// A way to write the same segments.
struct Encoding {
    kind: OutputKind,
    segmentation_type: &'static str,
    bits: u16,
    frames: Vec<Frame>,
    pixels: Vec<u8>,
}

/// The segments of one object: those of its mask that hold any voxel, numbered from 1 in this order.
pub(super) struct Segments<'a> {
    pub(super) kind: OutputKind,
    mask: Cow<'a, Volume<u16>>,
    segments: Vec<Segment>,
    /// The values on each slice.
    present: Vec<BTreeSet<u16>>,
}

/// A segment as other objects refer to it.
pub(super) struct SegmentName<'a> {
    pub(super) number: u16,
    pub(super) label: &'a str,
    pub(super) property: Property,
}

/// The structures of the semantic mask.
pub(super) fn structures(result: &Segmentation) -> Segments<'_> {
    let segments = Structure::ALL.map(|structure| Segment {
        value: u16::from(structure.value()),
        label: structure.name().to_owned(),
        property: codes::structure(structure),
    });
    let mask = Cow::Owned(result.semantic.map(u16::from));
    Segments::new(OutputKind::SemanticSegmentation, mask, Vec::from(segments))
}

/// The vertebrae, discs and sacrum of the instance mask.
pub(super) fn levels(result: &Segmentation) -> Segments<'_> {
    let verified = result.numbering.is_verified();
    let ids = || (1..=u8::MAX).filter_map(VertebraId::new);
    let vertebrae = ids().map(|id| vertebra(id, verified));
    let discs = ids().filter(|&id| id != VertebraId::SACRUM).map(|id| disc(id, verified));
    let mask = Cow::Borrowed(&result.instances);
    Segments::new(OutputKind::InstanceSegmentation, mask, vertebrae.chain(discs).collect())
}

/// The lesions by number; `None` where nobody looked, or nothing could be said.
pub(super) fn lesions(result: &Segmentation) -> Option<Segments<'_>> {
    let tumours = result.tumours.as_ref()?.as_ref().ok()?;
    let segment = |value| Segment {
        value,
        label: format!("Lesion {value} (experimental, not for diagnosis)"),
        property: Property { code: codes::LESION, side: None, colour: codes::LESION_COLOUR },
    };
    let segments = (1..=tumours.lesions.len() as u16).map(segment).collect();
    Some(Segments::new(OutputKind::Lesions, Cow::Borrowed(&tumours.mask), segments))
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

impl<'a> Segments<'a> {
    fn new(kind: OutputKind, mask: Cow<'a, Volume<u16>>, mut segments: Vec<Segment>) -> Self {
        let slices = mask.dims().counts()[2];
        let present: Vec<BTreeSet<u16>> = (0..slices).map(|k| values(mask.slice(k))).collect();
        segments.retain(|segment| present.iter().any(|slice| slice.contains(&segment.value)));
        Segments { kind, mask, segments, present }
    }

    /// The segment of a mask value; `None` where no voxel has it.
    pub(super) fn of(&self, value: u16) -> Option<SegmentName<'_>> {
        let at = self.segments.iter().position(|segment| segment.value == value)?;
        let Segment { label, property, .. } = &self.segments[at];
        Some(SegmentName { number: at as u16 + 1, label, property: *property })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// One bit a pixel, a frame for each segment and slice that holds any of it.
    fn binary(&self) -> Encoding {
        let slices = self.present.len();
        let frames: Vec<Frame> = (0..self.segments.len())
            .flat_map(|n| (0..slices).map(move |slice| (n, slice)))
            .filter(|&(n, slice)| self.present[slice].contains(&self.segments[n].value))
            .map(|(n, slice)| Frame { segment: Some(n), slice })
            .collect();
        let pixels = pack(&self.mask, &self.segments, &frames);
        Encoding { kind: self.kind, segmentation_type: "BINARY", bits: 1, frames, pixels }
    }

    /// The number of the segment in each pixel, 0 for none; a frame for each slice that holds any.
    fn labelmap(&self) -> Encoding {
        let mut numbers = [0u8; 256];
        for (n, segment) in self.segments.iter().enumerate() {
            numbers[usize::from(segment.value)] = n as u8 + 1;
        }
        let number = |&value: &u16| numbers.get(usize::from(value)).copied().unwrap_or(0);
        let holds = |slice: &usize| self.present[*slice].iter().any(|value| number(value) != 0);
        let slices: Vec<usize> = (0..self.present.len()).filter(holds).collect();
        let mut pixels: Vec<u8> =
            slices.iter().flat_map(|&slice| self.mask.slice(slice).iter().map(number)).collect();
        pixels.resize(pixels.len().next_multiple_of(2), 0);
        let frames = slices.into_iter().map(|slice| Frame { segment: None, slice }).collect();
        let kind = OutputKind::Labelmap;
        Encoding { kind, segmentation_type: "LABELMAP", bits: 8, frames, pixels }
    }
}

/// The object of the segments; `None` when there is none.
pub(super) fn build(
    context: &Context<'_>,
    content: &Segments<'_>,
) -> Result<Option<OutputObject>, ObjectError> {
    if content.is_empty() {
        return Ok(None);
    }
    write(context, content, content.binary()).map(Some)
}

/// The structures as LABELMAP; `None` when there is none.
pub(super) fn labelmap(
    context: &Context<'_>,
    structures: &Segments<'_>,
) -> Result<Option<OutputObject>, ObjectError> {
    if structures.is_empty() {
        return Ok(None);
    }
    write(context, structures, structures.labelmap()).map(Some)
}

fn write(
    context: &Context<'_>,
    content: &Segments<'_>,
    encoding: Encoding,
) -> Result<OutputObject, ObjectError> {
    let Encoding { kind, segmentation_type, bits, frames, pixels } = encoding;
    let [columns, rows, _] = content.mask.dims().counts();
    let mut object = context.common(kind, 1);
    // Both forms of a segment have one tracking identity: that of the mask.
    let segments = content.segments.iter().enumerate();
    let description = segments.map(|(n, segment)| describe(context, content.kind, n, segment));
    let elements = [
        text(tags::MODALITY, VR::CS, "SEG"),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        text(tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string()),
        short(tags::ROWS, rows as u16),
        short(tags::COLUMNS, columns as u16),
        short(tags::BITS_ALLOCATED, bits),
        short(tags::BITS_STORED, bits),
        short(tags::HIGH_BIT, bits - 1),
        short(tags::PIXEL_REPRESENTATION, 0),
        text(tags::SEGMENTATION_TYPE, VR::CS, segmentation_type),
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
    if kind == OutputKind::Labelmap {
        // Background has no segment of its own.
        object.put(short(tags::PIXEL_PADDING_VALUE, 0));
    }
    let file_name = match kind {
        OutputKind::InstanceSegmentation => "seg-instances.dcm",
        OutputKind::Labelmap => "seg-labelmap.dcm",
        OutputKind::Lesions => "seg-lesions.dcm",
        _ => "seg.dcm",
    };
    context.file(kind, 1, file_name.to_owned(), &object)
}

/// Code strings allow capitals, digits, blank and underscore, 16 bytes.
fn content_label(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::InstanceSegmentation => "SPINE_LEVELS",
        OutputKind::Labelmap => "SPINE_LABELMAP",
        OutputKind::Lesions => "LESIONS_EXPERIM",
        _ => "SPINE_STRUCTURES",
    }
}

/// The values of a slice. Runs are long, so a value is looked up only where it changes.
fn values(slice: &[u16]) -> BTreeSet<u16> {
    slice.chunk_by(|a, b| a == b).map(|run| run[0]).collect()
}

/// Name and version of the net behind a kind of object.
pub(super) fn algorithm<'a>(context: &'a Context<'_>, kind: OutputKind) -> (&'a str, &'a str) {
    let made_by = context.provenance();
    match (&made_by.patches, kind) {
        (Some(net), OutputKind::Lesions) => (&net.model, &net.version),
        _ => (&made_by.model, &made_by.model_version),
    }
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
    let (name, version) = algorithm(context, kind);
    let name = line(name, LO_CHARACTERS);
    let category = match kind {
        OutputKind::Lesions => codes::ALTERED_STRUCTURE,
        _ => codes::ANATOMICAL_STRUCTURE,
    };
    let identification = item(
        tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE,
        [
            code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, codes::ARTIFICIAL_INTELLIGENCE),
            text(tags::ALGORITHM_NAME, VR::LO, &*name),
            text(tags::ALGORITHM_VERSION, VR::LO, line(version, LO_CHARACTERS)),
            text(tags::ALGORITHM_PARAMETERS, VR::LT, line(&context.trace(), usize::MAX)),
        ],
    );
    InMemDicomObject::from_element_iter([
        short(tags::SEGMENT_NUMBER, index as u16 + 1),
        text(tags::SEGMENT_LABEL, VR::LO, &*segment.label),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, name),
        identification,
        code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, category),
        sequence(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![property]),
        shorts(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, &codes::cielab(colour)),
        text(tags::TRACKING_ID, VR::UT, &*segment.label),
        text(tags::TRACKING_UID, VR::UI, context.tracking_uid(kind, segment.value)),
    ])
}

/// The dimensions of the frames: segment, where frames have one, then position (PS3.3 C.7.6.17).
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
    let mut indices =
        vec![index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Slice position")];
    if kind != OutputKind::Labelmap {
        let (number, group) =
            (tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
        indices.insert(0, index(number, group, "Segment number"));
    }
    [
        item(tags::DIMENSION_ORGANIZATION_SEQUENCE, [uid()]),
        sequence(tags::DIMENSION_INDEX_SEQUENCE, indices),
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
        let number = frame.segment.map(|n| n as u32 + 1);
        let index = PrimitiveValue::U32(number.into_iter().chain([rank]).collect());
        let mut groups = InMemDicomObject::from_element_iter([
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
        ]);
        if let Some(number) = number {
            let number = short(tags::REFERENCED_SEGMENT_NUMBER, number as u16);
            groups.put(item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, [number]));
        }
        groups
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
            .filter_map(|(n, frame)| Some((segments[frame.segment?].value, n * plane)))
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
            let frames =
                [(0, 0), (0, 2), (1, 1)].map(|(n, slice)| Frame { segment: Some(n), slice });
            let bytes = pack(&mask, &segments, &frames);
            assert!(bytes.len().is_multiple_of(2) && bytes.len() <= (3 * length).div_ceil(8) + 1);
            for n in 0..bytes.len() * 8 {
                let frame = frames.get(n / length);
                let want = frame.is_some_and(|frame| {
                    let value = segments[frame.segment.unwrap()].value;
                    mask.slice(frame.slice)[n % length] == value
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
