//! Filling a data set: values to elements with the VR of the dictionary. Knows no module and no vendor.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::smallvec::SmallVec;
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;

/// Longest decimal string (PS3.5 6.2, DS).
const DS_LENGTH: usize = 16;
/// Decimals written at most: 1e-10 of a direction cosine over 65535 pixels of 1 mm is a hundredth of a micrometre.
const DS_DECIMALS: usize = 10;

/// A data set, or an item of a sequence, being filled.
#[derive(Debug)]
pub(super) struct Attributes(InMemDicomObject);

impl Attributes {
    pub(super) fn new() -> Attributes {
        Attributes(InMemDicomObject::new_empty())
    }

    /// Text of a standard attribute; a backslash separates values, an empty text leaves the value empty (type 2).
    pub(super) fn text(&mut self, tag: Tag, value: impl Into<String>) -> &mut Self {
        let value: String = value.into();
        let value =
            if value.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(value) };
        self.put(tag, vr(tag), value)
    }

    /// DS values.
    pub(super) fn decimal(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        let texts: Vec<String> = values.iter().map(|&v| decimal_string(v)).collect();
        self.put(tag, VR::DS, PrimitiveValue::from(texts.join("\\")))
    }

    /// DS values that may be tiny or huge: intensities, whose unit is anybody's.
    pub(super) fn intensity(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        let texts: Vec<String> = values.iter().map(|&v| intensity_string(v)).collect();
        self.put(tag, VR::DS, PrimitiveValue::from(texts.join("\\")))
    }

    /// FD values.
    pub(super) fn double(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        self.put(tag, VR::FD, PrimitiveValue::F64(SmallVec::from_slice(values)))
    }

    /// Whole numbers of a standard attribute, as US, UL or IS by the dictionary.
    pub(super) fn whole(&mut self, tag: Tag, values: &[u32]) -> &mut Self {
        let vr = vr(tag);
        let value = match vr {
            VR::US => PrimitiveValue::U16(
                values
                    .iter()
                    .map(|&v| {
                        u16::try_from(v).expect("sizes are checked before anything is written")
                    })
                    .collect(),
            ),
            VR::UL => PrimitiveValue::U32(SmallVec::from_slice(values)),
            _ => PrimitiveValue::from(
                values.iter().map(u32::to_string).collect::<Vec<_>>().join("\\"),
            ),
        };
        self.put(tag, vr, value)
    }

    /// AT values.
    pub(super) fn pointer(&mut self, tag: Tag, to: Tag) -> &mut Self {
        self.put(tag, VR::AT, PrimitiveValue::Tags(SmallVec::from_slice(&[to])))
    }

    pub(super) fn sequence(&mut self, tag: Tag, items: Vec<Attributes>) -> &mut Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// A sequence of one item, filled by `fill`.
    pub(super) fn item(&mut self, tag: Tag, fill: impl FnOnce(&mut Attributes)) -> &mut Self {
        let mut item = Attributes::new();
        fill(&mut item);
        self.sequence(tag, vec![item])
    }

    /// An element with its VR: private ones, which no dictionary names, and pixel data.
    pub(super) fn put(&mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> &mut Self {
        self.0.put(DataElement::new(tag, vr, value));
        self
    }

    pub(super) fn into_object(self) -> InMemDicomObject {
        self.0
    }
}

/// The VR of a standard attribute.
fn vr(tag: Tag) -> VR {
    StandardDataDictionary
        .by_tag(tag)
        .expect("only attributes of the standard are written without a VR")
        .vr()
        .relaxed()
}

/// Below this an intensity is written with an exponent, so that a rescale slope keeps its digits.
const SMALL_INTENSITY: f64 = 1e-3;

/// A decimal string of at most 16 characters with nine significant digits or more, however small the value.
fn intensity_string(value: f64) -> String {
    if value != 0.0 && value.abs() < SMALL_INTENSITY {
        return format!("{value:.8e}");
    }
    decimal_string(value)
}

/// A decimal string of at most 16 characters: ten decimals, fewer where the number is long.
fn decimal_string(value: f64) -> String {
    let text = (0..=DS_DECIMALS)
        .rev()
        .map(|decimals| format!("{value:.decimals$}"))
        .find(|text| text.len() <= DS_LENGTH)
        .unwrap_or_else(|| format!("{value:.8e}"));
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_are_short_and_precise() {
        assert_eq!(decimal_string(0.0), "0");
        assert_eq!(decimal_string(-1e-14), "0");
        assert_eq!(decimal_string(100.0), "100");
        assert_eq!(decimal_string(0.625), "0.625");
        assert_eq!(decimal_string(-1_234.123_456_789_012), "-1234.123456789");
        assert_eq!(decimal_string(-0.123_456_789_012), "-0.123456789");
        for value in [-99_999.123_456_78, 1.0 / 3.0, -3.4e38, 1e-9, 5e20] {
            let text = decimal_string(value);
            assert!(text.len() <= DS_LENGTH, "{text}");
            let back: f64 = text.parse().unwrap();
            assert!((back - value).abs() <= 1e-8 * value.abs() + 1e-10, "{text}");
            let text = intensity_string(value);
            let back: f64 = text.parse().unwrap();
            assert!(text.len() <= DS_LENGTH, "{text}");
            assert!((back - value).abs() <= 1e-8 * value.abs(), "{text}");
        }
    }
}
