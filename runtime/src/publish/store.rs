//! C-STORE as service class user: finished objects to a console or PACS, one association a call.
//!
//! Sends bytes as they are: no transcoding. Queueing, retries and what "acknowledged" leads to are
//! the outbox's; the DIMSE messages are PS3.7 sections 9.1.1, 9.1.5 and annex E.1, always Implicit
//! VR Little Endian.

mod object;
mod turn;

use crate::dimse::{self, MAX_COMMAND_BYTES, Request, Response};
use crate::error::Move;
use crate::objects::{self, OutputKind};
use crate::tls::Tls;
use crate::wire::WireError;
use crate::wire::requestor::{Association, MAX_CONTEXTS, Proposal, RequestError, Route};
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationRJResult, AssociationRJServiceUserReason, AssociationRJSource, PDataValueType, Pdu,
};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use object::{Outgoing, StoredObject};
pub use turn::{Over, Sending};

/// Longest AE title (PS3.5 table 6.2-1).
const MAX_AE_TITLE: usize = 16;

/// Duplicate SOP Instance (PS3.7 annex C.5.7). Our UIDs are a function of the content: the receiver
/// has this object.
const DUPLICATE_INSTANCE: u16 = 0x0111;

/// The class and transfer syntax of C-ECHO.
const VERIFICATION: (&str, &str) = (uids::VERIFICATION, uids::IMPLICIT_VR_LITTLE_ENDIAN);

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
    /// TLS with the certificates of `[tls]`.
    #[serde(default)]
    pub tls: bool,
    /// The name in its certificate, where that is not the host of its address.
    #[serde(default)]
    pub tls_name: Option<String>,
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

    /// How it is reached; the reason where the configuration does not say enough for TLS.
    pub fn route(&self, tls: Option<&Tls>) -> Result<Route, String> {
        let Destination { name, address, called_ae, calling_ae, .. } = self;
        let plain = Route::plain(address.clone(), called_ae.clone(), calling_ae.clone());
        if !self.tls {
            return Ok(plain);
        }
        let tls =
            tls.ok_or_else(|| format!("destination {name:?} wants TLS, but there is no [tls]"))?;
        Ok(plain.secured(tls, self.server_name()?))
    }

    /// Whom its certificate must be for.
    pub fn server_name(&self) -> Result<ServerName<'static>, String> {
        Route::server_name(&self.address, self.tls_name.as_deref())
            .map_err(|reason| format!("destination {:?}: {reason}", self.name))
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
    Connect { destination: String, source: std::io::Error },
    #[error("no secure connection to {destination}: {source}")]
    Secure { destination: String, source: std::io::Error },
    #[error("{destination} refused the association ({reason})")]
    Refused { destination: String, transient: bool, reason: &'static str },
    #[error("{destination} does not accept SOP class {sop_class_uid} in {transfer_syntax_uid}")]
    Rejected { destination: String, sop_class_uid: String, transfer_syntax_uid: String },
    #[error("the association with {destination} broke")]
    Broken { destination: String, source: WireError },
    #[error("{destination} does not keep to the protocol: {what}")]
    Protocol { destination: String, what: &'static str },
    #[error("{destination} did not store an object: status {status:04X}H, {meaning}")]
    Status { destination: String, status: u16, meaning: &'static str },
    /// It has the others. `first` is what it said to the first one it refused.
    #[error("{first}; {refused} of {of} objects were refused, the others are there")]
    Partly { refused: usize, of: usize, first: Box<StoreError> },
}

impl StoreError {
    /// Who can do something about it.
    pub fn whose_move(&self) -> Move {
        match self {
            StoreError::TooManyContexts { .. } => Move::Sagitta,
            // The receiver says that what we sent is not what we said it is.
            StoreError::Status { status: 0xA900..=0xA9FF | 0xC000..=0xCFFF, .. } => Move::Sagitta,
            StoreError::Partly { first, .. } => first.whose_move(),
            _ => Move::Site,
        }
    }

    /// Whether the same call can succeed later without anybody changing anything.
    pub fn retry_can_help(&self) -> bool {
        match self {
            StoreError::Connect { .. }
            | StoreError::Secure { .. }
            | StoreError::Broken { .. }
            | StoreError::Protocol { .. }
            | StoreError::Refused { transient: true, .. } => true,
            // Processing failure, out of resources.
            StoreError::Status { status, .. } => matches!(status, 0x0110 | 0xA700..=0xA7FF),
            _ => false,
        }
    }

    /// Whether it is about one object and will never be otherwise: the next one may be welcome.
    fn is_of_one_object(&self) -> bool {
        let of_one = matches!(self, StoreError::Rejected { .. } | StoreError::Status { .. });
        of_one && !self.retry_can_help()
    }
}

/// Stores all objects over one association. `Ok` means that the receiver confirmed every one of
/// them; after an error some may have arrived, and sending all again is harmless. What it refuses
/// for good keeps nothing else from it: a console without presentation states shows the overlay.
pub async fn send(name: &str, route: &Route, objects: &[StoredObject]) -> Result<(), StoreError> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut kinds: Vec<(&str, &str)> =
        objects.iter().map(|object| kind_of(object.into())).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut sending = Sending::of(Peer::connect(name, route, &kinds).await?);
    for object in objects {
        if sending.next(object.into()).await.is_err() {
            break;
        }
    }
    sending.end().await
}

fn kind_of(object: Outgoing<'_>) -> (&str, &str) {
    (object.sop_class_uid, object.transfer_syntax_uid)
}

/// Asks without an object: whether the destination answers (C-ECHO, where it knows that class), and
/// which of these kinds it will not take.
pub async fn probe(
    name: &str,
    route: &Route,
    kinds: &[OutputKind],
) -> Result<Vec<OutputKind>, StoreError> {
    let of = |kind: OutputKind| (kind.sop_class(), objects::TRANSFER_SYNTAX);
    let mut proposed: Vec<(&str, &str)> = kinds.iter().map(|&kind| of(kind)).collect();
    proposed.push(VERIFICATION);
    proposed.sort_unstable();
    proposed.dedup();
    let mut peer = Peer::connect(name, route, &proposed).await?;
    let refused = kinds.iter().copied().filter(|&kind| peer.context(of(kind)).is_err()).collect();
    let result = match peer.context(VERIFICATION) {
        Ok(context) => peer.echo(context).await,
        Err(_) => Ok(()),
    };
    peer.close(result).await.map(|()| refused)
}

/// Whether a text can be an AE title (PS3.5 table 6.2-1).
pub fn is_ae_title(text: &str) -> bool {
    let plain = text.chars().all(|c| (' '..='~').contains(&c) && c != '\\');
    !text.trim().is_empty() && text.len() <= MAX_AE_TITLE && plain
}

/// An open association with a destination.
struct Peer<'a> {
    destination: &'a str,
    association: Association,
}

