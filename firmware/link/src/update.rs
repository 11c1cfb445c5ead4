//! What is said about the supervisor's own image, since 1.2. The order of variants and fields is the byte format: append only.
//!
//! A host asks for the status, sends the image made for the slot that does not run (`Begin`, then `Chunk` after `Chunk`),
//! and ends with `Finish`: the supervisor starts anew, tries the image once, and keeps it if `Confirm` comes in time. What
//! came of it is in the status. A request that comes twice does what it did once.

use core::fmt;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most bytes of a [`Chunk`]: what fits a frame beside the longest offset, in whole words of any MCU's flash (8 bytes).
pub const CHUNK: usize = 112;

/// Runtime to supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageRequest {
    Status,
    /// An image of `length` bytes, header included, will come for the slot that does not run. What is there is lost.
    Begin {
        version: u32,
        length: u32,
    },
    /// Bytes of the image from `offset` on. Only the last one may be shorter than [`CHUNK`].
    Chunk {
        offset: u32,
        bytes: Chunk,
    },
    /// All is sent: the supervisor answers, starts anew and tries it.
    Finish,
    /// The image that is on trial works.
    Confirm,
}

/// Where an image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

/// Which image runs and what came of the last one that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStatus {
    pub board: u32,
    pub running: Slot,
    pub version: u32,
    /// It is lost at the next start, unless it is confirmed.
    pub on_trial: bool,
    /// The oldest version that may run.
    pub oldest: u32,
    pub last: Verdict,
}

/// What came of the last image that was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing yet: none was sent, or it is on its way or on trial.
    #[default]
    Open,
    Confirmed,
    /// It ran and nobody confirmed it: it hung, broke down, or its link did not work.
    NotConfirmed,
    /// It was never started.
    Refused(ImageRefusal),
    /// The confirmed image was damaged in its slot: the other slot's runs.
    Rescued,
}

/// Why an image, or a request about one, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageRefusal {
    /// The image that runs is on trial: the other slot holds the way back.
    OnTrial,
    /// No `Begin` came, or the supervisor has started anew since.
    NotBegun,
    /// Bytes are missing before the end.
    Incomplete,
    /// Longer than a slot, or shorter than a header.
    Length,
    /// Older than the oldest version that may run.
    TooOld,
    /// The header is none, or it names another length or version than was announced.
    NotImage,
    OtherBoard,
    /// Made for the other slot.
    OtherSlot,
    /// The vendor did not sign this header.
    Signature,
    /// The header is the vendor's, the bytes behind it are not.
    Damaged,
    /// The flash did not take what was written.
    Flash,
}

/// Bytes of an image, at most [`CHUNK`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    bytes: [u8; CHUNK],
    len: usize,
}

impl Chunk {
    /// `None` for more than [`CHUNK`] bytes.
    pub fn new(bytes: &[u8]) -> Option<Chunk> {
        let mut chunk = Chunk { bytes: [0; CHUNK], len: bytes.len() };
        chunk.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(chunk)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len)
    }
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Chunk, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Chunk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {CHUNK} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Chunk, E> {
        Chunk::new(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
    }
}
