//! The header values the receiver needs: what names an instance, what places it, and what tells how many belong to its
//! series. Read from the tokens of the [pre-scan](super::prescan), without a parse tree.
//!
//! Contrast and functional groups are left to `decode`.

use super::prescan::{self, Limits, ScanError, Syntax, Token};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use std::collections::{BTreeSet, HashMap};
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
    /// Siemens ASCCONV protocol: slices of a 2-D or partitions of a 3-D protocol, of one time point and contrast.
    pub siemens_slices: Option<u32>,
    /// Its time points and its contrasts (echoes).
    pub siemens_time_points: Option<u32>,
    pub siemens_contrasts: Option<u32>,
    /// (0020,1002) Images in Acquisition.
    pub images_in_acquisition: Option<u32>,
    /// (0020,0105) Number of Temporal Positions.
    pub temporal_positions: Option<u32>,
}

/// The concatenation that an Enhanced object is a part of (PS3.3 C.7.6.16.2.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concatenation {
    pub uid: String,
    /// Of how many objects it is, where that is said.
    pub parts: Option<u32>,
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
    /// Different Temporal Position Indices (0020,9128) among the frames of an Enhanced object; 0 where they tell none.
    pub time_points: u32,
    pub concatenation: Option<Concatenation>,
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
        if let Token::Value { tag, value, .. } = token {
            match depth {
                0 => reader.value(tag, value),
                depth => reader.nested(depth, tag, value),
            }
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
    /// (nesting, group, block) -> creator.
    blocks: HashMap<(usize, u16, u16), Creator>,
    time_points: BTreeSet<u32>,
    declared: Declared,
}

/// Private creators whose elements count images.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Creator {
    Ge,
    Philips,
    Siemens,
    SiemensShared,
}

const TEXTS: [Tag; 17] = [
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
    tags::IMAGES_IN_ACQUISITION,
    tags::NUMBER_OF_TEMPORAL_POSITIONS,
    tags::CONCATENATION_UID,
];
/// Values of two bytes.
const SIZES: [Tag; 3] = [tags::ROWS, tags::COLUMNS, tags::IN_CONCATENATION_TOTAL_NUMBER];

impl Reader {
    fn value(&mut self, tag: Tag, value: &[u8]) {
        if tag.group() % 2 == 1 {
            self.private(0, tag, value);
        } else if TEXTS.contains(&tag) {
            self.text.insert(tag, text(value));
        } else if let (true, &[a, b]) = (SIZES.contains(&tag), value) {
            self.sizes.insert(tag, u16::from_le_bytes([a, b]));
        }
    }

    /// A value in so many sequences: of the functional groups, the time of a frame and the protocol of Siemens XA.
    fn nested(&mut self, depth: usize, tag: Tag, value: &[u8]) {
        if tag == tags::TEMPORAL_POSITION_INDEX {
            let index: Option<[u8; 4]> = value.try_into().ok();
            self.time_points.extend(index.map(u32::from_le_bytes));
        } else if tag.group() == 0x0021 {
            self.private(depth, tag, value);
        }
    }

