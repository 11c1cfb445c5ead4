//! See [`crate::distance`].

use super::morphology::packed;
use super::{Array, Call, DeviceError, Launcher};
use crate::Grid;

/// See [`crate::distance::squared_mm_in_plane`]; squares differ from it by a rounding of double precision at most, before they
/// are rounded.
pub fn squared_mm_in_plane(
    on: &dyn Launcher,
    mask: &Array<u8>,
    grid: &Grid,
) -> Result<Array<f32>, DeviceError> {
    let bits = packed(on, mask, grid.dims)?;
    let [across, down, _] = grid.affine.spacing();
    let mut squares = Array::new(on, grid.dims.voxels())?;
    Call::of("distance_in_plane")
        .read(&bits)
        .write(&mut squares)
        .counts(grid.dims.counts())
        .number(across)
        .number(down)
        .over(on, grid.dims.voxels())?;
    Ok(squares)
}

/// See [`crate::distance::squared_mm`]; equal to it to the bit.
pub fn squared_mm(
    on: &dyn Launcher,
    mask: &Array<u8>,
    grid: &Grid,
) -> Result<Array<f64>, DeviceError> {
    let mut squares = within_slices(on, mask, grid)?;
    let shape = [grid.dims.plane(), grid.dims.counts()[2], 1];
    along(on, &mut squares, shape, grid.affine.spacing()[2])?;
    Ok(squares)
}

/// Squared distance to the nearest zero voxel of the same slice.
fn within_slices(
    on: &dyn Launcher,
    mask: &Array<u8>,
    grid: &Grid,
) -> Result<Array<f64>, DeviceError> {
    let [ni, nj, nk] = grid.dims.counts();
    let spacing = grid.affine.spacing();
    let mut squares = Array::new(on, grid.dims.voxels())?;
    Call::of("distance_in_rows")
        .read(mask)
        .write(&mut squares)
        .count(ni)
        .count(nj * nk)
        .number(spacing[0])
        .over(on, nj * nk)?;
    along(on, &mut squares, [ni, nj, nk], spacing[1])?;
    Ok(squares)
}

/// Lower envelopes along the middle axis of `[inner, count, outer]` values, the first fastest.
fn along(
    on: &dyn Launcher,
    squares: &mut Array<f64>,
    shape: [usize; 3],
    step: f64,
) -> Result<(), DeviceError> {
    let n = squares.len();
    let (mut values, mut centres) = (Array::<f64>::new(on, n)?, Array::<i32>::new(on, n)?);
    let mut froms = Array::<f64>::new(on, n)?;
    Call::of("distance_in_lines")
        .write(squares)
        .write(&mut values)
        .write(&mut centres)
        .write(&mut froms)
        .counts(shape)
        .number(step)
        .over(on, shape[0] * shape[2])
}
