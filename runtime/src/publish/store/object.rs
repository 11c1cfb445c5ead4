//! A DICOM object as it travels, taken from a DICOM file without touching its data set.

use crate::objects::OutputObject;
use crate::part10::{File, FileError};

/// An object as it travels: identity and data set, without file meta information. Holds patient data: never logged.
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

impl StoredObject {
    /// Splits a DICOM file (PS3.10 section 7.1) into identity and data set.
    pub fn parse(file: &[u8]) -> Result<StoredObject, FileError> {
        let file = File::read(file)?;
        Ok(StoredObject {
            sop_class_uid: file.sop_class()?,
            sop_instance_uid: file.sop_instance()?,
            transfer_syntax_uid: file.transfer_syntax()?,
            data_set: file.data_set.to_vec(),
        })
    }
}

/// An object to send, wherever it lies: identity and data set. Holds patient data: never logged.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub(super) sop_class_uid: &'a str,
    pub(super) sop_instance_uid: &'a str,
    pub(super) transfer_syntax_uid: &'a str,
    pub(super) data_set: &'a [u8],
}

impl std::fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({} bytes)", self.data_set.len())
    }
}

impl<'a> From<&'a StoredObject> for Outgoing<'a> {
    fn from(object: &'a StoredObject) -> Outgoing<'a> {
        Outgoing {
            sop_class_uid: &object.sop_class_uid,
            sop_instance_uid: &object.sop_instance_uid,
            transfer_syntax_uid: &object.transfer_syntax_uid,
            data_set: &object.data_set,
        }
    }
}

impl<'a> From<&'a OutputObject> for Outgoing<'a> {
    fn from(object: &'a OutputObject) -> Outgoing<'a> {
        Outgoing {
            sop_class_uid: &object.sop_class_uid,
            sop_instance_uid: &object.sop_instance_uid,
            transfer_syntax_uid: &object.transfer_syntax_uid,
            data_set: object.data_set(),
        }
    }
}
