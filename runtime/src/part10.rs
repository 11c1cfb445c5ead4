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
/// Longer than any [`prefix()`] of ours: four UIDs of 64 bytes, a name, the seal and their headers.
pub const PREFIX_BYTES: u64 = 640;
/// Deflated Explicit VR Little Endian: nothing can be added to its data set.
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Shortest [`padding`]: the header of an element.
pub const LEAST_PADDING: usize = 12;

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

/// Length and checksum of a data set, as the Private Information (0002,0102) of a file of ours: where it ends before its
/// [`padding`], and whether all of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    bytes: u64,
    crc: u32,
}

impl Sealed {
    const BYTES: usize = 12;

    fn of(data_set: &[u8]) -> Sealed {
        Sealed { bytes: data_set.len() as u64, crc: crc32fast::hash(data_set) }
    }

    fn write(self) -> [u8; Sealed::BYTES] {
        let mut out = [0; Sealed::BYTES];
        out[..8].copy_from_slice(&self.bytes.to_le_bytes());
        out[8..].copy_from_slice(&self.crc.to_le_bytes());
        out
    }

    fn read(value: &[u8]) -> Option<Sealed> {
        let (bytes, crc) = value.split_at_checked(8)?;
        let bytes = u64::from_le_bytes(bytes.try_into().ok()?);
        Some(Sealed { bytes, crc: u32::from_le_bytes(crc.try_into().ok()?) })
    }
}

/// Preamble, `DICM` and file meta information for a received data set, sealed. The same arguments give the same bytes.
pub fn prefix(
    sop_class: &str,
    sop_instance: &str,
    transfer_syntax: &str,
    data_set: &[u8],
) -> Vec<u8> {
    let mut meta = Vec::with_capacity(PREFIX_BYTES as usize);
    meta.extend_from_slice(b"\x02\x00\x01\x00OB\0\0\x02\x00\x00\x00\x00\x01"); // version 1
    for (element, vr, value, padding) in [
        (0x0002u16, b"UI", sop_class, 0u8),
        (0x0003, b"UI", sop_instance, 0),
        (0x0010, b"UI", transfer_syntax, 0),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID, 0),
        (0x0013, b"SH", IMPLEMENTATION_VERSION, b' '),
        (0x0100, b"UI", IMPLEMENTATION_CLASS_UID, 0),
    ] {
        let padded = value.len() + value.len() % 2;
        meta.extend_from_slice(&2u16.to_le_bytes());
        meta.extend_from_slice(&element.to_le_bytes());
        meta.extend_from_slice(vr);
        meta.extend_from_slice(&(padded as u16).to_le_bytes());
        meta.extend_from_slice(value.as_bytes());
        meta.resize(meta.len() + value.len() % 2, padding);
    }
    meta.extend_from_slice(b"\x02\x00\x02\x01OB\0\0");
    meta.extend_from_slice(&(Sealed::BYTES as u32).to_le_bytes());
    meta.extend_from_slice(&Sealed::of(data_set).write());
    let mut out = vec![0; PREAMBLE];
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(b"\x02\x00\x00\x00UL\x04\x00");
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(&meta);
    out
}

/// What fills a file behind its data set: Data Set Trailing Padding (FFFC,FFFC), PS3.10 7.2, of `bytes` bytes with its header, at
/// least [`LEAST_PADDING`].
pub fn padding(transfer_syntax: &str, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    let length = |header: usize| bytes.saturating_sub(header) as u32;
    match transfer_syntax {
        DEFLATED => {}
        IMPLICIT => {
            out.extend_from_slice(b"\xfc\xff\xfc\xff");
            out.extend_from_slice(&length(8).to_le_bytes());
        }
        BIG_ENDIAN => {
            out.extend_from_slice(b"\xff\xfc\xff\xfcOB\0\0");
            out.extend_from_slice(&length(12).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(b"\xfc\xff\xfc\xffOB\0\0");
            out.extend_from_slice(&length(12).to_le_bytes());
        }
    }
    out.resize(bytes, 0);
    out
}

/// A DICOM file in memory: its meta information (group 0002) and the data set, which is not looked at.
#[derive(Debug)]
pub struct File<'a> {
    meta: BTreeMap<Tag, &'a [u8]>,
    /// All that follows the meta information; of a sealed file without its padding.
    pub data_set: &'a [u8],
    sealed: Option<Sealed>,
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
        let ours = meta.get(&tags::PRIVATE_INFORMATION_CREATOR_UID).is_some_and(|uid| {
            uid.strip_suffix(b"\0").unwrap_or(uid) == IMPLEMENTATION_CLASS_UID.as_bytes()
        });
        let seal = meta.get(&tags::PRIVATE_INFORMATION).filter(|_| ours);
        let sealed = seal.map(|value| Sealed::read(value).ok_or(FileError::Damaged)).transpose()?;
        // The head of a file may be all that was read of it.
        let there = rest.len() - at;
        let bytes = sealed.map_or(there, |s| usize::try_from(s.bytes).unwrap_or(there).min(there));
        Ok(File { meta, data_set: &rest[at..at + bytes], sealed })
    }

    /// Whether the data set is the one that the file was sealed with: not so of a file that was being written.
    pub fn is_whole(&self) -> bool {
        self.sealed == Some(Sealed::of(self.data_set))
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
        let data_set = b"data set";
        let mut bytes =
            prefix("1.2.840.10008.5.1.4.1.1.4", "1.2.3", "1.2.840.10008.1.2.1", data_set);
        assert!(bytes.len() < PREFIX_BYTES as usize);
        bytes.extend_from_slice(data_set);
        bytes.extend_from_slice(&padding("1.2.840.10008.1.2.1", 40));
        let file = File::read(&bytes).unwrap();
        assert!(file.is_whole());
        assert_eq!(file.sop_class().unwrap(), "1.2.840.10008.5.1.4.1.1.4");
        assert_eq!(file.sop_instance().unwrap(), "1.2.3");
        assert_eq!(split(&bytes).unwrap(), ("1.2.840.10008.1.2.1".to_owned(), &data_set[..]));
        let last = bytes.len() - 41;
        assert_eq!(bytes[last], b't');
        bytes[last] = b'T';
        assert!(!File::read(&bytes).unwrap().is_whole());
        assert!(!File::read(&bytes[..last]).unwrap().is_whole());
    }

    #[test]
    fn no_truncated_or_damaged_file_panics_or_passes_unnoticed() {
        let file = prefix("1.2.3", "1.2.3.4", "1.2.840.10008.1.2.1", b"");
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
