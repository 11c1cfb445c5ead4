//! The listener for MRD: who may connect, how many at a time, and how much memory their images have.

use super::connection::Connection;
use crate::error::Move;
use crate::ingest::Admission;
use crate::ingest::peers::Network;
use crate::jobs::Work;
use crate::wire;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at a time: a scanner has one for each measurement being reconstructed, two at most. One more is refused, so that
/// the scanner goes on.
const MAX_CONNECTIONS: usize = 8;
/// Memory of all images that are being received or answered, in KiB: 1 GiB, as much as DICOM has; a series has some 20 MB.
const MEMORY_KIB: usize = 1 << 20;

/// The table `[mrd]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where a scanner connects; nowhere when absent. 9002 is the port that scanners expect.
    pub bind: Option<SocketAddr>,
    /// Addresses and networks that may connect. None named: all.
    pub allow: Vec<Network>,
    /// A series that has no result so long after its last image gets none: the scanner waits for it.
    pub deadline_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        // A series takes seconds; a minute of waiting is what an operator bears.
        Settings { bind: None, allow: Vec::new(), deadline_ms: 60_000 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Server {
    pub(super) settings: Settings,
    admission: Arc<Admission>,
    /// The worker's queue.
    pub(super) queue: SyncSender<Work>,
    /// For the names of jobs.
    pub(super) key: Vec<u8>,
    /// One permit is a KiB of an image.
    pub(super) memory: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Server {
    pub fn new(
        settings: Settings,
        admission: Arc<Admission>,
        queue: SyncSender<Work>,
        key: Vec<u8>,
    ) -> Arc<Server> {
        let (memory, places) = (Semaphore::new(MEMORY_KIB), Semaphore::new(MAX_CONNECTIONS));
        let (memory, places) = (memory.into(), places.into());
        Arc::new(Server { settings, admission, queue, key, memory, places })
    }

    /// Serves connections until `stop` becomes true (or its sender is gone); those that are open are then cut: their images are
    /// on the scanner, and it is told by the end of the connection.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let mut open = JoinSet::new();
        let accept = async {
            loop {
                let (socket, peer) = wire::accept(&listener).await;
                self.admit(socket, peer, &mut open);
            }
        };
        tokio::select! {
            () = accept => {}
            // An error means that nobody could stop us any more.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn admit(self: &Arc<Self>, socket: TcpStream, peer: IpAddr, open: &mut JoinSet<()>) {
        while open.try_join_next().is_some() {}
        let allow = &self.settings.allow;
        if !allow.is_empty() && !allow.iter().any(|network| network.holds(peer)) {
            let advice = Move::Site.advice();
            return tracing::warn!(%peer, "MRD connection refused: [mrd] allow has no such address; {advice}");
        }
        if self.admission.is_draining() {
            let advice = Move::Site.advice();
            return tracing::warn!(%peer, "MRD connection refused: no more series are taken until a command says so; {advice}");
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let advice = Move::Peer.advice();
            return tracing::warn!(%peer, "MRD connection refused: {MAX_CONNECTIONS} are open; {advice}");
        };
        let connection = Connection { server: Arc::clone(self), peer };
        open.spawn(async move {
            connection.converse(socket).await;
            drop(place);
        });
    }
}
