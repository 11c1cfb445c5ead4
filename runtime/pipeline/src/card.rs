//! What a network is: input grid, normalisation, classes, origin. Read from TOML by crate `models`.

use crate::labels::{Structure, VertebraId};
use crate::penn::Reading;
pub use kernels::slab::Normalisation;

/// One output class of a semantic net. Left and right processes are one class: five slices cannot tell the side, the
/// canal can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Background,
    /// One structure.
    Single(Structure),
    /// A paired structure: `(left, right)`.
    Paired(Structure, Structure),
}

/// A released model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    pub name: String,
    pub version: String,
    /// SHA-256 of the weights file, lower-case hexadecimal; checked against the file when it is loaded.
    pub weights_sha256: String,
    /// Neighbouring slices on each side of the centre slice; `2 * context + 1` input channels.
    pub context: usize,
    /// Rows and columns of the input must be multiples of this.
    pub multiple_of: usize,
    /// In-plane spacing of the input in millimetres.
    pub in_plane_mm: f64,
    /// Slice pitch in millimetres the net was trained for: finer series are averaged to it.
    pub slice_pitch_mm: [f64; 2],
    pub normalisation: Normalisation,
    /// Run the slices in both orders and sum the logits.
    pub mirror_slices: bool,
    /// Output classes by channel; class 0 is the background.
    pub classes: Vec<Class>,
}

impl ModelCard {
    /// The output channel that holds `structure`, if the model knows it.
    pub fn class_of(&self, structure: Structure) -> Option<u8> {
        let holds = |class: &Class| match *class {
            Class::Background => false,
            Class::Single(one) => one == structure,
            Class::Paired(left, right) => left == structure || right == structure,
        };
        self.classes.iter().position(holds).map(|index| index as u8)
    }
}

/// The grid of a cutout: columns to posterior, rows to inferior, slices to the right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub counts: [usize; 3],
    pub spacing_mm: [f64; 3],
    /// Columns in front of the body's centre: most of a vertebra lies behind it.
    pub columns_before: usize,
}

impl Window {
    pub fn voxels(&self) -> usize {
        self.counts.iter().product()
    }

    /// Where the body's centre lies, in columns, rows and slices.
    pub fn centre(&self) -> [f64; 3] {
        let middle = |axis: usize| (self.counts[axis] - 1) as f64 / 2.0;
        [self.columns_before as f64, middle(1), middle(2)]
    }
}

/// A released instance net: which voxels of a cutout belong to the vertebra in its centre and to the two beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceCard {
    pub name: String,
    pub version: String,
    /// SHA-256 of the weights file, lower-case hexadecimal; checked against the file when it is loaded.
    pub weights_sha256: String,
    /// The cutout; input and output have its rows and columns, and its slices in their channels.
    pub window: Window,
    /// Structures that share an input channel, in order of the channels.
    pub groups: Vec<Vec<Structure>>,
    /// Levels for which the last output channels hold evidence, in their order; none in a net that tells no levels.
    pub levels: Vec<VertebraId>,
}

impl InstanceCard {
    /// Output classes: other, vertebra above, vertebra in the centre, vertebra below.
    pub const OUTPUTS: usize = 4;

    /// Input channels: each group in each slice.
    pub fn input_channels(&self) -> usize {
        self.groups.len() * self.window.counts[2]
    }

    /// Output channels: each class in each slice, then each level.
    pub fn output_channels(&self) -> usize {
        Self::OUTPUTS * self.window.counts[2] + self.levels.len()
    }
}

/// A released patch net: what is tumour on Gd-T1. Pixels and patches are those of [`crate::penn`].
#[derive(Debug, Clone, PartialEq)]
pub struct PatchCard {
    pub name: String,
    pub version: String,
    /// SHA-256 of the weights file, lower-case hexadecimal; checked against the file when it is loaded.
    pub weights_sha256: String,
    pub reading: Reading,
}
