//! The wire between the supervisor MCU and the runtime: messages, framing, version. `no_std`, no allocation.
//!
//! A frame on the UART is
//!
//! ```text
//! COBS( postcard(message) ++ CRC-32C of those bytes, little-endian )  0x00
//! ```
//!
//! COBS (Cheshire and Baker 1999) removes every zero from the body, so a zero always ends a frame and a reader that
//! lost its place finds it again at the next one. The bytes of version 1.0 are frozen by `tests/v1.rs`, those that 1.1 and
//! 1.2 appended by `tests/v1_1.rs` and `tests/v1_2.rs`: variants are appended, never reordered. An end sends only what the other's version knows;
//! what it cannot read is a damaged frame to it. Decides nothing: what a message causes is in crate `firmware` and in the
//! runtime.
//!
//! Every message may be lost or come twice. Beats are numbered, journal requests name what they want, and a command that
//! comes twice does what it did once, or is refused the second time; so a sender repeats what was not answered.
#![no_std]

mod frame;
pub mod image;
mod message;
mod update;

/// Bits a second on the UART: 8 data bits, no parity, one stop bit.
pub const BAUD: u32 = 115_200;

pub use frame::{Frame, FrameError, MAX_FRAME, Reader, checksum, encode};
pub use message::{
    Command, FromSupervisor, JournalEvent, PowerState, Rail, ResetCause, Sensors, ToSupervisor,
    VERSION, Version,
};
pub use update::{CHUNK, Chunk, ImageRefusal, ImageRequest, ImageStatus, Slot, Verdict};
