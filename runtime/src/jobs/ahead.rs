//! Work on a series that is still coming, while nothing else waits: the net's answers about slices whose neighbours are there.
//! What comes of it is kept with the net and changes no result; what goes wrong is told by the run of the whole series.

use super::{Bench, Work};
use crate::decode;
use crate::identity::JobId;
use pipeline::Use;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

/// A series that is coming.
#[derive(Debug)]
pub struct Ahead {
    pub id: JobId,
    /// Its instances in the spool, any order.
    pub files: Vec<PathBuf>,
    /// Nothing speaks against its being whole.
    pub whole: bool,
}

impl Ahead {
    /// Works until everything that can be is done or something else waits, which is returned.
    pub(super) fn work(self, bench: &mut Bench, queue: &Receiver<Work>) -> Option<Work> {
        let mut next = queue.try_recv().ok();
        if next.is_some() {
            return next;
        }
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut files = Vec::with_capacity(self.files.len());
            for path in &self.files {
                files.push(std::fs::read(path).ok()?);
            }
            let dicom = decode::dicom::decode(&files, Use::Exam, &bench.selection).ok()?;
            let hand = &bench.hand;
            bench.workshop.look_ahead(&dicom.series, self.whole, &mut || {
                hand.moves();
                next = queue.try_recv().ok();
                next.is_none()
            });
            Some(())
        }));
        if worked.is_err() {
            tracing::error!(job = %self.id, "work ahead panicked: a fault of Sagitta, please report it");
        }
        next
    }
}
