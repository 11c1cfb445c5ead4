//! The self-test of the worker: before its first job, once a day between two jobs, and after a change of the engine, which a
//! build may bring. Intake goes on meanwhile. While the last one failed every job fails by name, and its series stays in the
//! spool: it runs after the start that follows the repair.

use super::Bench;
use crate::messages::SelfTest;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// Between two self-tests. Counted, not by the hour of the clock, which may be wrong; a test takes two seconds.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// The last one.
#[derive(Debug)]
pub(super) struct Tested {
    at: Instant,
    passed: bool,
    /// The engine at work then.
    engine: String,
}

impl Tested {
    /// Whether it is time for another one.
    pub(super) fn is_old(&self, bench: &Bench) -> bool {
        self.until_next().is_zero() || bench.workshop.engine().name != self.engine
    }

    pub(super) fn passed(&self) -> bool {
        self.passed
    }

    pub(super) fn until_next(&self) -> Duration {
        EVERY.saturating_sub(self.at.elapsed())
    }
}

impl Bench {
    /// Tests, and says what came out to board and log.
    pub(super) fn self_test(&mut self) -> Tested {
        let begun = Instant::now();
        self.hand.moves();
        let tested = std::panic::catch_unwind(AssertUnwindSafe(|| self.workshop.self_test()));
        let tested = tested.unwrap_or_else(|_| Err("it panicked".to_owned()));
        let engine = self.workshop.engine().name.clone();
        match &tested {
            Ok(()) => {
                let took_ms = begun.elapsed().as_millis() as u64;
                tracing::info!(%engine, took_ms, "self-test passed");
            }
            Err(reason) => tracing::error!(
                "the self-test failed: {reason}; no results are made; install the program again, then have the memory tested"
            ),
        }
        self.board.self_tested(if tested.is_ok() { SelfTest::Passed } else { SelfTest::Failed });
        if let Ok((_, engine)) = self.workshop.tags() {
            self.board.works_on(engine, self.workshop.passed());
        }
        self.hand.rests();
        Tested { at: Instant::now(), passed: tested.is_ok(), engine }
    }
}
