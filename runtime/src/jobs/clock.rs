//! Times the stages of one job.

use crate::messages::{JobStage, Timings};
use std::time::{Duration, Instant};

/// A stop-watch over the stages: beginning one ends the one before.
#[derive(Debug)]
pub struct StageClock {
    timings: Timings,
    running: Option<(JobStage, Instant)>,
}

impl StageClock {
    /// For a job whose series waited so long for the decision that it is complete.
    pub fn new(waited: Duration) -> StageClock {
        let mut timings = Timings::default();
        timings.add(JobStage::Complete, waited);
        StageClock { timings, running: None }
    }

    /// For work without a service: nothing was waited for.
    pub fn idle() -> StageClock {
        StageClock { timings: Timings::default(), running: None }
    }

    pub fn begin(&mut self, stage: JobStage, tell: &mut dyn FnMut(JobStage)) {
        self.end();
        self.running = Some((stage, Instant::now()));
        tell(stage);
    }

    pub fn end(&mut self) {
        if let Some((stage, since)) = self.running.take() {
            self.timings.add(stage, since.elapsed());
        }
    }

    pub fn timings(&self) -> &Timings {
        &self.timings
    }
}
