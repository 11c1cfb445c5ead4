//! Data elements in the few shapes our objects need, and values read from a source header.
//!
//! Knows value representations and their lengths (PS3.5 section 6.2). Which attributes an object
//! has is said in [`super::module`] and in the module of each object.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// Longest LO value, characters (PS3.5 table 6.2-1).
pub(super) const LO_CHARACTERS: usize = 64;
/// Longest ST value, characters (PS3.5 table 6.2-1).
pub(super) const ST_CHARACTERS: usize = 1024;
/// Longest DS value, bytes (PS3.5 table 6.2-1).
const DS_BYTES: usize = 16;

pub(super) fn text(tag: Tag, vr: VR, value: impl Into<String>) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

/// An attribute of type 2 whose value is not known.
pub(super) fn empty(tag: Tag, vr: VR) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::Empty)
}

pub(super) fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

pub(super) fn shorts(tag: Tag, values: &[u16]) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::U16(values.iter().copied().collect()))
}

pub(super) fn floats(tag: Tag, values: &[f32]) -> InMemElement {
    DataElement::new(tag, VR::FL, PrimitiveValue::F32(values.iter().copied().collect()))
}

/// Decimal strings, each as precise as its 16 bytes allow.
pub(super) fn decimals(tag: Tag, values: &[f64]) -> InMemElement {
    let values: Vec<String> = values.iter().map(|&v| decimal(v)).collect();
    text(tag, VR::DS, values.join("\\"))
}

pub(super) fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A sequence of one item.
pub(super) fn item<const N: usize>(tag: Tag, elements: [InMemElement; N]) -> InMemElement {
    sequence(tag, vec![InMemDicomObject::from_element_iter(elements)])
}

/// A code of a coding scheme (PS3.3 section 8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code {
    pub value: &'static str,
    pub scheme: &'static str,
    pub meaning: &'static str,
}

impl Code {
    pub(super) const fn sct(value: &'static str, meaning: &'static str) -> Code {
        Code { value, scheme: "SCT", meaning }
    }

    pub(super) const fn dcm(value: &'static str, meaning: &'static str) -> Code {
        Code { value, scheme: "DCM", meaning }
    }

    pub(super) fn elements(self) -> [InMemElement; 3] {
        [
            text(tags::CODE_VALUE, VR::SH, self.value),
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, self.scheme),
            text(tags::CODE_MEANING, VR::LO, self.meaning),
        ]
    }
}

/// A code sequence of one item.
pub(super) fn code(tag: Tag, code: Code) -> InMemElement {
    item(tag, code.elements())
}

/// The decimal string of a finite value: the most decimals that fit into 16 bytes, without trailing
/// zeros.
fn decimal(value: f64) -> String {
    let fits = |decimals: &usize| format!("{value:.decimals$}").len() <= DS_BYTES;
    // Only magnitudes of 1e15 and more find no place; the exponent form of those always fits.
    let Some(decimals) = (0..DS_BYTES).rev().find(fits) else { return format!("{value:.6e}") };
    let digits = format!("{value:.decimals$}");
    let trimmed = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
}

/// One line of our own words for any character set: printable ASCII without the value separator, at
/// most `limit` characters.
pub(super) fn line(value: &str, limit: usize) -> String {
    value.chars().filter(|c| (' '..='~').contains(c) && *c != '\\').take(limit).collect()
}

/// The first value of a text attribute, without padding; `None` when absent or empty.
pub(super) fn value_of(header: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = header.get(tag)?.to_multi_str().ok()?;
    let first = value.first()?.trim_matches([' ', '\0']);
    (!first.is_empty()).then(|| first.to_owned())
}

/// The first value of a numeric attribute.
pub(super) fn number_of(header: &InMemDicomObject, tag: Tag) -> Option<f64> {
    value_of(header, tag)?.split('\\').next()?.trim().parse().ok().filter(|v: &f64| v.is_finite())
}

/// A copy of an attribute without private elements at any depth, `None` when absent.
pub(super) fn copied(header: &InMemDicomObject, tag: Tag) -> Option<InMemElement> {
    let element = header.get(tag)?;
    let Some(items) = element.items() else { return Some(element.clone()) };
    let standard = |item: &InMemDicomObject| {
        let tags = item.iter().map(|e| e.header().tag).filter(|tag| tag.group() % 2 == 0);
        InMemDicomObject::from_element_iter(tags.filter_map(|tag| copied(item, tag)))
    };
    Some(sequence(tag, items.iter().map(standard).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_fit_and_keep_their_precision() {
        for value in [0.0, -0.0, 1.0, -107.395_169_962_68, 0.859375, 1e-9, -123_456_789.123_456_7] {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap();
            assert!((back - value).abs() <= 1e-6 * value.abs().max(1e-6), "{value} -> {text}");
        }
        assert_eq!(decimal(-1e-30), "0");
        assert_eq!(decimal(100.0), "100");
        assert!(decimal(-1.5e300).len() <= 16);
    }

    #[test]
    fn lines_are_plain_and_short() {
        assert_eq!(line("a\\b\nc\u{e9}d", 64), "abcd");
        assert_eq!(line(&"x".repeat(80), LO_CHARACTERS).len(), 64);
    }

    #[test]
    fn copies_leave_private_elements_behind_at_any_depth() {
        let inner = InMemDicomObject::from_element_iter([
            text(Tag(0x0029, 0x0010), VR::LO, "PRIVATE"),
            text(tags::CODE_VALUE, VR::SH, "1"),
        ]);
        let header = InMemDicomObject::from_element_iter([sequence(
            tags::PROCEDURE_CODE_SEQUENCE,
            vec![inner],
        )]);
        let copy = copied(&header, tags::PROCEDURE_CODE_SEQUENCE).unwrap();
        let kept: Vec<Tag> = copy.items().unwrap()[0].tags().collect();
        assert_eq!(kept, [tags::CODE_VALUE]);
    }
}
