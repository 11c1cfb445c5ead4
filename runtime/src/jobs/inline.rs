//! A series whose sender waits for the result on its own connection: nothing of it goes to the disk, and nobody else is told.

use super::Bench;
use crate::error::Move;
use crate::identity::{JobId, Provenance};
use pipeline::{SegmentError, Segmentation, Series};
use std::panic::AssertUnwindSafe;
use tokio::sync::oneshot;

/// A series to work on, and where its result is waited for.
#[derive(Debug)]
pub struct Inline {
    pub id: JobId,
    pub series: Series,
    pub answer: oneshot::Sender<Result<Answer, SegmentError>>,
}

/// What came out.
#[derive(Debug)]
pub struct Answer {
    pub series: Series,
    pub segmentation: Segmentation,
    pub provenance: Provenance,
}

impl Inline {
    /// A panic is our bug: it ends the job, and who waits learns it by the end of the channel.
    pub(super) fn work(self, bench: &mut Bench) {
        let Inline { id, series, answer } = self;
        if answer.is_closed() {
            return tracing::warn!(job = %id, "left out: nobody waits for it any more");
        }
        let hand = bench.hand.clone();
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            bench.workshop.answer(&series, &mut || hand.moves())
        }));
        let Ok(segmented) = worked else {
            return tracing::error!(job = %id, "the job panicked: {}", Move::Sagitta.advice());
        };
        let made =
            segmented.map(|(segmentation, provenance)| Answer { series, segmentation, provenance });
        if answer.send(made).is_err() {
            tracing::warn!(job = %id, "segmented too late: nobody waits for it any more");
        }
    }
}
