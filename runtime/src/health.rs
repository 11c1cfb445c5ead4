//! Whether the service makes progress: what a heartbeat stands for.
//!
//! A part is well while it rests, or when its work moved on within its limit. A part whose thread ended before its time is
//! not. What waits for somebody else (a broker of the site, a PACS that is away) is no fault of ours: a reset would not mend
//! it. Decides nothing; `supervise` holds heartbeats back.

use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What can get stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The executor of listeners, senders and page.
    Executor,
    /// The DICOM listener.
    Ingest,
    /// Instances to series.
    Assemble,
    /// Series to results.
    Jobs,
    /// Results to their destinations.
    Deliveries,
    /// The broker in this process, and the task that drains the outbox.
    Broker,
}

impl Part {
    pub const ALL: [Part; 6] =
        [Part::Executor, Part::Ingest, Part::Assemble, Part::Jobs, Part::Deliveries, Part::Broker];

    /// How long one step may take, where steps are told: of listener and broker only their end is.
    fn limit(self) -> Duration {
        match self {
            // Nothing on it blocks; a machine that swaps may be late.
            Part::Executor => Duration::from_secs(20),
            // Writes and syncs a few small files an event.
            Part::Assemble => Duration::from_secs(60),
            // The longest stage of the largest series admitted, on two slow cores, takes two minutes.
            Part::Jobs => Duration::from_secs(600),
            // One delivery: several hundred objects to a PACS that takes a second for each.
            Part::Deliveries => Duration::from_secs(1_800),
            Part::Ingest | Part::Broker => Duration::MAX,
        }
    }
}

/// One part's last step. Zero: it rests.
#[derive(Debug, Default)]
struct Pulse {
    since_ms: AtomicU64,
    gone: AtomicBool,
}

/// The pulses of all parts. Several hands may work on one part; the last step of any counts.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    pulses: [Pulse; Part::ALL.len()],
}

impl Default for Health {
    fn default() -> Self {
        Health { started: Instant::now(), pulses: Default::default() }
    }
}

impl Health {
    pub fn new() -> Arc<Health> {
        Arc::default()
    }

    /// The hand of one who works on `part`.
    pub fn hand(self: &Arc<Health>, part: Part) -> Hand {
        Hand { health: self.clone(), part }
    }

    /// The first part that makes no progress.
    pub fn stuck(&self) -> Option<Part> {
        self.stuck_at(self.now_ms())
    }

    fn stuck_at(&self, now_ms: u64) -> Option<Part> {
        Part::ALL.into_iter().find(|&part| {
            let pulse = self.pulse(part);
            let since = pulse.since_ms.load(Ordering::Relaxed);
            let late = u128::from(now_ms.saturating_sub(since)) > part.limit().as_millis();
            pulse.gone.load(Ordering::Relaxed) || since != 0 && late
        })
    }

    fn pulse(&self, part: Part) -> &Pulse {
        &self.pulses[part as usize]
    }

    /// Milliseconds since the start, from 1: zero means rest.
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }
}

/// Says how a part gets on.
#[derive(Debug)]
pub struct Hand {
    health: Arc<Health>,
    part: Part,
}

impl Hand {
    /// Work begins or moved on.
    pub fn moves(&self) {
        let now_ms = self.health.now_ms();
        self.health.pulse(self.part).since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Work begins, unless it is under way already.
    pub fn begins(&self) {
        let since = &self.health.pulse(self.part).since_ms;
        // The earlier beginning counts.
        let _ =
            since.compare_exchange(0, self.health.now_ms(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Nothing is to be done, or it is somebody else's move.
    pub fn rests(&self) {
        self.health.pulse(self.part).since_ms.store(0, Ordering::Relaxed);
    }
}

impl Drop for Hand {
    /// Whoever worked here is gone; in an orderly end nobody asks any more.
    fn drop(&mut self) {
        self.health.pulse(self.part).gone.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_well_while_it_rests_or_moves() {
        for part in [Part::Executor, Part::Assemble, Part::Jobs, Part::Deliveries] {
            let health = Health::new();
            let hand = health.hand(part);
            let limit = part.limit().as_millis() as u64;
            assert_eq!(health.stuck_at(u64::MAX), None, "{part:?} rests");
            hand.moves();
            let now = health.now_ms();
            assert_eq!(health.stuck_at(now + limit - 1_000), None, "{part:?}");
            assert_eq!(health.stuck_at(now + limit + 1_000), Some(part));
            hand.rests();
            assert_eq!(health.stuck_at(u64::MAX), None, "{part:?} rests again");
            hand.begins();
            let since = health.pulse(part).since_ms.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
            hand.begins();
            assert_eq!(health.pulse(part).since_ms.load(Ordering::Relaxed), since, "no new start");
        }
    }

    #[test]
    fn a_hand_that_is_gone_is_missed() {
        let health = Health::new();
        drop(health.hand(Part::Jobs));
        assert_eq!(health.stuck(), Some(Part::Jobs));
        let worker = health.hand(Part::Assemble);
        let panicked = std::thread::spawn(move || {
            worker.moves();
            panic!("a fault of ours");
        });
        assert!(panicked.join().is_err());
        assert_eq!(health.stuck(), Some(Part::Assemble), "the first in order");
    }
}
