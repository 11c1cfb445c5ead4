//! See [`crate::fill`]; masks of 1 where a hole is, instead of offsets.

use super::{Array, Call, DeviceError, Launcher, components};
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
    let n = dims.voxels();
    let mut open = Array::<u8>::new(on, n)?;
    let every = Call::of("open_space").read(map).write(&mut open);
    every.number(i32::from(value)).count(n).over(on, n)?;
    let along = std::array::from_fn(|axis| axis < axes);
    let element = Element { connectivity: Connectivity::Faces6, along };
    let parents = components::roots(on, &open, dims, element)?;
    let mut reached = Array::<u8>::filled(on, n, 0)?;
    Call::of("reach_from_edges")
        .read(&parents)
        .write(&mut reached)
        .counts(dims.counts())
        .count(axes)
        .over(on, n)?;
    let mut holes = Array::new(on, n)?;
    Call::of("find_holes")
        .read(map)
        .read(&parents)
        .read(&reached)
        .write(&mut holes)
        .count(n)
        .over(on, n)?;
    Ok(holes)
}
