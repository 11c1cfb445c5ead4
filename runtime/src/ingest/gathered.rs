//! Bytes that come in parts and are wanted whole, within the memory that all connections share.

use super::instance::Refused;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MIB: usize = 1 << 20;

/// What has come so far, or why it was discarded. Patient data: [`std::fmt::Debug`] leaves it out.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    refused: Option<Refused>,
    /// The share of the memory this holds: one permit for each MiB.
    memory: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gathered({} bytes)", self.bytes.len())
    }
}

impl Gathered {
    /// Adds a part, or gives all up where it grows beyond `largest` or the memory that is left.
    pub fn append(&mut self, part: &[u8], largest: usize, memory: &Arc<Semaphore>) {
        if self.refused.is_some() {
            return;
        }
        let length = self.bytes.len() + part.len();
        let held = self.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = length.div_ceil(MIB);
        if length > largest {
            self.give_up(Refused::TooLarge(largest));
            return;
        }
        if wanted > held {
            match Arc::clone(memory).try_acquire_many_owned((wanted - held) as u32) {
                Err(_) => return self.give_up(Refused::NoMemory),
                Ok(more) => match &mut self.memory {
                    Some(memory) => memory.merge(more),
                    empty => *empty = Some(more),
                },
            }
        }
        self.bytes.extend_from_slice(part);
    }

    fn give_up(&mut self, refused: Refused) {
        *self = Gathered { refused: Some(refused), ..Gathered::default() };
    }

    /// All of it; the memory is held as long as the guard.
    pub fn whole(self) -> Result<(Vec<u8>, impl Send + use<>), Refused> {
        match self.refused {
            Some(refused) => Err(refused),
            None => Ok((self.bytes, self.memory)),
        }
    }
}
