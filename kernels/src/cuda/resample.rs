//! See [`crate::resample`]; every function is equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher};
use crate::Grid;
use crate::resample::{BEYOND, GAIN, POLE, Taps, in_plane_grid, nearest_places, positions};
use crate::resample::{spline_taps, triangle};

/// See [`crate::resample::in_plane`]; the result lies on [`in_plane_grid`].
pub fn in_plane(
    on: &dyn Launcher,
    values: &Array<f32>,
    source: &Grid,
    spacing_mm: f64,
) -> Result<Array<f32>, DeviceError> {
    let [ni, nj, nk] = source.dims.counts();
    let [mi, mj, _] = in_plane_grid(source, spacing_mm).dims.counts();
    let (along_i, along_j) = (Filter::new(on, ni, mi)?, Filter::new(on, nj, mj)?);
    let mut narrow = Array::new(on, mi * nj * nk)?;
    along_i
        .of(Call::of("filter_rows").read(values), &mut narrow)
        .counts([nj * nk, ni, mi])
        .over(on, mi * nj * nk)?;
    let mut result = Array::new(on, mi * mj * nk)?;
    along_j
        .of(Call::of("filter_columns").read(&narrow), &mut result)
        .counts([nk, mi, nj])
        .count(mj)
        .over(on, mi * mj * nk)?;
    Ok(result)
}

/// The triangle filter along one axis.
struct Filter {
    firsts: Array<i32>,
    starts: Array<i32>,
    taps: Array<f32>,
}

impl Filter {
    fn new(on: &dyn Launcher, old: usize, new: usize) -> Result<Filter, DeviceError> {
        let taps = triangle(old, new);
        let firsts: Vec<i32> = taps.iter().map(|t| t.first as i32).collect();
        let mut starts = vec![0];
        let mut weights = Vec::new();
        for Taps { weights: more, .. } in &taps {
            weights.extend_from_slice(more);
            starts.push(weights.len() as i32);
        }
        Ok(Filter {
            firsts: Array::of(on, &firsts)?,
            starts: Array::of(on, &starts)?,
            taps: Array::of(on, &weights)?,
        })
    }

    fn of(&self, call: Call, to: &mut Array<f32>) -> Call {
        call.read(&self.firsts).read(&self.starts).read(&self.taps).write(to)
    }
}

/// Values that [`nearest`] moves.
pub trait Voxel: bytemuck::Pod {
    const KERNEL: &'static str;
}

impl Voxel for u8 {
    const KERNEL: &'static str = "nearest_bytes";
}

impl Voxel for f32 {
    const KERNEL: &'static str = "nearest_floats";
}

/// See [`crate::resample::nearest`].
pub fn nearest<T: Voxel>(
    on: &dyn Launcher,
    values: &Array<T>,
    source: &Grid,
    target: &Grid,
) -> Result<Array<T>, DeviceError> {
    let mut call = Call::of(T::KERNEL).read(values);
    let mut kept = Vec::new();
    for places in nearest_places(source, target) {
        let places: Vec<i32> = places.into_iter().map(|n| n as i32).collect();
        kept.push(Array::of(on, &places)?);
    }
    for places in &kept {
        call = call.read(places);
    }
    let mut result = Array::new(on, target.dims.voxels())?;
    let [ni, nj, _] = source.dims.counts();
    call.write(&mut result)
        .count(ni)
        .count(nj)
        .counts(target.dims.counts())
        .over(on, target.dims.voxels())?;
    Ok(result)
}

/// See [`crate::resample::cubic`].
pub fn cubic(
    on: &dyn Launcher,
    values: &Array<f32>,
    source: &Grid,
    target: &Grid,
) -> Result<Array<f32>, DeviceError> {
    let [at_i, at_j, at_k] = positions(source, target);
    let [ni, nj, nk] = source.dims.counts();
    let [mi, mj, _] = target.dims.counts();
    let wide = along(on, values, [1, ni, nj * nk], &at_i)?;
    let high = along(on, &wide, [mi, nj, nk], &at_j)?;
    along(on, &high, [mi * mj, nk, 1], &at_k)
}

/// Samples the middle axis of an array of `[inner, count, outer]` values, the first fastest.
fn along(
    on: &dyn Launcher,
    values: &Array<f32>,
    [inner, count, outer]: [usize; 3],
    places: &[f64],
) -> Result<Array<f32>, DeviceError> {
    let mut coefficients = Array::<f32>::new(on, inner * outer * (count + 2 * BEYOND))?;
    Call::of("spline_coefficients")
        .read(values)
        .write(&mut coefficients)
        .counts([inner, count, outer])
        .count(BEYOND)
        .number(POLE as f32)
        .number(GAIN as f32)
        .number((GAIN / (1.0 - POLE)) as f32)
        .number((-POLE / (1.0 - POLE)) as f32)
        .over(on, inner * outer)?;
    let taps = spline_taps(places, count);
    let firsts: Vec<i32> = taps.iter().map(|(first, _)| *first as i32).collect();
    let weights: Vec<f32> = taps.iter().flat_map(|(_, weights)| *weights).collect();
    let (firsts, weights) = (Array::of(on, &firsts)?, Array::of(on, &weights)?);
    let length = inner * places.len() * outer;
    let mut result = Array::new(on, length)?;
    Call::of("spline_values")
        .read(&coefficients)
        .read(&firsts)
        .read(&weights)
        .write(&mut result)
        .counts([inner, places.len(), outer])
        .over(on, length)?;
    Ok(result)
}
