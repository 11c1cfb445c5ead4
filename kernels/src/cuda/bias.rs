//! See [`crate::bias`]: what costs a pass over the image; the field itself is estimated on a few thousand cells on the processor.

use super::{Array, Call, DeviceError, Launcher};
use crate::Dims;
use crate::bias::{Field, REACH};

/// Divides `image` by a field of its grid, as [`Field::divide`] does, to the bit. On another grid nothing happens.
pub fn divide(
    on: &dyn Launcher,
    image: &mut Array<f32>,
    dims: Dims,
    field: &Field,
) -> Result<(), DeviceError> {
    if field.dims() != dims {
        return Ok(());
    }
    let [columns, rows, slices] = dims.counts();
    let (points, values) = field.lattice();
    let uploaded = |axis: usize| {
        let (first, weights): (Vec<i32>, Vec<[f32; REACH]>) =
            field.splines(axis).map(|(first, weights)| (first as i32, weights)).unzip();
        Ok::<_, DeviceError>((Array::of(on, &first)?, Array::of(on, weights.as_flattened())?))
    };
    let [(first_i, i), (first_j, j), (first_k, k)] = [uploaded(0)?, uploaded(1)?, uploaded(2)?];
    let length = slices * points[1] * columns;
    let mut wide = Array::<f32>::new(on, length)?;
    Call::of("widen_field")
        .read(&Array::of(on, values)?)
        .read(&first_i)
        .read(&i)
        .read(&first_k)
        .read(&k)
        .write(&mut wide)
        .counts([points[0], points[1], columns])
        .count(length)
        .over(on, length)?;
    Call::of("divide_by_field")
        .read(&wide)
        .read(&first_j)
        .read(&j)
        .write(image)
        .counts([points[1], columns, rows])
        .count(dims.voxels())
        .over(on, dims.voxels())
}
