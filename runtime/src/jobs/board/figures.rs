//! What the board counts for health: ends of jobs, their times, the engine at work.

use crate::messages::{
    Degraded, Engine, JobStage, JobState, Latencies, Passed, Percentiles, SelfTest, Timings,
};
use std::collections::VecDeque;
use std::time::Instant;

/// Jobs whose times are kept: a day of a busy scanner.
const JOBS: usize = 200;

/// Since the service started.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub done: u64,
    pub refused: u64,
    pub failed: u64,
    pub engine: Option<Engine>,
    /// The engine that should be at work and is not.
    pub fallback: Option<Passed>,
    pub self_test: SelfTest,
    /// When it ended.
    pub self_tested: Option<Instant>,
    last: VecDeque<Timings>,
}

impl Figures {
    /// Why no results are made.
    pub fn degraded(&self) -> Option<Degraded> {
        (self.self_test == SelfTest::Failed).then_some(Degraded::SelfTest)
    }

    /// A job came to an end or moved on.
    pub(super) fn count(&mut self, state: JobState) {
        match state {
            JobState::Refused { .. } => self.refused += 1,
            JobState::Failed { .. } => self.failed += 1,
            _ => {}
        }
    }

    /// A job with a result is over.
    pub(super) fn end(&mut self, state: JobState, timings: &Timings) {
        self.count(state);
        self.done += u64::from(state == JobState::Done);
        if self.last.len() == JOBS {
            self.last.pop_front();
        }
        self.last.push_back(timings.clone());
    }

    /// Of every stage of the last jobs, and of their sums.
    pub fn latencies(&self) -> Latencies {
        let of = |stage: JobStage| {
            let in_stage = |timings: &Timings| {
                timings.stages().iter().find(|(s, _)| *s == stage).map(|&(_, ms)| ms)
            };
            percentiles(self.last.iter().filter_map(in_stage).collect()).map(|of| (stage, of))
        };
        let total = percentiles(self.last.iter().map(Timings::total_ms).collect());
        Latencies { stages: JobStage::ALL.into_iter().filter_map(of).collect(), total }
    }
}

/// Nearest ranks; `None` without values.
fn percentiles(mut values: Vec<f64>) -> Option<Percentiles> {
    values.sort_by(f64::total_cmp);
    let rank = |percent: usize| values[(values.len() * percent).div_ceil(100) - 1];
    (!values.is_empty()).then(|| Percentiles { p50: rank(50), p95: rank(95), p99: rank(99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let hundred = (1..=100).rev().map(f64::from).collect();
        let of = percentiles(hundred).unwrap();
        assert_eq!((of.p50, of.p95, of.p99), (50.0, 95.0, 99.0));
        let of = percentiles(vec![7.0]).unwrap();
        assert_eq!((of.p50, of.p95, of.p99), (7.0, 7.0, 7.0));
        assert_eq!(percentiles(Vec::new()), None);
    }

    #[test]
    fn only_the_last_jobs_count() {
        let mut figures = Figures::default();
        assert_eq!(figures.latencies(), Latencies::default());
        for ms in 1..=1000 {
            let mut timings = Timings::default();
            timings.add(JobStage::Semantic, std::time::Duration::from_millis(ms));
            figures.end(JobState::Done, &timings);
        }
        let latencies = figures.latencies();
        assert_eq!((figures.done, latencies.stages.len()), (1000, 1));
        assert_eq!(latencies.stages[0].1.p50, 900.0);
        assert_eq!(latencies.total.map(|of| of.p99), Some(998.0));
    }
}
