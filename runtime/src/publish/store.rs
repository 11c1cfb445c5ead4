//! C-STORE as service class user: finished objects to a console or PACS, one association a call.
//!
//! Sends bytes as they are: no transcoding. Queueing, retries and what "acknowledged" leads to are
//! the outbox's; the DIMSE messages are PS3.7 sections 9.1.1, 9.1.5 and annex E.1, always Implicit
//! VR Little Endian.

mod object;

use crate::error::Move;
use crate::objects::OutputKind;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_ul::association::Error as UlError;
use dicom_ul::association::client::{AsyncClientAssociation, ClientAssociationOptions};
use dicom_ul::pdu::{
    AssociationRJResult, AssociationRJServiceUserReason, AssociationRJSource, PDV_HEADER_SIZE,
    PDataValue, PDataValueType, Pdu,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;

pub use object::{FileError, StoredObject};

/// A peer on the hospital network answers a SYN in milliseconds; after this it is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One read or write. A PACS may write to a slow archive before it answers C-STORE; longer than
/// this is a hang.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest PDU we take and send (scanner-side design, section 3, rule 7).
const MAX_PDU: u32 = 131_072;
/// Presentation context ids are the odd numbers of one byte (PS3.8 section 9.3.2.2).
const MAX_CONTEXTS: usize = 128;
/// A response command set is some 200 bytes; more than this is not a response.
const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// Longest AE title (PS3.5 table 6.2-1).
const MAX_AE_TITLE: usize = 16;

/// Command fields (PS3.7 annex E.1).
const C_STORE_RQ: u16 = 0x0001;
const C_ECHO_RQ: u16 = 0x0030;
const RESPONSE: u16 = 0x8000;
/// Command Data Set Type: none follows; anything else means that one follows.
const NO_DATA_SET: u16 = 0x0101;
const DATA_SET: u16 = 0x0001;
/// Duplicate SOP Instance (PS3.7 annex C.5.7). Our UIDs are a function of the content: the receiver
/// has this object.
const DUPLICATE_INSTANCE: u16 = 0x0111;

/// A receiver of objects, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Stands for the receiver in logs, reports and errors.
    pub name: String,
    /// `host:port`.
    pub address: String,
    pub called_ae: String,
    /// What we call ourselves; some receivers know their senders by it.
    #[serde(default = "own_title")]
    pub calling_ae: String,
    /// The kinds of objects it gets: what its operator can see (scanner-side design, section 1).
    #[serde(default = "console_profile")]
    pub profile: Vec<OutputKind>,
}

fn own_title() -> String {
    crate::ingest::association::AE_TITLE.to_owned()
}

/// MR and secondary capture: the two classes every console takes.
fn console_profile() -> Vec<OutputKind> {
    vec![OutputKind::DerivedMr, OutputKind::SecondaryCapture]
}

impl Destination {
    /// Whether its profile names the kind.
    pub fn wants(&self, kind: OutputKind) -> bool {
        self.profile.contains(&kind)
    }
}

