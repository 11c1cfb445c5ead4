//! The DICOM listener: who connects, how securely, and in which contexts it may talk. What is said then is
//! `conversation`'s.
//!
//! Every request gets an answer with a status, also a refused one; the link is dropped only when its bytes cannot be
//! understood, or when it has been silent for too long. What is stored is the spool's business, when a series is complete
//! the assembler's.

use super::commitment::Commitments;
use super::conversation::Conversation;
use super::mpps::Steps;
use super::negotiate::{self, Contexts};
use super::peers::{Caller, Peer, Place, Register};
use super::spool::Spool;
use super::{AssociationId, Event};
use crate::error::Move;
use crate::tls::Tls;
use crate::tls::certificate::{self, Certificate};
use crate::wire::requestor::largest_pdu;
use crate::wire::{MAX_ASSOCIATE_BYTES, Stream, Wire, WireError};
use dicom_ul::pdu::Pdu;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

/// ARTIM (PS3.8 9.1.5): a connection that does not ask for an association holds a place for nothing.
const ARTIM: Duration = Duration::from_secs(10);
/// Memory of all messages being received, in MiB: two of the largest pixel data, a sixth of the budget of a job.
const MEMORY_MIB: usize = 1024;
/// Connections without an association: who asks for one while all are taken is told so. More wait in the system's queue,
/// no longer than [`ARTIM`].
const MAX_WAITING: usize = 16;
/// Wait after a failed accept (out of file descriptors): a loop without it would take a whole core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Our AE title unless configured.
pub const AE_TITLE: &str = "SAGITTA";

/// Settings of the listener; the table `[dicom]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub bind: SocketAddr,
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
    #[error("{0}")]
    Insecure(std::io::Error),
    #[error("the message cannot be understood: {0}")]
    BadMessage(#[from] super::message::MessageError),
    #[error("the service is stopping")]
    Stopping,
}

/// What the listener needs of the service.
#[derive(Debug)]
pub struct Services {
    pub settings: Settings,
    /// `None`: in plain.
    pub tls: Option<Tls>,
    pub spool: Arc<Spool>,
    pub steps: Steps,
    /// `None`: the class is not accepted.
    pub commitments: Option<Arc<Commitments>>,
    pub events: mpsc::Sender<Event>,
}

/// What all associations share.
pub(super) struct Receiver {
    settings: Settings,
    register: Arc<Register>,
    tls: Option<TlsAcceptor>,
    pub(super) spool: Arc<Spool>,
    pub(super) steps: Arc<Steps>,
    pub(super) commitments: Option<Arc<Commitments>>,
    pub(super) events: mpsc::Sender<Event>,
    /// One permit is a MiB of message.
    pub(super) memory: Arc<Semaphore>,
    next: AtomicU64,
}

/// Accepts associations until `shutdown` becomes true (or its sender is gone), then waits for the open ones, which
/// abort at the next PDU. An instance is durable and its [`Event`] sent before its C-STORE is answered with success; a
/// full `events` channel delays answers, so a slow consumer slows the sender down and nothing is lost.
pub async fn serve(listener: TcpListener, services: Services, mut shutdown: watch::Receiver<bool>) {
    let Services { settings, tls, spool, steps, commitments, events } = services;
    let (tls, steps) = (tls.map(|tls| tls.acceptor()), Arc::new(steps));
    let connections = Arc::new(Semaphore::new(settings.max_associations + MAX_WAITING));
    let memory = Arc::new(Semaphore::new(MEMORY_MIB));
    let register = Register::new(
        settings.peers.clone(),
        settings.max_associations,
        settings.max_associations_per_peer,
    );
    let (register, next) = (Arc::new(register), AtomicU64::new(1));
    let receiver =
        Receiver { settings, register, tls, spool, steps, commitments, events, memory, next };
    let receiver = Arc::new(receiver);
    let mut associations = JoinSet::new();
    loop {
        let (connection, accepted) = tokio::select! {
            next = next_connection(&listener, &connections) => next,
            _ = stopped(&mut shutdown) => break,
        };
        while associations.try_join_next().is_some() {}
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (receiver, shutdown) = (Arc::clone(&receiver), shutdown.clone());
        associations.spawn(async move {
            receiver.associate(socket, address.ip().to_canonical(), shutdown).await;
            drop(connection);
        });
    }
    while associations.join_next().await.is_some() {}
}

/// A connection, when there is room for one.
async fn next_connection(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, std::io::Result<(TcpStream, SocketAddr)>) {
    // The semaphore is never closed.
    let connection = Arc::clone(connections).acquire_owned().await.ok();
    (connection, listener.accept().await)
}

/// Resolves when the service stops.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody could stop us any more, so stop.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

impl Receiver {
    /// The PDUs of a connection, once it is as secure as the site wants it, and what the peer has shown for that.
    async fn open(&self, socket: TcpStream) -> Result<(Wire, Option<Certificate>), Broken> {
        let Some(acceptor) = &self.tls else { return Ok((Wire::new(Stream::Plain(socket)), None)) };
        let secured = timeout(ARTIM, acceptor.accept(socket)).await;
        let secured = secured.map_err(|_| WireError::Silent(ARTIM))?.map_err(Broken::Insecure)?;
        let shown = secured.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.and_then(|der| certificate::read(der));
        Ok((Wire::new(Stream::Tls(Box::new(TlsStream::Server(secured)))), certificate))
    }

    /// One connection from its first byte to its end.
    async fn associate(
        self: Arc<Self>,
        socket: TcpStream,
        address: IpAddr,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let (mut wire, certificate) = match self.open(socket).await {
            Ok(opened) => opened,
            Err(error) => {
                let advice = Move::Peer.advice();
                return tracing::warn!(peer = %address, "no secure connection: {error}; {advice}");
            }
        };
        let caller = Caller { address, certificate };
        let (calling_ae, contexts, place) = match self.establish(&mut wire, &caller).await {
            Ok(Some(established)) => established,
            Ok(None) => return,
            Err(error) => {
                return tracing::debug!(peer = %address, %error, "a connection made no association");
            }
        };
        let id = AssociationId(self.next.fetch_add(1, Ordering::Relaxed));
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

    async fn tell(&self, event: Event) {
        // A closed channel means that the service is stopping.
        let _ = self.events.send(event).await;
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
        let answer = negotiate::answer(&request, &self.settings).and_then(|answer| {
            Ok((answer, self.register.enter(caller, &request.calling_ae_title)?))
        });
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
