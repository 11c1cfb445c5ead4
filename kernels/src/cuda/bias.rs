//! See [`crate::bias`]: what costs a pass over the image; the field itself is estimated on a few thousand cells on the processor.

use super::call::part_of;
use super::{Array, Call, DeviceError, Launcher, Tables, words};
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
    let counts @ [columns, _, slices] = dims.counts();
    let (points, values) = field.lattice();
    let [(first_i, i), (first_j, j), (first_k, k)] = [0, 1, 2].map(|axis| {
        let splines = field.splines(axis).map(|(first, weights)| (first as i32, weights));
        splines.unzip::<i32, [f32; REACH], Vec<_>, Vec<_>>()
    });
    let tables = Tables::of(
        on,
        &[
            words(values),
            words(&first_i),
            words(i.as_flattened()),
            words(&first_k),
            words(k.as_flattened()),
            words(&first_j),
            words(j.as_flattened()),
        ],
    )?;
    let mut wide = Array::<f32>::new(on, slices * points[1] * columns)?;
    (0..5)
        .fold(Call::of("widen_field"), |call, which| call.table(&tables, which))
        .write(&mut wide)
        .counts([points[0], points[1], columns])
        .rows(on, [columns, points[1], slices])?;
    Call::of("divide_by_field")
        .read(&wide)
        .table(&tables, 5)
        .table(&tables, 6)
        .write(image)
        .counts([points[1], columns, counts[1]])
        .tiles(on, counts, PART)
}

/// Columns and rows that a block divides: `bias.cu`.
const PART: [usize; 2] = part_of(2, 8);