    fn private(&mut self, depth: usize, tag: Tag, value: &[u8]) {
        let (group, element) = (tag.group(), tag.element());
        if (0x10..=0xFF).contains(&element) {
            let creator = match (group, text(value).as_str()) {
                (0x0025, "GEMS_SERS_01") => Some(Creator::Ge),
                (0x2001, "Philips Imaging DD 001") => Some(Creator::Philips),
                (0x0029, "SIEMENS CSA HEADER") => Some(Creator::Siemens),
                (0x0021, "SIEMENS MR SDS 01") => Some(Creator::SiemensShared),
                _ => None,
            };
            // The next item of a sequence may give the block to another.
            match creator {
                Some(creator) => self.blocks.insert((depth, group, element), creator),
                None => self.blocks.remove(&(depth, group, element)),
            };
            return;
        }
        let Some(&creator) = self.blocks.get(&(depth, group, element >> 8)) else { return };
        let declared = &mut self.declared;
        match (creator, element & 0xFF) {
            (Creator::Ge, 0x07) => declared.ge_series = binary_count(value),
            (Creator::Philips, 0x18) => declared.philips_slices = binary_count(value),
            (Creator::Philips, 0x14) => declared.philips_echoes = binary_count(value),
            (Creator::Philips, 0x81) => declared.philips_dynamics = count(&text(value)),
            (Creator::Siemens, 0x20) | (Creator::SiemensShared, 0x19) => siemens(declared, value),
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
        let counted = |reader: &Reader, tag| reader.text.get(&tag).and_then(|text| count(text));
        self.declared.images_in_acquisition = counted(&self, tags::IMAGES_IN_ACQUISITION);
        self.declared.temporal_positions = counted(&self, tags::NUMBER_OF_TEMPORAL_POSITIONS);
        let parts = self.sizes.get(&tags::IN_CONCATENATION_TOTAL_NUMBER);
        let parts = parts.map(|&parts| u32::from(parts)).filter(|&parts| parts > 0);
        let concatenation = self.text.remove(&tags::CONCATENATION_UID).filter(|uid| is_uid(uid));
        Ok(Header {
            transfer_syntax: transfer_syntax.to_owned(),
            sop_class: self.uid(tags::SOP_CLASS_UID, "SOP Class UID")?,
            sop_instance: self.uid(tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
            study: self.uid(tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
            series: self.uid(tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
            instance_number: integer(&self, tags::INSTANCE_NUMBER),
            number_of_frames: counted(&self, tags::NUMBER_OF_FRAMES),
            rows: self.sizes.get(&tags::ROWS).copied(),
            columns: self.sizes.get(&tags::COLUMNS).copied(),
            position: self.numbers(tags::IMAGE_POSITION_PATIENT),
            orientation: self.numbers(tags::IMAGE_ORIENTATION_PATIENT),
            spacing: self.numbers(tags::PIXEL_SPACING),
            echo: integer(&self, tags::ECHO_NUMBERS),
            temporal_position: integer(&self, tags::TEMPORAL_POSITION_IDENTIFIER),
            time_points: self.time_points.len() as u32,
            concatenation: concatenation.map(|uid| Concatenation { uid, parts }),
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

/// What the ASCCONV protocol text inside a CSA series header, or in a functional group of XA, declares: a 2-D protocol counts
/// slices in `sSliceArray.lSize`; a 3-D one has there the slabs, and `sKSpace.lImagesPerSlab` images in each.
fn siemens(declared: &mut Declared, header: &[u8]) {
    /// `sKSpace.ucDimension` of a 3-D protocol.
    const THREE_DIMENSIONAL: u32 = 4;
    let Some(text) = protocol_text(header) else { return };
    let (mut slices, mut images_per_slab, mut dimension) = (None, None, None);
    let (mut repetitions, mut contrasts) = (None, None);
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
    let total = match dimension {
        Some(THREE_DIMENSIONAL) => {
            slices.zip(images_per_slab).and_then(|(slabs, images)| slabs.checked_mul(images))
        }
        _ => slices,
    };
    declared.siemens_slices = total.filter(|&n| n > 0);
    declared.siemens_time_points = repetitions.map(|n| n.saturating_add(1));
    declared.siemens_contrasts = contrasts;
}

fn protocol_text(header: &[u8]) -> Option<&[u8]> {
    let text = &header[find(header, b"### ASCCONV BEGIN")?..];
    Some(&text[..find(text, b"### ASCCONV END")?])
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
    fn the_siemens_protocol_counts_slices_time_points_and_contrasts() {
        let of = |bytes: &[u8]| {
            let mut declared = Declared::default();
            siemens(&mut declared, bytes);
            [declared.siemens_slices, declared.siemens_time_points, declared.siemens_contrasts]
        };
        let protocol = |lines: &str| {
            of(format!("\0#\x01### ASCCONV BEGIN ###\n{lines}### ASCCONV END ###").as_bytes())
        };
        let plain = "sSliceArray.lSize = 15\nsKSpace.ucDimension\t = 2\n";
        assert_eq!(protocol(plain), [Some(15), None, None]);
        let slab = "sSliceArray.lSize\t = \t1\nsKSpace.ucDimension = 0x4\n";
        let images = "sKSpace.lImagesPerSlab = 192 # 0xC0\n";
        assert_eq!(protocol(&format!("{slab}{images}")), [Some(192), None, None]);
        assert_eq!(protocol(slab), [None; 3]);
        assert_eq!(protocol(&format!("{plain}lRepetitions = 4\n")), [Some(15), Some(5), None]);
        assert_eq!(protocol(&format!("{plain}lContrasts = 2\n")), [Some(15), None, Some(2)]);
        assert_eq!(of(b"no protocol ###"), [None; 3]);
    }

    #[test]
    fn uids_are_digits_and_dots() {
        assert!(is_uid("1.2.840") && is_uid(&"1".repeat(64)));
        for bad in ["", "../x", "1.2 ", "1.2.a", &"1".repeat(65)] {
            assert!(!is_uid(bad), "{bad}");
        }
    }
}