/// Why objects did not arrive. `destination` is the configured name.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error(
        "{destination}: the AE title {title:?} is empty, longer than 16 characters or not ASCII"
    )]
    AeTitle { destination: String, title: String },
    #[error("{destination}: {count} kinds of objects in one association; at most 128 fit")]
    TooManyContexts { destination: String, count: usize },
    #[error("{destination} cannot be reached")]
    Connect { destination: String, source: Box<UlError> },
    #[error("{destination} refused the association ({reason})")]
    Refused { destination: String, transient: bool, reason: &'static str },
    #[error("{destination} does not accept SOP class {sop_class_uid} in {transfer_syntax_uid}")]
    Rejected { destination: String, sop_class_uid: String, transfer_syntax_uid: String },
    #[error("the association with {destination} broke")]
    Broken { destination: String, source: Box<UlError> },
    #[error("{destination} does not keep to the protocol: {what}")]
    Protocol { destination: String, what: &'static str },
    #[error("{destination} did not store an object: status {status:04X}H, {meaning}")]
    Status { destination: String, status: u16, meaning: &'static str },
}

impl StoreError {
    /// Who can do something about it.
    pub fn whose_move(&self) -> Move {
        match self {
            StoreError::TooManyContexts { .. } => Move::Sagitta,
            // The receiver says that what we sent is not what we said it is.
            StoreError::Status { status: 0xA900..=0xA9FF | 0xC000..=0xCFFF, .. } => Move::Sagitta,
            _ => Move::Site,
        }
    }

    /// Whether the same call can succeed later without anybody changing anything.
    pub fn retry_can_help(&self) -> bool {
        match self {
            StoreError::Connect { .. }
            | StoreError::Broken { .. }
            | StoreError::Protocol { .. }
            | StoreError::Refused { transient: true, .. } => true,
            // Processing failure, out of resources.
            StoreError::Status { status, .. } => matches!(status, 0x0110 | 0xA700..=0xA7FF),
            _ => false,
        }
    }
}

/// Stores all objects over one association. `Ok` means that the receiver confirmed every one of
/// them; after an error some may have arrived, and sending all again is harmless.
pub async fn send(destination: &Destination, objects: &[StoredObject]) -> Result<(), StoreError> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut kinds: Vec<(&str, &str)> = objects.iter().map(kind_of).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut peer = Peer::connect(destination, &kinds).await?;
    let result = peer.store_all(objects).await;
    peer.close(result).await
}

fn kind_of(object: &StoredObject) -> (&str, &str) {
    (&object.sop_class_uid, &object.transfer_syntax_uid)
}

/// C-ECHO: whether the destination answers.
pub async fn echo(destination: &Destination) -> Result<(), StoreError> {
    let kind = (uids::VERIFICATION, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let mut peer = Peer::connect(destination, &[kind]).await?;
    let result = peer.echo().await;
    peer.close(result).await
}

/// Whether a text can be an AE title (PS3.5 table 6.2-1).
pub fn is_ae_title(text: &str) -> bool {
    let plain = text.chars().all(|c| (' '..='~').contains(&c) && c != '\\');
    !text.trim().is_empty() && text.len() <= MAX_AE_TITLE && plain
}

/// An open association with a destination.
struct Peer<'a> {
    destination: &'a str,
    association: AsyncClientAssociation<TcpStream>,
}

impl<'a> Peer<'a> {
    /// Associates, proposing one presentation context for each (SOP class, transfer syntax).
    async fn connect(
        destination: &'a Destination,
        kinds: &[(&str, &str)],
    ) -> Result<Peer<'a>, StoreError> {
        let name = &destination.name;
        for title in [&destination.called_ae, &destination.calling_ae] {
            if !is_ae_title(title) {
                return Err(StoreError::AeTitle {
                    destination: name.clone(),
                    title: title.clone(),
                });
            }
        }
        if kinds.len() > MAX_CONTEXTS {
            return Err(StoreError::TooManyContexts {
                destination: name.clone(),
                count: kinds.len(),
            });
        }
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(&*destination.calling_ae)
            .called_ae_title(&*destination.called_ae)
            .max_pdu_length(MAX_PDU)
            .connection_timeout(CONNECT_TIMEOUT)
            .read_timeout(TRANSFER_TIMEOUT)
            .write_timeout(TRANSFER_TIMEOUT);
        for &(class, syntax) in kinds {
            options = options.with_presentation_context(class.to_owned(), vec![syntax.to_owned()]);
        }
        let association = options
            .establish_async(&*destination.address)
            .await
            .map_err(|source| refused(name, kinds, source))?;
        let mut peer = Peer { destination: name, association };
        // Without it delayed acknowledgements cost about 50 ms an object (scanner-side design,
        // section 3, rule 1).
        if let Err(error) = peer.association.inner_stream().set_nodelay(true) {
            tracing::warn!(destination = %name, %error, "no TCP_NODELAY: sending will be slow");
        }
        Ok(peer)
    }

    /// Stores the objects in turn; nothing is sent when one of them has no accepted context.
    async fn store_all(&mut self, objects: &[StoredObject]) -> Result<(), StoreError> {
        let contexts: Vec<u8> =
            objects.iter().map(|object| self.context(kind_of(object))).collect::<Result<_, _>>()?;
        for (n, (object, context)) in objects.iter().zip(contexts).enumerate() {
            // Responses are awaited one by one, so a number that wraps is still unambiguous.
            let message = (n % usize::from(u16::MAX)) as u16 + 1;
            let command = store_request(object, message);
            self.transfer(context, PDataValueType::Command, &command).await?;
            self.transfer(context, PDataValueType::Data, &object.data_set).await?;
            let status = self.response(C_STORE_RQ, message).await?;
            self.judge(status)?;
        }
        Ok(())
    }

    async fn echo(&mut self) -> Result<(), StoreError> {
        let context = self.context((uids::VERIFICATION, uids::IMPLICIT_VR_LITTLE_ENDIAN))?;
        let command = command_set(&[
            (tags::AFFECTED_SOP_CLASS_UID, uid_value(uids::VERIFICATION)),
            (tags::COMMAND_FIELD, short_value(C_ECHO_RQ)),
            (tags::MESSAGE_ID, short_value(1)),
            (tags::COMMAND_DATA_SET_TYPE, short_value(NO_DATA_SET)),
        ]);
        self.transfer(context, PDataValueType::Command, &command).await?;
        let status = self.response(C_ECHO_RQ, 1).await?;
        self.judge(status)
    }

    /// The accepted presentation context of a kind of object.
    fn context(&self, (class, syntax): (&str, &str)) -> Result<u8, StoreError> {
        let accepted = self.association.presentation_contexts().iter().find(|context| {
            let agreed = context.transfer_syntax.trim_end_matches(['\0', ' ']);
            context.abstract_syntax == class && agreed == syntax
        });
        accepted
            .map(|context| context.id)
            .ok_or_else(|| rejected(self.destination, (class, syntax)))
    }

    /// Sends a message part in fragments that fit the peer's largest PDU, one write each.
    async fn transfer(
        &mut self,
        context: u8,
        value_type: PDataValueType,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let largest = self.association.acceptor_max_pdu_length().min(MAX_PDU);
        let room = largest.saturating_sub(PDV_HEADER_SIZE) as usize & !1;
        if room == 0 {
            return Err(self.protocol("it takes no PDU with data in it"));
        }
        let count = bytes.len().div_ceil(room).max(1);
        for n in 0..count {
            let data = bytes[n * room..bytes.len().min((n + 1) * room)].to_vec();
            let value = PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: n + 1 == count,
                data,
            };
            let pdu = Pdu::PData { data: vec![value] };
            self.association.send(&pdu).await.map_err(|e| self.broken(e))?;
        }
        Ok(())
    }

    /// The status of the response to message `message`.
    async fn response(&mut self, request: u16, message: u16) -> Result<u16, StoreError> {
        let mut command = Vec::new();
        loop {
            let pdu = self.association.receive().await.map_err(|e| self.broken(e))?;
            let Pdu::PData { data } = pdu else {
                return Err(self.protocol("it ended the association instead of answering"));
            };
            let mut complete = false;
            for value in data {
                if value.value_type != PDataValueType::Command {
                    return Err(self.protocol("it sent a data set instead of a response"));
                }
                command.extend(value.data);
                complete |= value.is_last;
            }
            if command.len() > MAX_COMMAND_BYTES {
                return Err(self.protocol("its response is too long"));
            }
            if complete {
                break;
            }
        }
        let field = |tag| command_short(&command, tag);
        if field(tags::COMMAND_FIELD) != Some(request | RESPONSE)
            || field(tags::MESSAGE_ID_BEING_RESPONDED_TO) != Some(message)
        {
            return Err(self.protocol("its response is to another request"));
        }
        field(tags::STATUS).ok_or_else(|| self.protocol("its response has no status"))
    }

    /// Success and warnings count as stored (PS3.4 table B.2-1); warnings are logged by code.
    fn judge(&self, status: u16) -> Result<(), StoreError> {
        match status {
            0x0000 => Ok(()),
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF | DUPLICATE_INSTANCE => {
                let code = format!("{status:04X}");
                tracing::warn!(destination = %self.destination, status = %code, "stored with a warning");
                Ok(())
            }
            _ => Err(StoreError::Status {
                destination: self.destination.to_owned(),
                status,
                meaning: meaning(status),
            }),
        }
    }

    /// Ends the association: released after success, aborted after an error. Objects confirmed
    /// before a failed release are stored, so such a failure is only logged.
    async fn close(self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        let destination = self.destination;
        let ended = match &result {
            // Nothing is under way: every request has its response, or none was sent.
            Ok(()) | Err(StoreError::Status { .. } | StoreError::Rejected { .. }) => {
                self.association.release().await
            }
            Err(_) => self.association.abort().await,
        };
        if ended.is_err() && result.is_ok() {
            tracing::warn!(%destination, "the association did not end in order");
        }
        result
    }

    fn broken(&self, source: UlError) -> StoreError {
        StoreError::Broken { destination: self.destination.to_owned(), source: Box::new(source) }
    }

    fn protocol(&self, what: &'static str) -> StoreError {
        StoreError::Protocol { destination: self.destination.to_owned(), what }
    }
}

