//! Images from a scanner's own reconstruction and results back into it, on one connection: ISMRMRD streaming, version 1, as
//! Siemens FIRE and Open Recon speak it. The scanner is the client.

mod connection;
pub mod geometry;
pub mod header;
pub mod meta;
pub mod reply;
pub mod roi;
pub mod server;
pub mod session;
pub mod study;
pub mod wire;
#[cfg(test)]
mod wire_tests;

pub use server::Settings;
