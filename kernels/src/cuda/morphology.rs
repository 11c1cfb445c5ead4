//! See [`crate::morphology`] and [`crate::growth`]; equal to them to the bit.

use super::components::{element_bits, words};
use super::{Array, Call, DeviceError, Launcher};
use crate::morphology::{Element, reach};
use crate::{Dims, Grid};

/// One bit for each voxel that is not 0, in words of neighbours along the first axis.
pub(super) fn packed(
    on: &dyn Launcher,
    mask: &Array<u8>,
    dims: Dims,
) -> Result<Array<u32>, DeviceError> {
    let mut bits = Array::new(on, words(dims))?;
    let call = Call::of("pack_mask").read(mask).write(&mut bits);
    call.counts(dims.counts()).over(on, words(dims))?;
    Ok(bits)
}

/// See [`crate::morphology::dilate`].
pub fn dilate(
    on: &dyn Launcher,
    mask: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    swept(on, "dilate_element", mask, dims, element)
}

/// See [`crate::morphology::erode`].
pub fn erode(
    on: &dyn Launcher,
    mask: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    swept(on, "erode_element", mask, dims, element)
}

fn swept(
    on: &dyn Launcher,
    kernel: &'static str,
    mask: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    let bits = packed(on, mask, dims)?;
    let mut result = Array::new(on, dims.voxels())?;
    Call::of(kernel)
        .read(&bits)
        .write(&mut result)
        .counts(dims.counts())
        .number(element_bits(element))
        .over(on, words(dims))?;
    Ok(result)
}

/// See [`crate::growth::grow`].
pub fn grow(
    on: &dyn Launcher,
    labels: &Array<u8>,
    inside: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<u8>, DeviceError> {
    let mut result = Array::new(on, dims.voxels())?;
    Call::of("grow_labels")
        .read(labels)
        .read(inside)
        .write(&mut result)
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
    let bits = packed(on, mask, grid.dims)?;
    let mut result = Array::new(on, grid.dims.voxels())?;
    Call::of("dilate_disc")
        .read(&bits)
        .read(&table)
        .write(&mut result)
        .counts(grid.dims.counts())
        .count(reach.len())
        .over(on, words(grid.dims))?;
    Ok(result)
}