/// What a failed association request means.
fn refused(destination: &str, kinds: &[(&str, &str)], error: UlError) -> StoreError {
    let destination = destination.to_owned();
    match error {
        UlError::Rejected { association_rj, .. } => {
            let transient = matches!(association_rj.result, AssociationRJResult::Transient);
            use AssociationRJServiceUserReason as Reason;
            let reason = match association_rj.source {
                AssociationRJSource::ServiceUser(Reason::CallingAETitleNotRecognized) => {
                    "it does not know our AE title"
                }
                AssociationRJSource::ServiceUser(Reason::CalledAETitleNotRecognized) => {
                    "its AE title is another"
                }
                AssociationRJSource::ServiceProviderPresentation(_) => "it is busy",
                _ => "no reason given",
            };
            StoreError::Refused { destination, transient, reason }
        }
        UlError::NoAcceptedPresentationContexts { .. } => match kinds.first() {
            Some(&kind) => rejected(&destination, kind),
            None => StoreError::Protocol { destination, what: "it accepts nothing" },
        },
        UlError::UnexpectedPdu { .. } | UlError::UnknownPdu { .. } => StoreError::Protocol {
            destination,
            what: "it answers an association request otherwise",
        },
        source => StoreError::Connect { destination, source: Box::new(source) },
    }
}

