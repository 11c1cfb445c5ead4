//! DIMSE command sets (PS3.7), both ways: requests and responses read and written. Always implicit little endian
//! (PS3.7 6.3.1). How they travel is left to `ingest::association` and `publish::store`.

pub mod data_set;

use crate::ingest::prescan::{self, Limits, ScanError, Syntax, Token};
use dicom_core::Tag;
use thiserror::Error;

/// Largest command set: a C-STORE-RQ needs some 300 bytes, the rest is room for optional fields.
pub const MAX_COMMAND_BYTES: usize = 16 << 10;

pub const C_STORE: u16 = 0x0001;
pub const C_ECHO: u16 = 0x0030;
pub const N_EVENT_REPORT: u16 = 0x0100;
pub const N_SET: u16 = 0x0120;
pub const N_ACTION: u16 = 0x0130;
pub const N_CREATE: u16 = 0x0140;
/// Asks to stop an operation; has no response of its own (PS3.7 9.3.2.3).
pub const C_CANCEL: u16 = 0x0FFF;
/// Set in the command field of a response (PS3.7 E.1).
const RESPONSE: u16 = 0x8000;
/// Command Data Set Type of a message without data set (PS3.7 E.1).
const NO_DATA_SET: u16 = 0x0101;
/// Longest Error Comment: LO (PS3.5 6.2).
const MAX_COMMENT: usize = 64;

/// Priority medium (PS3.7 E.1).
const PRIORITY: u16 = 0x0000;
/// Command Data Set Type of a message with one (PS3.7 E.1: anything but 0101H).
const DATA_SET: u16 = 0x0001;

/// A status of PS3.7 annex C, PS3.4 B.2.3 or F.7.2.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Success,
    InvalidValue,
    ProcessingFailure,
    /// Processing failure, with the Error ID for a procedure step that has ended.
    StepEnded,
    DuplicateInstance,
    NoSuchInstance,
    MissingAttribute,
    ClassNotSupported,
    NoSuchAction,
    UnrecognizedOperation,
    /// For normalized services; a later attempt may succeed.
    ResourceLimitation,
    /// Ours or the site's move; a later attempt may succeed.
    OutOfResources,
    /// The sender's move.
    DataSetDoesNotMatch,
    /// The sender's move.
    CannotUnderstand,
}

impl Status {
    pub fn code(self) -> u16 {
        match self {
            Status::Success => 0x0000,
            Status::InvalidValue => 0x0106,
            Status::ProcessingFailure | Status::StepEnded => 0x0110,
            Status::DuplicateInstance => 0x0111,
            Status::NoSuchInstance => 0x0112,
            Status::MissingAttribute => 0x0120,
            Status::ClassNotSupported => 0x0122,
            Status::NoSuchAction => 0x0123,
            Status::UnrecognizedOperation => 0x0211,
            Status::ResourceLimitation => 0x0213,
            Status::OutOfResources => 0xA700,
            Status::DataSetDoesNotMatch => 0xA900,
            Status::CannotUnderstand => 0xC000,
        }
    }

    /// Error ID, where the standard has one beside the status (PS3.4 F.7.2.2.2).
    fn error_id(self) -> Option<u16> {
        (self == Status::StepEnded).then_some(0xA506)
    }
}

/// Why a command set cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    #[error("the command set is damaged: {0}")]
    Scan(#[from] ScanError),
    #[error("the command set has no {0}")]
    Missing(&'static str),
}

/// A request. UIDs are patient data: [`std::fmt::Debug`] leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub field: u16,
    pub message_id: u16,
    pub sop_class: Option<String>,
    pub sop_instance: Option<String>,
    /// Action Type ID of an N-ACTION, Event Type ID of an N-EVENT-REPORT.
    pub type_id: Option<u16>,
    pub has_data_set: bool,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("field", &self.field)
            .field("message_id", &self.message_id)
            .field("has_data_set", &self.has_data_set)
            .finish_non_exhaustive()
    }
}

