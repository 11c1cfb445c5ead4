//! Content items of structured reports (PS3.3 C.17.3): a relationship, a name, a value of some type,
//! and children.
//!
//! Which items a report has is said in [`super::measurements`].

use super::element::{Code, code, decimals, item, sequence, short, text};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// One content item with everything below it.
pub(super) type Item = InMemDicomObject;

/// How an item belongs to its parent (PS3.3 table C.17.3-8).
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation {
    Contains,
    HasObservationContext,
    HasAcquisitionContext,
    HasConceptModifier,
    HasProperties,
}

impl Relation {
    fn term(self) -> &'static str {
        match self {
            Relation::Contains => "CONTAINS",
            Relation::HasObservationContext => "HAS OBS CONTEXT",
            Relation::HasAcquisitionContext => "HAS ACQ CONTEXT",
            Relation::HasConceptModifier => "HAS CONCEPT MOD",
            Relation::HasProperties => "HAS PROPERTIES",
        }
    }
}

/// The elements of a container, which the root of a document has in its data set.
pub(super) fn container_elements(name: Code, template: &str, children: Vec<Item>) -> Item {
    InMemDicomObject::from_element_iter([
        text(tags::VALUE_TYPE, VR::CS, "CONTAINER"),
        code(tags::CONCEPT_NAME_CODE_SEQUENCE, name),
        text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE"),
        item(
            tags::CONTENT_TEMPLATE_SEQUENCE,
            [
                text(tags::MAPPING_RESOURCE, VR::CS, "DCMR"),
                text(tags::TEMPLATE_IDENTIFIER, VR::CS, template),
            ],
        ),
        sequence(tags::CONTENT_SEQUENCE, children),
    ])
}

/// A container after a template of PS3.16.
pub(super) fn templated(name: Code, template: &str, children: Vec<Item>) -> Item {
    let mut container = container_elements(name, template, children);
    container.put(text(tags::RELATIONSHIP_TYPE, VR::CS, Relation::Contains.term()));
    container
}

/// A container that is part of its parent's template.
pub(super) fn container(name: Code, children: Vec<Item>) -> Item {
    let continuity = text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    with_children(typed(Relation::Contains, "CONTAINER", Some(name), continuity), children)
}

pub(super) fn words(relation: Relation, name: Code, value: impl Into<String>) -> Item {
    typed(relation, "TEXT", Some(name), text(tags::TEXT_VALUE, VR::UT, value))
}

pub(super) fn coded(relation: Relation, name: Code, value: Code) -> Item {
    typed(relation, "CODE", Some(name), code(tags::CONCEPT_CODE_SEQUENCE, value))
}

pub(super) fn uid(relation: Relation, name: Code, value: &str) -> Item {
    typed(relation, "UIDREF", Some(name), text(tags::UID, VR::UI, value))
}

/// A number to the last bit, and as the decimal string that readers expect.
pub(super) fn number(
    relation: Relation,
    name: Code,
    value: f64,
    unit: Code,
    children: Vec<Item>,
) -> Item {
    let measured = item(
        tags::MEASURED_VALUE_SEQUENCE,
        [
            code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit),
            DataElement::new(tags::FLOATING_POINT_VALUE, VR::FD, PrimitiveValue::from(value)),
            decimals(tags::NUMERIC_VALUE, &[value]),
        ],
    );
    with_children(typed(relation, "NUM", Some(name), measured), children)
}

/// A reference to an image, or to a segment of it.
pub(super) fn image(name: Option<Code>, mut reference: Item, segment: Option<u16>) -> Item {
    if let Some(segment) = segment {
        reference.put(short(tags::REFERENCED_SEGMENT_NUMBER, segment));
    }
    let reference = sequence(tags::REFERENCED_SOP_SEQUENCE, vec![reference]);
    typed(Relation::Contains, "IMAGE", name, reference)
}

fn typed(relation: Relation, value_type: &str, name: Option<Code>, value: InMemElement) -> Item {
    let mut item = InMemDicomObject::from_element_iter([
        text(tags::RELATIONSHIP_TYPE, VR::CS, relation.term()),
        text(tags::VALUE_TYPE, VR::CS, value_type),
        value,
    ]);
    if let Some(name) = name {
        item.put(code(tags::CONCEPT_NAME_CODE_SEQUENCE, name));
    }
    item
}

fn with_children(mut item: Item, children: Vec<Item>) -> Item {
    if !children.is_empty() {
        item.put(sequence(tags::CONTENT_SEQUENCE, children));
    }
    item
}
