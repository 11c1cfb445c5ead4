//! DICOM files (PS3.10): the preamble and file meta information around a data set that stays as it was received.

use crate::ingest::header::is_uid;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use std::collections::BTreeMap;
use thiserror::Error;

/// Names this software in files it writes (PS3.7 D.3.3.2); under 2.25, from a random UUID chosen once.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.88219742290411936702951176326015094417";
pub const IMPLEMENTATION_VERSION: &str = concat!("SAGITTA_", env!("CARGO_PKG_VERSION"));

const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
/// Longer than any [`prefix()`] of ours: three UIDs of 64 bytes, two names and their headers.
pub const PREFIX_BYTES: u64 = 512;

/// Why bytes are not a DICOM file. The sender's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FileError {
    #[error("not a DICOM file (no DICM at byte 128)")]
    NotDicom,
    #[error("the file meta information is truncated or damaged")]
    Damaged,
    #[error("the file meta information has no valid {0}")]
    Missing(&'static str),
}

/// Preamble, `DICM` and file meta information for a received data set. The same arguments give the same bytes.
pub fn prefix(sop_class: &str, sop_instance: &str, transfer_syntax: &str) -> Vec<u8> {
    let mut meta = Vec::with_capacity(512);
    meta.extend_from_slice(b"\x02\x00\x01\x00OB\0\0\x02\x00\x00\x00\x00\x01"); // version 1
    for (element, vr, value, padding) in [
        (0x0002u16, b"UI", sop_class, 0u8),
        (0x0003, b"UI", sop_instance, 0),
        (0x0010, b"UI", transfer_syntax, 0),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID, 0),
        (0x0013, b"SH", IMPLEMENTATION_VERSION, b' '),
    ] {
        let padded = value.len() + value.len() % 2;
        meta.extend_from_slice(&2u16.to_le_bytes());
        meta.extend_from_slice(&element.to_le_bytes());
        meta.extend_from_slice(vr);
        meta.extend_from_slice(&(padded as u16).to_le_bytes());
        meta.extend_from_slice(value.as_bytes());
        meta.resize(meta.len() + value.len() % 2, padding);
    }
    let mut out = vec![0; PREAMBLE];
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(b"\x02\x00\x00\x00UL\x04\x00");
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(&meta);
    out
}

/// A DICOM file in memory: its meta information (group 0002) and the data set, which is not looked at.
#[derive(Debug)]
pub struct File<'a> {
    meta: BTreeMap<Tag, &'a [u8]>,
    pub data_set: &'a [u8],
}

impl<'a> File<'a> {
    /// Bytes may be foreign: lengths are checked, nothing is allocated by them.
    pub fn read(file: &'a [u8]) -> Result<File<'a>, FileError> {
        if file.get(PREAMBLE..PREAMBLE + MAGIC.len()) != Some(MAGIC) {
            return Err(FileError::NotDicom);
        }
        let rest = &file[PREAMBLE + MAGIC.len()..];
        let (mut meta, mut at) = (BTreeMap::new(), 0);
        while rest.get(at..at + 2) == Some(&[0x02, 0x00]) {
            let (tag, value, next) = meta_element(rest, at).ok_or(FileError::Damaged)?;
            meta.insert(tag, value);
            at = next;
        }
        Ok(File { meta, data_set: &rest[at..] })
    }

    pub fn transfer_syntax(&self) -> Result<String, FileError> {
        self.uid(tags::TRANSFER_SYNTAX_UID, "transfer syntax")
    }

    pub fn sop_class(&self) -> Result<String, FileError> {
        self.uid(tags::MEDIA_STORAGE_SOP_CLASS_UID, "SOP class")
    }

    pub fn sop_instance(&self) -> Result<String, FileError> {
        self.uid(tags::MEDIA_STORAGE_SOP_INSTANCE_UID, "SOP instance UID")
    }

    fn uid(&self, tag: Tag, name: &'static str) -> Result<String, FileError> {
        let text = self.meta.get(&tag).and_then(|value| std::str::from_utf8(value).ok());
        let uid = text.map(|text| text.trim_end_matches(['\0', ' '])).filter(|uid| is_uid(uid));
        uid.map(str::to_owned).ok_or(FileError::Missing(name))
    }
}

/// The element at `at` of the file meta group (Explicit VR Little Endian) and where the next one begins.
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

/// Transfer syntax UID and data set of a DICOM file.
pub fn split(file: &[u8]) -> Result<(String, &[u8]), FileError> {
    let file = File::read(file)?;
    Ok((file.transfer_syntax()?, file.data_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = prefix("1.2.840.10008.5.1.4.1.1.4", "1.2.3", "1.2.840.10008.1.2.1");
        bytes.extend_from_slice(b"data set");
        let file = File::read(&bytes).unwrap();
        assert_eq!(file.sop_class().unwrap(), "1.2.840.10008.5.1.4.1.1.4");
        assert_eq!(file.sop_instance().unwrap(), "1.2.3");
        assert_eq!(split(&bytes).unwrap(), ("1.2.840.10008.1.2.1".to_owned(), &b"data set"[..]));
    }

    #[test]
    fn no_truncated_or_damaged_file_panics_or_passes_unnoticed() {
        let file = prefix("1.2.3", "1.2.3.4", "1.2.840.10008.1.2.1");
        let syntax = b"1.2.840.10008.1.2.1";
        let begins = file.windows(syntax.len()).position(|text| text == syntax).unwrap();
        for length in 0..begins + syntax.len() {
            let read = File::read(&file[..length]);
            assert!(read.is_err() || read.is_ok_and(|f| f.transfer_syntax().is_err()), "{length}");
        }
        let mut huge = file.clone();
        huge[PREAMBLE + 4 + 12 + 8..][..4].fill(0xff);
        assert_eq!(File::read(&huge).err(), Some(FileError::Damaged));
        assert_eq!(File::read(b"not DICOM at all").err(), Some(FileError::NotDicom));
    }
}
