//! See [`crate::resample`]; every function is equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher, Shape, Tables, words};
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
    let [ni, nj, _] = source.dims.counts();
    let counts @ [mi, mj, _] = in_plane_grid(source, spacing_mm).dims.counts();
    let (along_i, along_j) = (Filter::new(ni, mi), Filter::new(nj, mj));
    let tables = Tables::of(
        on,
        &[
            words(&along_i.firsts),
            words(&along_i.starts),
            words(&along_i.taps),
            words(&along_j.firsts),
            words(&along_j.starts),
            words(&along_j.taps),
        ],
    )?;
    let mut result = Array::new(on, counts.iter().product())?;
    (0..6)
        .fold(Call::of("filter_slices").read(values), |call, which| call.table(&tables, which))
        .write(&mut result)
        .counts([ni, nj, mi])
        .count(mj)
        .tiles(on, counts, FILTER_TILE)?;
    Ok(result)
}

/// Samples along rows and columns that a block filters: `TILE_COLUMNS` and `TILE_ROWS` in `filter.cu`.
const FILTER_TILE: [usize; 2] = [64, 32];

/// The triangle filter along one axis.
struct Filter {
    firsts: Vec<i32>,
    starts: Vec<i32>,
    taps: Vec<f32>,
}

impl Filter {
    fn new(old: usize, new: usize) -> Filter {
        let mut filter = Filter { firsts: vec![], starts: vec![0], taps: vec![] };
        for Taps { first, weights } in triangle(old, new) {
            filter.firsts.push(first as i32);
            filter.taps.extend(weights);
            filter.starts.push(filter.taps.len() as i32);
        }
        filter
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
    let [i, j, k] = nearest_places(source, target)
        .map(|places| places.into_iter().map(|n| n as i32).collect::<Vec<_>>());
    let tables = Tables::of(on, &[words(&i), words(&j), words(&k)])?;
    let mut result = Array::new(on, target.dims.voxels())?;
    let ([ni, nj, _], [mi, mj, _]) = (source.dims.counts(), target.dims.counts());
    Call::of(T::KERNEL)
        .read(values)
        .table(&tables, 0)
        .table(&tables, 1)
        .table(&tables, 2)
        .write(&mut result)
        .count(ni)
        .count(nj)
        .count(mi)
        .count(mj)
        .rows(on, target.dims.counts())?;
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
    let taps = spline_taps(places, count);
    let (firsts, weights): (Vec<i32>, Vec<[f32; 4]>) =
        taps.into_iter().map(|(first, weights)| (first as i32, weights)).unzip();
    let chunks = (count + 2 * BEYOND).div_ceil(CHUNK);
    let sample_from =
        |chunk: usize| firsts.partition_point(|&first| first < (chunk * CHUNK) as i32);
    let samples_from: Vec<i32> = (0..=chunks).map(|chunk| sample_from(chunk) as i32).collect();
    let tables =
        Tables::of(on, &[words(&samples_from), words(&firsts), words(weights.as_flattened())])?;
    let lines = inner * outer;
    let mut states = Array::<f32>::new(on, lines * chunks)?;
    let mut result = Array::new(on, lines * places.len())?;
    let shape = Shape {
        blocks: [lines.div_ceil(2 * WARP) as u32, 1, 1],
        threads: 2 * WARP as u32,
        shared_bytes: (2 * TILE * size_of::<f32>()) as u32,
    };
    Call::of("sample_lines")
        .read(values)
        .write(&mut states)
        .table(&tables, 0)
        .table(&tables, 1)
        .table(&tables, 2)
        .write(&mut result)
        .counts([inner, count, outer])
        .count(places.len())
        .count(BEYOND)
        .number(POLE as f32)
        .number(GAIN as f32)
        .number((GAIN / (1.0 - POLE)) as f32)
        .number((-POLE / (1.0 - POLE)) as f32)
        .launch(on, shape)?;
    Ok(result)
}

/// Lines that a warp filters, coefficients at once, and values of shared memory that it takes for them: `WARP`, `CHUNK` and
/// `TILE` in `spline.cu`. Two warps make a block: the fewer, the more evenly they are spread.
const WARP: usize = 32;
const CHUNK: usize = 32;
const TILE: usize = (CHUNK + 3) * (WARP + 1);
