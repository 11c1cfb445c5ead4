//! The supervisor MCU's logic: power, reset, heartbeat limits, fan, button, journal, its own images. `no_std`, no pins, no
//! clock, no UART.
//!
//! Time, inputs and messages come in, outputs and answers go out, so the same code runs on the board (`board/`), in the
//! simulator (`main.rs`) and in tests at any speed.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod bench;
pub mod boot;
pub mod button;
pub mod conditions;
pub mod fan;
pub mod flash;
pub mod journal;
pub mod retained;
pub mod sense;
pub mod slots;
pub mod state;
pub mod supervisor;
pub mod turn;
pub mod update;
pub mod vendor;

pub use journal::Journal;
pub use retained::{Entry, Retained};
pub use slots::Slots;
pub use state::{Colour, Inputs, Led, Limits, Outputs, Pattern, Stage, State, Why};
pub use supervisor::{Event, Supervisor};
pub use turn::{Board, Next, Turns};
pub use update::Updater;
pub use vendor::VendorKey;
