//! The supervisor MCU's logic: power, reset, heartbeat limits, fan, journal. `no_std`, no pins, no clock, no UART.
//!
//! Time and events come in, outputs and answers go out, so the same code runs on the board, in the simulator
//! (`main.rs`) and in tests at any speed. Board images are not built yet (firmware issue).
#![no_std]

pub mod journal;
pub mod supervisor;

pub use journal::{Entry, Journal};
pub use supervisor::{Event, Led, Limits, Outputs, State, Supervisor};
