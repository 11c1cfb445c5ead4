//! What became of a result at one destination.

use super::FailureCode;
use crate::error::Move;
use serde::Serialize;

/// What one destination has of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Its place in the configuration, from 1. Its name is free text.
    pub destination: u32,
    /// Objects it acknowledged.
    pub taken: u32,
    #[serde(flatten)]
    pub shortfall: Option<Shortfall>,
}

/// What a destination has not, and will not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// Objects it did not take.
    pub refused: u32,
    pub code: FailureCode,
    #[serde(rename = "move")]
    pub whose: Move,
}
