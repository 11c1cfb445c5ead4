//! The header values the receiver needs: what names an instance, what places it, and what tells how many belong to its
//! series. Read from the tokens of the [pre-scan](super::prescan), without a parse tree.
//!
//! Contrast and functional groups are left to `decode`.

use super::prescan::{self, Limits, ScanError, Syntax, Token};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use std::collections::HashMap;
use thiserror::Error;

/// Longest text value looked at: header values needed here are UIDs, codes and short lists of numbers.
const MAX_TEXT_BYTES: usize = 1024;

/// Why an instance was refused. Always the sender's move; no text holds a value of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not 1 to 64 digits and dots")]
    BadUid(&'static str),
}

/// Counts of images that vendors declare. Hints: a protocol may be stopped early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Declared {
    /// GE, GEMS_SERS_01 (0025,xx07) Images in Series.
    pub ge_series: Option<u32>,
    /// Philips Imaging DD 001 (2001,xx18) Number of Slices MR, of one stack.
    pub philips_slices: Option<u32>,
    /// (2001,xx14) Number of Echoes.
    pub philips_echoes: Option<u32>,
    /// (2001,xx81) Number of Dynamic Scans.
    pub philips_dynamics: Option<u32>,
    /// Siemens ASCCONV protocol: slices of a 2-D or partitions of a 3-D protocol.
    pub siemens_slices: Option<u32>,
    /// (0020,1002) Images in Acquisition.
    pub images_in_acquisition: Option<u32>,
}

/// One instance, as far as the receiver knows it. UIDs here are patient data: [`std::fmt::Debug`] leaves them out.
#[derive(Clone, PartialEq)]
pub struct Header {
    pub transfer_syntax: String,
    pub sop_class: String,
    pub sop_instance: String,
    pub study: String,
    pub series: String,
    pub frame_of_reference: String,
    pub modality: String,
    pub image_type: String,
    pub instance_number: Option<i64>,
    pub number_of_frames: Option<u32>,
    pub rows: Option<u16>,
    pub columns: Option<u16>,
    /// Centre of the first pixel, LPS mm.
    pub position: Option<[f64; 3]>,
    /// Row then column direction, LPS unit vectors.
    pub orientation: Option<[f64; 6]>,
    /// Between rows, between columns; mm.
    pub spacing: Option<[f64; 2]>,
    pub echo: Option<i64>,
    pub temporal_position: Option<i64>,
    pub declared: Declared,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("sop_class", &self.sop_class)
            .field("transfer_syntax", &self.transfer_syntax)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("number_of_frames", &self.number_of_frames)
            .finish_non_exhaustive()
    }
}

/// Scans a data set and reads its header.
pub fn read(data_set: &[u8], transfer_syntax: &str, limits: Limits) -> Result<Header, HeaderError> {
    let mut reader = Reader::default();
    prescan::walk(data_set, Syntax::of(transfer_syntax)?, limits, &mut |depth, token| {
        if let (0, Token::Value { tag, value, .. }) = (depth, token) {
            reader.value(tag, value);
        }
    })?;
    reader.finish(transfer_syntax)
}

/// Whether a text is a UID we dare to use: digits and dots, 1 to 64 (PS3.5 9.1).
pub fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Values of the outermost level, as text without padding, and what the private blocks of interest declare.
#[derive(Default)]
struct Reader {
    text: HashMap<Tag, String>,
    sizes: HashMap<Tag, u16>,
    /// (group, block) -> creator.
    blocks: HashMap<(u16, u16), Creator>,
    declared: Declared,
}

/// Private creators whose elements count images.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Creator {
    Ge,
    Philips,
    Siemens,
}

const TEXTS: [Tag; 14] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::FRAME_OF_REFERENCE_UID,
    tags::MODALITY,
    tags::IMAGE_TYPE,
    tags::INSTANCE_NUMBER,
    tags::NUMBER_OF_FRAMES,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::PIXEL_SPACING,
    tags::ECHO_NUMBERS,
    tags::TEMPORAL_POSITION_IDENTIFIER,
];

