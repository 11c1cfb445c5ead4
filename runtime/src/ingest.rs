//! Objects in: the DICOM listener, the durable spool, and the rule by which a series is complete.
//!
//! Life of one instance: [`association`] or [`stow`] receives it, [`prescan`] and [`header`] check it, [`spool`] makes it durable,
//! only then is it acknowledged; the [`Event`]s feed [`assemble`]. Segmentation and results are somebody else's.

pub mod assemble;
pub mod association;
pub mod classes;
pub mod commitment;
mod conversation;
pub mod gathered;
pub mod header;
pub mod instance;
pub mod message;
pub mod mpps;
pub mod multipart;
pub mod negotiate;
pub mod normalized;
pub mod peers;
pub mod prescan;
pub mod receiver;
pub mod spool;
pub mod stow;

use crate::identity::JobId;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One association of this run of the service; counts up from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssociationId(pub u64);

/// Whence an instance comes.
#[derive(Debug, Clone)]
pub struct Origin {
    pub association: AssociationId,
    /// The calling AE title; where there is none (DICOMweb) the address.
    pub sender: Arc<str>,
}

/// What came by all ways in since the service started.
#[derive(Debug, Default)]
pub struct Counts {
    stored: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Instances that are durable, or were already.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// One more of the one or the other.
    fn count(&self, stored: bool) {
        let counter = if stored { &self.stored } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether series are taken: all ways in ask before they let somebody in. Who is in already may finish.
#[derive(Debug, Default)]
pub struct Admission {
    draining: AtomicBool,
}

impl Admission {
    /// Takes nobody more, or everybody again. A restart takes everybody.
    pub fn drain(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// An image instance that is durable in the spool.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// `None` when the instance was found in the spool at start.
    pub origin: Option<Origin>,
    pub job: JobId,
    pub path: PathBuf,
    pub header: header::Header,
    pub outcome: spool::Outcome,
}

/// What a performed procedure step (MPPS) lists of one series, once the step was completed.
#[derive(Debug, Clone)]
pub struct Performed {
    pub job: JobId,
    /// Where the spool keeps the listed instances, whether or not they came.
    pub paths: Vec<PathBuf>,
}

/// What the receiver tells the rest of the service, in the order in which it happened.
#[derive(Debug, Clone)]
pub enum Event {
    Arrived(Box<Arrival>),
    /// A performed procedure step was completed, with these series.
    Performed(Vec<Performed>),
    /// The peer released the association: everything it wanted to send was sent.
    Released(AssociationId),
    /// The association was aborted, broke or timed out: more may have been meant to come.
    Aborted(AssociationId),
    /// The instances of this series left the spool.
    Removed(JobId),
}
