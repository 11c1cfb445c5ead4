//! The DICOM listener: C-STORE and C-ECHO as a service class provider (PS3.4 annex B, PS3.4 annex A).
//!
//! Every request gets an answer with a status, also a refused one; the link is dropped only when its bytes cannot be
//! understood, or when it has been silent for too long. What is stored is the spool's business, when a series is complete
//! the assembler's.

use super::message::{Inbox, Landed};
use super::negotiate::{self, Contexts};
use super::spool::Spool;
use super::{AssociationId, Event};
use crate::dimse::{self, Request, Status};
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, PDU_HEADER_SIZE, PDataValue, PDataValueType, Pdu,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Largest PDU we take: the value DCMTK and dcm4che reach at most; beyond, throughput no longer grows (dicom-peers 2).
pub const MAX_PDU_BYTES: u32 = 131_072;
/// Largest A-ASSOCIATE-RQ: 128 contexts with a few transfer syntaxes each need 30 KiB.
const MAX_REQUEST_BYTES: u32 = 64 << 10;
/// ARTIM (PS3.8 9.1.5): a connection that does not ask for an association holds a place for nothing.
const ARTIM: Duration = Duration::from_secs(10);
/// Silence inside a message: no scanner pauses within an image for so long; the memory of the message is wanted back.
const MESSAGE_IDLE: Duration = Duration::from_secs(30);
/// Silence between messages: consoles keep an association open over the pauses of a protocol.
const ASSOCIATION_IDLE: Duration = Duration::from_secs(300);
/// A peer that does not read our few bytes is gone.
const SEND: Duration = Duration::from_secs(30);
/// Memory of all messages being received, in MiB: two of the largest pixel data, a sixth of the budget of a job.
const MEMORY_MIB: usize = 1024;
/// Connections that are told "full" at the same time; more are closed unanswered.
const MAX_REJECTIONS: usize = 16;
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
    /// Refuse associations that call another AE title. Off by default: titles are no authentication, and a wrong one
    /// is the most frequent reason why a first test fails.
    pub require_called_ae_title: bool,
    /// Associations at the same time; a console uses one to four.
    pub max_associations: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            // All interfaces: a scanner is another machine. 11112 is the port registered for DICOM (PS3.8 9.1.1).
            bind: SocketAddr::from(([0, 0, 0, 0], 11112)),
            ae_title: AE_TITLE.to_owned(),
            require_called_ae_title: false,
            max_associations: 16,
        }
    }
}

/// Why an association ended without release.
#[derive(Debug, Error)]
enum Broken {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the peer aborted")]
    Aborted,
    #[error("the peer was silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("a PDU of {0} bytes is larger than negotiated")]
    PduTooLarge(u32),
    #[error("a PDU cannot be read")]
    BadPdu,
    #[error("a PDU that does not belong here")]
    UnexpectedPdu,
    #[error("the message cannot be understood: {0}")]
    BadMessage(#[from] super::message::MessageError),
    #[error("the service is stopping")]
    Stopping,
}

/// What all associations share.
struct Receiver {
    settings: Settings,
    spool: Arc<Spool>,
    events: mpsc::Sender<Event>,
    /// One permit is a MiB of message.
    memory: Arc<Semaphore>,
    next: AtomicU64,
}

/// Accepts associations until `shutdown` becomes true (or its sender is gone), then waits for the open ones, which
/// abort at the next PDU. An instance is durable and its [`Event`] sent before its C-STORE is answered with success; a
/// full `events` channel delays answers, so a slow consumer slows the sender down and nothing is lost.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    spool: Arc<Spool>,
    events: mpsc::Sender<Event>,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.max_associations));
    let rejections = Arc::new(Semaphore::new(MAX_REJECTIONS));
    let memory = Arc::new(Semaphore::new(MEMORY_MIB));
    let receiver = Arc::new(Receiver { settings, spool, events, memory, next: AtomicU64::new(1) });
    let mut associations = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped(&mut shutdown) => break,
        };
        while associations.try_join_next().is_some() {}
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let (receiver, shutdown) = (Arc::clone(&receiver), shutdown.clone());
            associations.spawn(async move { receiver.associate(socket, shutdown, place).await });
        } else if let Ok(place) = Arc::clone(&rejections).try_acquire_owned() {
            associations.spawn(reject_full(socket, place));
        }
    }
    while associations.join_next().await.is_some() {}
}