impl Reader {
    fn value(&mut self, tag: Tag, value: &[u8]) {
        if tag.group() % 2 == 1 {
            self.private(tag, value);
        } else if TEXTS.contains(&tag) || tag == tags::IMAGES_IN_ACQUISITION {
            self.text.insert(tag, text(value));
        } else if (tag == tags::ROWS || tag == tags::COLUMNS) && value.len() == 2 {
            self.sizes.insert(tag, u16::from_le_bytes([value[0], value[1]]));
        }
    }

    fn private(&mut self, tag: Tag, value: &[u8]) {
        let (group, element) = (tag.group(), tag.element());
        if (0x10..=0xFF).contains(&element) {
            let creator = match (group, text(value).as_str()) {
                (0x0025, "GEMS_SERS_01") => Creator::Ge,
                (0x2001, "Philips Imaging DD 001") => Creator::Philips,
                (0x0029, "SIEMENS CSA HEADER") => Creator::Siemens,
                _ => return,
            };
            self.blocks.insert((group, element), creator);
            return;
        }
        let Some(&creator) = self.blocks.get(&(group, element >> 8)) else { return };
        let declared = &mut self.declared;
        match (creator, element & 0xFF) {
            (Creator::Ge, 0x07) => declared.ge_series = binary_count(value),
            (Creator::Philips, 0x18) => declared.philips_slices = binary_count(value),
            (Creator::Philips, 0x14) => declared.philips_echoes = binary_count(value),
            (Creator::Philips, 0x81) => declared.philips_dynamics = count(&text(value)),
            (Creator::Siemens, 0x20) => declared.siemens_slices = siemens_slices(value),
            _ => {}
        }
    }

    fn uid(&mut self, tag: Tag, name: &'static str) -> Result<String, HeaderError> {
        let uid = self.text.remove(&tag).ok_or(HeaderError::Missing(name))?;
        if is_uid(&uid) { Ok(uid) } else { Err(HeaderError::BadUid(name)) }
    }

    fn numbers<const N: usize>(&self, tag: Tag) -> Option<[f64; N]> {
        let values: Option<Vec<f64>> =
            self.text.get(&tag)?.split('\\').map(|part| part.trim().parse().ok()).collect();
        let values: [f64; N] = values?.try_into().ok()?;
        values.iter().all(|v| v.is_finite()).then_some(values)
    }

    fn finish(mut self, transfer_syntax: &str) -> Result<Header, HeaderError> {
        let integer = |reader: &Reader, tag| reader.text.get(&tag).and_then(|t| t.parse().ok());
        self.declared.images_in_acquisition =
            self.text.get(&tags::IMAGES_IN_ACQUISITION).and_then(|text| count(text));
        Ok(Header {
            transfer_syntax: transfer_syntax.to_owned(),
            sop_class: self.uid(tags::SOP_CLASS_UID, "SOP Class UID")?,
            sop_instance: self.uid(tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
            study: self.uid(tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
            series: self.uid(tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
            instance_number: integer(&self, tags::INSTANCE_NUMBER),
            number_of_frames: self.text.get(&tags::NUMBER_OF_FRAMES).and_then(|text| count(text)),
            rows: self.sizes.get(&tags::ROWS).copied(),
            columns: self.sizes.get(&tags::COLUMNS).copied(),
            position: self.numbers(tags::IMAGE_POSITION_PATIENT),
            orientation: self.numbers(tags::IMAGE_ORIENTATION_PATIENT),
            spacing: self.numbers(tags::PIXEL_SPACING),
            echo: integer(&self, tags::ECHO_NUMBERS),
            temporal_position: integer(&self, tags::TEMPORAL_POSITION_IDENTIFIER),
            frame_of_reference: self.text.remove(&tags::FRAME_OF_REFERENCE_UID).unwrap_or_default(),
            modality: self.text.remove(&tags::MODALITY).unwrap_or_default(),
            image_type: self.text.remove(&tags::IMAGE_TYPE).unwrap_or_default(),
            declared: self.declared,
        })
    }
}

/// A value as text without its padding; empty when it is too long to be one of ours or not ASCII.
fn text(value: &[u8]) -> String {
    let value = value.get(..MAX_TEXT_BYTES.min(value.len())).unwrap_or_default();
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace()).to_owned()
}

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&n| n > 0)
}

