//! DICOM files (PS3.10): the preamble and file meta information around a data set that stays as it was received.

use super::header::is_uid;
use super::prescan::{self, Limits, ScanError, Syntax, Token};
use dicom_dictionary_std::tags;
use thiserror::Error;

/// Names this software in files it writes (PS3.7 D.3.3.2); under 2.25, from a random UUID chosen once.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.88219742290411936702951176326015094417";
pub const IMPLEMENTATION_VERSION: &str = concat!("SAGITTA_", env!("CARGO_PKG_VERSION"));

const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
/// Bytes of the group length element that opens the file meta information.
const GROUP_LENGTH: usize = 12;

/// Why bytes are not a DICOM file. The sender's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FileError {
    #[error("not a DICOM file (no DICM at byte 128)")]
    NotDicom,
    #[error("the file meta information is damaged: {0}")]
    Meta(#[from] ScanError),
    #[error("the file meta information names no transfer syntax")]
    NoTransferSyntax,
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

/// Transfer syntax UID and data set of a DICOM file.
pub fn split(file: &[u8]) -> Result<(String, &[u8]), FileError> {
    if file.get(PREAMBLE..PREAMBLE + 4) != Some(MAGIC) {
        return Err(FileError::NotDicom);
    }
    let meta = &file[PREAMBLE + 4..];
    let length = match meta.get(..GROUP_LENGTH) {
        Some(element) if element[..8] == *b"\x02\x00\x00\x00UL\x04\x00" => {
            u32::from_le_bytes([element[8], element[9], element[10], element[11]]) as usize
        }
        _ => return Err(FileError::Meta(ScanError::Truncated)),
    };
    if length > meta.len() - GROUP_LENGTH {
        return Err(FileError::Meta(ScanError::LengthPastEnd));
    }
    let (meta, data_set) = meta[GROUP_LENGTH..].split_at(length);
    let mut transfer_syntax = None;
    prescan::walk(meta, Syntax::Explicit, Limits::IMAGE, &mut |_, token| {
        if let Token::Value { tag: tags::TRANSFER_SYNTAX_UID, value, .. } = token {
            let text = String::from_utf8_lossy(value);
            transfer_syntax = Some(text.trim_end_matches(['\0', ' ']).to_owned());
        }
    })?;
    match transfer_syntax {
        Some(uid) if is_uid(&uid) => Ok((uid, data_set)),
        _ => Err(FileError::NoTransferSyntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut file = prefix("1.2.840.10008.5.1.4.1.1.4", "1.2.3", "1.2.840.10008.1.2.1");
        file.extend_from_slice(b"data set");
        let (syntax, data_set) = split(&file).unwrap();
        assert_eq!((syntax.as_str(), data_set), ("1.2.840.10008.1.2.1", &b"data set"[..]));
    }

    #[test]
    fn other_files_and_damaged_ones_are_named() {
        assert_eq!(split(b"hello"), Err(FileError::NotDicom));
        let file = prefix("1.2", "1.2", "1.2");
        assert!(matches!(split(&file[..140]), Err(FileError::Meta(_))));
        assert!(matches!(split(&file[..200]), Err(FileError::Meta(_))));
    }
}
