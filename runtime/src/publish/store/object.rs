//! A DICOM object as it travels, taken from a Part 10 file without touching its data set.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use std::collections::BTreeMap;
use thiserror::Error;

/// An object as it travels: identity and data set, without file meta information. Holds patient
/// data: never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredObject {
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    pub transfer_syntax_uid: String,
    pub data_set: Vec<u8>,
}

impl std::fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredObject({} bytes)", self.data_set.len())
    }
}

/// Why bytes are not a DICOM file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    #[error("not a DICOM file: no DICM after the preamble")]
    NoPreamble,
    #[error("the file meta information is truncated or damaged")]
    Damaged,
    #[error("the file meta information has no {0}")]
    Missing(&'static str),
}

impl StoredObject {
    /// Splits a Part 10 file (PS3.10 section 7.1) into identity and data set; the data set is not
    /// looked at. Bytes may be foreign: lengths are checked, nothing is allocated by them.
    pub fn parse(file: &[u8]) -> Result<StoredObject, FileError> {
        let rest = match file.split_at_checked(132) {
            Some((preamble, rest)) if preamble.ends_with(b"DICM") => rest,
            _ => return Err(FileError::NoPreamble),
        };
        let mut at = 0;
        let mut meta = BTreeMap::new();
        while rest.get(at..at + 2) == Some(&[0x02, 0x00]) {
            let (tag, value, next) = meta_element(rest, at).ok_or(FileError::Damaged)?;
            meta.insert(tag, value);
            at = next;
        }
        let uid = |tag: Tag, name| {
            let value = meta.get(&tag).and_then(|value| std::str::from_utf8(value).ok());
            let value = value.map(|v| v.trim_end_matches(['\0', ' '])).filter(|v| !v.is_empty());
            value.map(str::to_owned).ok_or(FileError::Missing(name))
        };
        Ok(StoredObject {
            sop_class_uid: uid(tags::MEDIA_STORAGE_SOP_CLASS_UID, "SOP class")?,
            sop_instance_uid: uid(tags::MEDIA_STORAGE_SOP_INSTANCE_UID, "SOP instance UID")?,
            transfer_syntax_uid: uid(tags::TRANSFER_SYNTAX_UID, "transfer syntax")?,
            data_set: rest[at..].to_vec(),
        })
    }
}

/// The element at `at` of the file meta group (Explicit VR Little Endian) and where the next one
/// begins.
fn meta_element(bytes: &[u8], at: usize) -> Option<(Tag, &[u8], usize)> {
    let head: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    let tag = Tag(u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
    let (begin, length) = match &head[4..6] {
        b"OB" | b"OW" | b"UN" | b"SQ" | b"UT" => {
            let length: [u8; 4] = bytes.get(at + 8..at + 12)?.try_into().ok()?;
            (at + 12, usize::try_from(u32::from_le_bytes(length)).ok()?)
        }
        _ => (at + 8, usize::from(u16::from_le_bytes([head[6], head[7]]))),
    };
    let end = begin.checked_add(length)?;
    Some((tag, bytes.get(begin..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        for (element, vr, value) in [
            (0x0001, *b"OB", &b"\0\x01"[..]),
            (0x0002, *b"UI", b"1.2.3\0"),
            (0x0003, *b"UI", b"1.2.3.4\0"),
            (0x0010, *b"UI", b"1.2.840.10008.1.2.1\0"),
        ] {
            file.extend([0x02, 0x00, element, 0x00, vr[0], vr[1]]);
            match &vr {
                b"OB" => file.extend([0, 0, value.len() as u8, 0, 0, 0]),
                _ => file.extend([value.len() as u8, 0]),
            }
            file.extend(value);
        }
        file.extend([0x08, 0x00, 0x16, 0x00]);
        file
    }

    #[test]
    fn a_file_is_split_into_identity_and_data_set() {
        let object = StoredObject::parse(&file()).unwrap();
        assert_eq!(object.sop_class_uid, "1.2.3");
        assert_eq!(object.sop_instance_uid, "1.2.3.4");
        assert_eq!(object.transfer_syntax_uid, "1.2.840.10008.1.2.1");
        assert_eq!(object.data_set, [0x08, 0x00, 0x16, 0x00]);
    }

    #[test]
    fn no_truncated_or_damaged_file_panics_or_passes_unnoticed() {
        let file = file();
        let data_set = file.len() - 4;
        for length in 0..data_set {
            assert!(StoredObject::parse(&file[..length]).is_err(), "{length} bytes");
        }
        let mut huge = file.clone();
        huge[132 + 8..132 + 12].fill(0xff);
        assert_eq!(StoredObject::parse(&huge), Err(FileError::Damaged));
        assert_eq!(StoredObject::parse(b"not DICOM at all"), Err(FileError::NoPreamble));
    }
}
