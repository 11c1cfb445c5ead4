//! Why the stages end without a mask. SPINEPS' own code stands beside each reason, so that runs can be compared.

use kernels::GeometryError;
use thiserror::Error;

/// A run that ends early.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Ended {
    /// EMPTY.
    #[error("the image is empty: no voxel is brighter than the darkest")]
    EmptyImage,
    /// EMPTY.
    #[error("the semantic mask is empty")]
    EmptyMask,
    /// EMPTY.
    #[error("the semantic mask holds no vertebral body")]
    NoBody,
    /// UNKNOWN.
    #[error("all vertebral bodies are too thin or too small to have a centre")]
    NoCentre,
    /// SPINEPS goes on, for hours.
    #[error("{0} vertebral bodies are more than any spine has")]
    TooManyBodies(usize),
    /// EMPTY.
    #[error("no cutout shows a vertebra")]
    NoVertebra,
    /// SHAPE.
    #[error("the wanted grid cannot be: {0}")]
    Grid(#[from] GeometryError),
}
