//! The wire between the supervisor MCU and the runtime: messages, framing, version. `no_std`, no allocation.
//!
//! A frame on the UART is
//!
//! ```text
//! COBS( postcard(message) ++ CRC-32C of those bytes, little-endian )  0x00
//! ```
//!
//! COBS (Cheshire and Baker 1999) removes every zero from the body, so a zero always ends a frame and a reader that
//! lost its place finds it again at the next one. The bytes of version 1 are frozen by `tests/v1.rs`: variants are
//! appended, never reordered. Decides nothing: what a message causes is in crate `firmware` and in the runtime.
#![no_std]

mod frame;
mod message;

pub use frame::{Frame, FrameError, MAX_FRAME, Reader, encode};
pub use message::{
    Command, FromSupervisor, JournalEvent, PowerState, ResetCause, ToSupervisor, VERSION, Version,
};
