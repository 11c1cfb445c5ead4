//! See [`crate::morphology`] and [`crate::growth`]; equal to them to the bit.

use super::components::element_bits;
use super::{Array, Call, DeviceError, Launcher};
use crate::morphology::{Element, reach};
use crate::{Dims, Grid};

/// See [`crate::morphology::dilate`].
pub fn dilate(
    on: &dyn Launcher,
    mask: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    swept(on, Call::of("dilate_element").read(mask), dims, element)
}

/// See [`crate::morphology::erode`].
pub fn erode(
    on: &dyn Launcher,
    mask: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    swept(on, Call::of("erode_element").read(mask), dims, element)
}

/// See [`crate::growth::grow`].
pub fn grow(
    on: &dyn Launcher,
    labels: &Array<u8>,
    inside: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    swept(on, Call::of("grow_labels").read(labels).read(inside), dims, element)
}

fn swept(
    on: &dyn Launcher,
    call: Call,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    let mut result = Array::new(on, dims.voxels())?;
    call.write(&mut result)
        .counts(dims.counts())
        .number(element_bits(element))
        .over(on, dims.voxels())?;
    Ok(result)
}

/// See [`crate::morphology::dilate_in_plane`].
pub fn dilate_in_plane(
    on: &dyn Launcher,
    mask: &Array<u8>,
    grid: &Grid,
    radius_mm: f64,
) -> Result<Array<u8>, DeviceError> {
    let reach: Vec<i32> = reach(grid, radius_mm).into_iter().map(|wide| wide as i32).collect();
    let table = Array::of(on, &reach)?;
    let mut result = Array::new(on, grid.dims.voxels())?;
    Call::of("dilate_disc")
        .read(mask)
        .read(&table)
        .write(&mut result)
        .counts(grid.dims.counts())
        .count(reach.len())
        .over(on, grid.dims.voxels())?;
    Ok(result)
}
