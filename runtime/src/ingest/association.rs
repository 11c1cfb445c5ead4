//! The DICOM listener: who connects, how securely, and in which contexts it may talk. What is said then is
//! `conversation`'s.
//!
//! Every request gets an answer with a status, also a refused one; the link is dropped only when its bytes cannot be
//! understood, or when it has been silent for too long. What is stored is the spool's business, when a series is complete
//! the assembler's.

use super::Event;
use super::conversation::Conversation;
use super::negotiate::{self, Contexts};
use super::peers::{Caller, Peer, Place};
use super::receiver::{ARTIM, Receiver, stopped};
use crate::wire::requestor::largest_pdu;
use crate::wire::{MAX_ASSOCIATE_BYTES, Wire, WireError};
use dicom_ul::pdu::Pdu;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Our AE title unless configured.
pub const AE_TITLE: &str = "SAGITTA";

/// Settings of the listener; the table `[dicom]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where consoles connect.
    pub bind: SocketAddr,
    /// Our own AE title.
    pub ae_title: String,
    /// TLS with the certificates of `[tls]`, for every connection; 2762 is the port registered for it.
    pub tls: bool,
    /// Refuse associations that call another AE title. Off by default: titles are no authentication, and a wrong one
    /// is the most frequent reason why a first test fails.
    pub require_called_ae_title: bool,
    /// Associations at the same time; a console uses one to four.
    pub max_associations: usize,
    /// Of one peer: half of all, so that none can lock out the others.
    pub max_associations_per_peer: usize,
    /// Take Enhanced MR: a volume in one object, complete on arrival. A console that is refused it sends its classic form
    /// (Philips from R3.2 on).
    pub enhanced_mr: bool,
    /// Answer Storage Commitment. Off by default: we are no archive, and a console that deletes what is committed would delete
    /// the only copy.
    pub commitment: bool,
    /// Who may have one. Nobody named: everybody.
    #[serde(rename = "peer", skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            // All interfaces: a scanner is another machine. 11112 is the port registered for DICOM (PS3.8 9.1.1).
            bind: SocketAddr::from(([0, 0, 0, 0], 11112)),
            ae_title: AE_TITLE.to_owned(),
            tls: false,
            require_called_ae_title: false,
            max_associations: 16,
            max_associations_per_peer: 8,
            enhanced_mr: true,
            commitment: false,
            peers: Vec::new(),
        }
    }
}

/// Why an association ended without release.
#[derive(Debug, Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the message cannot be understood: {0}")]
    BadMessage(#[from] super::message::MessageError),
    #[error("the service is stopping")]
    Stopping,
}

/// Accepts associations until `shutdown` becomes true (or its sender is gone), then waits for the open ones, which
/// abort at the next PDU. An instance is durable and its [`Event`] sent before its C-STORE is answered with success; a
/// full `events` channel delays answers, so a slow consumer slows the sender down and nothing is lost.
pub async fn serve(
    listener: TcpListener,
    receiver: Arc<Receiver>,
    shutdown: watch::Receiver<bool>,
) {
    let associate =
        |socket, address| Arc::clone(&receiver).associate(socket, address, shutdown.clone());
    Arc::clone(&receiver).each(listener, shutdown.clone(), associate).await;
}

impl Receiver {
    /// One connection from its first byte to its end.
    async fn associate(
        self: Arc<Self>,
        socket: TcpStream,
        address: IpAddr,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let Some((stream, certificate)) = self.secure(socket, address).await else { return };
        let mut wire = Wire::new(stream);
        let caller = Caller { address, certificate };
        let (calling_ae, contexts, place) = match self.establish(&mut wire, &caller).await {
            Ok(Some(established)) => established,
            Ok(None) => return,
            Err(error) => {
                return tracing::debug!(peer = %address, %error, "a connection made no association");
            }
        };
        let id = self.begin();
        tracing::debug!(association = id.0, contexts = contexts.len(), "association open");
        let ended = tokio::select! {
            ended = Conversation::new(&self, &mut wire, id, &calling_ae, contexts).run() => ended,
            _ = stopped(&mut shutdown) => Err(Broken::Stopping),
        };
        drop(place);
        match ended {
            Ok(()) => {
                self.tell(Event::Released(id)).await;
                wire.part().await;
            }
            Err(error) => {
                tracing::warn!(association = id.0, %error, "association ended without release");
                self.tell(Event::Aborted(id)).await;
                let gone = matches!(error, Broken::Wire(WireError::Aborted | WireError::Io(_)));
                if !gone {
                    wire.abort().await;
                }
            }
        }
    }

    /// Negotiates: who calls, and in which contexts; `None` when the request was rejected.
    async fn establish(
        &self,
        wire: &mut Wire,
        caller: &Caller,
    ) -> Result<Option<(String, Contexts, Place)>, Broken> {
        let Pdu::AssociationRQ(request) = wire.receive(MAX_ASSOCIATE_BYTES, ARTIM).await? else {
            wire.abort().await;
            return Err(WireError::UnexpectedPdu.into());
        };
        let answer = negotiate::answer(&request, &self.settings)
            .and_then(|answer| Ok((answer, self.enter(caller, Some(&request.calling_ae_title))?)));
        match answer {
            Ok(((acceptance, contexts), place)) => {
                wire.limit(largest_pdu(&request.user_variables));
                wire.send(&Pdu::AssociationAC(acceptance)).await?;
                let calling_ae = request.calling_ae_title.trim().to_owned();
                Ok(Some((calling_ae, contexts, place)))
            }
            Err(rejection) => {
                let (peer, advice) = (caller.address, rejection.whose_move().advice());
                let calling = request.calling_ae_title.trim();
                tracing::warn!(%peer, ?calling, "association rejected: {rejection}; {advice}");
                wire.send(&Pdu::AssociationRJ(rejection.pdu())).await?;
                wire.part().await;
                Ok(None)
            }
        }
    }
}