/// Resolves when the service stops.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody could stop us any more, so stop.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Tells a peer that all places are taken.
async fn reject_full(socket: TcpStream, _place: OwnedSemaphorePermit) {
    let mut wire = Wire::new(socket);
    if let Ok(Pdu::AssociationRQ(_)) = wire.receive(MAX_REQUEST_BYTES, ARTIM).await {
        tracing::warn!("association rejected: all places are taken");
        // The peer may be gone already: nothing is lost then.
        let _ = wire.send(&Pdu::AssociationRJ(negotiate::full())).await;
    }
}

impl Receiver {
    /// One connection from its first byte to its end.
    async fn associate(
        self: Arc<Self>,
        socket: TcpStream,
        mut shutdown: watch::Receiver<bool>,
        _place: OwnedSemaphorePermit,
    ) {
        let mut wire = Wire::new(socket);
        let contexts = match self.establish(&mut wire).await {
            Ok(Some(contexts)) => contexts,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a connection made no association");
                return;
            }
        };
        let id = AssociationId(self.next.fetch_add(1, Ordering::Relaxed));
        tracing::debug!(association = id.0, contexts = contexts.len(), "association open");
        let ended = tokio::select! {
            ended = self.converse(&mut wire, id, contexts) => ended,
            _ = stopped(&mut shutdown) => Err(Broken::Stopping),
        };
        let event = match ended {
            Ok(()) => Event::Released(id),
            Err(error) => {
                tracing::warn!(association = id.0, %error, "association ended without release");
                if !matches!(error, Broken::Aborted | Broken::Io(_)) {
                    wire.abort().await;
                }
                Event::Aborted(id)
            }
        };
        // A closed channel means that the service is stopping.
        let _ = self.events.send(event).await;
    }

    /// Negotiates; `None` when the request was rejected.
    async fn establish(&self, wire: &mut Wire) -> Result<Option<Contexts>, Broken> {
        let Pdu::AssociationRQ(request) = wire.receive(MAX_REQUEST_BYTES, ARTIM).await? else {
            wire.abort().await;
            return Err(Broken::UnexpectedPdu);
        };
        match negotiate::answer(&request, &self.settings) {
            Ok((acceptance, contexts)) => {
                wire.send(&Pdu::AssociationAC(acceptance)).await?;
                Ok(Some(contexts))
            }
            Err(rejection) => {
                tracing::warn!(reason = %rejection.source, "association rejected");
                wire.send(&Pdu::AssociationRJ(rejection)).await?;
                Ok(None)
            }
        }
    }

    /// Messages until the peer releases the association.
    async fn converse(
        &self,
        wire: &mut Wire,
        id: AssociationId,
        contexts: Contexts,
    ) -> Result<(), Broken> {
        let mut inbox = Inbox::new(contexts, Arc::clone(&self.memory));
        loop {
            let patience = if inbox.is_empty() { ASSOCIATION_IDLE } else { MESSAGE_IDLE };
            match wire.receive(MAX_PDU_BYTES, patience).await? {
                Pdu::PData { data } => {
                    for value in data {
                        let Some(message) = inbox.take(value)? else { continue };
                        let context = message.context_id;
                        if let Some(response) = self.answer(id, message).await {
                            wire.send(&response_pdu(context, response)).await?;
                        }
                    }
                }
                Pdu::ReleaseRQ => return wire.send(&Pdu::ReleaseRP).await,
                Pdu::AbortRQ { .. } => return Err(Broken::Aborted),
                _ => return Err(Broken::UnexpectedPdu),
            }
        }
    }

    /// The response to a whole message; `None` for what has none.
    async fn answer(&self, id: AssociationId, message: super::message::Message) -> Option<Vec<u8>> {
        let request = message.request.clone();
        match request.field {
            dimse::C_ECHO => Some(request.response(Status::Success, None)),
            dimse::C_CANCEL => None,
            dimse::C_STORE => Some(self.store(id, &request, message).await),
            _ => Some(request.response(Status::UnrecognizedOperation, None)),
        }
    }

    async fn store(
        &self,
        id: AssociationId,
        request: &Request,
        message: super::message::Message,
    ) -> Vec<u8> {
        let spool = Arc::clone(&self.spool);
        // fsync blocks: not on a worker that other associations wait for.
        let landed = tokio::task::spawn_blocking(move || message.land(&spool, id)).await;
        match landed {
            Ok(Ok(Landed::Image(arrival))) => {
                tracing::debug!(association = id.0, job = %arrival.job, "instance stored");
                // A closed channel means that the service is stopping; the spool has it for the next start.
                let _ = self.events.send(Event::Arrived(arrival)).await;
                request.response(Status::Success, None)
            }
            Ok(Ok(Landed::Ignored)) => request.response(Status::Success, None),
            Ok(Err(refusal)) => {
                tracing::warn!(
                    association = id.0,
                    status = format_args!("{:#06x}", refusal.status() as u16),
                    error = %refusal,
                    advice = refusal.whose_move().advice(),
                    "instance refused"
                );
                request.response(refusal.status(), Some(&refusal.comment()))
            }
            Err(panicked) => {
                tracing::error!(association = id.0, error = %panicked, "storing an instance failed");
                request.response(Status::OutOfResources, Some("internal error"))
            }
        }
    }
}

