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
    /// Where the next `bytes` belong: at the end of this. `None`, and all is given up, where it would grow beyond `largest` or
    /// the memory that is left.
    pub fn room(
        &mut self,
        bytes: usize,
        largest: usize,
        memory: &Arc<Semaphore>,
    ) -> Option<&mut Vec<u8>> {
        if self.refused.is_some() {
            return None;
        }
        let length = self.bytes.len() + bytes;
        if length > largest {
            self.give_up(Refused::TooLarge(largest));
            None
        } else if !self.memory.grow_to(length.div_ceil(MIB), memory) {
            self.give_up(Refused::NoMemory);
            None
        } else {
            Some(&mut self.bytes)
        }
    }

    /// Adds a part, as far as there is [room](Gathered::room) for it.
    pub fn append(&mut self, part: &[u8], largest: usize, memory: &Arc<Semaphore>) {
        if let Some(room) = self.room(part.len(), largest, memory) {
            room.extend_from_slice(part);
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