fn rejected(destination: &str, (class, syntax): (&str, &str)) -> StoreError {
    StoreError::Rejected {
        destination: destination.to_owned(),
        sop_class_uid: class.to_owned(),
        transfer_syntax_uid: syntax.to_owned(),
    }
}

/// Failure statuses of C-STORE (PS3.4 table B.2-1, PS3.7 annex C).
fn meaning(status: u16) -> &'static str {
    match status {
        0x0110 => "processing failure",
        0x0117 => "invalid object instance",
        0x0122 => "SOP class not supported",
        0x0124 => "not authorized",
        0x0210..=0x0212 => "the message was not understood",
        0xA700..=0xA7FF => "out of resources",
        0xA900..=0xA9FF => "data set does not match SOP class",
        0xC000..=0xCFFF => "cannot understand",
        _ => "unknown status",
    }
}

fn store_request(object: &StoredObject, message: u16) -> Vec<u8> {
    /// Medium (PS3.7 annex E.1).
    const PRIORITY: u16 = 0x0000;
    command_set(&[
        (tags::AFFECTED_SOP_CLASS_UID, uid_value(&object.sop_class_uid)),
        (tags::COMMAND_FIELD, short_value(C_STORE_RQ)),
        (tags::MESSAGE_ID, short_value(message)),
        (tags::PRIORITY, short_value(PRIORITY)),
        (tags::COMMAND_DATA_SET_TYPE, short_value(DATA_SET)),
        (tags::AFFECTED_SOP_INSTANCE_UID, uid_value(&object.sop_instance_uid)),
    ])
}

fn short_value(value: u16) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn uid_value(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    value
}

/// A command set with its group length (PS3.7 section 6.3.1); elements in order of their tags.
fn command_set(elements: &[(Tag, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (tag, value) in elements {
        push_element(&mut body, *tag, value);
    }
    let mut command = Vec::with_capacity(body.len() + 12);
    push_element(&mut command, tags::COMMAND_GROUP_LENGTH, &(body.len() as u32).to_le_bytes());
    command.extend(body);
    command
}

fn push_element(bytes: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    bytes.extend(tag.group().to_le_bytes());
    bytes.extend(tag.element().to_le_bytes());
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
}

/// A US value of a command set; `None` when absent or the set is damaged before it.
fn command_short(mut command: &[u8], wanted: Tag) -> Option<u16> {
    while let Some((head, rest)) = command.split_at_checked(8) {
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let length = usize::from(short(4)) | usize::from(short(6)) << 16;
        let value = rest.get(..length)?;
        if Tag(short(0), short(2)) == wanted {
            return Some(u16::from_le_bytes(value.try_into().ok()?));
        }
        command = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_carry_their_length_and_are_read_back() {
        let command = command_set(&[
            (tags::AFFECTED_SOP_CLASS_UID, uid_value("1.2.3")),
            (tags::STATUS, short_value(0xA700)),
        ]);
        assert_eq!(u32::from_le_bytes(command[8..12].try_into().unwrap()), 14 + 10);
        assert_eq!(command_short(&command, tags::STATUS), Some(0xA700));
        assert_eq!(command_short(&command, tags::MESSAGE_ID), None);
        for length in 0..command.len() {
            assert_eq!(command_short(&command[..length], tags::STATUS), None, "{length} bytes");
        }
    }

    #[test]
    fn sending_can_run_on_any_thread() {
        fn spawned<T: Send>(_: T) {}
        let destination = Destination {
            name: "archive".to_owned(),
            address: "localhost:104".to_owned(),
            called_ae: "ARCHIVE".to_owned(),
            calling_ae: "SAGITTA".to_owned(),
            profile: console_profile(),
        };
        spawned(send(&destination, &[]));
        spawned(echo(&destination));
    }

    #[test]
    fn statuses_say_whose_move_it_is() {
        let error = |status| StoreError::Status {
            destination: "archive".to_owned(),
            status,
            meaning: meaning(status),
        };
        assert!(error(0xA700).retry_can_help() && error(0xA700).whose_move() == Move::Site);
        assert!(!error(0xA900).retry_can_help() && error(0xA900).whose_move() == Move::Sagitta);
        assert!(!error(0x0122).retry_can_help() && error(0x0122).whose_move() == Move::Site);
        assert!(error(0xA700).to_string().contains("A700H, out of resources"));
    }
}
