//! A series whose sender waits for the result on its own connection: nothing of it goes to the disk but its levels. Messages and the
//! page tell of it as of any other; its result goes back first.

use super::board::Shown;
use super::clock::StageClock;
use super::{Bench, failed};
use crate::error::Move;
use crate::identity::{JobId, Provenance};
use crate::messages::{Completion, FailureCode, JobResult, JobStage};
use crate::render::Scene;
use pipeline::{Refusal, SegmentError, Segmentation, Series};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// A series to work on, and where its result is waited for.
#[derive(Debug)]
pub struct Inline {
    pub id: JobId,
    /// Its volume, or why it is none.
    pub series: Result<Series, Refusal>,
    /// Images that came.
    pub images: u32,
    /// What study and frame of reference are called on this disk, where they are known.
    pub frame: Option<String>,
    /// When the last image came.
    pub since: Instant,
    pub answer: oneshot::Sender<Result<Arc<Answer>, SegmentError>>,
}

/// What came out.
#[derive(Debug)]
pub struct Answer {
    pub series: Series,
    pub segmentation: Segmentation,
    pub provenance: Provenance,
    /// The job whose levels these are.
    pub levels_from: Option<JobId>,
}

/// Why there is no answer.
enum Failure {
    Segment(SegmentError),
    /// Our bug.
    Panic,
}

impl Inline {
    /// Works, answers, and tells. A panic is our bug: it ends the job, and who waits learns it by the end of the channel.
    pub(super) fn work(self, bench: &mut Bench) {
        let Inline { id, series, images, frame, since, answer } = self;
        let generation = bench.board.opened(&id, images, Completion::SeriesEnd);
        let series = match series {
            Ok(series) => series,
            // Who waited knows it already.
            Err(refusal) => return bench.board.refused(&id, refusal),
        };
        let late = failed(FailureCode::Deadline, Move::Site);
        if answer.is_closed() {
            tracing::warn!(job = %id, "left out: nobody waits for it any more");
            return bench.board.change(&id, late);
        }
        let mut clock = StageClock::new(since.elapsed());
        let made = bench.answer(&id, series, frame.as_deref(), &mut clock);
        clock.end();
        let made = match made {
            Ok(made) => Arc::new(made),
            Err(failure) => return bench.no_answer(&id, failure, answer),
        };
        if answer.send(Ok(made.clone())).is_err() {
            tracing::warn!(job = %id, "segmented too late: nobody waits for it any more");
            return bench.board.change(&id, late);
        }
        bench.tell_answer(&id, generation, &made, &clock);
    }
}

impl Bench {
    fn answer(
        &mut self,
        id: &JobId,
        series: Series,
        frame: Option<&str>,
        clock: &mut StageClock,
    ) -> Result<Answer, Failure> {
        let (board, hand) = (self.board.clone(), self.hand.clone());
        let mut begin = |stage: JobStage| {
            hand.moves();
            board.begin(id, stage);
        };
        let neighbours = self.levels.known_at(frame, id);
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            self.workshop.answer(&series, &neighbours, clock, &mut begin)
        }));
        let segmented = worked.map_err(|_| Failure::Panic)?;
        let (segmentation, provenance) = segmented.map_err(Failure::Segment)?;
        if let Err(error) = self.levels.keep_at(frame, id, &segmentation) {
            tracing::warn!(job = %id, "its levels cannot be kept: {error}; the site's move");
        }
        let levels_from = neighbours.source_of(segmentation.numbering).cloned();
        Ok(Answer { series, segmentation, provenance, levels_from })
    }

    fn no_answer(
        &self,
        id: &JobId,
        failure: Failure,
        answer: oneshot::Sender<Result<Arc<Answer>, SegmentError>>,
    ) {
        match failure {
            Failure::Panic => {
                tracing::error!(job = %id, "the job panicked: {}", Move::Sagitta.advice());
                self.board.change(id, failed(FailureCode::Internal, Move::Sagitta));
            }
            Failure::Segment(error) => {
                match &error {
                    SegmentError::Refused(refusal) => self.board.refused(id, refusal.clone()),
                    SegmentError::Net(_) => {
                        self.board.change(id, failed(FailureCode::Engine, Move::Sagitta));
                    }
                }
                // The scanner may have left; it is told nothing more, then.
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Numbers for everybody, a picture for the page: after the answer, because the scanner waits for that alone.
    fn tell_answer(&self, id: &JobId, generation: u32, made: &Answer, clock: &StageClock) {
        let Answer { series, segmentation, provenance, levels_from } = made;
        let (model, engine) = match self.workshop.tags() {
            Ok(tags) => tags,
            Err(error) => return tracing::error!(job = %id, "its numbers cannot be told: {error}"),
        };
        let mut result = JobResult::new(id.clone(), generation, segmentation, model, engine);
        result.stages_ms = clock.timings().clone();
        result.levels_from = levels_from.clone();
        result.fallback = self.workshop.passed();
        let scene = Arc::new(Scene::new(&series.volume, segmentation, provenance, None));
        let overview = Arc::new(scene.overlay_png());
        self.board.answered(Shown { scene, overview }, result);
    }
}
