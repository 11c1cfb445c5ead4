//! Bytes that come in parts and are wanted whole, within the memory that all connections share.

use super::instance::Refused;
use crate::share::Share;
use std::sync::Arc;
use tokio::sync::Semaphore;

const MIB: usize = 1 << 20;

/// What has come so far, or why it was discarded. Patient data: [`std::fmt::Debug`] leaves it out.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    refused: Option<Refused>,
    /// One permit for each MiB.
    memory: Share,
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
        if length > largest {
            self.give_up(Refused::TooLarge(largest));
        } else if !self.memory.grow_to(length.div_ceil(MIB), memory) {
            self.give_up(Refused::NoMemory);
        } else {
            self.bytes.extend_from_slice(part);
        }
    }

    fn give_up(&mut self, refused: Refused) {
        *self = Gathered { refused: Some(refused), ..Gathered::default() };
    }

    /// All of it, and its share of the memory.
    pub fn whole(self) -> Result<(Vec<u8>, Share), Refused> {
        match self.refused {
            Some(refused) => Err(refused),
            None => Ok((self.bytes, self.memory)),
        }
    }
}