/// A positive SL or SS value.
fn binary_count(value: &[u8]) -> Option<u32> {
    let number = match *value {
        [a, b] => i32::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
        _ => return None,
    };
    u32::try_from(number).ok().filter(|&n| n > 0)
}

/// Slices declared by the ASCCONV protocol text inside a CSA series header: a 2-D protocol counts slices in
/// `sSliceArray.lSize`; a 3-D one has there the slabs, and `sKSpace.lImagesPerSlab` images in each. `None` where time
/// points or echoes are repeated: they may or may not share the series.
fn siemens_slices(header: &[u8]) -> Option<u32> {
    /// `sKSpace.ucDimension` of a 3-D protocol.
    const THREE_DIMENSIONAL: u32 = 4;
    let text = &header[find(header, b"### ASCCONV BEGIN")?..];
    let text = &text[..find(text, b"### ASCCONV END")?];
    let (mut slices, mut images_per_slab) = (None, None);
    let (mut dimension, mut repetitions, mut contrasts) = (None, None, None);
    for line in text.split(|&b| b == b'\n') {
        let Some((key, value)) = std::str::from_utf8(line).ok().and_then(|l| l.split_once('='))
        else {
            continue;
        };
        match key.trim_end() {
            "sSliceArray.lSize" => slices = protocol_number(value),
            "sKSpace.lImagesPerSlab" => images_per_slab = protocol_number(value),
            "sKSpace.ucDimension" => dimension = protocol_number(value),
            "lRepetitions" => repetitions = protocol_number(value),
            "lContrasts" => contrasts = protocol_number(value),
            _ => {}
        }
    }
    if repetitions.unwrap_or(0) > 0 || contrasts.unwrap_or(1) > 1 {
        return None;
    }
    let total = match dimension {
        Some(THREE_DIMENSIONAL) => slices?.checked_mul(images_per_slab?)?,
        _ => slices?,
    };
    Some(total).filter(|&n| n > 0)
}

/// A decimal or hexadecimal number of the protocol, before a comment.
fn protocol_number(value: &str) -> Option<u32> {
    let value = value.split('#').next()?.trim();
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// First place of a pattern. By its first byte, because these headers are 100 KiB and come with every image.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| Some(byte) == pattern.first())?;
        if bytes[at..].starts_with(pattern) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_siemens_protocol_counts_slices() {
        let protocol = |lines: &str| {
            siemens_slices(
                format!("\0#\x01### ASCCONV BEGIN ###\n{lines}### ASCCONV END ###").as_bytes(),
            )
        };
        assert_eq!(protocol("sSliceArray.lSize = 15\nsKSpace.ucDimension\t = 2\n"), Some(15));
        let slab = "sSliceArray.lSize\t = \t1\nsKSpace.ucDimension = 0x4\n";
        assert_eq!(protocol(&format!("{slab}sKSpace.lImagesPerSlab = 192 # 0xC0\n")), Some(192));
        assert_eq!(protocol(slab), None);
        assert_eq!(protocol("sSliceArray.lSize = 15\nlRepetitions = 4\n"), None);
        assert_eq!(protocol("sSliceArray.lSize = 15\nlContrasts = 2\n"), None);
        assert_eq!(siemens_slices(b"no protocol ###"), None);
    }

    #[test]
    fn uids_are_digits_and_dots() {
        assert!(is_uid("1.2.840") && is_uid(&"1".repeat(64)));
        for bad in ["", "../x", "1.2 ", "1.2.a", &"1".repeat(65)] {
            assert!(!is_uid(bad), "{bad}");
        }
    }
}
