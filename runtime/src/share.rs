//! A share of the memory that connections have together, in permits of a semaphore; free again when dropped.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module; the default holds nothing.
#[derive(Debug, Default)]
pub struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    /// Grows to as many permits; `false`, and nothing is taken, where fewer are left.
    #[must_use]
    pub fn grow_to(&mut self, permits: usize, memory: &Arc<Semaphore>) -> bool {
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if permits <= held {
            return true;
        }
        match Arc::clone(memory).try_acquire_many_owned((permits - held) as u32) {
            Ok(more) => {
                self.join(Share(Some(more)));
                true
            }
            Err(_) => false,
        }
    }

    /// Takes over what another one holds.
    pub fn join(&mut self, other: Share) {
        match (&mut self.0, other.0) {
            (Some(own), Some(more)) => own.merge(more),
            (own @ None, more) => *own = more,
            (Some(_), None) => {}
        }
    }
}
