//! What a network must offer to the pipeline. Engines (crate `models`) implement it and never see DICOM.

use crate::card::ModelCard;
use thiserror::Error;

/// A dense `f32` tensor to read: `[n, channels, rows, columns]`, columns fastest.
#[derive(Debug, Clone, Copy)]
pub struct TensorRef<'a> {
    pub shape: [usize; 4],
    pub values: &'a [f32],
}

/// A dense `f32` tensor to fill; layout as [`TensorRef`].
#[derive(Debug)]
pub struct TensorMut<'a> {
    pub shape: [usize; 4],
    pub values: &'a mut [f32],
}

/// A run that could not be made: our bug or this device's trouble, never the sender's.
#[derive(Debug, Error)]
pub enum NetError {
    #[error("the net takes {want}, got {got:?}")]
    Shape { want: String, got: [usize; 4] },
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// A trained function. One input, one output, shapes as its card says.
pub trait Net: Send {
    fn card(&self) -> &ModelCard;

    /// Engine and precision for reports, for example `simd f32`.
    fn engine(&self) -> String;

    /// `input` `[n, channels, rows, columns]` -> logits `[n, classes, rows, columns]` into `output`. Rows and columns
    /// must be multiples of `card().multiple_of`; the slices of a batch do not influence each other.
    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError>;
}
