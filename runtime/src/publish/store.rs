//! C-STORE as service class user: finished objects to a console or PACS, one association a call.
//!
//! Sends bytes as they are: no transcoding. Queueing, retries and what "acknowledged" leads to are
//! the outbox's; the DIMSE messages are PS3.7 sections 9.1.1, 9.1.5 and annex E.1, always Implicit
//! VR Little Endian.

mod object;

use crate::dimse::{self, MAX_COMMAND_BYTES, Request, Response};
use crate::error::Move;
use crate::objects::OutputKind;
use dicom_dictionary_std::uids;
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

pub use object::StoredObject;

/// A peer on the hospital network answers a SYN in milliseconds; after this it is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One read or write. A PACS may write to a slow archive before it answers C-STORE; longer than
/// this is a hang.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest PDU we take and send (scanner-side design, section 3, rule 7).
const MAX_PDU: u32 = 131_072;
/// Presentation context ids are the odd numbers of one byte (PS3.8 section 9.3.2.2).
const MAX_CONTEXTS: usize = 128;
/// Longest AE title (PS3.5 table 6.2-1).
const MAX_AE_TITLE: usize = 16;

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
            let request = Request {
                field: dimse::C_STORE,
                message_id: message,
                sop_class: Some(object.sop_class_uid.clone()),
                sop_instance: Some(object.sop_instance_uid.clone()),
                has_data_set: true,
            };
            self.transfer(context, PDataValueType::Command, &request.write()).await?;
            self.transfer(context, PDataValueType::Data, &object.data_set).await?;
            let status = self.response(&request).await?;
            self.judge(status)?;
        }
        Ok(())
    }

    async fn echo(&mut self) -> Result<(), StoreError> {
        let context = self.context((uids::VERIFICATION, uids::IMPLICIT_VR_LITTLE_ENDIAN))?;
        let request = Request {
            field: dimse::C_ECHO,
            message_id: 1,
            sop_class: Some(uids::VERIFICATION.to_owned()),
            sop_instance: None,
            has_data_set: false,
        };
        self.transfer(context, PDataValueType::Command, &request.write()).await?;
        let status = self.response(&request).await?;
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

    /// The status of the response to a request.
    async fn response(&mut self, request: &Request) -> Result<u16, StoreError> {
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
        let response = Response::read(&command)
            .map_err(|_| self.protocol("its response cannot be understood"))?;
        if (response.field, response.message_id) != (request.field, request.message_id) {
            return Err(self.protocol("its response is to another request"));
        }
        Ok(response.status)
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

#[cfg(test)]
mod tests {
    use super::*;

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
