//! The stages that nets decide: by default over any [`Net`], slice by slice or cutout by cutout from the host; an engine whose
//! device has memory of its own may take a whole stage there.
//!
//! What an engine makes of a stage is what the default makes of it, to the bit wherever the net's logits are.

use crate::card::InstanceCard;
use crate::instances::{self, Said, Scene};
use crate::net::{Net, NetError};
use crate::prepare::Prepared;
use crate::semantic::{self, ClassMap};

/// Image -> class map.
pub trait SemanticStage: Net {
    /// The class of every voxel of the working grid; the confidence of an engine's own way may differ from the default's by
    /// roundings of exponentials and sums.
    ///
    /// # Errors
    /// [`NetError`] when the engine fails.
    fn classify(&mut self, prepared: &Prepared) -> Result<ClassMap, NetError> {
        semantic::classify(prepared, self)
    }

    /// Whether time is saved by asking it about single slices [before a series is whole](crate::look_ahead).
    fn gains_by_looking_ahead(&self) -> bool {
        true
    }
}

/// Class map -> what the net says of the vertebrae around some places.
pub trait InstanceStage: Net<InstanceCard> {
    /// What the net says in a cutout around each of `centres` (voxels of the class map).
    ///
    /// # Errors
    /// [`NetError`] when the engine fails.
    fn ask(&mut self, scene: &Scene<'_>, centres: &[[f64; 3]]) -> Result<Vec<Said>, NetError> {
        instances::ask(scene, centres, self)
    }
}
