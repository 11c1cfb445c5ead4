//! See [`crate::fill`]; masks of 1 where a hole is, instead of offsets.

use super::components::{Runs, words};
use super::{Array, Call, DeviceError, Launcher};
use crate::Dims;
use crate::components::Connectivity;
use crate::morphology::Element;

/// See [`crate::fill::holes_in_slices`].
pub fn holes_in_slices(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    value: u8,
) -> Result<Array<u8>, DeviceError> {
    enclosed(on, map, dims, value, 2)
}

/// See [`crate::fill::holes`].
pub fn holes(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    value: u8,
) -> Result<Array<u8>, DeviceError> {
    enclosed(on, map, dims, value, 3)
}

/// Background that no path along the first `axes` axes leads out of.
fn enclosed(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    value: u8,
    axes: usize,
) -> Result<Array<u8>, DeviceError> {
    let along = std::array::from_fn(|axis| axis < axes);
    let element = Element { connectivity: Connectivity::Faces6, along };
    let Runs { full, starts, mut parents, .. } = Runs::joined(on, map, dims, element, Some(value))?;
    Call::of("reach_from_edges")
        .read(&full)
        .read(&starts)
        .write(&mut parents)
        .counts(dims.counts())
        .count(axes)
        .over(on, words(dims))?;
    let mut holes = Array::new(on, dims.voxels())?;
    Call::of("find_holes")
        .read(map)
        .read(&full)
        .read(&starts)
        .read(&parents)
        .write(&mut holes)
        .counts(dims.counts())
        .over(on, words(dims))?;
    Ok(holes)
}