impl Request {
    pub fn read(bytes: &[u8]) -> Result<Request, CommandError> {
        let (mut field, mut message_id, mut data_set_type) = (None, None, None);
        let (mut sop_class, mut sop_instance, mut type_id) = (None, None, None);
        prescan::walk(bytes, Syntax::Implicit, Limits::IMAGE, &mut |_, token| {
            let Token::Value { tag, value, .. } = token else { return };
            match tag {
                // Affected, or requested in N-SET and N-ACTION.
                Tag(0x0000, 0x0002 | 0x0003) => sop_class = Some(uid(value)),
                Tag(0x0000, 0x0100) => field = number(value),
                Tag(0x0000, 0x0110) => message_id = number(value),
                Tag(0x0000, 0x0800) => data_set_type = number(value),
                Tag(0x0000, 0x1000 | 0x1001) => sop_instance = Some(uid(value)),
                Tag(0x0000, 0x1002 | 0x1008) => type_id = number(value),
                _ => {}
            }
        })?;
        Ok(Request {
            field: field.ok_or(CommandError::Missing("command field"))?,
            message_id: message_id.ok_or(CommandError::Missing("message id"))?,
            sop_class,
            sop_instance,
            type_id,
            has_data_set: data_set_type.is_some_and(|kind| kind != NO_DATA_SET),
        })
    }

    /// The bytes of a request of ours: C-ECHO, C-STORE, N-EVENT-REPORT.
    pub fn write(&self) -> Vec<u8> {
        let mut elements = Vec::with_capacity(256);
        if let Some(class) = &self.sop_class {
            put(&mut elements, 0x0002, &even(class, 0));
        }
        put(&mut elements, 0x0100, &self.field.to_le_bytes());
        put(&mut elements, 0x0110, &self.message_id.to_le_bytes());
        if self.field == C_STORE {
            put(&mut elements, 0x0700, &PRIORITY.to_le_bytes());
        }
        let data_set = if self.has_data_set { DATA_SET } else { NO_DATA_SET };
        put(&mut elements, 0x0800, &data_set.to_le_bytes());
        if let Some(instance) = &self.sop_instance {
            put(&mut elements, 0x1000, &even(instance, 0));
        }
        if let Some(event) = self.type_id {
            put(&mut elements, 0x1002, &event.to_le_bytes());
        }
        with_length(&elements)
    }

    /// The response to this request; `comment` goes into Error Comment and must hold no patient data.
    pub fn response(&self, status: Status, comment: Option<&str>) -> Vec<u8> {
        let mut elements = Vec::with_capacity(256);
        if let Some(class) = &self.sop_class {
            put(&mut elements, 0x0002, &even(class, 0));
        }
        put(&mut elements, 0x0100, &(self.field | RESPONSE).to_le_bytes());
        put(&mut elements, 0x0120, &self.message_id.to_le_bytes());
        put(&mut elements, 0x0800, &NO_DATA_SET.to_le_bytes());
        put(&mut elements, 0x0900, &status.code().to_le_bytes());
        if let Some(comment) = comment {
            let comment: String =
                comment.chars().filter(char::is_ascii).take(MAX_COMMENT).collect();
            put(&mut elements, 0x0902, &even(&comment, b' '));
        }
        if let Some(id) = status.error_id() {
            put(&mut elements, 0x0903, &id.to_le_bytes());
        }
        if let Some(instance) = &self.sop_instance {
            put(&mut elements, 0x1000, &even(instance, 0));
        }
        with_length(&elements)
    }
}

/// A peer's response to a request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// The request's, without the bit that marks a response.
    pub field: u16,
    pub message_id: u16,
    /// As the peer sent it: not every peer keeps to [`Status`].
    pub status: u16,
    pub has_data_set: bool,
}

