//! Array operations on voxel grids: geometry, resampling, components, distances, convolution.
//!
//! Knows numbers and geometry only: no DICOM, no network, no files. Every operation has a plain definition in
//! [`mod@reference`] and a fast version that the tests compare with it over awkward shapes.

pub mod answers;
pub mod basins;
pub mod bias;
pub mod bits;
pub mod components;
pub mod conv;
pub mod cuda;
pub mod decision;
pub mod distance;
pub mod fill;
pub mod growth;
pub mod morphology;
pub mod one_hot;
pub mod overlay;
pub mod patch_net;
pub mod reference;
pub mod resample;
pub mod slab;
pub mod statistics;
pub mod stored;
pub mod threads;
pub mod volume;
pub mod votes;

pub use volume::{Affine, AxisMap, Dims, Direction, GeometryError, Grid, Volume};
