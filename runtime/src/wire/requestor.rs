//! An association that we ask for (PS3.8 7.1): connect, secure, negotiate. Sans DIMSE: messages are the caller's.

use super::{MAX_ASSOCIATE_BYTES, MAX_PDU_BYTES, Stream, Wire, WireError};
use crate::ingest::negotiate::APPLICATION_CONTEXT;
use crate::part10::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use crate::tls::Tls;
use dicom_ul::pdu::Pdu;
use dicom_ul::pdu::{
    AssociationRJ, AssociationRQ, PresentationContextProposed, PresentationContextResultReason,
    RequestorRoles, UserVariableItem,
};
use rustls::pki_types::ServerName;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

/// A peer on the hospital network answers a SYN in milliseconds; after this it is away.
const CONNECT: Duration = Duration::from_secs(5);
/// A PACS may write to a slow archive before it answers; longer than this is a hang.
const ANSWER: Duration = Duration::from_secs(30);
/// Presentation context ids are the odd numbers of one byte (PS3.8 section 9.3.2.2).
pub const MAX_CONTEXTS: usize = 128;

/// How a peer is reached.
#[derive(Clone)]
pub struct Route {
    /// `host:port`.
    pub address: String,
    pub called_ae: String,
    pub calling_ae: String,
    security: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Route { address, called_ae, security, .. } = self;
        let secure = security.is_some();
        write!(f, "Route {{ {called_ae:?} at {address:?}, secure: {secure} }}")
    }
}

impl Route {
    pub fn plain(address: String, called_ae: String, calling_ae: String) -> Route {
        Route { address, called_ae, calling_ae, security: None }
    }

    /// Whom the certificate of a peer at `host:port` must be for, when it is not `named` otherwise.
    pub fn server_name(address: &str, named: Option<&str>) -> Result<ServerName<'static>, String> {
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = named.unwrap_or(host.trim_start_matches('[').trim_end_matches(']'));
        ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no host name"))
    }

    /// The same, secured; the peer's certificate must be for `name`.
    pub fn secured(self, tls: &Tls, name: ServerName<'static>) -> Route {
        Route { security: Some((tls.connector(), name)), ..self }
    }
}

/// A class and transfer syntax to propose, and the role we want in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proposal<'a> {
    pub class: &'a str,
    pub transfer_syntax: &'a str,
    /// We want to be its provider (PS3.7 D.3.3.4), not its user.
    pub as_provider: bool,
}

/// Why there is no association.
#[derive(Debug, Error)]
pub enum RequestError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no secure connection: {0}")]
    Secure(io::Error),
    #[error("rejected: {}", .0.source)]
    Rejected(AssociationRJ),
    #[error("it answers an association request otherwise")]
    Protocol,
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// An open association that we asked for.
#[derive(Debug)]
pub struct Association {
    pub wire: Wire,
    /// Id, class, transfer syntax of the accepted contexts.
    contexts: Vec<(u8, String, String)>,
}

impl Association {
    /// Asks for an association with one presentation context for each proposal. It may have accepted none of them.
    pub async fn request(
        route: &Route,
        proposals: &[Proposal<'_>],
    ) -> Result<Association, RequestError> {
        let mut wire = Wire::new(connect(route).await?);
        wire.send(&Pdu::AssociationRQ(request(route, proposals))).await?;
        match wire.receive(MAX_ASSOCIATE_BYTES, ANSWER).await? {
            Pdu::AssociationAC(accepted) => {
                let largest = largest_pdu(&accepted.user_variables);
                wire.limit(largest);
                let ours = |id: u8| proposals.get((usize::from(id) - 1) / 2);
                let contexts = accepted.presentation_contexts.into_iter().filter_map(|context| {
                    let class = ours(context.id.max(1))?.class.to_owned();
                    let syntax = context.transfer_syntax.trim_end_matches(['\0', ' ']).to_owned();
                    let accepted = context.reason == PresentationContextResultReason::Acceptance;
                    accepted.then_some((context.id, class, syntax))
                });
                Ok(Association { wire, contexts: contexts.collect() })
            }
            Pdu::AssociationRJ(rejection) => Err(RequestError::Rejected(rejection)),
            Pdu::AbortRQ { .. } => Err(WireError::Aborted.into()),
            _ => Err(RequestError::Protocol),
        }
    }

    /// The accepted presentation context of a class in a transfer syntax.
    pub fn context(&self, class: &str, transfer_syntax: &str) -> Option<u8> {
        let found = self.contexts.iter().find(|(_, c, t)| c == class && t == transfer_syntax);
        found.map(|(id, ..)| *id)
    }

    /// Sends a command set, and its data set if it has one.
    pub async fn send(
        &mut self,
        context: u8,
        command: &[u8],
        data_set: Option<&[u8]>,
    ) -> Result<(), WireError> {
        self.wire.send_message(context, command, data_set).await
    }

    pub async fn receive(&mut self) -> Result<Pdu, WireError> {
        self.wire.receive(MAX_PDU_BYTES, ANSWER).await
    }

    /// Ends the association in order; an error where the peer does not.
    pub async fn release(mut self) -> Result<(), WireError> {
        self.wire.send(&Pdu::ReleaseRQ).await?;
        let answer = self.receive().await?;
        self.wire.close().await;
        match answer {
            Pdu::ReleaseRP => Ok(()),
            _ => Err(WireError::UnexpectedPdu),
        }
    }

    pub async fn abort(mut self) {
        self.wire.abort().await;
    }
}

async fn connect(route: &Route) -> Result<Stream, RequestError> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let socket = timeout(CONNECT, TcpStream::connect(&route.address))
        .await
        .map_err(|_| RequestError::Connect(late()))?
        .map_err(RequestError::Connect)?;
    let Some((connector, name)) = &route.security else { return Ok(Stream::Plain(socket)) };
    let secured = timeout(CONNECT, connector.connect(name.clone(), socket))
        .await
        .map_err(|_| RequestError::Secure(late()))?
        .map_err(RequestError::Secure)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(secured))))
}

fn request(route: &Route, proposals: &[Proposal<'_>]) -> AssociationRQ {
    let contexts = proposals.iter().zip((1u8..).step_by(2));
    let mut user_variables = vec![
        UserVariableItem::MaxLength(MAX_PDU_BYTES),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.to_owned()),
    ];
    for proposal in proposals.iter().filter(|proposal| proposal.as_provider) {
        let roles = RequestorRoles { scu: false, scp: true };
        let class = proposal.class.to_owned();
        user_variables.push(UserVariableItem::ScuScpRoleSelectionSubItem(class, roles));
    }
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: route.calling_ae.clone(),
        called_ae_title: route.called_ae.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts
            .map(|(proposal, id)| PresentationContextProposed {
                id,
                abstract_syntax: proposal.class.to_owned(),
                transfer_syntaxes: vec![proposal.transfer_syntax.to_owned()],
            })
            .collect(),
        user_variables,
    }
}

/// The largest PDU a peer takes; one that does not say takes what everybody took before (PS3.8 D.1 makes it optional).
pub fn largest_pdu(items: &[UserVariableItem]) -> u32 {
    /// DCMTK's default.
    const UNSAID: u32 = 16_384;
    let said = items.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(bytes) => Some(*bytes),
        _ => None,
    });
    said.unwrap_or(UNSAID)
}