fn response_pdu(presentation_context_id: u8, data: Vec<u8>) -> Pdu {
    let value = PDataValue {
        presentation_context_id,
        value_type: PDataValueType::Command,
        is_last: true,
        data,
    };
    Pdu::PData { data: vec![value] }
}

/// PDUs over a socket: bounded before they are read, one write each.
struct Wire {
    socket: BufReader<TcpStream>,
    pdu: Vec<u8>,
}

impl Wire {
    fn new(socket: TcpStream) -> Wire {
        // Without it a delayed acknowledgement costs 40 ms an image (scanner-side section 3.1). It cannot fail on an
        // open socket, and a closed one is found out by the first read.
        let _ = socket.set_nodelay(true);
        Wire { socket: BufReader::with_capacity(MAX_PDU_BYTES as usize, socket), pdu: Vec::new() }
    }

    /// The next PDU, of at most `limit` bytes and within `patience`.
    async fn receive(&mut self, limit: u32, patience: Duration) -> Result<Pdu, Broken> {
        timeout(patience, self.read(limit)).await.map_err(|_| Broken::Silent(patience))?
    }

    async fn read(&mut self, limit: u32) -> Result<Pdu, Broken> {
        // A sender with Nagle's algorithm on holds its last bytes back until we acknowledge the ones before: do so at once,
        // and say so again for every PDU, because the system forgets it.
        let _ = self.socket.get_ref().set_quickack(true);
        let mut header = [0; PDU_HEADER_SIZE as usize];
        self.socket.read_exact(&mut header).await?;
        let [_, _, a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > limit {
            return Err(Broken::PduTooLarge(length));
        }
        self.pdu.clear();
        self.pdu.extend_from_slice(&header);
        self.pdu.resize(header.len() + length as usize, 0);
        self.socket.read_exact(&mut self.pdu[header.len()..]).await?;
        match dicom_ul::pdu::read_pdu(self.pdu.as_slice(), limit, true) {
            Ok(Some(pdu)) => Ok(pdu),
            Ok(None) | Err(_) => Err(Broken::BadPdu),
        }
    }

    async fn send(&mut self, pdu: &Pdu) -> Result<(), Broken> {
        let mut bytes = Vec::with_capacity(512);
        dicom_ul::pdu::write_pdu(&mut bytes, pdu).map_err(|_| Broken::BadPdu)?;
        let sent = timeout(SEND, self.socket.write_all(&bytes)).await;
        Ok(sent.map_err(|_| Broken::Silent(SEND))??)
    }

    /// A-ABORT from the provider; whether it arrives does not matter.
    async fn abort(&mut self) {
        let reason = AbortRQServiceProviderReason::ReasonNotSpecified;
        let source = AbortRQSource::ServiceProvider(reason);
        let _ = self.send(&Pdu::AbortRQ { source }).await;
        let _ = self.socket.shutdown().await;
    }
}
