//! What all ways in share: who may come in and how securely, the memory of what is under way, where instances land.

use super::association::Settings;
use super::commitment::Commitments;
use super::mpps::Steps;
use super::negotiate::Rejection;
use super::peers::{Caller, Place, Register};
use super::spool::Spool;
use super::{Admission, AssociationId, Counts, Event};
use crate::error::Move;
use crate::tls::Tls;
use crate::tls::certificate::{self, Certificate};
use crate::wire::{self, Stream};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

/// ARTIM (PS3.8 9.1.5): a connection that does not ask for anything holds a place for nothing.
pub(super) const ARTIM: Duration = Duration::from_secs(10);
/// Memory of all messages being received, in MiB: two of the largest pixel data, a sixth of the budget of a job.
const MEMORY_MIB: usize = 1024;
/// Connections without an association: who asks for one while all are taken is told so. More wait in the system's queue,
/// no longer than [`ARTIM`].
const MAX_WAITING: usize = 16;

/// What the receiver needs of the service.
#[derive(Debug)]
pub struct Services {
    pub settings: Settings,
    pub admission: Arc<Admission>,
    /// `None`: in plain.
    pub tls: Option<Tls>,
    pub spool: Arc<Spool>,
    pub steps: Steps,
    /// `None`: the class is not accepted.
    pub commitments: Option<Arc<Commitments>>,
    pub counts: Arc<Counts>,
    pub events: mpsc::Sender<Event>,
}

/// See the module.
pub struct Receiver {
    pub(super) settings: Settings,
    admission: Arc<Admission>,
    register: Arc<Register>,
    tls: Option<TlsAcceptor>,
    pub(super) spool: Arc<Spool>,
    pub(super) steps: Arc<Steps>,
    pub(super) commitments: Option<Arc<Commitments>>,
    pub(super) counts: Arc<Counts>,
    events: mpsc::Sender<Event>,
    /// One permit is a MiB of message.
    pub(super) memory: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    next: AtomicU64,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Receiver {
    pub fn new(services: Services) -> Arc<Receiver> {
        let Services { settings, admission, tls, spool, steps, commitments, counts, events } =
            services;
        let register = Register::new(
            settings.peers.clone(),
            settings.max_associations,
            settings.max_associations_per_peer,
        );
        Arc::new(Receiver {
            admission,
            register: Arc::new(register),
            tls: tls.map(|tls| tls.acceptor()),
            spool,
            steps: Arc::new(steps),
            commitments,
            counts,
            events,
            memory: Arc::new(Semaphore::new(MEMORY_MIB)),
            connections: Arc::new(Semaphore::new(settings.max_associations + MAX_WAITING)),
            next: AtomicU64::new(1),
            settings,
        })
    }

    /// A place for who calls, as [`Register::enter`] gives it.
    pub(super) fn enter(
        &self,
        caller: &Caller,
        calling_ae: Option<&str>,
    ) -> Result<Place, Rejection> {
        if self.admission.is_draining() {
            return Err(Rejection::Draining);
        }
        self.register.enter(caller, calling_ae)
    }

    /// Hands each connection of a listener to `handle` until `shutdown` becomes true (or its sender is gone), then waits for
    /// those that are open.
    pub(super) async fn each<F: Future<Output = ()> + Send + 'static>(
        self: Arc<Self>,
        listener: TcpListener,
        mut shutdown: watch::Receiver<bool>,
        handle: impl Fn(TcpStream, IpAddr) -> F,
    ) {
        let mut open = JoinSet::new();
        loop {
            let (socket, peer, connection) = tokio::select! {
                accepted = self.accept(&listener) => accepted,
                _ = stopped(&mut shutdown) => break,
            };
            while open.try_join_next().is_some() {}
            let handled = handle(socket, peer);
            open.spawn(async move {
                handled.await;
                drop(connection);
            });
        }
        while open.join_next().await.is_some() {}
    }

    /// The next connection, when there is room for one: until the permit is dropped it takes it.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
        // The semaphore is never closed.
        let connection = Arc::clone(&self.connections).acquire_owned().await.ok();
        let (socket, peer) = wire::accept(listener).await;
        (socket, peer, connection)
    }

    /// A connection once it is as secure as the site wants it, and what the peer has shown for that; `None`, and a line in
    /// the log, where it could not be made so.
    pub(super) async fn secure(
        &self,
        socket: TcpStream,
        peer: IpAddr,
    ) -> Option<(Stream, Option<Certificate>)> {
        let Some(acceptor) = &self.tls else { return Some((Stream::Plain(socket), None)) };
        let secured = match timeout(ARTIM, acceptor.accept(socket)).await {
            Ok(secured) => secured,
            Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late)),
        };
        match secured {
            Ok(secured) => {
                let shown = secured.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.and_then(|der| certificate::read(der));
                Some((Stream::Tls(Box::new(TlsStream::Server(secured))), certificate))
            }
            Err(error) => {
                let advice = Move::Peer.advice();
                tracing::warn!(%peer, "no secure connection: {error}; {advice}");
                None
            }
        }
    }

    /// The number of a new association.
    pub(super) fn begin(&self) -> AssociationId {
        AssociationId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn tell(&self, event: Event) {
        // A closed channel means that the service is stopping; the spool has what came for the next start.
        let _ = self.events.send(event).await;
    }
}

/// Resolves when the service stops.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody could stop us any more, so stop.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
