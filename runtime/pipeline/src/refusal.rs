//! Why a series is not segmented: a result with a code, not a failure of ours.

use kernels::Grid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Stable codes: scripts, MQTT and the dashboard rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Not an MR image of a class we take.
    WrongClass,
    /// The pixel data cannot be read.
    UnreadablePixels,
    /// Lossy compression: the net would see its artefacts.
    Lossy,
    /// Position, orientation or spacing is missing or makes no sense.
    MissingGeometry,
    /// Slices of more than one orientation or matrix size.
    MixedOrientation,
    /// Two slices at one position.
    DuplicateSlice,
    /// Slices are missing between others.
    Gap,
    TooFewSlices,
    NotSagittal,
    /// Matrix or spacing outside what the nets were made for.
    Resolution,
    /// Derived, localiser, diffusion, phase, mosaic: not an anatomical series.
    NotAnatomical,
    /// Anatomy, but left out by the site's own table, or for a better image of the same slices.
    NotSelected,
    /// The series is larger than the memory budget admits.
    TooLarge,
    /// No spine was found in the volume.
    NoSpine,
}

/// The plane of a series by its normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    Sagittal,
    Coronal,
    Axial,
    Oblique,
}

impl Plane {
    pub fn name(self) -> &'static str {
        match self {
            Plane::Sagittal => "sagittal",
            Plane::Coronal => "coronal",
            Plane::Axial => "axial",
            Plane::Oblique => "oblique",
        }
    }
}

/// A refusal: the sender's or the site's move. `text` names the object and the reason and holds no patient data.
#[derive(Debug, Clone, PartialEq, Serialize, Error)]
#[error("{text}")]
pub struct Refusal {
    pub code: RefusalCode,
    pub text: String,
    pub plane: Option<Plane>,
    /// Contrast class as far as the header told it, for example `t2`.
    pub class: Option<&'static str>,
    pub dims: Option<[usize; 3]>,
    pub spacing_mm: Option<[f64; 3]>,
}

impl Refusal {
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into(), plane: None, class: None, dims: None, spacing_mm: None }
    }

    pub fn on_grid(mut self, grid: &Grid) -> Refusal {
        self.dims = Some(grid.dims.counts());
        self.spacing_mm = Some(grid.affine.spacing());
        self
    }
}