impl Response {
    pub fn read(bytes: &[u8]) -> Result<Response, CommandError> {
        let (mut field, mut message_id, mut status, mut data_set) = (None, None, None, None);
        prescan::walk(bytes, Syntax::Implicit, Limits::IMAGE, &mut |_, token| {
            let Token::Value { tag, value, .. } = token else { return };
            match tag {
                Tag(0x0000, 0x0100) => field = number(value).filter(|field| field & RESPONSE != 0),
                Tag(0x0000, 0x0120) => message_id = number(value),
                Tag(0x0000, 0x0800) => data_set = number(value),
                Tag(0x0000, 0x0900) => status = number(value),
                _ => {}
            }
        })?;
        Ok(Response {
            field: field.ok_or(CommandError::Missing("command field of a response"))? & !RESPONSE,
            message_id: message_id.ok_or(CommandError::Missing("message id"))?,
            status: status.ok_or(CommandError::Missing("status"))?,
            has_data_set: data_set.is_some_and(|kind| kind != NO_DATA_SET),
        })
    }
}

/// What a peer of ours sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Request(Request),
    Response(Response),
}

impl Command {
    pub fn read(bytes: &[u8]) -> Result<Command, CommandError> {
        // Whichever it is not lacks the field of the other.
        match Response::read(bytes) {
            Ok(response) => Ok(Command::Response(response)),
            Err(_) => Request::read(bytes).map(Command::Request),
        }
    }
}

/// A command set: group length, then its elements.
fn with_length(elements: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(elements.len() + 12);
    put(&mut out, 0x0000, &(elements.len() as u32).to_le_bytes());
    out.extend_from_slice(elements);
    out
}

/// One element of group 0000.
fn put(out: &mut Vec<u8>, element: u16, value: &[u8]) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

fn even(text: &str, padding: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len() + bytes.len() % 2, padding);
    bytes
}

fn uid(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned()
}

fn number(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_its_response_refers_to_it() {
        let mut bytes = Vec::new();
        put(&mut bytes, 0x0002, &even("1.2.840.10008.1.1", 0));
        put(&mut bytes, 0x0100, &C_ECHO.to_le_bytes());
        put(&mut bytes, 0x0110, &7u16.to_le_bytes());
        put(&mut bytes, 0x0800, &NO_DATA_SET.to_le_bytes());
        let request = Request::read(&bytes).unwrap();
        assert_eq!((request.field, request.message_id), (C_ECHO, 7));
        assert!(!request.has_data_set);
        let response = request.response(Status::OutOfResources, Some("disk full"));
        let mut seen = Vec::new();
        prescan::walk(&response, Syntax::Implicit, Limits::IMAGE, &mut |_, token| {
            if let Token::Value { tag, value, .. } = token {
                seen.push((tag.element(), value.to_vec()));
            }
        })
        .unwrap();
        assert_eq!(seen[0], (0x0000, (response.len() as u32 - 12).to_le_bytes().to_vec()));
        assert!(seen.contains(&(0x0120, vec![7, 0])));
        assert!(seen.contains(&(0x0100, vec![0x30, 0x80])));
        assert!(seen.contains(&(0x0900, vec![0x00, 0xA7])));
    }

    #[test]
    fn what_is_written_is_read_back_and_cut_short_is_an_error() {
        let request = Request {
            field: C_STORE,
            message_id: 7,
            sop_class: Some("1.2.3".to_owned()),
            sop_instance: Some("1.2.3.4".to_owned()),
            type_id: Some(2),
            has_data_set: true,
        };
        assert_eq!(Request::read(&request.write()), Ok(request.clone()));
        let bytes = request.response(Status::OutOfResources, None);
        let (message_id, status) = (7, 0xA700);
        let response = Response { field: C_STORE, message_id, status, has_data_set: false };
        assert_eq!(Response::read(&bytes), Ok(response));
        assert!(Response::read(&request.write()).is_err(), "a request is no response");
        let status_ends = bytes.len() - 16; // the SOP instance stands behind it
        for length in 0..status_ends {
            assert!(Response::read(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_command_without_message_id_is_named() {
        let mut bytes = Vec::new();
        put(&mut bytes, 0x0100, &C_STORE.to_le_bytes());
        assert_eq!(Request::read(&bytes), Err(CommandError::Missing("message id")));
        assert_eq!(Request::read(&bytes[..9]), Err(ScanError::LengthPastEnd.into()));
    }
}
