//! Objects that go to their destinations while the rest of their result is made and written: the overlay is on the console
//! before the disk has all of it.
//!
//! The outbox stays the truth. What is sent in advance is a function of instances that are in the spool: a kill makes the series
//! run again, and it sends the same objects once more. A destination that is at work, away or fails gets all of the result by
//! its delivery, as if nothing had been sent.

use crate::objects::{OutputKind, OutputObject};
use crate::outbox::{Delivery, Handover};
use crate::publish::store::Destination;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// An object and where its delivery will find it, relative to the results folder.
pub(super) struct Sent {
    pub(super) object: Arc<OutputObject>,
    pub(super) file: PathBuf,
}

/// The objects of one result, as they are made.
pub(super) struct Offer {
    pub(super) handover: Handover,
    pub(super) kinds: Vec<OutputKind>,
    pub(super) objects: mpsc::UnboundedReceiver<Sent>,
}

/// Where the thread of a destination waits for objects while it has nothing else to do.
#[derive(Debug, Clone, Default)]
pub struct Door(Arc<Mutex<Option<oneshot::Sender<Offer>>>>);

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offer({:?})", self.handover)
    }
}

impl Door {
    /// The next result that is offered. Who waits no more drops it: nothing can be offered to one who is at work.
    pub(super) fn wait(&self) -> oneshot::Receiver<Offer> {
        let (sender, receiver) = oneshot::channel();
        *self.lock() = Some(sender);
        receiver
    }

    fn take(&self) -> Option<oneshot::Sender<Offer>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<oneshot::Sender<Offer>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The destinations that one job's objects are offered to in advance; none until [`Advance::open`].
#[derive(Debug)]
pub struct Advance<'a> {
    destinations: &'a [(Destination, Door)],
    results: &'a Path,
    handover: Option<Handover>,
    open: Vec<(&'a Destination, mpsc::UnboundedSender<Sent>)>,
}

impl<'a> Advance<'a> {
    /// Of a result that will be handed over with `handover`. `results`: what the paths of its deliveries are relative to.
    pub fn new(
        destinations: &'a [(Destination, Door)],
        results: &'a Path,
        handover: Handover,
    ) -> Advance<'a> {
        Advance { destinations, results, handover: Some(handover), open: Vec::new() }
    }

    /// Nobody waits for the objects.
    pub fn none() -> Advance<'static> {
        Advance { destinations: &[], results: Path::new(""), handover: None, open: Vec::new() }
    }

    /// Has every destination that has nothing else to do negotiate its association; how many do. Again it does nothing.
    pub fn open(&mut self) -> usize {
        let Some(handover) = self.handover.take() else { return self.open.len() };
        for (destination, door) in self.destinations.iter().filter(|(to, _)| !to.profile.is_empty())
        {
            let (sender, objects) = mpsc::unbounded_channel();
            let kinds = destination.profile.clone();
            let offer = Offer { handover: handover.clone(), kinds, objects };
            if door.take().is_some_and(|waiting| waiting.send(offer).is_ok()) {
                self.open.push((destination, sender));
            }
        }
        self.open.len()
    }

    /// Sends an object whose file will be `path` to everybody who wants it.
    pub fn send(&self, object: &Arc<OutputObject>, path: &Path) {
        let file = path.strip_prefix(self.results).unwrap_or(path);
        for (destination, sender) in &self.open {
            if destination.wants(object.kind) {
                // Who has given up gets it by the delivery.
                let _ = sender.send(Sent { object: object.clone(), file: file.to_owned() });
            }
        }
    }
}

/// What a destination has acknowledged of a result before its delivery was recorded.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) handover: Handover,
    pub(super) files: Vec<PathBuf>,
}

impl Acknowledged {
    /// Whether nothing of `delivery` is left to send.
    pub(super) fn covers(&self, delivery: &Delivery) -> bool {
        self.handover.recorded(delivery) && self.files == delivery.files
    }
}
