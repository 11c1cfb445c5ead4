//! What a network must offer to the pipeline. Engines (crate `models`) implement it and never see DICOM.

use crate::card::ModelCard;
use crate::prepare::Prepared;
use crate::semantic::{self, Ahead, ClassMap};
use crate::stages::{InstanceStage, SemanticStage};
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
    /// It may be free again for the next series.
    #[error("the device's memory is exhausted: {0}")]
    OutOfMemory(String),
    /// The engine is of no more use to this process.
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// A trained function. One input, one output, shapes as its card says; the kind of card is the kind of net.
pub trait Net<C = ModelCard>: Send {
    fn card(&self) -> &C;

    /// Engine and precision for reports, for example `simd f32`.
    fn engine(&self) -> String;

    /// `input` `[n, channels, rows, columns]` -> logits `[n, classes, rows, columns]` into `output`. Rows and columns
    /// must be multiples of what the card names; the items of a batch do not influence each other.
    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError>;
}

/// The nets that one series passes.
pub struct Nets {
    /// Image -> class map.
    pub semantic: Box<dyn SemanticStage>,
    /// Class map -> vertebrae. Without it the classical stage decides alone.
    pub instance: Option<Box<dyn InstanceStage>>,
    /// What the semantic net has said of series that are still coming.
    pub ahead: Ahead,
}

impl Nets {
    pub fn new(semantic: Box<dyn SemanticStage>, instance: Option<Box<dyn InstanceStage>>) -> Nets {
        Nets { semantic, instance, ahead: Ahead::default() }
    }

    /// The semantic stage, but for slices of which the net was asked [ahead](crate::look_ahead).
    ///
    /// # Errors
    /// [`NetError`] when the engine fails.
    pub fn classify(&mut self, prepared: &Prepared) -> Result<ClassMap, NetError> {
        self.ahead.begin();
        match self.ahead.is_empty() {
            true => self.semantic.classify(prepared),
            false => semantic::recall(prepared, &mut self.ahead, self.semantic.as_mut()),
        }
    }
}

impl std::fmt::Debug for Nets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instance = self.instance.as_ref().map(|net| net.card().name.as_str());
        write!(f, "Nets({}, {instance:?})", self.semantic.card().name)
    }
}
