//! Digests of what a result was made from and of what was made.

use crate::identity::hexadecimal;
use crate::part10;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The part of a file that its digest covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// Every byte.
    File,
    /// Of a DICOM file (PS3.10) what follows the file meta information: a receiver writes its own before the data set.
    DataSet,
}

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// 64 small hexadecimal digits.
    pub sha256: String,
    pub covers: Covers,
}

impl Digest {
    /// Of a DICOM file its data set, of any other all of it.
    pub fn of(bytes: &[u8]) -> Digest {
        match part10::File::read(bytes) {
            Ok(file) => Digest { sha256: sha256(file.data_set), covers: Covers::DataSet },
            Err(_) => Digest { sha256: sha256(bytes), covers: Covers::File },
        }
    }

    /// Of the files that a series was read from, sorted: in which order they came is of no account.
    pub fn of_all<'a>(files: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Digest> {
        let mut digests: Vec<Digest> = files.into_iter().map(|bytes| Digest::of(bytes)).collect();
        digests.sort();
        digests
    }
}

/// Path from the folder of the result -> digest.
pub type Digests = BTreeMap<String, Digest>;

/// SHA-256 in small hexadecimal digits. By `ring`, which uses the processor's own instructions on every architecture.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dicom_file_is_known_whatever_its_receiver_wrote_before_the_data_set() {
        let received = |syntax, padding: &[u8]| {
            let prefix = part10::prefix("1.2.3", "1.2.3.4", syntax, b"data set");
            Digest::of(&[prefix.as_slice(), b"data set", padding].concat())
        };
        let ours = received("1.2.840.10008.1.2.1", &part10::padding("1.2.840.10008.1.2.1", 64));
        let other = received("1.2.840.10008.1.2", b"");
        assert_eq!((&ours, ours.covers), (&other, Covers::DataSet));
        assert_eq!(ours.sha256, sha256(b"data set"));
        // FIPS 180-4, the example of one block.
        let abc = Digest::of(b"abc");
        assert_eq!(abc.covers, Covers::File);
        assert_eq!(abc.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
