//! See [`crate::one_hot`]; equal to it to the bit. The channels never exist on the host.

use super::{Array, Call, DeviceError, Launcher};
use crate::Dims;
use crate::one_hot::{Channels, Shown, voxels};

/// `[windows, channels, slices, rows, columns]`, the input of the net for several windows of one map. All windows must have
/// as many columns, rows and slices as the first.
pub fn encode(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    windows: &[Shown],
    channels: &Channels,
) -> Result<Array<f32>, DeviceError> {
    let counts = windows.first().map_or([0; 3], |shown| shown.each_ref().map(Vec::len));
    if windows.iter().any(|shown| shown.each_ref().map(Vec::len) != counts) {
        let text = "the windows are not equally large".to_owned();
        return Err(DeviceError::Refused { during: "encode_windows".to_owned(), text });
    }
    let tables = windows.iter().flatten().flatten();
    let tables: Vec<i32> = tables.map(|shown| shown.map_or(-1, |at| at as i32)).collect();
    let voxels = windows.iter().map(voxels).sum::<usize>();
    let [ni, nj, _] = dims.counts();
    let mut tensor = Array::new(on, voxels * channels.count())?;
    Call::of("encode_windows")
        .read(map)
        .read(&Array::of(on, &tables)?)
        .read(&Array::of(on, channels.table())?)
        .write(&mut tensor)
        .count(ni)
        .count(nj)
        .count(channels.count())
        .counts(counts)
        .rows(on, [counts[0], counts[1], counts[2] * windows.len()])?;
    Ok(tensor)
}