impl<'a> Peer<'a> {
    /// Associates, proposing one presentation context for each (SOP class, transfer syntax).
    async fn connect(
        destination: &'a str,
        route: &Route,
        kinds: &[(&str, &str)],
    ) -> Result<Peer<'a>, StoreError> {
        for title in [&route.called_ae, &route.calling_ae] {
            if !is_ae_title(title) {
                return Err(StoreError::AeTitle {
                    destination: destination.to_owned(),
                    title: title.clone(),
                });
            }
        }
        if kinds.len() > MAX_CONTEXTS {
            return Err(StoreError::TooManyContexts {
                destination: destination.to_owned(),
                count: kinds.len(),
            });
        }
        let proposal =
            |&(class, transfer_syntax)| Proposal { class, transfer_syntax, as_provider: false };
        let proposals: Vec<Proposal<'_>> = kinds.iter().map(proposal).collect();
        let association = Association::request(route, &proposals)
            .await
            .map_err(|error| refused(destination, error))?;
        Ok(Peer { destination, association })
    }

    async fn store(&mut self, message_id: u16, object: Outgoing<'_>) -> Result<(), StoreError> {
        let context = self.context(kind_of(object))?;
        let request = Request {
            field: dimse::C_STORE,
            message_id,
            sop_class: Some(object.sop_class_uid.to_owned()),
            sop_instance: Some(object.sop_instance_uid.to_owned()),
            type_id: None,
            has_data_set: true,
        };
        let command = request.write();
        let sent = self.association.send(context, &command, Some(object.data_set)).await;
        sent.map_err(|error| self.broken(error))?;
        let status = self.response(&request).await?;
        self.judge(status)
    }

    async fn echo(&mut self, context: u8) -> Result<(), StoreError> {
        let request = Request {
            field: dimse::C_ECHO,
            message_id: 1,
            sop_class: Some(uids::VERIFICATION.to_owned()),
            sop_instance: None,
            type_id: None,
            has_data_set: false,
        };
        let sent = self.association.send(context, &request.write(), None).await;
        sent.map_err(|error| self.broken(error))?;
        let status = self.response(&request).await?;
        self.judge(status)
    }

    /// The accepted presentation context of a kind of object.
    fn context(&self, kind: (&str, &str)) -> Result<u8, StoreError> {
        let accepted = self.association.context(kind.0, kind.1);
        accepted.ok_or_else(|| rejected(self.destination, kind))
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
            Ok(())
            | Err(
                StoreError::Status { .. } | StoreError::Rejected { .. } | StoreError::Partly { .. },
            ) => self.association.release().await,
            Err(_) => {
                self.association.abort().await;
                Ok(())
            }
        };
        if ended.is_err() && result.is_ok() {
            tracing::warn!(%destination, "the association did not end in order");
        }
        result
    }

    fn broken(&self, source: WireError) -> StoreError {
        if let WireError::NoRoom = source {
            return self.protocol("it takes no PDU with data in it");
        }
        StoreError::Broken { destination: self.destination.to_owned(), source }
    }

    fn protocol(&self, what: &'static str) -> StoreError {
        StoreError::Protocol { destination: self.destination.to_owned(), what }
    }
}

/// What a failed association request means.
fn refused(destination: &str, error: RequestError) -> StoreError {
    let destination = destination.to_owned();
    match error {
        RequestError::Rejected(rejection) => {
            let transient = matches!(rejection.result, AssociationRJResult::Transient);
            use AssociationRJServiceUserReason as Reason;
            let reason = match rejection.source {
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
        RequestError::Protocol => StoreError::Protocol {
            destination,
            what: "it answers an association request otherwise",
        },
        RequestError::Connect(source) => StoreError::Connect { destination, source },
        RequestError::Secure(source) => StoreError::Secure { destination, source },
        RequestError::Wire(source) => StoreError::Broken { destination, source },
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
        let title = || "ARCHIVE".to_owned();
        let route = Route::plain("localhost:104".to_owned(), title(), title());
        spawned(send("archive", &route, &[]));
        spawned(probe("archive", &route, &[]));
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
