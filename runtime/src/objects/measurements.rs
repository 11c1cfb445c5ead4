//! The measurements as structured report: Comprehensive 3D SR (PS3.3 A.35.13) after TID 1500
//! "Measurement Report".
//!
//! Here are the document and what holds for all of it: observer, images, quality, warning. The
//! numbers are in `groups`, their codes in `concepts`, how an item is written in
//! [`super::content`].

mod concepts;
mod groups;

use super::codes;
use super::content::{
    Item, Relation, coded, container, container_elements, image, templated, uid, words,
};
use super::element::{LO_CHARACTERS, item, line, sequence, text};
use super::module::{Context, MANUFACTURER, WARNING};
use super::segmentation::Segments;
use super::{ObjectError, OutputKind, OutputObject, word};
use crate::identity::derived_uid;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use pipeline::Segmentation;

const KIND: OutputKind = OutputKind::Measurements;

/// What the report refers to.
pub(super) struct Masks<'a> {
    pub(super) structures: Segments<'a>,
    pub(super) levels: Segments<'a>,
    /// `None` where nobody looked, or nothing could be said.
    pub(super) lesions: Option<Segments<'a>>,
}

/// The report of a result; `None` where there is no vertebra to measure.
pub(super) fn build(
    context: &Context<'_>,
    result: &Segmentation,
    masks: &Masks<'_>,
) -> Result<Option<OutputObject>, ObjectError> {
    if result.measures.vertebrae.is_empty() {
        return Ok(None);
    }
    let mut object = context.common(KIND, 1);
    let groups = groups::all(context, result, masks);
    let mut children =
        vec![coded(Relation::HasConceptModifier, concepts::LANGUAGE, concepts::ENGLISH)];
    children.extend(observer(context));
    children.extend([
        coded(Relation::HasConceptModifier, concepts::PROCEDURE, concepts::MRI),
        image_library(context),
        container(concepts::MEASUREMENTS, groups),
        judgements(context, result),
    ]);
    let root = container_elements(concepts::REPORT, "1500", children);
    let evidence = evidence(context, masks);
    for element in document().into_iter().chain([evidence]).chain(root) {
        object.put(element);
    }
    context.file(KIND, 1, "sr-measurements.dcm".to_owned(), &object).map(Some)
}

/// SR document modules (PS3.3 C.17.1, C.17.2): complete, but nobody has looked at it.
fn document() -> [InMemElement; 7] {
    [
        text(tags::MODALITY, VR::CS, "SR"),
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
        text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE"),
        text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED"),
        text(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY"),
        item(
            tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE,
            [
                text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, concepts::SCHEME),
                text(tags::CODING_SCHEME_NAME, VR::ST, "Sagitta's measures of the spine"),
                text(tags::CODING_SCHEME_RESPONSIBLE_ORGANIZATION, VR::ST, MANUFACTURER),
            ],
        ),
    ]
}

/// Who measured (PS3.16 TID 1002): a device. The appliance's own identity is not part of a result:
/// another device repeats the same bytes.
fn observer(context: &Context<'_>) -> [Item; 5] {
    let relation = Relation::HasObservationContext;
    let software = line(&context.provenance().software, LO_CHARACTERS);
    let device = derived_uid(&["device observer", &software]);
    [
        coded(relation, concepts::OBSERVER_TYPE, concepts::DEVICE),
        uid(relation, concepts::DEVICE_UID, &device),
        words(relation, concepts::DEVICE_NAME, &*software),
        words(relation, concepts::DEVICE_MANUFACTURER, MANUFACTURER),
        words(relation, concepts::DEVICE_MODEL, MANUFACTURER),
    ]
}

/// The images behind the slices (PS3.16 TID 1600).
fn image_library(context: &Context<'_>) -> Item {
    let relation = Relation::HasAcquisitionContext;
    let mut entries = vec![
        coded(relation, concepts::MODALITY, concepts::MR),
        coded(relation, concepts::TARGET_REGION, codes::SPINE),
    ];
    entries.extend(context.images().into_iter().map(|reference| image(None, reference, None)));
    let group = container(concepts::IMAGE_LIBRARY_GROUP, entries);
    templated(concepts::IMAGE_LIBRARY, "1600", vec![group])
}

/// What a reader must know of the numbers: that nobody may diagnose by them, what made them, what the
/// levels rest on, how good the result is and why it is not better.
fn judgements(context: &Context<'_>, result: &Segmentation) -> Item {
    let quality = &result.measures.quality;
    let mut items = vec![
        words(Relation::Contains, concepts::COMMENT, WARNING),
        words(Relation::Contains, concepts::COMMENT, line(&context.trace(), usize::MAX)),
        coded(Relation::Contains, concepts::NUMBERING, concepts::numbering(result.numbering)),
        coded(Relation::Contains, concepts::QUALITY, concepts::quality(quality.grade)),
    ];
    let doubts = quality.doubts.iter();
    items.extend(doubts.map(|&doubt| words(Relation::Contains, concepts::DOUBT, word(doubt))));
    let lesions = result.tumours.as_ref().map(groups::lesion_comment);
    items.extend(lesions.map(|text| words(Relation::Contains, concepts::COMMENT, text)));
    container(concepts::JUDGEMENTS, items)
}

/// Everything the content refers to (PS3.3 C.17.2.3): the source images and our SEGs.
fn evidence(context: &Context<'_>, masks: &Masks<'_>) -> InMemElement {
    let segmentations = [&masks.structures, &masks.levels].into_iter().chain(&masks.lesions);
    let series = |uid: &str, references| {
        InMemDicomObject::from_element_iter([
            text(tags::SERIES_INSTANCE_UID, VR::UI, uid),
            sequence(tags::REFERENCED_SOP_SEQUENCE, references),
        ])
    };
    let own = segmentations.filter(|segments| !segments.is_empty()).map(|segments| {
        let kind = segments.kind;
        series(&context.own_series_uid(kind), vec![context.own(kind)])
    });
    let source = series(context.series_uid(), context.images());
    item(
        tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
        [
            text(tags::STUDY_INSTANCE_UID, VR::UI, context.study_uid()),
            sequence(
                tags::REFERENCED_SERIES_SEQUENCE,
                std::iter::once(source).chain(own).collect(),
            ),
        ],
    )
}
